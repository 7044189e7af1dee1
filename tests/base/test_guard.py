"""What we start dies with us: killed programs, and what they had started."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

LIMIT_S = 60
"""When a test gives up. What it waits for takes a fraction of a second."""

BEGIN = """
import os, subprocess, sys, time
from hbitmap_bench.base import guard
from hbitmap_bench.base.children import start

def tell(*pids):
    for pid in pids:
        print(pid, flush=True)

def start_sleep():
    return start(["sleep", "600"], stdout=1, stderr=2)
"""


@pytest.fixture
def run():
    """A function: start a program, and read the ids of so many processes that it tells."""
    running = []

    def start(source, n_told):
        program = psutil.Popen(
            [sys.executable, "-c", BEGIN + source],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        running.append(program)
        told = [psutil.Process(int(program.stdout.readline())) for _ in range(n_told)]
        running.extend(told)
        return program, told

    yield start
    for process in running:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    running[0].communicate()


def assert_gone(processes):
    _, alive = psutil.wait_procs(processes, LIMIT_S)
    assert alive == []


def watcher_of(program):
    (found,) = [one for one in program.children() if "hbitmap-bench-watcher" in one.cmdline()]
    return found


def ignores(process, number):
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (mask,) = [line.split()[1] for line in lines if line.startswith("SigIgn")]
    return int(mask, 16) >> (number - 1) & 1


@pytest.mark.parametrize("env", ["None", "{'PATH': os.environ['PATH']}"])
def test_children_die_wherever_they_went(run, env):
    """A child is in a session of its own; its child is in another one, and has lost its parent."""
    script = "sh -c 'setsid sleep 600 & echo $!'; echo $$; exec sleep 600"
    program, children = run(
        f"start(['sh', '-c', {script!r}], stdout=1, stderr=2, env={env}).wait()", 2
    )
    program.kill()
    assert_gone(children)


def test_children_that_others_start_die_too(run):
    """As asv starts its servers."""
    program, children = run(
        """
guard.watch()
child = subprocess.Popen(["sleep", "600"])
tell(child.pid)
child.wait()
""",
        1,
    )
    program.kill()
    assert_gone(children)


def test_children_of_a_child_of_ours_die_too(run):
    """The child has a mark and a watcher of its own."""
    inner = f"{BEGIN}\nchild = start_sleep(); tell(child.pid); child.wait()"
    program, children = run(
        f"""
child = start([sys.executable, "-c", {inner!r}], stdout=1, stderr=2)
tell(child.pid)
child.wait()
""",
        2,
    )
    program.kill()
    assert_gone(children)


def test_a_fork_that_lives_on_delays_nothing(run):
    program, (child, fork) = run(
        """
child = start_sleep()
fork = os.fork()
if fork:
    tell(child.pid, fork)
time.sleep(600)
""",
        2,
    )
    program.kill()
    assert_gone([child])
    assert fork.is_running()


def test_the_watcher_hears_no_terminal(run):
    program, children = run("child = start_sleep(); tell(child.pid); child.wait()", 1)
    watcher = watcher_of(program)
    assert os.getsid(watcher.pid) == watcher.pid
    numbers = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    while not all(ignores(watcher, number) for number in numbers):
        assert watcher.is_running()
    for number in numbers:
        watcher.send_signal(number)
    program.kill()
    assert_gone([watcher, *children])


def test_what_runs_on_after_an_orderly_end_is_left_alone(run):
    """git, for one, tidies up in the background."""
    program, (child,) = run(
        """
guard.watch()
child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
tell(child.pid)
sys.stdin.readline()
guard.dismiss()
os._exit(0)
""",
        1,
    )
    watcher = watcher_of(program)
    program.communicate("\n")
    assert_gone([watcher])
    assert child.is_running()
