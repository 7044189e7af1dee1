"""The command on real QEMU, as a user runs it; the scratch fixture sees what it leaves behind."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

LIMIT_S = 60
"""When a test gives up. What it waits for takes a fraction of a second."""

COMMAND = [
    str(Path(sys.executable).with_name("hbitmap-bench")),
    *["reproduce", "--size", "64G", "--l2-slice", "4K", "--qemu-size", "64G"],
]


def test_real_rows_stand_beside_the_models(build, qemu_img, tmp_path):
    done = subprocess.run(COMMAND, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "of disk needed" in done.stderr
    assert "making" in done.stderr
    document = json.loads((tmp_path / "hbitmap-bench-report" / "reproduction.json").read_text())
    rows = [row for row in document["cells"] if row["source"] == "qemu"]
    assert [row["setup"] for row in rows] in (["plain", "access"], ["plain", "deny"])
    assert {row["build"] for row in rows} == {build.label}
    assert min(len(row["runs"]) for row in rows) >= 3, "more where the host is busy"
    assert {row["mode"] for row in rows} == {"measured"}
    in_turn = {len(row["runs"]) for row in document["cells"] if row["source"] == "model"}
    assert in_turn == {sum(len(row["runs"]) for row in rows)}


def test_a_build_that_no_image_is_small_enough_for_is_refused(build, tmp_path):
    done = subprocess.run(
        [*COMMAND, "--qemu", f"{build.path}@1G"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "up to 1G, and no image is that small" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_twice_leaves_no_daemon_and_no_image(build, qemu_img, tmp_path):
    process = subprocess.Popen(COMMAND, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("run 1"):
            break
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)  # what a shell calls 130 too
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def start_until(line, folder):
    """The command, once it says that it does this."""
    process = subprocess.Popen(COMMAND, cwd=folder, stderr=subprocess.PIPE, text=True)
    while not process.stderr.readline().startswith(line):
        assert process.poll() is None
    return process


def test_kill_leaves_no_daemon_and_the_next_run_finds_the_folders(
    build, qemu_img, tmp_path, scratch, processes_naming
):
    process = start_until("run 1", tmp_path)
    while not (daemons := processes_naming(scratch)):  # one is about to start
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert psutil.wait_procs(daemons, LIMIT_S)[1] == []
    assert list(scratch.iterdir()) != []
    subprocess.run([COMMAND[0], "--version"], check=True, capture_output=True)
    assert list(scratch.iterdir()) == []


def test_a_run_that_is_alive_is_left_alone_by_others(build, qemu_img, tmp_path):
    process = start_until("run 1", tmp_path)
    subprocess.run([COMMAND[0], "--version"], check=True, capture_output=True)
    _, errors = process.communicate()
    assert process.returncode == 0, errors


def test_ctrl_c_at_the_probe_of_a_build_is_no_error(build, qemu_img, run_python, tmp_path):
    """Its nodes can't be removed then: the filter over them was added and is not known of."""
    program = run_python(f"""
import signal, sys
from hbitmap_bench import cli
from hbitmap_bench.qemu.daemon import Daemon

execute = Daemon.execute

def pressed(self, command, **arguments):
    answer = execute(self, command, **arguments)
    if arguments.get("driver") == "copy-before-write":
        signal.raise_signal(signal.SIGINT)
    return answer

Daemon.execute = pressed
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv[1:] = [*{COMMAND[1:]!r}, "--out", {str(tmp_path / "out")!r}]
cli.main()
""")
    assert program.wait(LIMIT_S) == 130


def test_releases_stand_side_by_side_and_two_rounds_judge_nothing(build, qemu_img, tmp_path):
    command = [COMMAND[0], "releases", f"old={build.path}", f"new={build.path}"]
    command += ["--size", "64G", "--rounds", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Not judged, with fewer than 6 undisturbed rounds" in " ".join(done.stdout.split())
    folder = tmp_path / "hbitmap-bench-report"
    assert {path.name for path in folder.iterdir()} == {"releases.md", "releases.json"}
    again = "    hbitmap-bench releases old=PATH new=PATH --size 64G --rounds 2\n"
    assert again in (folder / "releases.md").read_text()
    rows = json.loads((folder / "releases.json").read_text())["cells"]
    assert [row["build"] for row in rows] == ["old", "old", "new", "new"]
    assert min(len(row["runs"]) for row in rows) >= 2


@pytest.mark.parametrize("others", [[], ["old={}"]])
def test_releases_need_two_builds_of_different_names(build, tmp_path, others):
    builds = [text.format(build.path) for text in ["old={}", *others]]
    done = subprocess.run(
        [COMMAND[0], "releases", *builds], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert ("label of its own" if others else "name two or more") in done.stderr
    assert list(tmp_path.iterdir()) == []
