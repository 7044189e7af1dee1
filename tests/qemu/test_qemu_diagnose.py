"""Diagnoses of a real daemon: stuck in the scan, and standing still for other reasons."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.field.diagnose import main as command
from hbitmap_bench.field.diagnose import process
from hbitmap_bench.field.diagnose.diagnosis import BUSY, diagnose
from hbitmap_bench.field.diagnose.main import observe
from hbitmap_bench.field.diagnose.peek import QUESTIONS, NoAnswerError, Peek
from hbitmap_bench.qemu.blueprint import Blueprint
from hbitmap_bench.qemu.builds import QemuBuild
from hbitmap_bench.qemu.buildup import start_backup, wait_for_build_up
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.graph import BACKUP_TARGET, add_disk, add_filters, add_null_disk
from hbitmap_bench.qemu.overwritten import add_overwritable, overwrite

COMMAND = str(Path(sys.executable).with_name("hbitmap-bench"))
G, T = 2**30, 2**40
SLICE = 512
"""The smallest: eight times the questions, so that a small image stands still for long."""

WATCH_S = 1.2
SAMPLES = 40
"""Fewer, of a process that is hardly served, do not tell a half from a tenth."""

perf = shutil.which("perf")


@pytest.fixture
def sockets(tmp_path):
    """A socket that is free, and the log of what is asked over any."""
    return tmp_path / "free", tmp_path / "log"


@pytest.fixture
def program(request, build, tmp_path):
    """How the daemon is started: by itself, through its loader, or under another name."""
    how = getattr(request, "param", "itself")
    if how == "loader":
        loader = re.search(rb"/lib[\w/.-]*/ld-[\w.-]+", build.path.read_bytes())[0].decode()
        return f"{loader} {build.path}"
    if how == "renamed":
        return str(shutil.copy2(build.path, tmp_path / ".wrapped"))
    return str(build.path)


@pytest.fixture
def operated(build, program, tmp_path, sockets):
    """A daemon with a second QMP socket, as an operator would have it; it logs every command."""
    free, log = sockets
    script = tmp_path / "qemu-storage-daemon"
    script.write_text(
        f"#!/bin/sh\nexec {program} -T handle_qmp_command --chardev "
        f'socket,id=free,path={free},server=on,wait=off --monitor chardev=free "$@" 2>{log}\n'
    )
    script.chmod(0o755)
    with Daemon(QemuBuild("operated", script, build.version)) as running:
        yield running


@pytest.fixture
def slow(operated, tmp_path):
    """A function that lets a job run on, which has stood at 0 till then: its disk is slow."""
    path, size = tmp_path / "disk", 64 * G
    Blueprint(image_bytes=size).write(path)
    limits = {"iops-total": 20}
    operated.execute("object-add", qom_type="throttle-group", id="slow", limits=limits)
    file = {"driver": "file", "filename": str(path), "read-only": True}
    throttled = {"driver": "throttle", "throttle-group": "slow", "file": file}
    operated.execute(
        "blockdev-add", driver="qcow2", node_name="disk", read_only=True,
        l2_cache_entry_size=SLICE, file=throttled,
    )  # fmt: skip
    source = add_filters(operated, size)
    start_backup(operated, source, add_null_disk(operated, BACKUP_TARGET, size))

    def speed_up():
        none = {"iops-total": 0}
        operated.execute("qom-set", path="/objects/slow", property="limits", value=none)

    return speed_up


def stick(daemon, image, *, filtered=True):
    """Start a job that stands at 0 for many seconds."""
    add_disk(daemon, image, SLICE)
    source = add_filters(daemon, image.image_bytes) if filtered else "disk"
    start_backup(daemon, source, add_null_disk(daemon, BACKUP_TARGET, image.image_bytes))


@contextmanager
def passed_on(free, path):
    """A process that listens, and passes all on to a QMP socket, as socat or ssh would."""
    source = (
        "import socket, sys, threading\n"
        "def copy(a, b):\n"
        "    while part := a.recv(4096): b.sendall(part)\n"
        "s, b = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)\n"
        "s.bind(sys.argv[2]); s.listen(); print(flush=True)\n"
        "a = s.accept()[0]; b.connect(sys.argv[1])\n"
        "threading.Thread(target=copy, args=(a, b), daemon=True).start(); copy(b, a)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", source, str(free), str(path)], stdout=subprocess.PIPE
    ) as passing:
        passing.stdout.readline()
        try:
            yield
        finally:
            passing.kill()


def metrics(path):
    """By name, as both parsers read the file: OpenMetrics', and the older one of node_exporter."""
    text = path.read_text()
    readings = [
        {
            sample.name.removeprefix("hbitmap_bench_"): (sample.value, sample.labels)
            for family in parse(text)
            for sample in family.samples
        }
        for parse in (openmetrics.text_string_to_metric_families, text_string_to_metric_families)
    ]
    assert readings[0] == readings[1]
    return readings[0]


def asked(log):
    return re.findall(r'"execute": ?"([\w-]+)"', log.read_text())


def test_a_job_that_is_stuck_in_the_scan_is_recognised(operated, sockets, image_1t):
    stick(operated, image_1t)
    free, log = sockets
    before, prom = len(asked(log)), free.with_name("metrics.prom")
    done = subprocess.run(
        [COMMAND, "diagnose", "--qmp", str(free), "--seconds", "1.5", "--metrics", str(prom)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = {line[:11].strip(): line[11:] for line in done.stdout.splitlines()}
    assert "0 of 1,099,511,627,776 bytes done" in told["job"]
    assert "snapshot (snapshot-access) > cbw (copy-before-write) > disk (qcow2" in told["reads"]
    assert told["algorithm"].startswith("access bitmap")
    assert told["diagnosis"].startswith("access-scan")
    assert "of 1.000 TiB" in told["position"]
    assert "between" in told["time left"]
    assert "l2-cache-entry-size=64K" in done.stdout
    if perf is not None and "hbitmap_next_zero" not in told["process"]:
        assert "perf" in told["not known"]  # not permitted here
    told_machines = metrics(prom)
    assert 0 < told_machines["build_up_progress_ratio"][0] < 1
    assert told_machines["build_up_left_low_seconds"][0] < math.inf
    assert told_machines["diagnosis"][1]["kind"] == "access-scan"
    asked_by_us = set(asked(log)[before:]) - {"qmp_capabilities"}
    assert asked_by_us == QUESTIONS  # and the daemon ran nothing else for us


def test_the_socket_of_a_process_is_found(operated, image_1t):
    stick(operated, image_1t)
    assert [path.name for path in process.qmp_sockets(operated.pid)] == ["free", "qmp"]
    facts = observe(None, operated.pid, WATCH_S)
    assert diagnose(facts).kind == "access-scan"
    assert facts.window.moved.offset > 0
    left = diagnose(facts).left
    assert 0 <= left.interval[0] <= left.seconds <= left.interval[1]


def jobs_once_free(path):
    """Its jobs, when it has seen its last client go: while it builds up, that may take seconds."""
    for _ in range(20):
        with suppress(NoAnswerError), Peek(path) as peek:
            return peek.ask("query-jobs")
    raise AssertionError(f"{path} is still held")


def test_a_socket_that_another_client_holds_is_told_at_once(operated, sockets, image_1t):
    """Of a daemon that is busy, too, and where no more may wait."""
    stick(operated, image_1t)
    with Peek(sockets[0]):
        done = subprocess.run(
            [COMMAND, "diagnose", "--qmp", str(sockets[0]), "--seconds", "1"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        held, watching = done.stderr.splitlines()
        assert watching == "watching for 1 s"
        assert "has another client (such as libvirt" in held
        assert "--libvirt DOMAIN" in held
        assert held in done.stdout
        for _ in range(2):  # more than QEMU lets wait, since it has not seen the first one go
            with pytest.raises(NoAnswerError, match="has another client"), Peek(sockets[0]):
                pass
    assert jobs_once_free(sockets[0])


def test_where_qemu_does_not_answer_the_process_behind_the_socket_is_looked_at(
    operated, sockets, image_1t, monkeypatch
):
    stick(operated, image_1t)
    monkeypatch.setattr(command, "Peek", lambda path: Peek(path, 0.5))
    with Peek(sockets[0]):
        facts = observe(sockets[0], None, WATCH_S)
    assert facts.view is None
    assert facts.window.busy_share > BUSY
    assert "no greeting" in facts.notes[0]
    found = diagnose(facts)
    if facts.window.scan_share is None:  # perf is missing, or not permitted here
        assert found.kind == "unknown"
    else:
        assert found.kind == "access-scan"
        assert found.reason.startswith("likely")
        assert found.remedies


@pytest.mark.parametrize("program", ["loader", "renamed"], indirect=True)
def test_who_greets_as_qemu_is_one_whatever_its_program_is_called(operated, sockets, image_1t):
    assert not process.program(operated.pid).startswith("qemu")
    stick(operated, image_1t)
    for named in (None, operated.pid):
        facts = observe(sockets[0], named, WATCH_S)
        assert facts.window.moved.offset > 0
        assert not any("process" in note for note in facts.notes)
        assert diagnose(facts).kind == "access-scan"


def test_who_only_passes_on_is_not_taken_for_the_qemu(operated, sockets, image_1t, tmp_path):
    stick(operated, image_1t)
    with passed_on(sockets[0], tmp_path / "passed"):
        facts = observe(tmp_path / "passed", None, WATCH_S)
    assert facts.window is None
    assert facts.job.done == 0
    assert any("who answers is no QEMU" in note for note in facts.notes)


def test_a_plain_build_up_is_told_apart(operated, sockets, image_1t):
    stick(operated, image_1t, filtered=False)
    facts = observe(sockets[0], None, WATCH_S)
    found = diagnose(facts)
    assert found.kind == "no-filter"
    assert found.remedies == ()
    # Without the filters nothing is asked of the file: its position stands.
    assert (found.left.offset, found.left.words_s) == (None, None)


def test_the_scan_of_a_done_bitmap_is_told_apart(operated, sockets, tmp_path):
    """The guest has overwritten all of the disk: each question scans both bitmaps to their end."""
    disk, fleecing, size = tmp_path / "disk", tmp_path / "fleecing", T // 2
    Blueprint(image_bytes=size, pattern=None).write(disk)
    Blueprint(image_bytes=size).write(fleecing)
    source = add_overwritable(operated, size, disk, fleecing, 4 * SLICE)
    overwrite(operated, ((offset, G) for offset in range(0, size, G)))
    start_backup(operated, source, add_null_disk(operated, BACKUP_TARGET, size))
    facts = observe(sockets[0], None, WATCH_S)
    found = diagnose(facts)
    assert facts.view.done_part == 1
    assert [node.driver for node in facts.view.fleecing] == ["qcow2", "file"]
    assert facts.view.fleecing[1].file == fleecing
    assert found.kind == "both-scans"
    if facts.window.done_share is not None and facts.window.scanning[0] >= SAMPLES:
        assert diagnose(replace(facts, view=None)).kind == "both-scans"


def test_a_build_up_whose_disk_is_slow_is_told_apart(operated, sockets, image_1t):
    limits = {"iops-total": 20}
    operated.execute("object-add", qom_type="throttle-group", id="slow", limits=limits)
    file = {"driver": "file", "filename": str(image_1t.path), "read-only": True}
    operated.execute(
        "blockdev-add", driver="qcow2", node_name="disk", read_only=True,
        file={"driver": "throttle", "throttle-group": "slow", "file": file},
    )  # fmt: skip
    source = add_filters(operated, T)
    start_backup(operated, source, add_null_disk(operated, BACKUP_TARGET, T))
    found = diagnose(observe(sockets[0], None, 2.0))
    assert found.kind in ("waiting", "build-up")
    assert "processor" in found.reason


def test_jobs_that_are_past_their_build_up_are_told_apart(operated, sockets):
    def kind():
        return diagnose(observe(sockets[0], None, 1.0)).kind

    assert kind() == "no-job"
    source, target = (add_null_disk(operated, name, G) for name in ("disk", BACKUP_TARGET))
    start_backup(operated, source, target)
    wait_for_build_up(operated, 0.0)
    assert kind() == "throttled"
    operated.execute("job-pause", id="backup")
    assert kind() == "paused"
    operated.execute("job-resume", id="backup")
    operated.execute("block-job-set-speed", device="backup", speed=0)
    while operated.execute("query-jobs")[0]["status"] != "concluded":
        pass
    assert kind() == "concluded"


def test_a_qemu_that_ends_meanwhile_is_told(operated, sockets, image_1t):
    stick(operated, image_1t)
    timer = threading.Timer(0.7, os.kill, (operated.pid, signal.SIGKILL))
    timer.start()
    facts = observe(sockets[0], operated.pid, WATCH_S)
    timer.join()
    assert diagnose(facts).kind == "concluded"
    assert any("hung up" in note for note in facts.notes)


def test_only_questions_are_asked(operated, sockets):
    with Peek(sockets[0]) as peek:
        assert peek.pid == operated.pid
        assert peek.ask("query-jobs") == []
        for command in ("quit", "job-cancel", "blockdev-del", "stop"):
            with pytest.raises(ValueError, match="may be asked"):
                peek.ask(command)


def test_a_socket_that_is_no_qmp_is_one_line(tmp_path):
    with pytest.raises(UserError, match="can't be connected to"), Peek(tmp_path / "none"):
        pass


def test_a_build_up_is_watched_to_its_end(operated, sockets, slow, tmp_path):
    """A line a sample; metrics that are those of the newest one."""
    path = tmp_path / "metrics.prom"
    command = [COMMAND, "diagnose", "--qmp", str(sockets[0]), "--seconds", "1", "--watch"]
    with subprocess.Popen(
        [*command, "--json", "-", "--metrics", str(path)], stdout=subprocess.PIPE, text=True
    ) as watching:
        seen = [json.loads(watching.stdout.readline()) for _ in range(2)]
        under_way = metrics(path)
        slow()
        others = [json.loads(line) for line in watching.stdout]
    assert watching.returncode == 0
    assert under_way["build_up_running"] == (1, {"qemu": str(sockets[0]), "job": "backup"})
    assert under_way["diagnosis"][1]["kind"] == seen[1]["diagnosis"]
    assert [one["job"]["done"] for one in (*seen, *others[:-1])] == [0] * (len(others) + 1)
    assert others[-1]["job"]["done"] > 0
    over = metrics(path)
    assert over["build_up_running"][0] == over["build_up_left_high_seconds"][0] == 0
    assert over["build_up_progress_ratio"][0] == 1
    assert jobs_once_free(sockets[0]), "the job goes on"


def test_a_watch_on_a_terminal_shows_the_newest_sample_and_ends(operated, sockets, slow):
    slow()
    wait_for_build_up(operated, 0.0)
    ours, theirs = os.openpty()
    command = [COMMAND, "diagnose", "--qmp", str(sockets[0]), "--seconds", "1", "--watch"]
    done = subprocess.run(command, stdout=theirs, env={**os.environ, "TERM": "xterm"}, check=False)
    shown = os.read(ours, 2**16).decode()
    for end in (ours, theirs):
        os.close(end)
    assert done.returncode == 0
    assert "the build-up is over" in shown
    assert shown.index("\x1b[?25l") < shown.index("\x1b[?25h"), "the cursor is shown again"


@pytest.mark.usefixtures("slow")
def test_an_interrupted_watch_leaves_the_job_as_it_was(sockets, tmp_path):
    path = tmp_path / "lines"
    command = [COMMAND, "diagnose", "--qmp", str(sockets[0]), "--seconds", "1", "--watch"]
    with subprocess.Popen(
        [*command, "--json", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        while "diagnosis" not in watching.stdout.readline():
            assert watching.poll() is None
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate()
    assert watching.returncode == 130
    assert errors.splitlines()[-1] == "hbitmap-bench: interrupted"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["job"]["done"] for line in lines} == {0}
    assert jobs_once_free(sockets[0])[0]["status"] == "running"


@pytest.mark.usefixtures("slow")
def test_a_watch_whose_qemu_ends_first_says_so(operated, sockets):
    command = [COMMAND, "diagnose", "--qmp", str(sockets[0]), "--seconds", "1", "--watch"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        watching.stdout.readline()
        os.kill(operated.pid, signal.SIGKILL)
        _, errors = watching.communicate()
    assert watching.returncode == 2
    assert "the watch ended before the build-up: " in errors.splitlines()[-1]
