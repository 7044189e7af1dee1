"""Diagnoses: what follows from what was seen, the time left, what /proc shows of a process."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from perf_permitted import needs_perf
from rich.console import Console

from hbitmap_bench.field.diagnose import process, remaining
from hbitmap_bench.field.diagnose.diagnosis import diagnose
from hbitmap_bench.field.diagnose.diagnosis_json import to_json
from hbitmap_bench.field.diagnose.diagnosis_text import render
from hbitmap_bench.field.diagnose.facts import Facts
from hbitmap_bench.field.diagnose.job import Job, Node, View, look
from hbitmap_bench.field.diagnose.remaining import Motion, motion
from hbitmap_bench.field.diagnose.watch import Window, watch
from hbitmap_bench.qemu.geometry import words_access
from hbitmap_bench.qemu.perf import Samples

GOLDEN = Path(__file__).parent.parent / "golden"
COMMAND = str(Path(sys.executable).with_name("hbitmap-bench"))
K, G, T = 2**10, 2**30, 2**40

JOB = Job(name="backup", kind="backup", status="running", done=0, total=10 * T)


def node(name, driver, **facts):
    known = {
        "size": 10 * T, "file": None, "cluster_bytes": None, "l2_entry_bytes": 8,
        "bit_bytes": 64 * K, "first_count": None,
    }  # fmt: skip
    return Node(name=name, driver=driver, **{**known, **facts})


CHAIN = (
    node("#job", "copy-before-write", first_count=10 * T),
    node("snap", "snapshot-access"),
    node("cbw", "copy-before-write", first_count=10 * T),
    node("disk", "qcow2", cluster_bytes=64 * K),
    node("#file", "file", file=Path("/images/disk.qcow2")),
)


def over(first_count, second_count):
    """The chain with a filter whose bitmaps count so many bytes: access or deny, and done."""
    counts = {"first_count": first_count, "second_count": second_count}
    return (*CHAIN[:2], node("cbw", "copy-before-write", **counts), *CHAIN[3:])


DENY = over(0, 0)
FLEECING = (
    node("fleecing", "qcow2", cluster_bytes=64 * K),
    node("#below", "file", file=Path("/images/fleecing.qcow2")),
)


def window(scans=4500, others=485, of_done=None, **changes):
    """Of the scan's samples, ``of_done`` are called by the done bitmap's status."""
    counts = {("hbitmap_next_zero", "qemu"): scans, ("qcow2_co_block_status", "qemu"): others}
    callers = {} if of_done is None else {
        7: {
            ("hbitmap_next_zero", "hbitmap_status"): of_done,
            ("hbitmap_next_zero", "[unknown]"): scans - of_done,
            ("qcow2_co_block_status", "[unknown]"): others,
        }
    }  # fmt: skip
    seen = {
        "seconds": 5.0, "state": "R", "cpu_share": 1.0, "waited_s": {7: 0.0},
        "moved": Motion(4 * T, 4.05 * T, 20 * G, (19 * G, 21 * G)), "read_speed": 1e6,
        "samples": Samples(counts, with_kernel=True, threads={7: counts}, callers=callers),
    }  # fmt: skip
    return Window(**{**seen, **changes})


def facts(job=JOB, later=None, chain=CHAIN, known=True, fleecing=(), **changes):
    seen = {
        "view": View(() if job is None else (job,), chain, known, fleecing=fleecing),
        "later": () if job is None else (later or job,),
        "window": window(),
    }
    return Facts(**{**seen, **changes})


IDLE = window(0, 20, cpu_share=0.01, moved=None, state="D", read_speed=0.0)
ELSEWHERE = window(0, 4985, moved=None, read_speed=100.0)
COPIED = replace(JOB, done=3 * G)
UNSEEN = window(samples=None, no_samples="perf is missing")
SCANS = ("access-scan", "done-scan", "both-scans")


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("access-scan", facts()),
        ("access-scan", facts(known=False)),
        ("access-scan", facts(window=UNSEEN)),
        ("access-scan", facts(window=window(moved=None))),
        ("access-scan", facts(chain=over(10 * T, 5 * T), window=window(of_done=0))),
        ("access-scan", facts(chain=over(10 * T, 5 * T))),
        ("both-scans", facts(chain=over(10 * T, 5 * T), window=window(of_done=1500))),
        ("both-scans", facts(chain=over(10 * T, 10 * T), window=window(of_done=2250))),
        ("both-scans", facts(chain=over(10 * T, 10 * T))),
        ("both-scans", facts(chain=over(10 * T, 10 * T), window=UNSEEN)),
        ("done-scan", facts(chain=over(0, 10 * T), window=window(of_done=4500))),
        ("done-scan", facts(chain=over(0, 10 * T), window=UNSEEN)),
        ("done-scan", facts(chain=over(0, 5 * T), fleecing=FLEECING)),
        ("done-scan", facts(chain=over(3 * T, 5 * T), window=window(of_done=4500))),
        ("deny", facts(chain=over(0, 5 * T), window=UNSEEN)),
        ("deny", facts(chain=over(0, 5 * T), window=window(0, 4985))),
        ("deny", facts(chain=DENY, window=window(0, 4985))),
        ("no-filter", facts(chain=CHAIN[3:], window=window(0, 4985, moved=None))),
        ("no-filter", facts(chain=(CHAIN[0], *CHAIN[3:]), window=window(0, 4985))),
        ("build-up", facts(window=window(10, 4985))),
        ("copying", facts(job=COPIED, later=replace(COPIED, done=4 * G))),
        ("throttled", facts(job=replace(COPIED, speed=G), later=replace(COPIED, done=8 * G))),
        ("waiting", facts(job=COPIED)),
        ("waiting", facts(window=IDLE)),
        ("waiting", facts(view=None, window=IDLE)),
        ("paused", facts(job=replace(JOB, paused=True))),
        ("paused", facts(job=replace(JOB, io_status="nospace"))),
        ("concluded", facts(job=replace(JOB, status="concluded", error="No space left"))),
        ("concluded", facts(later=replace(JOB, name="other"))),
        ("no-job", facts(job=None)),
        ("no-job", facts(job=replace(JOB, kind="mirror"))),
        ("unknown", facts(window=ELSEWHERE)),
        ("unknown", facts(window=replace(ELSEWHERE, samples=None))),
        ("unknown", facts(window=None)),
        ("access-scan", facts(view=None)),
        ("access-scan", facts(view=None, window=window(of_done=3))),
        ("done-scan", facts(view=None, window=window(of_done=4500))),
        ("both-scans", facts(view=None, window=window(of_done=2000))),
        ("unknown", facts(view=None, window=ELSEWHERE)),
        ("unknown", facts(view=None, window=None)),
    ],
)
def test_each_reason_is_told_apart(kind, seen):
    found = diagnose(seen)
    assert found.kind == kind
    assert bool(found.remedies) == (kind in SCANS)
    console = Console(record=True, width=200)
    render(seen, found, console)
    assert f"diagnosis  {kind}: " in console.export_text()
    document = json.loads(to_json(seen, found))
    assert (document["diagnosis"], document["reason"]) == (kind, found.reason)
    assert (document["time_left"] is None) == (found.left is None)


def test_a_scan_of_the_done_bitmap_has_remedies_of_its_own():
    done, both, access = (
        " ".join(diagnose(facts(chain=over(*counts), fleecing=FLEECING)).remedies)
        for counts in ((0, 10 * T), (10 * T, 10 * T), (10 * T, 0))
    )
    on_target = "l2-cache-entry-size=64K on the fleecing target's node fleecing"
    on_disk = "l2-cache-entry-size=64K on the qcow2 node disk"
    assert on_target in done
    assert on_disk not in done
    assert "deny bitmap" not in done
    assert on_target in both
    assert on_disk in both
    assert "that of the done bitmap stays" in both
    assert on_target not in access
    assert "no scan at all" in access


def test_time_left_of_a_full_done_bitmap_is_that_of_an_access_bitmap():
    access = diagnose(facts()).left
    done = diagnose(facts(chain=over(0, 10 * T), fleecing=FLEECING)).left
    both = diagnose(facts(chain=over(10 * T, 10 * T), fleecing=FLEECING)).left
    assert access.seconds == done.seconds == both.seconds
    assert access.interval == done.interval == both.interval
    assert done.words_s == access.words_s
    assert both.words_s == pytest.approx(2 * access.words_s)  # each question scans both


def test_where_the_done_clusters_lie_is_not_seen():
    """All of the scan may be over at once, or go on; the access bitmap's goes to the end."""
    share, rest = 4500 / 997 / 5, 5.95 * T / (20 * G)
    seen = facts(chain=over(0, 5 * T))
    left = diagnose(seen).left
    assert (left.seconds, left.words_s) == (None, None)
    assert left.interval[0] < rest * (1 - share) < rest < left.interval[1]
    console = Console(record=True, width=200)
    render(seen, diagnose(seen), console)
    shown = console.export_text()
    assert "where the done clusters lie is not seen" in shown
    assert "done       50.0% of the disk" in shown
    both = diagnose(facts(chain=over(10 * T, 5 * T), window=window(of_done=1500))).left
    assert both.seconds is None
    assert both.interval[0] < rest * (1 - share * (2 / 3 * (1 - 5.95 / 12) + 1 / 3))
    unseen = diagnose(facts(chain=over(10 * T, 5 * T))).left
    assert 0 < unseen.interval[0] < unseen.interval[1]


class Recorded:
    """What a QEMU answered: 10.2.2 with the deny bitmap, whose guest had overwritten all."""

    def __init__(self, answers):
        self.answers = answers

    def ask(self, question, **_):
        return self.answers.get(question)


def recorded():
    """What was seen of it, as it was recorded."""
    told = json.loads((GOLDEN / "diagnose-patched-full.json").read_text())
    seen = told["window"]
    threads, callers = ({} for _ in range(2))
    for name, into in (("threads", threads), ("callers", callers)):
        for thread, one, other, n in seen[name]:
            into.setdefault(thread, {})[one, other] = n
    samples = Samples({}, seen["with_kernel"], seen["frequency_hz"], threads, callers)
    view = look(Recorded(told["answers"]))
    passed = {key: seen[key] for key in ("seconds", "state", "cpu_share", "moved", "read_speed")}
    waited_s = {int(thread): waited for thread, waited in seen["waited_s"].items()}
    return Facts(
        view=view, later=view.jobs, window=Window(**passed, waited_s=waited_s, samples=samples)
    )


def test_a_patched_qemu_that_scans_its_done_bitmap_is_not_passed_as_fine():
    seen = recorded()
    assert (seen.view.detected, seen.view.done_part) == ("deny", 1)
    assert [node.driver for node in seen.view.fleecing] == ["qcow2", "file"]
    assert seen.window.done_share == 1
    found = diagnose(seen)
    assert found.kind == "done-scan"
    assert 0 < found.left.interval[0] < found.left.interval[1] < 60
    assert any("fleecing target" in remedy for remedy in found.remedies)
    assert not any("deny bitmap" in remedy for remedy in found.remedies)
    unsampled = replace(seen, window=replace(seen.window, samples=None, no_samples="no perf"))
    assert diagnose(unsampled).kind == "done-scan"
    assert diagnose(replace(seen, view=None)).kind == "done-scan"


def test_done_clusters_that_lie_ahead_are_still_to_be_scanned():
    """All in one run, at the slowest rate: questions times half of the run's words."""
    quiet = window(0, 4985)
    free, loaded = (diagnose(facts(chain=over(0, n * T), window=quiet)).left for n in (0, 5))
    worst_s = (5 * T // (32 * 2**20)) * (5 * T // (64 * K) / 64 / 2) / 1e9
    assert loaded.interval[0] == free.interval[0]
    assert loaded.interval[1] == pytest.approx(free.interval[1] + worst_s)
    assert loaded.seconds is None
    few = diagnose(facts(chain=over(0, T // 100), window=quiet)).left
    assert few.seconds == free.seconds  # as every guest writes a little


@pytest.mark.parametrize(("chain", "scans"), [(over(0, 10 * T), 1), (over(10 * T, 10 * T), 2)])
def test_where_no_offset_is_seen_words_are_those_of_all_scans(chain, scans):
    seen = window(moved=None, read_speed=2e7)
    left = diagnose(facts(chain=chain, fleecing=FLEECING, window=seen)).left
    access = diagnose(facts(window=seen)).left
    assert left.speed == access.speed
    assert left.interval == pytest.approx([end / scans for end in access.interval])


def test_a_process_that_waits_is_not_said_to_have_a_job_where_none_was_seen():
    assert "whether there is a backup job" in diagnose(facts(view=None, window=IDLE)).reason
    assert "whether there is" not in diagnose(facts(window=IDLE)).reason


def test_the_time_left_follows_from_offset_speed_and_share():
    left = diagnose(facts()).left
    assert left.offset == 4 * T
    share = 4500 / 997 / 5
    expected = 5.95 * T / (20 * G) * (1 - share + share / 2 * 5.95 / 6)
    assert left.seconds == pytest.approx(expected)
    assert left.interval[0] < left.seconds < left.interval[1]
    # 6 TiB are 1,572,864 words; 20 GiB/s are 640 answers of 32 MiB.
    assert left.words_s == pytest.approx(1572864 * 640 / share)


def test_time_left_is_from_when_all_has_been_seen():
    left, later = (diagnose(facts(age_s=age_s)).left for age_s in (0.0, 7.0))
    assert later.seconds == pytest.approx(left.seconds - 7)
    assert later.interval == pytest.approx([end - 7 for end in left.interval])
    assert diagnose(facts(age_s=1e9)).left.interval == (0, 0)


def test_where_the_offset_is_not_seen_there_is_a_range():
    left = diagnose(facts(window=window(moved=None))).left
    assert left.seconds is None
    assert 0 < left.interval[0] < left.interval[1] < math.inf
    hardly = window(scans=1, moved=None)  # so few samples that it may be none
    assert diagnose(facts(window=hardly)).left.interval[0] == 0


def test_waiting_for_a_processor_widens_the_share_to_its_own_side():
    busy = window().scan_share
    starved = window(1000, 100, waited_s={7: 3.9, 8: 99.0}).scan_share
    assert busy.low < busy.middle < busy.high
    assert busy.high - busy.low < 0.1
    assert starved.low < 0.21
    assert starved.high > 0.95
    assert starved.middle == pytest.approx(1000 / 997 * (1 + 3.9 / (1100 / 997)) / 5)


def test_seconds_left_are_those_of_the_closed_form():
    """A build-up from X on: queries at a seconds each, words at b."""
    size, answer, bit, a, b = 4 * T, 32 * 2**20, 64 * K, 30e-6, 0.6e-9
    for offset in (0, T, 3 * T):
        rest = size - offset
        words = rest / bit / 64
        exact = rest // answer * a + words_access(rest, answer, bit) * b
        speed, share = answer / (a + b * words), b * words / (a + b * words)
        left = remaining.Rest(rest, rest)
        assert remaining.seconds_left(left, speed, share) == pytest.approx(exact, rel=1e-3)
    assert remaining.seconds_left(left, 0, 0.5) == math.inf


@pytest.mark.parametrize("part", [0.05, 0.5])
@pytest.mark.parametrize("scan", [0.0, 1.0, 30.0])
def test_seconds_left_are_exact_however_long_the_window_is(scan, part):
    """A query takes 1 + scan * what is left: a window's means give back the time after it."""

    def seconds(left):
        return left + scan * left**2 / 2

    begun, now = 0.8, 0.8 * (1 - part)
    took, scanned = seconds(begun) - seconds(now), scan * (begun**2 - now**2) / 2
    rest = remaining.Rest((begun + now) / 2, now)
    left = remaining.seconds_left(rest, (begun - now) / took, scanned / took)
    assert left == pytest.approx(seconds(now))


def test_the_least_time_left_is_with_a_processor_for_itself():
    free, starved = window(), window(1500, 162, cpu_share=1 / 3, waited_s={7: 10 / 3})
    spared = diagnose(facts(window=free)).left
    left = diagnose(facts(window=starved)).left
    assert starved.served_share == pytest.approx(1 / 3)
    assert left.interval[0] == pytest.approx(spared.interval[0] / 3, rel=0.1)
    assert left.interval[1] >= left.seconds == pytest.approx(spared.seconds, rel=0.01)


def test_only_a_file_that_moves_forwards_all_the_time_has_a_motion():
    times = [n / 20 for n in range(40)]
    found = motion(times, [100 * time for time in times])
    assert found.speed == pytest.approx(100)
    assert found.interval == pytest.approx((100, 100))
    assert found.offset == pytest.approx(100 * times[-1] / 2)
    assert found.end == 100 * times[-1]
    assert motion(times, [5.0] * 40) is None
    assert motion(times, [100 * time for time in reversed(times)]) is None
    assert motion(times[:5], times[:5]) is None


@pytest.mark.parametrize(
    ("options", "served"),
    [
        (["--chardev", "socket,id=a,path=SOCK,server=on", "--monitor", "chardev=a"], True),
        (["-chardev", "socket,path=SOCK,id=a", "-mon", "chardev=a,mode=control"], True),
        (["-chardev", "socket,path=SOCK,id=a", "-mon", "chardev=a"], False),
        (["-chardev", "socket,path=SOCK,id=a", "-qmp", "chardev:a"], True),
        (["-qmp", "unix:SOCK,server=on,wait=off"], True),
        (["-monitor", "unix:SOCK,server=on"], False),
        (["-chardev", "socket,id=a,fd=30", "-mon", "chardev=a,mode=control"], False),
        (["-qmp", "unix:elsewhere"], False),
    ],
)
def test_sockets_are_read_off_the_command_line(tmp_path, options, served):
    """Of a real process that listens; its socket's path is relative to its own folder."""
    source = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind('a.sock'); s.listen()\n"
        "print(flush=True); sys.stdin.read()"
    )
    words = [option.replace("SOCK", "a.sock") for option in options]
    with subprocess.Popen(
        [sys.executable, "-c", source, *words], cwd=tmp_path,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as listening:  # fmt: skip
        listening.stdout.readline()
        found = process.qmp_sockets(listening.pid)
        listening.stdin.close()
    assert found == ([tmp_path / "a.sock"] if served else [])


def test_a_socket_without_a_client_comes_first(tmp_path):
    source = (
        "import socket, sys\n"
        "for name in ('a', 'b'):\n"
        "    s = globals()[name] = socket.socket(socket.AF_UNIX); s.bind(name); s.listen()\n"
        "c = socket.socket(socket.AF_UNIX); c.connect('a'); d = a.accept()\n"
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", source, "-qmp", "unix:a", "-qmp", "unix:b"], cwd=tmp_path,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as listening:  # fmt: skip
        listening.stdout.readline()
        found = process.qmp_sockets(listening.pid)
        listening.stdin.close()
    assert found == [tmp_path / "b", tmp_path / "a"]


def test_the_position_of_an_open_file_is_seen(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(bytes(1000))
    with path.open("rb") as file:
        assert process.readers(os.getpid(), path) == [file.fileno()]
        os.lseek(file.fileno(), 700, os.SEEK_SET)
        os.pread(file.fileno(), 100, 0)
        assert process.position(os.getpid(), file.fileno()) == 700
    assert process.readers(os.getpid(), path) == []
    assert process.usage(os.getpid()).cpu_s > 0
    assert process.state(os.getpid()) in "RS"


def test_the_name_of_a_file_is_the_process_s_own(tmp_path, monkeypatch):
    """A relative one too."""
    monkeypatch.chdir(tmp_path)
    with Path("image").open("w") as file:
        assert process.readers(os.getpid(), Path("image")) == [file.fileno()]
        assert process.readers(os.getpid(), Path("/image")) == []


def run(*arguments):
    return subprocess.run(
        [COMMAND, "diagnose", *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "give --qmp SOCKET, --libvirt DOMAIN or --pid N"),
        (["--qmp", "a", "--libvirt", "b"], "give one of the two"),
        (["--pid", "4194305"], "no process 4194305"),
        (["--qmp", "/no/such/socket"], "listening QMP socket"),
        (["--qmp", "/no/such/socket", "--json", "/nowhere/out.json"], "name another"),
        (["--qmp", "/no/such/socket", "--metrics", "/nowhere/out.prom"], "name another"),
        (["--pid", str(os.getpid()), "--watch"], "--qmp SOCKET or --libvirt DOMAIN"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, line):
    done = run(*arguments)
    assert done.returncode == 2
    assert line in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("greeting", "line"),
    [("c.send(b'220 smtp\\r\\n'); c.recv(9)", "speaks no QMP"), ("c.close()", "hung up without")],
)
def test_a_socket_that_speaks_no_qmp_is_told(tmp_path, greeting, line):
    path = tmp_path / "a.sock"
    source = (
        f"import socket; s = socket.socket(socket.AF_UNIX); s.bind('{path}'); s.listen()\n"
        f"print(flush=True); c, _ = s.accept(); {greeting}"
    )
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        done = run("--qmp", str(path))
        other.kill()
    assert done.returncode == 2
    assert line in done.stderr.splitlines()[-1]


def test_a_process_without_a_socket_is_looked_at_alone():
    source = "import time\nprint(flush=True)\nwhile True: time.sleep(0.1)"
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        done = run("--pid", str(other.pid), "--seconds", "1")
        told = run("--pid", str(other.pid), "--seconds", "1", "--json", "-")
        other.kill()
    assert done.returncode == told.returncode == 0, done.stderr
    assert json.loads(told.stdout)["diagnosis"] == "waiting"
    assert "serves QMP on no socket" in done.stdout
    assert f"whether process {other.pid} is a QEMU at all: its program is called" in done.stdout
    assert "diagnosis  waiting" in done.stdout


@needs_perf
def test_a_process_is_sampled_so_rarely_that_it_is_hardly_slowed():
    seen = watch(os.getpid(), 1.0, ()).samples
    assert seen.frequency_hz == 199


@needs_perf
@pytest.mark.parametrize(
    "arguments", [["diagnose", "--pid", "SELF", "--seconds", "60"], ["profile", "--no-qemu"]]
)
def test_an_interrupt_leaves_nothing_behind(tmp_path, arguments):
    """No perf, no build-up, no folder; and the process that was looked at goes on."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    words = [str(os.getpid()) if word == "SELF" else word for word in arguments]
    with psutil.Popen(
        [COMMAND, *words], cwd=tmp_path, env={**os.environ, "TMPDIR": str(folder)},
        stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        while not list(folder.rglob("data")) and running.poll() is None:
            time.sleep(0.02)
        started = running.children(recursive=True)
        watchers = [one for one in started if "hbitmap-bench-watcher" in one.cmdline()]
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate()
    assert running.returncode == 130
    assert errors.splitlines()[-1] == "hbitmap-bench: interrupted"
    assert list(folder.iterdir()) == []
    assert started
    assert not [one for one in started if one not in watchers and one.is_running()]
    assert psutil.wait_procs(watchers, timeout=30)[1] == [], "a watcher ends after a last look"
