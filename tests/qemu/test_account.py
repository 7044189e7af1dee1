"""The account of a run, read from the kernel: held against processes that do what it should see."""

import os
import resource
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from hbitmap_bench.qemu.account import Totals, process_totals, spent, thread_totals

SPIN = "while True: pass"
THREADS = f"""
import threading
for _ in range(3):
    threading.Thread(target=lambda: sum(range(10**6))).start()
print(flush=True)
{SPIN}
"""


@contextmanager
def running(program):
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run_of(process, seconds):
    before, start_s = process_totals(process.pid), time.perf_counter()
    time.sleep(seconds)
    after, wall_s = process_totals(process.pid), time.perf_counter() - start_s
    return spent(before, after, wall_s=wall_s)


def test_a_spinning_process_works_or_waits():
    with running(SPIN) as process:
        run = run_of(process, 0.3)
    assert 0 < run.cpu_s <= run.wall_s + 0.02
    assert run.cpu_s + run.waited_s <= run.wall_s + 0.1


def test_two_processes_on_one_core_wait_for_each_other():
    core = min(os.sched_getaffinity(0))
    with running(SPIN) as one, running(SPIN) as other:
        for process in (one, other):
            os.sched_setaffinity(process.pid, {core})
        run = run_of(one, 0.5)
    assert run.waited_s > 0.1
    assert run.cpu_s < run.wall_s - 0.1


def test_a_sleeping_process_neither_works_nor_waits():
    with running("print(flush=True); import time; time.sleep(99)") as process:
        process.stdout.readline()
        run = run_of(process, 0.2)
    assert run.cpu_s < 0.1
    assert run.waited_s < 0.1


def test_cpu_seconds_are_those_of_all_threads_ended_ones_too():
    with running(THREADS) as process:
        process.stdout.readline()
        total_s = process_totals(process.pid).cpu_s
        process.kill()
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0  # it is reaped
    assert total_s == pytest.approx(used.ru_utime + used.ru_stime, abs=0.05)


def test_bytes_read_from_the_disk_are_counted(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(2**22))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before = thread_totals()
    path.read_bytes()
    assert spent(before, thread_totals(), wall_s=1).read_bytes >= 2**22


def test_a_thread_is_measured_alone():
    with running(SPIN):
        before = thread_totals()
        sum(range(10**6))
        run = spent(before, thread_totals(), wall_s=1)
    assert 0 < run.cpu_s < 1
    assert run.major_faults >= 0
    faults = resource.getrusage(resource.RUSAGE_THREAD).ru_majflt
    assert run.major_faults <= faults


def test_a_process_that_is_gone():
    with running("") as process:
        process.wait()
        with pytest.raises(ProcessLookupError, match="is gone"):
            process_totals(process.pid)


NOTHING = Totals(
    cpu_s=1.0, waited_s=None, read_bytes=None, major_faults=None, steal_s=None, pressure_s={}
)


def test_what_a_host_does_not_have_is_none():
    run = spent(NOTHING, replace(NOTHING, cpu_s=3.0), wall_s=2.5)
    assert (run.wall_s, run.cpu_s) == (2.5, 2.0)
    assert {run.waited_s, run.read_bytes, run.major_faults, run.steal_s} == {None}
    assert {run.cpu_pressure_s, run.io_pressure_s, run.memory_pressure_s} == {None}


def test_threads_that_begin_count_from_nothing_and_those_that_end_are_gone():
    before = replace(NOTHING, waited_s={1: 5.0, 2: 7.0})
    after = replace(NOTHING, waited_s={1: 5.5, 3: 0.25}, pressure_s={"io": 4.0})
    run = spent(replace(before, pressure_s={"io": 1.0}), after, wall_s=1)
    assert run.waited_s == 0.75
    assert run.io_pressure_s == 3.0
