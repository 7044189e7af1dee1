"""Every file that is read, damaged in every way: one line that names it, in bounded memory."""

import contextlib
import copy
import hashlib
import json
import shutil
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import called
from synthetic_gate import TIME, steady, write_run
from tiny import configuration, git

from hbitmap_bench.base import front_part
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.reading import MOST_BYTES, read_bytes, read_json
from hbitmap_bench.commits import sources
from hbitmap_bench.commits.gate.resolution import Calibration, load_band, path_of
from hbitmap_bench.commits.gate.runs import load_run
from hbitmap_bench.commits.machine import machine_fields
from hbitmap_bench.commits.project import find_project
from hbitmap_bench.commits.project_file import parse, read
from hbitmap_bench.commits.sessions import read_anchor, write_anchor
from hbitmap_bench.commits.store import load_benchmarks, load_histories
from hbitmap_bench.reproduction.published import published_cells
from hbitmap_bench.reproduction.records import Reproduction
from hbitmap_bench.tournament.contenders import find_contenders

ROOT = Path(__file__).parent.parent
CELL = ("deny", 16, 64)
MACHINE = {"machine": "here", "cpu": "x"}
COLUMNS = ["result", "params", "version", "stats_ci_99_a", "stats_ci_99_b"]


class Kind(NamedTuple):
    """A kind of file: what reads it, and what its schema's key is called."""

    path: str
    read: Callable[[Path], object]
    schema: str | None = None


def histories(folder):
    """Histories, or the reason why the one result of a folder is refused."""
    return load_histories(folder / "results", folder)


def anchor(folder):
    try:
        read_anchor(folder / ANCHOR)
    except (OSError, ValueError) as error:
        raise UserError(f"{ANCHOR}: {error}") from None


ANCHOR = "results/here/1-env.session"
KINDS = {
    "reproduction": Kind("r.json", lambda at: Reproduction.load(at / "r.json"), "schema"),
    "declared": Kind("hbitmap-bench.toml", read),
    "configuration": Kind("asv.conf.json", find_project),
    "benchmarks": Kind("results/benchmarks.json", lambda at: load_benchmarks(at / "results")),
    "machine": Kind("results/here/machine.json", lambda at: machine_fields("here", at / "results")),
    "result": Kind("results/here/RESULT.json", histories, "version"),
    "side record": Kind("results/here/RESULT.sources", histories, "schema"),
    "anchor": Kind(ANCHOR, anchor, "schema"),
    "run": Kind("run/run.json", lambda at: load_run(at / "run"), "schema"),
    "result of a run": Kind("run/pass-1/round-01/head/PASS.json", lambda at: load_run(at / "run")),
    "calibration": Kind(
        "results/here/band.calibration", lambda at: load_band(at / "results", MACHINE, 12), "schema"
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with one of each, valid."""
    folder = tmp_path_factory.mktemp("whole") / "files"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "package.py").touch()
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "One")
    (folder / "r.json").write_text(Reproduction.of_this_run(published_cells(), ()).to_json())
    shutil.copy(ROOT / "hbitmap-bench.toml", folder)
    (folder / "asv.conf.json").write_text(json.dumps(configuration()))
    store_result(folder)
    Calibration("0" * 40, "2026-01-02", MACHINE, "quick", 3, 12, [0.01] * 200, 0.03).save(
        path_of(folder / "results", MACHINE)
    )
    write_run(folder / "run", {(TIME, CELL): steady(0.01, n=5)})
    return folder


def store_result(folder):
    listed = json.loads((ROOT / "tests" / "golden" / "benchmarks.json").read_text())
    (folder / "results" / "here").mkdir(parents=True)
    described = {name: {"name": name, **found} for name, found in listed.items()}
    (folder / "results" / "benchmarks.json").write_text(json.dumps(described))
    stored = json.dumps({"machine": "here", "os": "Linux"})
    (folder / "results" / "here" / "machine.json").write_text(stored)
    benchmark = listed[TIME]
    n_cells = 1
    for values in benchmark["params"]:
        n_cells *= len(values)
    row = [[0.5] * n_cells, benchmark["params"], benchmark["version"], [0.4] * n_cells]
    commit = git(folder, "rev-parse", "HEAD")
    path = folder / "results" / "here" / f"{commit[:8]}-env.json"
    document = {
        "version": 2, "commit_hash": commit, "env_name": "env", "params": {"machine": "here"},
        "result_columns": COLUMNS, "results": {TIME: [*row, [0.6] * n_cells]},
    }  # fmt: skip
    path.write_text(json.dumps(document))
    files = [{"package.py": git(folder, "rev-parse", "HEAD:package.py")}]
    sources.write_record(path, commit, files)
    write_anchor(path.parent, "1", path, path, {}, "imported", files)


@pytest.fixture
def place(whole, tmp_path):
    """A copy of them, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "files"))


def path_in(place, kind):
    """The file of a kind; names that have a commit in them are looked up."""
    path = place / kind.path
    if path.stem in ("RESULT", "PASS"):
        (path,) = (one for one in path.parent.rglob(f"*{path.suffix}") if "-" in one.name)
    return path


DAMAGE = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) * 2 // 3],
    "not JSON": lambda data: b"\x7fELF\0\0",
    "not UTF-8": lambda data: data + b"\xff\xfe",
    "nested": lambda data: b"[" * 100_000,
    "nested objects": lambda data: b'{"a":' * 100_000,
    "a list": lambda data: b"[1, 2]",
    "a number": lambda data: b"1",
    "NaN": lambda data: b"NaN",
    "Infinity": lambda data: b'{"schema": Infinity, "version": Infinity}',
    "digits": lambda data: b'{"schema": ' + b"9" * 5000 + b"}",
}


def refused(read, place, path):
    """One line that names the file."""
    with pytest.raises(UserError) as error:
        read(place)
    assert path.stem in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_file_is_read(name, place):
    assert path_in(place, KINDS[name]).is_file()
    KINDS[name].read(place)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_is_refused_by_name(name, damage, place):
    path = path_in(place, KINDS[name])
    if (name, damage) == ("declared", "empty"):
        damage = "truncated"  # an empty one is as good as none
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    refused(KINDS[name].read, place, path)


@pytest.mark.parametrize("name", KINDS)
def test_a_folder_in_its_place_is_refused(name, place):
    path = path_in(place, KINDS[name])
    path.unlink()
    path.mkdir()
    refused(KINDS[name].read, place, path)


@pytest.mark.parametrize("name", KINDS)
def test_a_gigabyte_is_refused_in_bounded_memory(name, place):
    path = path_in(place, KINDS[name])
    with path.open("r+b") as file:
        file.truncate(2**30)
    tracemalloc.start()
    try:
        assert "MiB" in refused(KINDS[name].read, place, path)
        assert tracemalloc.get_traced_memory()[1] < 2 * MOST_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.schema])
@pytest.mark.parametrize("schema", [99, "2", None])
def test_another_schema_is_refused(name, schema, place):
    path, key = path_in(place, KINDS[name]), KINDS[name].schema
    resigned(path, {**json.loads(path.read_text()), key: schema})
    refused(KINDS[name].read, place, path)


def test_a_device_without_end_is_refused():
    with pytest.raises(ValueError, match="more than 64 MiB"):
        read_bytes(Path("/dev/zero"))


def test_a_deep_text_is_no_recursion(tmp_path):
    (tmp_path / "deep").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "deep")


# ---------------------------------------------------------------- any value in any place

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
values = st.recursive(
    scalars | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


def spots(document: Any) -> list[tuple[Any, Any]]:
    """Every place in a document: its container and its key."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    found = []
    for key, value in items:
        found.append((document, key))
        if isinstance(value, (dict, list)):
            found += spots(value)
    return found


def change(data, document):
    """The document with one or two of its values replaced or gone; shallow places most often."""
    found = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 2))):
        places = sorted(spots(found), key=lambda spot: len(json.dumps(spot[0])), reverse=True)
        container, key = places[data.draw(st.integers(0, min(len(places), 60) - 1))]
        if isinstance(container, dict) and data.draw(st.booleans()):
            del container[key]
        else:
            container[key] = data.draw(values)
    return found


def resigned(path, document):
    """A file that somebody changed, with the digests that fit."""
    path.write_text(json.dumps(document))
    if path.suffix == ".json" and path.with_suffix(sources.SUFFIX).exists():
        record = json.loads(path.with_suffix(sources.SUFFIX).read_text())
        sources.write_record(path, record["commit"], record["imported"])
    if path.suffix == ".session":
        rest = {key: value for key, value in document.items() if key != "sha256"}
        digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps({**rest, "sha256": digest}))


def use(name, place):
    """Read a file as its commands do, and use what it has."""
    if name == "run":
        done = called("judge", "run", "--format", "json", cwd=place)
    elif name in ("result", "benchmarks", "anchor", "side record", "machine"):
        done = called("show", "--results", "results", "--repo", ".", cwd=place)
    elif name == "reproduction":
        done = called("compare", "r.json", "other.json", cwd=place)
    else:
        KINDS[name].read(place)
        return
    assert "Traceback" not in done.errors, done.errors
    assert done.code in (0, 1, 2)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "declared"])
@settings(max_examples=15)
@given(data=st.data())
def test_any_value_in_any_place_is_no_crash(name, whole, data):
    path = path_in(whole, KINDS[name])
    before = {one: one.read_bytes() for one in path.parent.iterdir() if one.is_file()}
    (whole / "other.json").write_bytes((whole / "r.json").read_bytes())
    try:
        resigned(path, change(data, json.loads(path.read_text())))
        with contextlib.suppress(UserError):
            use(name, whole)
    finally:
        for one, content in before.items():
            one.write_bytes(content)


DECLARED = (
    '[profiles.quick]\nrepeat = [1, 2, 0.5]\nrounds = 2\ncells = ["a"]\n'
    '[counters]\nnoisy = ["a"]\n[parameters]\nsize = "n"\npairs = [["a", "b"]]\n'
    '[[growth]]\nof = "a"\nquantity = "b"\nsize = "n"\nseries = "s"\nby = ["k"]\nat = "{k}"\n'
    "limits = { a = 1.0 }\nmargin = 0.5\n"
)
ODD = ["nan", "inf", "-1", "0", "9" * 5000, "true", "[[]]", "{}", "[" * 3000, "2020-01-01"]
ODD += ['"("', '"a{99999999999}"', '"{k.x}"', '"{k:99999999999}"', '"{"', '"\\u0000"', "[nan]"]
told = st.sampled_from(ODD)


@settings(max_examples=100)
@given(st.integers(0, DECLARED.count("=") - 1), told)
def test_any_value_of_the_projects_file_is_told_or_taken(number, value):
    lines = DECLARED.split("\n")
    (at,) = [[i for i, line in enumerate(lines) if "=" in line and line[0].isalpha()]]
    lines[at[number % len(at)]] = f"{lines[at[number % len(at)]].split(' = ')[0]} = {value}"
    with contextlib.suppress(UserError):
        parse("\n".join(lines))


@pytest.mark.parametrize(
    "more", ["[measured]\n[measured]", "a = 1\na = 2", "[measured]\npaths=[]" * 2]
)
def test_what_is_declared_twice_is_refused(more):
    with pytest.raises(UserError, match="must be TOML"):
        parse(more)


# ---------------------------------------------------------------- what packages register

BROKEN = {
    "raise OSError('no such device')": "OSError: no such device",
    "raise SystemExit(0)": "SystemExit: 0",
    "import sys; sys.exit('bye')": "SystemExit: bye",
    "from missing_module import Mine": "missing_module",
    "Mine = 3": "",
    "x = (": "SyntaxError",
}


def register(folder, monkeypatch, text, group):
    (folder / "mine_of_a_user.py").write_text(text)
    info = folder / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{group}]\nmine = mine_of_a_user:Mine\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "mine_of_a_user", raising=False)


@pytest.mark.parametrize("text", BROKEN)
def test_a_contender_that_is_broken_is_named(text, tmp_path, monkeypatch):
    register(tmp_path, monkeypatch, text, "hbitmap_bench.contenders")
    with pytest.raises(UserError) as error:
        find_contenders(["mine"], print)
    assert "mine" in str(error.value)
    assert BROKEN[text] in str(error.value)


@pytest.mark.parametrize("text", [*BROKEN, "Mine = str"])
def test_a_part_of_the_front_page_that_is_broken_is_named(text, tmp_path, monkeypatch):
    register(tmp_path, monkeypatch, text, front_part.GROUP)
    with pytest.raises(UserError, match=r"mine_of_a_user:Mine.*: mend its package, or uninstall"):
        front_part.added_part(tmp_path)


def test_a_part_may_say_what_a_user_can_mend(tmp_path, monkeypatch):
    text = "from hbitmap_bench.base.errors import UserError\ndef Mine(repo): raise UserError('so')"
    register(tmp_path, monkeypatch, text, front_part.GROUP)
    with pytest.raises(UserError, match="^so$"):
        front_part.added_part(tmp_path)


def test_entry_points_that_are_no_file_of_theirs_are_told(tmp_path, monkeypatch):
    register(tmp_path, monkeypatch, "", front_part.GROUP)
    (tmp_path / "mine-1.dist-info" / "entry_points.txt").write_text(
        f"[{front_part.GROUP}]\nno equals sign\n"
    )
    with pytest.raises(UserError, match="entry points of installed packages must be readable"):
        front_part.added_part(tmp_path)
