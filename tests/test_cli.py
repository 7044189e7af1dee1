"""The command as a user runs it: a process of its own, its output, its files, its exit code."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hbitmap_bench.reproduction.commands import reproduce

ROOT = Path(__file__).parent.parent
COMMAND = [str(Path(sys.executable).with_name("hbitmap-bench"))]
SMALL = ["reproduce", "--no-qemu", "--size", "64G", "--size", "128G", "--l2-slice", "4K"]


def run(*arguments, cwd, **kwargs):
    return subprocess.run(
        COMMAND + list(arguments), cwd=cwd, capture_output=True, text=True, check=False, **kwargs
    )


def test_reproduce_prints_tables_and_writes_the_report(tmp_path):
    done = run(*SMALL, "--json", "copy.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cbw + snap" in done.stdout
    assert "325" in done.stdout
    report = tmp_path / "hbitmap-bench-report"
    page = (report / "reproduction.md").read_text()
    assert "model (sampled)" in page
    again = "reproduce --size 64G --size 128G --copy-cluster-size 64K --l2-slice 4K --seed 1"
    assert f"\n    hbitmap-bench {again} --no-qemu\n" in page
    assert (report / "reproduction-words.png").stat().st_size > 10_000
    document = json.loads((tmp_path / "copy.json").read_text())
    assert document == json.loads((report / "reproduction.json").read_text())
    rows = [row for row in document["cells"] if row["source"] == "model"]
    assert {row["image_bytes"] for row in rows} == {2**36, 2**37}
    assert {row["setup"] for row in rows} == {"plain", "access", "deny"}
    assert [path for path in report.iterdir() if path.name.startswith(".")] == []


def test_the_default_folder_is_ignored_by_git():
    option = next(o for o in reproduce.params if o.name == "out_dir")
    asked = ["git", "-C", ROOT, "check-ignore", f"{option.default}/reproduction.md"]
    assert subprocess.run(asked, capture_output=True, check=False).returncode == 0


def test_exact_rows_are_labelled_exact(tmp_path):
    done = run(*SMALL, "--exact", "--out", "here", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "here" / "reproduction.json").read_text())
    modes = {row["mode"] for row in document["cells"] if row["source"] == "model"}
    assert modes == {"exact"}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["reproduce", "--size", "10X"], "try 10T"),
        (["reproduce", "--exact", "--no-qemu"], "--exact --size 10T"),
        (["reproduce", "--no-qemu", "--qemu", "qsd"], "give one of the two"),
        (["reproduce", "--cluster-size", "100K", "--no-qemu"], "power of two"),
        (["reproduce", "--qemu", "/no/such/daemon", "--size", "1G"], "name the path of a qemu-"),
        (["reproduce", "--nothing"], "--nothing"),
        (["reproduce", "--size", "1G", "--no-qemu", "--out", "file"], "--out"),
        (["reproduce", "--size", "1G", "--no-qemu", "--json", "no/such/folder/a"], "name another"),
        (["reproduce", "--size", "16T", "--cluster-size", "4K"], "take larger clusters"),
        (["reproduce", "--qemu", "/bin/false"], "name the path of"),
        (["releases"], "LABEL=PATH"),
        (["releases", "a=/bin/false", "b=/bin/false"], "name the path of"),
        (["reproduce", "--no-qemu", "--qemu-size", "64G"], "--qemu-size is about builds"),
        (["reproduce", "--budget", "nan"], "seconds are a number, not nan"),
        (["diagnose", "--pid", "1", "--seconds", "nan"], "seconds are a number, not nan"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(arguments, line, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    message = done.stderr.splitlines()[-1]
    assert line in message
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_behind(number, tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "reproduce", "--no-qemu", "--exact", "--size", "64T"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stderr.readline() == "in process, exact\n"  # it would run for hours
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == "hbitmap-bench: interrupted"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", ["1", "1000001", "65537"])
def test_any_size_is_measured(size, tmp_path):
    done = run("reproduce", "--no-qemu", "--size", size, "--exact", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_has_seen_enough_costs_no_report(tmp_path):
    command = f"{COMMAND[0]} {' '.join(SMALL)} | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert (tmp_path / "hbitmap-bench-report" / "reproduction.md").exists()


def test_help_teaches(tmp_path):
    done = run("reproduce", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "Examples:" in done.stdout
    assert "--qemu patched=" in done.stdout
