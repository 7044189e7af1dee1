"""Records and their JSON: what is written is read back, and nothing else is read."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbitmap_bench.base import host
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import write_atomic
from hbitmap_bench.qemu.account import Run
from hbitmap_bench.reproduction.disturbance import counted
from hbitmap_bench.reproduction.growth import growth_records
from hbitmap_bench.reproduction.published import QUERY_S, published_cells
from hbitmap_bench.reproduction.records import CellRecord, GrowthRecord, Reproduction

QEMU_CELL = CellRecord(
    source="qemu",
    setup="access",
    mode="measured",
    build="7.2.22",
    detected="access",
    image_bytes=2**40,
    cluster_bytes=65536,
    copy_cluster_bytes=65536,
    l2_slice_bytes=4096,
    elapsed_s=2.625,
    cpu_s=2.5,
    interval_s=(2.25, 2.75),
    interval_kind="min_max",
    runs=(
        Run(wall_s=2.375, cpu_s=2.25, waited_s=0.0, read_bytes=0, steal_s=0.0),
        Run(wall_s=2.625, cpu_s=2.5, loop_words_s=(3e9, 3e9), cached_before=1.0, cached_after=1.0),
        Run(wall_s=2.875, cpu_s=2.75, major_faults=1, cpu_pressure_s=0.5),
        Run(wall_s=9.5, cpu_s=3.0, waited_s=6.0, disturbed="wall seconds 217% above CPU seconds"),
    ),
)


def a_reproduction() -> Reproduction:
    cells = (*published_cells(), QEMU_CELL)
    return Reproduction(
        created="2025-11-22T22:00:00+00:00",
        commit="0" * 40 + "-dirty",
        tool_version="0.1.0",
        host={"cpu_model": "synthetic", "cores": 2, "compiler": None},
        cells=cells,
        growth=growth_records(cells),
        about_builds="One line was changed.",
        command="hbitmap-bench reproduce --qemu new=PATH",
    )


def document(**changes: object) -> dict:
    return json.loads(a_reproduction().to_json()) | changes


def with_cell(**changes: object) -> str:
    found = document()
    found["cells"][-1] |= changes
    return json.dumps(found)


def a_run(**changes: object) -> dict:
    return dict.fromkeys(("wall_s", "cpu_s", "waited_s", "read_bytes", "steal_s"), 1) | changes


def of_schema_1(**changes: object) -> str:
    """The same document as the first schema had it: wall seconds, and no account of them."""
    found = document(schema=1)
    del found["about_builds"], found["command"]
    for cell in found["cells"]:
        cell["runs_s"] = [run["wall_s"] for run in cell.pop("runs")]
        del cell["cpu_s"], cell["disturbed"]
    found["cells"][-1] |= changes
    return json.dumps(found)


def test_json_round_trip() -> None:
    assert Reproduction.from_json(a_reproduction().to_json()) == a_reproduction()


def test_keys_are_those_of_schema_3() -> None:
    found = document()
    assert list(found) == [
        "schema", "created", "commit", "tool_version", "host", "cells", "growth", "about_builds",
        "command",
    ]  # fmt: skip
    assert set(found["cells"][0]) == {
        "source", "build", "detected", "setup", "image_bytes", "cluster_bytes",
        "copy_cluster_bytes", "l2_slice_bytes", "l2_entry_bytes", "mode", "elapsed_s", "cpu_s",
        "disturbed", "interval_s", "interval_kind", "runs", "queries", "words_examined",
        "words_source", "extra_s", "scan_rate_words_s",
    }  # fmt: skip
    account = {"wall_s", "cpu_s", "waited_s", "read_bytes", "steal_s"}
    keys = [set(run) for run in found["cells"][-1]["runs"]]
    assert keys[0] == account
    assert keys[1] == account | {"loop_words_s", "cached_before", "cached_after"}
    assert keys[3] == account | {"disturbed"}
    assert set(found["growth"][0]) == {
        "source", "build", "setup", "cluster_bytes", "l2_slice_bytes", "exponent", "interval",
        "extra_exponent", "extra_interval", "sizes",
    }  # fmt: skip


def test_a_file_of_schema_1_has_wall_seconds_alone() -> None:
    cell = Reproduction.from_json(of_schema_1()).cells[-1]
    assert (cell.cpu_s, cell.disturbed, cell.elapsed_s) == (None, None, 2.625)
    assert cell.runs == tuple(Run(wall_s=run.wall_s) for run in QEMU_CELL.runs)
    assert cell.work_s == 2.625


def test_a_file_of_schema_2_does_not_tell_its_command() -> None:
    found = document(schema=2)
    del found["command"]
    assert Reproduction.from_json(json.dumps(found)) == replace(a_reproduction(), command=None)


def test_seconds_are_the_processors_and_none_of_a_disturbed_row() -> None:
    assert QEMU_CELL.work_s == 2.5
    assert QEMU_CELL.n_runs == 3
    assert replace(QEMU_CELL, disturbed="cold").work_s is None


def test_where_all_runs_are_disturbed_all_count() -> None:
    runs = [Run(wall_s=1.0, disturbed="cold"), Run(wall_s=2.0, disturbed="cold")]
    assert counted(runs) == runs
    assert counted([*runs, Run(wall_s=3.0)]) == [Run(wall_s=3.0)]


numbers = st.floats(0, 1e9)
runs = st.builds(
    Run,
    wall_s=numbers,
    cpu_s=st.none() | numbers,
    read_bytes=st.none() | st.integers(0, 2**62),
    loop_words_s=st.none() | st.tuples(numbers, numbers),
    disturbed=st.none() | st.text(max_size=9),
)
cells = st.builds(
    CellRecord,
    source=st.sampled_from(["published", "model", "qemu"]),
    setup=st.sampled_from(["plain", "access", "deny"]),
    mode=st.sampled_from(["published", "exact", "sampled", "measured"]),
    build=st.none() | st.text(max_size=9),
    image_bytes=st.integers(1, 2**60),
    cluster_bytes=st.integers(1, 2**21),
    copy_cluster_bytes=st.integers(1, 2**21),
    l2_slice_bytes=st.integers(1, 2**21),
    elapsed_s=st.none() | numbers,
    interval_s=st.none() | st.tuples(numbers, numbers).map(lambda ends: tuple(sorted(ends))),
    cpu_s=st.none() | numbers,
    disturbed=st.none() | st.text(max_size=9),
    runs=st.lists(runs, max_size=3).map(tuple),
    queries=st.none() | st.integers(0, 2**40),
    words_examined=st.none() | st.integers(0, 2**62),
    extra_s=st.none() | st.floats(-1e9, 1e9),
)


@given(st.lists(cells, max_size=3).map(tuple))
def test_any_cells_survive_the_round_trip(rows: tuple[CellRecord, ...]) -> None:
    wanted = replace(a_reproduction(), cells=rows)
    assert Reproduction.from_json(wanted.to_json()) == wanted


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "is JSON"),
        ("[" * 100_000, "is JSON"),
        ("[]", "has schema 1"),
        (json.dumps(document(schema=4)), "has schema 1 to 3, not 4"),
        (json.dumps(document(schema=True)), "has schema 1 to 3, not True"),
        (json.dumps({k: v for k, v in document().items() if k != "host"}), "the key host"),
        (json.dumps(document(more=1)), "more"),
        (json.dumps(document(created="2025-11-22T22:00:00")), "time in UTC"),
        (json.dumps(document(created="2025-11-22T22:00:00+01:00")), "time in UTC"),
        (json.dumps(document(created="yesterday")), "time in UTC"),
        (json.dumps(document(host=[])), "host must be an object"),
        (json.dumps(document(host={"cores": [2]})), "host.cores"),
        (json.dumps(document(cells={})), "cells must be a list"),
        (json.dumps(document(cells=[1])), r"cells\[0\] must be an object"),
        (json.dumps(document(cells=[{}])), r"cells\[0\] must have the key"),
        (with_cell(setup="none"), r"cells\[6\].setup must be one of plain, access, deny"),
        (with_cell(image_bytes=True), "image_bytes must be of type int"),
        (with_cell(image_bytes=1.5), "image_bytes must be of type int"),
        (with_cell(image_bytes=0), "image_bytes must be above 0"),
        (with_cell(image_bytes=10**400), "image_bytes must fit into 64 bits"),
        (with_cell(elapsed_s="2"), "elapsed_s"),
        (with_cell(mode="two\nlines\x1b[2J"), r"not two\\nlines\\x1b\[2J"),
        (with_cell(elapsed_s=True), "elapsed_s"),
        (with_cell(elapsed_s=float("nan")), "elapsed_s must be a finite number, not nan"),
        (with_cell(elapsed_s=10**400), "elapsed_s must be a finite number"),
        (with_cell().replace("2.25", "1e999"), "finite number, not inf"),
        (with_cell(interval_s=[1]), "a list of 2"),
        (with_cell(interval_s=[2, 1]), "its lower end first"),
        (with_cell(runs=None), "runs must be a list"),
        (with_cell(runs=[1]), r"runs\[0\] must be an object"),
        (with_cell(runs=[{}]), r"runs\[0\] must have the key cpu_s"),
        (with_cell(runs=[a_run(cpu_s="1")]), r"runs\[0\].cpu_s"),
        (with_cell(runs=[a_run(more=1)]), "keys of schema 3 alone, not more"),
        (with_cell(runs_s=[1]), "keys of schema 3 alone, not runs_s"),
        (of_schema_1(runs_s=[1, None]), r"runs\[1\].wall_s"),
        (of_schema_1(runs_s=None), "the key cpu_s"),
    ],
)
def test_what_is_no_report_is_refused(text: str, rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        Reproduction.from_json(text)


def test_a_number_that_is_not_finite_is_not_written() -> None:
    bad = replace(a_reproduction(), cells=(replace(QEMU_CELL, extra_s=float("inf")),))
    with pytest.raises(UserError, match="extra_s must be a finite number"):
        bad.to_json()


def test_save_and_load(tmp_path: Path) -> None:
    a_reproduction().save(tmp_path / "r.json")
    assert Reproduction.load(tmp_path / "r.json") == a_reproduction()
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_load_of_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be readable"):
        Reproduction.load(tmp_path / "none.json")
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(UserError, match="must be readable"):
        Reproduction.load(tmp_path / "latin")


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "r.json"
    write_atomic(target, b"old")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match="No space left"):
        write_atomic(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_write_needs_a_folder_and_a_regular_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a place that takes it"):
        write_atomic(tmp_path / "none" / "r.json", b"")
    with pytest.raises(UserError, match="regular file"):
        write_atomic(tmp_path, b"")
    with pytest.raises(UserError, match="regular file"):
        write_atomic(Path("/dev/null"), b"")


def test_a_write_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_atomic(tmp_path / "link", b"data")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"data"


def test_host_facts_name_no_one() -> None:
    facts = host.host_facts()
    text = json.dumps(facts)
    assert facts["cores"] >= 1
    assert facts["memory_bytes"] > 2**20
    assert os.uname().nodename not in text
    assert str(Path.home()) not in text


def git(folder: Path, *arguments: str) -> None:
    named = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(folder), *named, *arguments], check=True, capture_output=True)


def test_commit_is_that_of_a_tracked_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "host.py"
    source.write_text("1")
    monkeypatch.setattr(host, "__file__", str(source))
    assert host.commit_of_sources() is None
    git(tmp_path, "init", "-q")
    assert host.commit_of_sources() is None, "inside a checkout, but not tracked by it"
    git(tmp_path, "add", "host.py")
    git(tmp_path, "commit", "-q", "-m", "x")
    clean = host.commit_of_sources()
    assert clean is not None
    assert len(clean) == 40
    source.write_text("2")
    assert host.commit_of_sources() == f"{clean}-dirty"


def test_commit_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "__file__", str(tmp_path / "host.py"))
    monkeypatch.setenv("PATH", "")
    assert host.commit_of_sources() is None


def test_commit_carried_by_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "__file__", str(tmp_path / "host.py"))
    (tmp_path / "commit.txt").write_text("ab" * 20 + "-dirty")
    assert host.commit_of_sources() == "ab" * 20 + "-dirty"


def test_published_table_and_what_follows_from_it() -> None:
    rows = {(row.image_bytes // 2**40, row.setup): row for row in published_cells()}
    assert rows[10, "plain"].queries == 327_680
    assert rows[10, "access"].words_examined == 429_498_040_320
    assert rows[11, "access"].words_examined == 519_692_484_608
    assert [rows[size, "access"].extra_s for size in (10, 11)] == [273, 356]
    rates = [rows[size, "access"].scan_rate_words_s for size in (10, 11)]
    assert [round(rate / 1e9, 2) for rate in rates] == [1.57, 1.46]
    assert round(QUERY_S * 1e6) == 159


def test_growth_record_defaults_are_nothing() -> None:
    bare = GrowthRecord(source="model", setup="plain", cluster_bytes=65536, l2_slice_bytes=4096)
    assert (bare.exponent, bare.interval, bare.sizes) == (None, None, ())
