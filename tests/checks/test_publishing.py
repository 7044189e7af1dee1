"""The check of what publishing costs: its synthetic history is one, and what it reads is true.

The costs themselves are measured by ``tox -e publishing``.
"""

import sys
import time
from subprocess import Popen

import numpy as np
import pytest
from tiny import git

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.checks import publishing
from hbitmap_bench.checks.publishing import Comparison, Round, run
from hbitmap_bench.checks.synthetic import MACHINE, make_history
from hbitmap_bench.commits import sources
from hbitmap_bench.commits.project import find_project
from hbitmap_bench.commits.store import load_histories


@pytest.fixture(scope="module")
def repo(tmp_path_factory, committed):
    repo = tmp_path_factory.mktemp("synthetic") / "repo"
    make_history(committed, repo, 3)
    (repo / ".asv").mkdir()
    return repo


def test_every_cell_of_the_suites_is_on_every_commit(repo):
    assert len(git(repo, "rev-list", "main").split()) == 3
    assert sources.refusals(repo / "results", repo) == {}
    (history,) = load_histories(repo / "results", repo)
    assert history.machine["machine"] == MACHINE
    assert len(history.commits) == 3
    assert sum(len(benchmark.cells) for benchmark in history.benchmarks.values()) == 990
    for name, measured in history.measured.items():
        assert np.isfinite(measured.value).all(), name
        timed = history.benchmarks[name].kind == "time"
        assert ((measured.low < measured.high).all()) == timed


def test_asv_publishes_it(repo):
    command = publishing.asv_command(find_project(repo), repo / ".asv")
    assert run(command, repo, publishing.seconds) > 0
    index = (repo / "reports" / "html" / "index.json").read_text()
    assert MACHINE in index
    for hash_ in git(repo, "rev-list", "main").split():
        assert hash_ in index


def test_memory_is_that_of_all_processes(repo):
    hold = "import time; held = b'x' * 60_000_000; time.sleep(0.7)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    alone = run([sys.executable, "-c", hold], repo, publishing.peak_bytes)
    both = run([sys.executable, "-c", f"{child}; {hold}"], repo, publishing.peak_bytes)
    within = run([sys.executable, "-c", f"{hold}; {child}"], repo, publishing.peak_bytes)
    assert 60e6 < alone < 90e6
    assert 60e6 < both < 90e6  # one after the other
    assert 120e6 < within < 170e6  # both at once


def test_a_failed_run_is_no_fast_one(repo):
    with pytest.raises(UserError, match="failed .no such thing.: run it by itself"):
        run([sys.executable, "-c", "raise SystemExit('no such thing')"], repo, publishing.seconds)


def test_an_interrupt_ends_all_processes(repo):
    started = []

    def interrupted(running: Popen) -> float:
        started.append(running)
        while not list(publishing.PROC.glob(f"{running.pid}/task/*/children")):
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([sys.executable, "-c", "import time; time.sleep(600)"], repo, interrupted)
    assert started[0].poll() is not None


def comparison(time_ratio, memory_ratio):
    return Comparison(250, [Round(2.0, 2.0 * time_ratio)] * 4, [Round(1e8, memory_ratio * 1e8)] * 2)


@pytest.mark.parametrize(
    ("ratios", "code", "words"),
    [
        ((1.2, 1.1), 0, ["kept", "kept"]),
        ((1.5, 1.5), 0, ["kept", "kept"]),
        ((1.6, 1.0), 1, ["MISSED", "kept"]),
        ((1.0, 1.6), 1, ["kept", "MISSED"]),
    ],
)
def test_a_missed_limit_is_told_and_fails(monkeypatch, capsys, ratios, code, words):
    monkeypatch.setattr(publishing, "compare", lambda *_: comparison(*ratios))
    assert publishing.main.main(["--commits", "250"], standalone_mode=False) == code
    found = [word for word in capsys.readouterr().out.split() if word in ("kept", "MISSED")]
    assert found == words
