"""The daemon: private while it runs, gone on every way out, and errors in one line."""

import asyncio
import os
import signal
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.qemu.builds import QemuBuild, find_qemu_img, parse_build, run_tool, version
from hbitmap_bench.qemu.daemon import Daemon, DaemonDied, QmpError


def test_daemon_is_private_and_ends(build, scratch):
    with Daemon(build) as daemon:
        assert daemon.execute("query-jobs") == []
        (directory,) = scratch.iterdir()
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert (directory / "qmp").is_socket()
    assert not psutil.pid_exists(daemon.pid)
    assert not directory.exists()


def test_refused_command_says_why_and_leaves_the_daemon(build):
    with Daemon(build) as daemon:
        with pytest.raises(QmpError, match="refused blockdev-del: .*nothing") as caught:
            daemon.execute("blockdev-del", node_name="nothing")
        assert "\n" not in str(caught.value)
        assert daemon.execute("query-named-block-nodes") == []


def test_exception_inside_ends_the_daemon(build):
    with pytest.raises(ZeroDivisionError), Daemon(build) as daemon:
        _ = 1 // 0
    assert not psutil.pid_exists(daemon.pid)


def test_daemon_that_is_killed(build):
    with Daemon(build) as daemon:
        os.kill(daemon.pid, signal.SIGKILL)
        with pytest.raises(DaemonDied, match="during query-jobs, killed by SIGKILL$"):
            daemon.execute("query-jobs")


def test_daemon_that_is_killed_in_mid_sentence(build, monkeypatch):
    feed = asyncio.StreamReader.feed_data

    def cut_short(reader, data):
        os.kill(daemon.pid, signal.SIGKILL)
        feed(reader, data[: len(data) // 2])

    with Daemon(build) as daemon:
        monkeypatch.setattr(asyncio.StreamReader, "feed_data", cut_short)
        with pytest.raises(DaemonDied, match="during query-version, killed by SIGKILL$"):
            daemon.execute("query-version")


def test_daemon_that_dies_while_it_quits(build):
    with Daemon(build) as daemon:
        os.kill(daemon.pid, signal.SIGKILL)
    assert not psutil.pid_exists(daemon.pid)


def test_daemon_that_does_not_start_tells_its_own_words(tmp_path):
    with pytest.raises(DaemonDied, match="at its start, exit code 3: no such option"):
        Daemon(_script(tmp_path, "echo no such option >&2; exit 3")).__enter__()


@pytest.mark.parametrize("program", ["", "qemu-storage-daemon: "])
def test_warning_is_no_cause_of_death(tmp_path, program):
    """Nor does it hide the words before it."""
    commands = f"echo out of memory >&2; echo '{program}warning: no block size' >&2; exit 3"
    with pytest.raises(DaemonDied, match="exit code 3: out of memory$"):
        Daemon(_script(tmp_path, commands)).__enter__()


def test_program_that_cannot_be_run(tmp_path):
    build = QemuBuild("x", tmp_path / "missing", "1")
    with pytest.raises(UserError, match="can't be run: No such file"):
        Daemon(build).__enter__()


def test_program_that_never_answers(tmp_path, monkeypatch):
    monkeypatch.setattr("hbitmap_bench.qemu.daemon._START_TIMEOUT_S", 0.2)
    with pytest.raises(UserError, match="has not answered on its QMP socket"):
        Daemon(_script(tmp_path, "exec sleep 1000")).__enter__()


def test_child_of_a_script_that_hangs_is_killed_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr("hbitmap_bench.qemu.daemon._START_TIMEOUT_S", 2)
    with pytest.raises(UserError, match="has not answered"):
        Daemon(_hanging_script(tmp_path)).__enter__()
    _await_end_of_child(tmp_path)


def test_child_of_a_tool_that_hangs_is_killed_with_it(tmp_path):
    with pytest.raises(UserError, match="has not ended for 2 s"):
        run_tool([_hanging_script(tmp_path).path], timeout_s=2)
    _await_end_of_child(tmp_path)


def test_child_of_a_script_that_ends_is_killed_too(tmp_path):
    with pytest.raises(DaemonDied, match="exit code 3"):
        Daemon(_hanging_script(tmp_path, "exit 3")).__enter__()
    _await_end_of_child(tmp_path)


def test_path_too_long_for_a_socket(build, scratch, monkeypatch):
    long = scratch / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(UserError, match="at most 107 bytes.*TMPDIR"):
        Daemon(build).__enter__()
    long.rmdir()


def test_path_with_a_comma(build, scratch, monkeypatch):
    odd = scratch / "a,b=c"
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    with Daemon(build) as daemon:
        assert daemon.execute("query-jobs") == []
    odd.rmdir()


@pytest.mark.parametrize(
    ("number", "presses", "background"),
    [
        (signal.SIGINT, 1, False),
        (signal.SIGINT, 100, False),
        (signal.SIGTERM, 1, False),
        (signal.SIGHUP, 1, False),
        (signal.SIGTERM, 1, True),  # a shell ignores SIGINT for what it starts in the background
    ],
)
@pytest.mark.parametrize("busy", [True, False], ids=["in a command", "between commands"])
def test_interrupt_leaves_nothing(
    build, run_python, processes_naming, scratch, number, presses, background, busy
):
    action = "daemon.execute('query-version')" if busy else "time.sleep(0.001)"
    program = run_python(f"""
import signal, time
from contextlib import suppress
from pathlib import Path
from hbitmap_bench.qemu.builds import QemuBuild
from hbitmap_bench.qemu.daemon import Daemon
if {background}:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
with Daemon(QemuBuild("x", Path({str(build.path)!r}), "1")) as daemon:
    Path({str(scratch)!r}, "ready").touch()
    while True:
        {action}
""")
    while not (scratch / "ready").exists():
        assert program.poll() is None
        time.sleep(0.01)
    while not (found := processes_naming(scratch)):  # a look may just miss a process
        assert program.poll() is None
    assert len(found) == 1
    for _ in range(presses):
        with suppress(psutil.NoSuchProcess):  # it has ended by now
            program.send_signal(number)
        time.sleep(0.001)
    assert program.wait(60) != 0
    (scratch / "ready").unlink()
    # The fixture looks for everything else.


def test_signals_are_put_back(build):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with Daemon(build) as daemon:
        daemon.execute("query-jobs")
    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert after == before


def test_build_is_named_after_its_version(build):
    assert build.label == build.version == version(build.path)
    assert parse_build(f"mine={build.path}") == QemuBuild("mine", build.path, build.version)
    limited = QemuBuild("mine", build.path, build.version, 4 * 2**40)
    assert parse_build(f"mine={build.path}@4T") == limited


def test_path_with_an_equals_sign(build, tmp_path):
    link = tmp_path / "a=b"
    link.symlink_to(build.path)
    assert parse_build(str(link)) == QemuBuild(build.version, link, build.version)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/nowhere/daemon", "no program that can be run"),
        ("=daemon", r"\[LABEL=\]PATH"),
        ("label=", r"\[LABEL=\]PATH"),
        ("", r"\[LABEL=\]PATH\[@SIZE\], not ''"),
        ("a=/bin/true@", r"\[LABEL=\]PATH\[@SIZE\]"),
        ("/bin/true", "names no qemu-storage-daemon"),
        ("/bin/false", "failed: exit code 1: name the path of a qemu-storage-daemon"),
    ],
)
def test_what_is_no_build(text, reason):
    with pytest.raises(UserError, match=reason):
        parse_build(text)


def test_qemu_img_beside_the_daemon_comes_first(tmp_path, qemu_img):
    beside = tmp_path / "qemu-img"
    beside.symlink_to("/bin/true")
    assert find_qemu_img(tmp_path / "qemu-storage-daemon") == beside
    beside.unlink()
    assert find_qemu_img(tmp_path / "qemu-storage-daemon") == qemu_img


def test_no_qemu_img_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="install qemu-utils"):
        find_qemu_img(Path("/nowhere/qemu-storage-daemon"))


def _script(directory, commands):
    path = directory / "daemon"
    path.write_text(f"#!/bin/sh\n{commands}\n")
    path.chmod(0o755)
    return QemuBuild("script", path, "1")


def _hanging_script(directory, end="wait"):
    return _script(directory, f"sleep 1000 & echo $! > {directory}/child; {end}")


def _await_end_of_child(directory):
    """It is killed by now, and gone once the kernel has come to it."""
    pid = int((directory / "child").read_text())
    for _ in range(1000):
        if not _runs(pid):
            return
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the script's child lives on")


def _runs(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
