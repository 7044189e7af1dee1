"""Two reproductions side by side: what pairs, what is claimed, what is refused.

``PYTHONPATH=tests python tests/reproduction/test_compare.py`` writes the golden files anew:
read their diff before committing it.
"""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
import synthetic_report as synthetic
from rich.console import Console

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.program import exit_code
from hbitmap_bench.cli import cli
from hbitmap_bench.qemu.account import Run
from hbitmap_bench.reproduction.comparison import Comparison, build_pairs, compare
from hbitmap_bench.reproduction.comparison_json import to_json
from hbitmap_bench.reproduction.comparison_text import render_comparison
from hbitmap_bench.reproduction.contrast import Contrast, Difference, Estimate, chance_apart
from hbitmap_bench.reproduction.growth import growth_records
from hbitmap_bench.reproduction.records import CellRecord, Reproduction

GOLDEN = Path(__file__).parents[1] / "golden"
COMMAND = str(Path(sys.executable).with_name("hbitmap-bench"))
T = 2**40
HOST = {
    "cpu_model": "synthetic, for tests", "cores": 2, "memory_bytes": 8 * 2**30,
    "machine": "x86_64", "os": "An OS", "kernel": "Linux 1",
}  # fmt: skip


def run_of(*cells: CellRecord, **changes: object) -> Reproduction:
    made = synthetic.reproduction(*cells, published=False)
    return replace(made, **{"host": HOST, **changes})


def scaled_run(run: Run, factor: float) -> Run:
    return replace(run, wall_s=run.wall_s * factor, cpu_s=(run.cpu_s or 0) * factor)


def scaled(cell: CellRecord, factor: float, extra: float | None = None) -> CellRecord:
    """A row with all its seconds times a factor; ``extra`` replaces its extra seconds."""
    ends = cell.interval_s
    return replace(
        cell,
        elapsed_s=(cell.elapsed_s or 0) * factor,
        cpu_s=(cell.cpu_s or 0) * factor,
        interval_s=ends and (ends[0] * factor, ends[1] * factor),
        runs=tuple(scaled_run(run, factor) for run in cell.runs),
        extra_s=extra if extra is not None else cell.extra_s and cell.extra_s * factor,
        scan_rate_words_s=cell.scan_rate_words_s and cell.scan_rate_words_s / factor,
    )


def unpatched(build: str = "7.2.22", sizes: tuple[int, ...] = (1, 2, 4)) -> list[CellRecord]:
    return [
        synthetic.qemu_cell(size, setup, build=build)
        for size in sizes
        for setup in ("plain", "access")
    ]


def patched(build: str = "patched", sizes: tuple[int, ...] = (1, 2, 4)) -> list[CellRecord]:
    rows = [
        synthetic.qemu_cell(s, setup, build=build) for s in sizes for setup in ("plain", "deny")
    ]
    return [replace(row, detected="deny") for row in rows]


def builds() -> Comparison:
    """The prime use: an unpatched build against itself and a patched one, on one host."""
    model = synthetic.model_table()
    a = run_of(*model, *unpatched())
    b = run_of(*model, *unpatched(), *patched(), created="2025-11-23T10:00:00+00:00")
    return compare("a.json", a, "b.json", b)


def hosts() -> Comparison:
    """Another host, half as fast; some rows on one side alone."""
    sweep = synthetic.model_sweep((1, 4, 16), (64, 256))
    a = run_of(*sweep, *unpatched())
    slow = [scaled(row, 2) for row in (*sweep, *unpatched(sizes=(1, 2, 8)))]
    host = {**HOST, "cpu_model": "another", "kernel": None}
    return compare("a.json", a, "b.json", run_of(*slow, host=host, commit="f" * 40 + "-dirty"))


def terminal(found: Comparison, width: int = 80) -> str:
    stream = io.StringIO()
    render_comparison(found, Console(file=stream, width=width, color_system=None))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


GOLDEN_PAGES: dict[str, Callable[[], str]] = {
    "compare-builds-80.txt": lambda: terminal(builds()),
    "compare-hosts-80.txt": lambda: terminal(hosts()),
}


@pytest.mark.parametrize("name", GOLDEN_PAGES)
def test_golden(name: str) -> None:
    assert GOLDEN_PAGES[name]() == (GOLDEN / name).read_text(encoding="utf-8")


# ---------------------------------------------------------------- what is claimed


def estimate(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, (low, high), "min_max")


@pytest.mark.parametrize(
    ("a", "b", "finding"),
    [
        ((10, 12), (11, 13), "overlap"),
        ((10, 12), (12, 13), "overlap"),  # they touch
        ((10, 12), (12.5, 14), "within_drift"),
        ((10, 12), (13.3, 14), "higher"),
        ((10, 12), (9.5, 9.9), "within_drift"),
        ((10, 12), (8, 9), "lower"),
        ((0, 12), (14, 15), "higher"),
        ((10, 12), (0, 0), "lower"),
    ],
)
def test_a_difference_is_claimed_of_ranges_apart_by_more_than_drift(
    a: tuple[float, float], b: tuple[float, float], finding: str
) -> None:
    found = Contrast(estimate(*a), estimate(*b))
    assert found.finding == finding
    mirrored = {"lower": "higher", "higher": "lower"}.get(finding, finding)
    assert Contrast(estimate(*b), estimate(*a)).finding == mirrored


def test_without_two_intervals_of_one_kind_nothing_is_claimed() -> None:
    one = estimate(1, 2)
    for other in (Estimate(9.0), replace(estimate(8, 9), kind="prediction95")):
        assert Contrast(one, other).finding == "no_interval"
        assert Contrast(one, other).ratio == pytest.approx(other.value / one.value)
        assert Contrast(one, other).ratio_interval is None
    assert Contrast(one, None).finding is None
    assert Contrast(one, None).ratio is None


def test_ratio_holds_what_any_two_values_of_the_ranges_give() -> None:
    found = Contrast(estimate(10, 12), estimate(5, 6))
    assert found.ratio_interval == (5 / 12, 6 / 10)
    assert found.ratio == pytest.approx(0.5)


def test_a_ratio_over_what_may_be_nothing_has_no_upper_end() -> None:
    noise = Estimate(1.0, (0.0, 2.0), "min_max", resolved=False)
    found = Contrast(noise, estimate(4, 6))
    assert found.ratio is None
    assert found.ratio_interval == (2.0, None)
    assert Contrast(estimate(4, 6), noise).ratio_interval == (0.0, 0.5)
    assert Contrast(Estimate(0.0, (0.0, 0.0), "min_max"), estimate(4, 6)).ratio_interval is None


def test_numbers_of_any_size_give_no_infinite_ratio() -> None:
    tiny, huge = Estimate(5e-324, (5e-324, 5e-324), "min_max"), estimate(1e308, 1e308)
    assert Contrast(tiny, huge).ratio is None
    assert Contrast(tiny, huge).ratio_interval is None
    assert Contrast(huge, tiny).ratio == 0


def test_difference_of_exponents() -> None:
    found = Difference(Estimate(2.0, (1.9, 2.1)), Estimate(1.0, (0.8, 1.2)))
    assert found.value == -1
    assert found.interval == pytest.approx((-1.3, -0.7))
    assert found.finding == "lower"
    assert Difference(found.b, found.a).finding == "higher"
    assert Difference(found.a, Estimate(2.0, (1.0, 3.0))).finding == "overlap"
    assert Difference(found.a, Estimate(1.0)).finding == "no_interval"
    assert Difference(found.a, None).finding is None
    rounded = Estimate(2.0 + 1e-12, (2.0 + 1e-12, 2.0 + 1e-12))
    assert Difference(Estimate(2.0, (2.0, 2.0)), rounded).finding == "overlap"


@pytest.mark.parametrize(("n_a", "n_b"), [(2, 2), (3, 3), (2, 3), (1, 4)])
def test_chance_that_runs_of_one_build_lie_apart(n_a: int, n_b: int) -> None:
    orders = list(permutations(range(n_a + n_b)))
    apart = sum(max(o[:n_a]) < min(o[n_a:]) or min(o[:n_a]) > max(o[n_a:]) for o in orders)
    assert chance_apart(n_a, n_b) == pytest.approx(apart / len(orders))


# ---------------------------------------------------------------- what pairs


@pytest.mark.parametrize(
    ("a", "b", "pairs"),
    [
        (["7.2"], ["10.0"], [("7.2", "10.0")]),
        (["7.2"], ["7.2"], [("7.2", "7.2")]),
        (["7.2"], ["7.2", "new"], [("7.2", "7.2"), ("7.2", "new")]),
        (["7.2", "new"], ["7.2"], [("7.2", "7.2"), ("new", "7.2")]),
        (["7.2", "new"], ["7.2", "new"], [("7.2", "7.2"), ("new", "new")]),
        (["7.2", "x"], ["7.2", "y", "z"], [("7.2", "7.2"), ("x", "y"), ("x", "z")]),
        ([None], [None], [(None, None)]),
        ([], ["7.2"], []),
        (["7.2"], [], []),
    ],
)
def test_builds_pair_with_their_namesakes_and_the_others_with_each_other(
    a: list[str | None], b: list[str | None], pairs: list[tuple[str | None, str | None]]
) -> None:
    assert build_pairs(a, b) == pairs


def test_a_patched_build_pairs_with_an_unpatched_one() -> None:
    group = compare("a", run_of(*unpatched()), "b", run_of(*patched())).groups[0]
    assert (group.build_a, group.build_b) == ("7.2.22", "patched")
    setups = [(pair.a.setup, pair.b.setup, pair.a.image_bytes // T) for pair in group.pairs]
    assert setups == [
        ("access", "deny", 1), ("access", "deny", 2), ("access", "deny", 4),
        ("plain", "plain", 1), ("plain", "plain", 2), ("plain", "plain", 4),
    ]  # fmt: skip
    assert group.pairs[1].rate.b is None, "a deny row reads a few words: it has no scan rate"
    assert group.pairs[1].extra.finding == "lower"


def test_rows_of_the_model_pair_within_their_setup_and_mode() -> None:
    access, deny = (synthetic.model_cell(10, 64, setup) for setup in ("access", "deny"))
    with pytest.raises(UserError, match="no row of a has a partner in b"):
        compare("a", run_of(access), "b", run_of(deny))
    with pytest.raises(UserError, match="model sampled: 10T at 64K clusters"):
        compare("a", run_of(access), "b", run_of(replace(access, mode="exact")))


@pytest.mark.parametrize(
    "changes",
    [
        {"image_bytes": 2 * T},
        {"cluster_bytes": 2**17},
        {"copy_cluster_bytes": 2**17},
        {"l2_slice_bytes": 65536},
        {"l2_entry_bytes": 16},
        {"cpu_s": None, "elapsed_s": None},
        {"cpu_s": 0.0},
        {"disturbed": "cold"},
        {"source": "model"},
    ],
)
def test_rows_of_different_places_do_not_pair(changes: dict[str, object]) -> None:
    row = synthetic.qemu_cell(1, "plain")
    with pytest.raises(UserError, match="measure the same sizes on both"):
        compare("a", run_of(row), "b", run_of(replace(row, **changes)))


def test_extra_seconds_are_over_the_plain_row_of_the_same_side() -> None:
    a, b = unpatched(sizes=(1,)), [scaled(row, 2) for row in unpatched("new", sizes=(1,))]
    pair = compare("a", run_of(*a), "b", run_of(*b)).groups[0].pairs[0]
    assert pair.extra.ratio == pytest.approx(2)
    assert pair.rate.ratio == pytest.approx(0.5)
    plain, access = a
    assert plain.interval_s is not None
    assert access.interval_s is not None
    assert pair.extra.a is not None
    assert pair.rate.a is not None
    least = access.interval_s[0] - plain.interval_s[1]
    most = access.interval_s[1] - plain.interval_s[0]
    assert pair.extra.a.interval == (least, most)
    words = access.words_examined or 0
    assert pair.rate.a.interval == pytest.approx((words / most, words / least))


def test_raw_seconds_of_differing_hosts_are_no_comparison() -> None:
    a, b = (run_of(*unpatched()), run_of(*unpatched("new"), host={**HOST, "cores": 3}))
    assert compare("a", a, "b", b).host_differs == ("cores",)
    document = json.loads(to_json(compare("a", a, "b", b)))
    assert {pair["elapsed_s"] for pair in document["pairs"]} == {None}
    plain = [row for row in b.cells if row.setup == "plain"]
    with pytest.raises(UserError, match=r"raw seconds alone, and their hosts differ \(cores\)"):
        compare("a", a, "b", replace(b, cells=tuple(plain)))


def test_a_host_that_does_not_tell_is_not_alike() -> None:
    unknown = {**HOST, "cpu_model": None}
    a, b = run_of(*unpatched(), host=unknown), run_of(*unpatched("new"), host=unknown)
    assert compare("a", a, "b", b).host_differs == ("cpu_model",)


def test_exponents_are_fitted_over_the_sizes_that_both_have() -> None:
    a = run_of(*unpatched(sizes=(1, 2, 4, 8)))
    b = run_of(*unpatched("new", sizes=(2, 4, 8, 16)))
    for pair in compare("a", a, "b", b).groups[0].growth:
        assert [size // T for size in pair.sizes] == [2, 4, 8]
        assert pair.seconds.value == pytest.approx(0)
    wanted = growth_records(run_of(*unpatched(sizes=(2, 4, 8))).cells)[1]
    assert pair.seconds.a is not None
    assert {g.seconds.a.value for g in compare("a", a, "b", b).groups[0].growth if g.seconds.a} >= {
        wanted.exponent
    }


def test_published_rows_alone_are_nothing_to_compare() -> None:
    one = synthetic.reproduction()
    with pytest.raises(UserError, match="the first has no measured row; the second has no measu"):
        compare("a", one, "b", replace(one, created="2026-01-01T00:00:00+00:00"))


def test_rows_without_a_partner_are_named() -> None:
    found = hosts()
    assert [row.image_bytes // T for row in found.a.unpaired] == [4, 4]
    assert [row.image_bytes // T for row in found.b.unpaired] == [8, 8]
    assert "Without a partner in B: qemu 7.2.22 measured: 8T at 64K clusters." in terminal(
        found, 200
    )


def test_json_has_every_pair_and_no_number_that_is_not_one() -> None:
    document = json.loads(to_json(hosts()), parse_constant=pytest.fail)
    assert (document["schema"], document["kind"]) == (1, "comparison")
    assert len(document["pairs"]) == sum(len(group.pairs) for group in hosts().groups)
    row = next(p for p in document["pairs"] if (p["source"], p["setup_a"]) == ("qemu", "access"))
    assert row["extra_s"]["ratio"] == pytest.approx(2)
    assert row["extra_s"]["finding"] == "higher"
    assert row["extra_s"]["a"]["interval_kind"] == "min_max"
    assert {side["unpaired"][0]["setup"] for side in (document["a"], document["b"])} == {"plain"}


def test_names_from_files_can_not_steer_the_terminal() -> None:
    evil = "\x1b[2Jnew\r\nbuild[bold]"
    host = {**HOST, "cpu_model": evil}
    found = compare(evil, run_of(*unpatched()), "b", run_of(*unpatched(evil), host=host))
    text = terminal(found, 200)
    assert "\x1b" not in text
    assert "\r" not in text
    assert r"B is \x1b[2Jnew\r" in text
    assert "build[bold]" in text


@pytest.mark.parametrize("width", [40, 80, 160])
def test_nothing_is_cut_off(width: int) -> None:
    text = terminal(builds(), width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())


# ---------------------------------------------------------------- the command


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, as a user runs it."""
    return subprocess.run(
        [COMMAND, "compare", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def in_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The same, in a fraction of the time: most of it is imports."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as errors:
        code = exit_code(lambda: cli.main(["compare", *arguments], standalone_mode=False))
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    run_of(*unpatched()).save(tmp_path / "a.json")
    run_of(*patched(), created="2026-01-01T00:00:00+00:00").save(tmp_path / "b.json")
    return tmp_path


def test_command_prints_tables_and_writes_json(folder: Path) -> None:
    done = command(folder, "a.json", "b.json", "--json", "c.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "qemu (measured): A is 7.2.22, B is patched" in done.stdout
    assert "B lower" in done.stdout
    piped = command(folder, "a.json", "b.json", "--json", "-")
    assert (piped.returncode, piped.stderr) == (0, "")
    assert piped.stdout == (folder / "c.json").read_text()
    assert len(json.loads(piped.stdout)["pairs"]) == 6


BROKEN = {
    "empty": b"",
    "cut": b'{"schema": 1, "created": "2025',
    "binary": b"\x7fELF\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "schema": b'{"schema": 4}',
    "list": b"[1, 2]",
    "nan": b'{"schema": NaN}',
    "history": b'{"commit_hash": "0", "env_name": "x", "results": {}}',
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_no_reproduction_is_named_in_one_line(name: str, folder: Path) -> None:
    (folder / name).write_bytes(BROKEN[name])
    for arguments in ((name, "b.json"), ("a.json", name)):
        done = in_process(*arguments, "--json", "c.json")
        assert_refused(done, f"{name}: a report's data")
    assert not (folder / "c.json").exists()


@pytest.mark.parametrize("key", ["image_bytes", "words_examined", "queries"])
@pytest.mark.parametrize("value", [10**400, -(2**63) - 1])
def test_numbers_that_no_row_has_are_refused(key: str, value: int, folder: Path) -> None:
    document = json.loads((folder / "b.json").read_text())
    document["cells"][0][key] = value
    (folder / "b.json").write_text(json.dumps(document))
    assert_refused(in_process("a.json", "b.json"), f"b.json: in a report's data, cells[0].{key}")


def test_extreme_numbers_are_no_crash(folder: Path) -> None:
    document = json.loads((folder / "b.json").read_text())
    for index, cell in enumerate(document["cells"]):
        cell |= {"elapsed_s": (1e308, 5e-324, -1e308)[index % 3], "interval_s": [-1e308, 1e308]}
        cell |= {"extra_s": cell["extra_s"] and (-1e308, 1e308)[index % 2], "runs": []}
        cell["scan_rate_words_s"] = -1e308
    (folder / "b.json").write_text(json.dumps(document))
    done = in_process("a.json", "b.json", "--json", "-")
    assert done.returncode in (0, 2)
    assert "Traceback" not in done.stderr
    assert "Infinity" not in done.stdout
    assert in_process("a.json", "b.json").returncode == done.returncode


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["a.json", "a.json"], "needs two files, not a.json twice"),
        (["a.json", "link.json"], "needs two files"),
        (["a.json", "copy.json"], "hold the same run"),
        (["a.json", "none.json"], "none.json"),
        (["a.json", "."], "must be readable"),
        (["a.json", "far.json"], "qemu 7.2.22 measured: 64T at 64K clusters"),
        (["a.json", "line\nbreak.json"], r"line\nbreak.json"),
        (["a.json"], "B.json"),
        (["a.json", "b.json", "--json", "no/folder/c.json"], "c.json"),
        (["a.json", "b.json", "--json", "a.json/c"], "a.json/c"),
    ],
)
def test_refusals(arguments: list[str], line: str, folder: Path) -> None:
    (folder / "link.json").symlink_to(folder / "a.json")
    (folder / "copy.json").write_bytes((folder / "a.json").read_bytes())
    run_of(*unpatched(sizes=(64,))).save(folder / "far.json")
    assert_refused(in_process(*arguments), line)


def test_an_input_is_not_overwritten(folder: Path) -> None:
    before = (folder / "a.json").read_bytes()
    assert_refused(in_process("a.json", "b.json", "--json", "a.json"), "not over a.json")
    assert (folder / "a.json").read_bytes() == before


def test_a_process_ends_with_exit_code_2_and_one_line(folder: Path) -> None:
    assert_refused(command(folder, "a.json", "a.json"), "needs two files")


def assert_refused(done: subprocess.CompletedProcess[str], line: str) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_help_teaches() -> None:
    done = in_process("--help")
    assert done.returncode == 0
    assert "Examples:" in done.stdout
    assert "Exit codes:" in done.stdout


if __name__ == "__main__":
    for file_name, make in GOLDEN_PAGES.items():
        (GOLDEN / file_name).write_text(make(), encoding="utf-8")
