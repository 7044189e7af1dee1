"""Where results go: no command measures for a place that refuses, and no result is dropped."""

import json
import os
import resource
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import pytest
from synthetic_gate import steady, write_run
from test_cli import COMMAND, ROOT, SMALL, run

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import check_folder, check_output, deliver, write_text
from hbitmap_bench.commits.gate.judge import judge
from hbitmap_bench.commits.gate.measure import _finish
from hbitmap_bench.commits.gate.runs import load_run
from hbitmap_bench.reproduction import main
from hbitmap_bench.reproduction.records import Reproduction

CELL = ("buildup.BuildUp.time_queries", ("deny", 16, 64))
NOWHERE = Path("/proc/nope")
"""Looks writable to root, and is not."""


@pytest.fixture
def rescue(tmp_path, monkeypatch):
    """TMPDIR, a folder of its own."""
    folder = tmp_path / "rescue"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def only(folder):
    """The one result that was rescued there."""
    (kept,) = folder.glob("hbitmap-result-*/*")
    return kept


@pytest.mark.parametrize(
    "path", [NOWHERE, Path("none/r.json"), Path(), Path("/dev/null"), Path("n" * 300)]
)
def test_a_file_that_could_not_be_written_is_refused(path):
    with pytest.raises(UserError, match="output "):
        check_output(path)


def test_a_pipe_is_refused():
    reading, writing = os.pipe()
    with pytest.raises(UserError, match="regular file"):
        check_output(Path(f"/dev/fd/{writing}"))
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("name", ["file", "file/below", "n" * 300])
def test_a_folder_that_could_not_be_made_is_refused(name, tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / name, NOWHERE):
        with pytest.raises(UserError, match="needs a folder"):
            check_folder(place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_check_leaves_nothing(tmp_path):
    (tmp_path / "old").mkdir()
    check_output(tmp_path / "old" / "r.json")
    check_output(None)
    check_folder(tmp_path / "old")
    check_folder(tmp_path / "a" / "b" / "c")
    assert list(tmp_path.rglob("*")) == [tmp_path / "old"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["reproduce", "--no-qemu", "--out", NOWHERE],
        ["reproduce", "--no-qemu", "--json", NOWHERE],
        ["predict", "--size", "1T", "--json", NOWHERE],
        ["profile", "--no-qemu", "--figure", NOWHERE],
        ["profile", "--no-qemu", "--json", NOWHERE],
        ["diagnose", "--pid", os.getpid(), "--json", NOWHERE],
        ["compare", "a.json", "b.json", "--json", NOWHERE],
        ["trend", "--json", NOWHERE],
        ["publish", "--html", NOWHERE / "html"],
        ["gate", "--output", NOWHERE],
        ["judge", ".", "--output", NOWHERE],
    ],
)
def test_every_command_looks_where_it_will_write_before_it_works(arguments):
    done = run(*map(str, arguments), cwd=ROOT)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert str(NOWHERE) in line
    assert "name another" in line


def full_disk(limit):
    """No file of the child may outgrow the limit: writes fail as they do where a disk is full.

    It must compile nothing: Python keeps bytecode that was cut short, and then fails on it.
    """
    return partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))


@pytest.fixture
def no_bytecode(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")


def test_a_full_disk_is_seen_before_anything_is_measured(tmp_path, no_bytecode):
    done = run(*SMALL, cwd=tmp_path, preexec_fn=full_disk(1024))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "File too large" in line
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_in_the_end_costs_no_result(tmp_path, rescue, no_bytecode):
    done = run(*SMALL, "--json", "copy.json", cwd=tmp_path, preexec_fn=full_disk(8192))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    told = done.stderr.splitlines()[-1]
    assert told.count("the result is on stdout") == 2
    document, end = json.JSONDecoder().raw_decode(done.stdout)
    assert {row["source"] for row in document["cells"]} == {"published", "model"}
    assert "cbw + snap" in done.stdout[end:], "the tables stand below"
    assert list(rescue.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} <= {"rescue", "hbitmap-bench-report"}


def test_a_report_whose_folder_is_gone_is_in_tmpdir(tmp_path, rescue, monkeypatch, capsys):
    measured = main.measure_model

    def measure(plan, console, besides):
        rows = measured(plan, console, besides)
        (tmp_path / "out").write_text("in the way")
        return rows

    monkeypatch.setattr(main, "measure_model", measure)
    plan = main.ModelPlan(sizes=[2**36])
    with pytest.raises(UserError) as refused:
        main.reproduce(plan, None, out_dir=tmp_path / "out", json_path=tmp_path / "r.json")
    kept = only(rescue)
    assert str(refused.value).endswith(f"the result is in {kept}")
    assert Reproduction.load(kept / "reproduction.json") == Reproduction.load(tmp_path / "r.json")
    assert (kept / "reproduction.md").exists()
    shown = capsys.readouterr()
    assert "cbw + snap" in shown.out
    assert f"written: {tmp_path / 'r.json'}" in shown.err
    assert f"written: {tmp_path / 'out'}" not in shown.err


@pytest.mark.parametrize("gone", [False, True])
def test_the_current_folder_is_next(gone, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    monkeypatch.chdir(tmp_path)
    shown = []
    with pytest.raises(UserError, match=r"a\.json"):
        deliver([(Path("/proc/a.json"), write_text(lambda: "7"))], lambda: shown.append(1), str)
    assert only(tmp_path).read_text() == "7"
    assert shown == [1]


@pytest.mark.parametrize("more", [["--json", "-"], []])
def test_what_a_full_disk_behind_stdout_refuses_is_in_tmpdir(more, committed, tmp_path, rescue):
    text = (committed / "reports" / "reproduction.json").read_text()
    (tmp_path / "a.json").write_text(text)
    (tmp_path / "b.json").write_text(text.replace('"commit": "', '"commit": "f', 1))
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "compare", "a.json", "b.json", *more],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    kept = only(rescue)
    assert done.stderr == (
        "hbitmap-bench: stdout refuses (No space left on device); "
        f"the result is in {kept}\n"
    )  # fmt: skip
    assert json.loads(kept.read_text())["pairs"]


def test_a_run_of_the_gate_that_has_no_place_can_be_judged(tmp_path, rescue):
    unfinished = write_run(tmp_path / "unfinished", {CELL: steady(0.01, n=5)})
    manifest = load_run(unfinished).manifest
    with pytest.raises(UserError, match="the result is in "):
        _finish(unfinished, tmp_path / "gone" / "run", manifest)
    assert judge(load_run(only(rescue))) == judge(load_run(unfinished))
