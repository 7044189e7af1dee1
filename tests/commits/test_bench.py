"""``hbitmap-bench bench`` on a repository of its own: a real asv, environments and wheels."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from asv.results import iter_results
from tiny import COMMAND, ROOT, bench, commit, git, make_repo

from hbitmap_bench.base import scratch
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits import bench as run
from hbitmap_bench.commits import sessions, sources
from hbitmap_bench.commits.asv_library import environments
from hbitmap_bench.commits.built_by import forget_other_builds
from hbitmap_bench.commits.machine import machine_fields
from hbitmap_bench.commits.project import find_project

TRACKER = re.compile(r"resource_tracker: |^  warnings\.warn\(")
"""What Python 3.14's own process says that clears away after a killed one."""

SUITE = """
from benchmarks.common import Suite, benchmark, provided


class Tiny(Suite):
    param_names = ("implementation",)
    params = (["deny"],)

    def prepare(self, implementation):
        self.words = provided("words", "WORDS")

    @benchmark(version="1", timeout=60)
    def track_words(self, implementation):
        return self.words
"""


@pytest.fixture(scope="module")
def repo(tmp_path_factory, made):
    repo = tmp_path_factory.mktemp("bench") / "a repo"
    make_repo(repo, {"tiny": SUITE}, made)
    commit(repo, {"README": "words"}, "Change nothing that is measured")
    commit(repo, {"hbitmap_impl/words.py": "WORDS = 8\n"}, "Read a word more")
    return repo


@pytest.fixture(scope="module")
def measured(repo):
    ran = bench(repo, "HEAD")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran


def results(repo: Path) -> list[Path]:
    return list(sources.result_paths(repo / "results"))


def test_commits_that_changed_the_package_are_measured(repo, measured):
    assert "100.00%" in measured.stdout
    assert "n/a" not in measured.stdout  # asv's tables are in the log
    values = {}
    for path in results(repo):
        stored = json.loads(path.read_text())
        row = stored["results"]["tiny.Tiny.track_words"]
        (value,) = row[stored["result_columns"].index("result")]
        values[git(repo, "show", "-s", "--format=%s", stored["commit_hash"])] = value
    assert values == {"Begin": 7, "Read a word more": 8}


def test_each_has_a_side_record_of_what_was_imported(repo, measured):
    assert sources.refusals(repo / "results", repo) == {}
    for path in results(repo):
        (files,) = sources.recorded(path)
        hash_ = json.loads(path.read_text())["commit_hash"]
        assert set(files) == {"hbitmap_impl/__init__.py", "hbitmap_impl/words.py"}
        for name, blob in files.items():
            assert blob == git(repo, "rev-parse", f"{hash_}:{name}")


def test_nothing_names_the_machine_or_its_folders(repo, measured):
    for path in (repo / "results").rglob("*.*"):
        text = path.read_text()
        assert str(repo) not in text
        assert str(Path.home()) not in text or str(Path.home()) == "/"
        assert sys.prefix not in text
    fields = json.loads((repo / "results" / "test" / "machine.json").read_text())
    assert fields["os"] == "Linux"


def test_new_commits_alone_are_measured_later(repo, measured):
    ran = bench(repo)
    assert ran.returncode == 0
    assert ran.stdout.startswith("Nothing to measure")


def test_a_range_without_a_change_of_the_package_is_refused(repo, measured):
    ran = bench(repo, "HEAD~1^!")
    assert ran.returncode == 2
    assert ran.stderr.startswith("hbitmap-bench: only commits that change hbitmap_impl")
    assert bench(repo, "nowhere..HEAD").stderr.startswith("hbitmap-bench: git log failed")


def test_what_is_not_the_commits_own_is_not_stored(repo, measured, tmp_path):
    """The suite puts another package before the commit's: as a stale install would."""
    shutil.copytree(repo / "hbitmap_impl", tmp_path / "hbitmap_impl")
    (tmp_path / "hbitmap_impl" / "words.py").write_text("WORDS = 6\n")
    suite = repo / "benchmarks" / "tiny.py"
    before = {path: path.read_bytes() for path in results(repo)}
    suite.write_text(f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n" + SUITE)
    ran = bench(repo, "HEAD^!")
    suite.write_text(SUITE)
    assert ran.returncode == 2
    assert "hbitmap_impl/words.py as imported is not that of commit" in ran.stderr
    assert {path: path.read_bytes() for path in results(repo)} == before


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [(signal.SIGINT, 130, "hbitmap-bench: interrupted"), (signal.SIGKILL, -9, "")],
)
def test_ctrl_c_and_kill_leave_results_and_no_process(
    repo, measured, tmp_path, number, code, words
):
    suite = repo / "benchmarks" / "tiny.py"
    started = repo / "started"
    suite.write_text(
        SUITE.replace("return self.words", f"open({str(started)!r}, 'w'); time.sleep(600)").replace(
            "from benchmarks", "import time\nfrom benchmarks", 1
        )
    )
    before = {path: path.read_bytes() for path in results(repo)}
    command = [COMMAND, "bench", "--machine", "test", "HEAD"]
    with subprocess.Popen(
        command, cwd=repo, env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        while not started.exists():
            assert running.poll() is None
            time.sleep(0.1)
        children = psutil.Process(running.pid).children(recursive=True)
        running.send_signal(number)
        _, errors = running.communicate()
    suite.write_text(SUITE)
    started.unlink()
    assert running.returncode == code
    own = [line for line in errors.splitlines() if not TRACKER.search(line)]
    assert "\n".join(own).strip() == words
    assert psutil.wait_procs(children, timeout=20)[1] == []
    assert {path: path.read_bytes() for path in results(repo)} == before
    if number == signal.SIGKILL:  # the next run
        scratch.sweep(repo / ".asv")
        scratch.sweep(tmp_path)
    assert list((repo / ".asv").glob(f"{scratch.PREFIX}*")) == []
    assert list(tmp_path.iterdir()) == []


SLOW_SETUP = """
import pathlib, time
pathlib.Path({started!r}).touch()
time.sleep(600)
"""


def test_ctrl_c_in_a_build_leaves_no_temporary_files(repo, measured, tmp_path):
    started, temporary = tmp_path / "started", tmp_path / "tmp"
    temporary.mkdir()
    git(repo, "checkout", "-q", "-b", "slow")
    (repo / "setup.py").write_text(SLOW_SETUP.format(started=str(started)))
    git(repo, "commit", "-q", "-m", "Build slowly", "setup.py")
    git(repo, "checkout", "-q", "main")
    with subprocess.Popen(
        [COMMAND, "bench", "--machine", "test", "slow^!"], cwd=repo, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(temporary)},
    ) as running:  # fmt: skip
        while not started.exists():
            assert running.poll() is None
            time.sleep(0.1)
        assert list(temporary.iterdir()) != []
        running.send_signal(signal.SIGINT)
        assert running.communicate()[1].strip() == "hbitmap-bench: interrupted"
    git(repo, "branch", "-q", "-D", "slow")
    assert list(temporary.iterdir()) == []


def test_a_result_is_refused_without_a_true_side_record(repo, measured, tmp_path):
    copy = tmp_path / "results"
    shutil.copytree(repo / "results", copy)
    first, second = sources.result_paths(copy)

    def reason() -> str:
        ((path, why),) = sources.refusals(copy, repo).items()
        assert path == first
        return why

    record = first.with_suffix(sources.SUFFIX)
    kept = record.read_text()
    record.write_text(kept.replace('words.py": "', 'words.py": "0'))
    assert "words.py as imported is not that of commit" in reason()
    record.write_text(second.with_suffix(sources.SUFFIX).read_text())
    assert "of another commit" in reason()
    record.write_text(kept[: len(kept) // 2])
    assert "not JSON" in reason()
    record.write_text("[]")
    assert "not one of schema 1" in reason()
    record.unlink()
    assert "no side record" in reason()
    record.write_text(kept)
    assert sources.refusals(copy, repo) == {}
    first.write_text(first.read_text() + " ")
    assert reason() == "changed since it was measured and checked"


def test_results_of_an_unknown_commit_are_refused(repo, measured, tmp_path):
    git(tmp_path, "init", "-q")
    reasons = sources.refusals(repo / "results", tmp_path).values()
    assert all("is not in this repository" in reason for reason in reasons)
    assert len(reasons) == 2


def test_another_machine_needs_another_name(repo, measured, tmp_path):
    shutil.copytree(repo / "results", tmp_path / "results")
    path = tmp_path / "results" / "test" / "machine.json"
    fields = json.loads(path.read_text())
    assert machine_fields("test", tmp_path / "results")["cpu"] == fields["cpu"]
    path.write_text(json.dumps(fields | {"cpu": "another", "ram": "1"}))
    with pytest.raises(UserError, match="cpu is 'another'"):
        machine_fields("test", tmp_path / "results")
    (tmp_path / "results" / "test").rename(tmp_path / "results" / "other")
    with pytest.raises(UserError, match="machine is 'test'"):  # asv would store them there
        machine_fields("other", tmp_path / "results")
    with pytest.raises(UserError, match="letters"):
        machine_fields("../test", tmp_path / "results")


def test_results_whose_folder_is_gone_are_in_tmpdir(repo, measured, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ran, folder, aside = run._run_asv, repo / "results", tmp_path / "aside"

    def measure(*arguments):
        code = ran(*arguments)
        folder.rename(aside)
        folder.symlink_to("/proc/nope")
        return code

    monkeypatch.setattr(run, "_run_asv", measure)
    try:
        with pytest.raises(UserError, match="the result is in "):
            run.bench(repo, profile="quick", machine="test", commits=["HEAD^!"])
    finally:
        folder.unlink()
        aside.rename(folder)
    (kept,) = tmp_path.glob("hbitmap-result-*/results")
    assert len(list(sources.result_paths(kept))) == 1
    assert sources.refusals(kept, repo) == {}


def test_a_later_session_measures_the_newest_commit_again_as_its_anchor(repo, measured):
    before = {path: path.read_bytes() for path in results(repo)}
    newest = git(repo, "log", "-1", "--format=%H", "--", "hbitmap_impl")
    (repo / "hbitmap_impl" / "words.py").write_text("WORDS = 9\n")
    git(repo, "commit", "-q", "-m", "Read two words more", "hbitmap_impl")
    new = git(repo, "rev-parse", "HEAD")
    ran = bench(repo)
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    git(repo, "tag", "later", new)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{newest[:10]} is measured again" in ran.stdout
    assert "1 of 1 commits stored" in ran.stdout
    (added,) = set(results(repo)) - set(before)
    assert added.name.startswith(new[:8])
    assert all(path.read_bytes() == content for path, content in before.items())
    (path,) = sessions.anchor_paths(repo / "results")
    anchor = sessions.read_anchor(path)
    assert (anchor.commit, anchor.session) == (newest, *sources.recorded_sessions(added))
    assert anchor.owners == sources.recorded_sessions(
        next(path for path in before if path.name.startswith(newest[:8]))
    )
    assert anchor.after["tiny.Tiny.track_words"]["result"] == [8]
    assert sources.refusals(repo / "results", repo) == {}
    assert {r.commit_hash for r in iter_results(str(repo / "results"))} >= {newest, new}


def test_a_build_of_another_compiler_or_other_flags_is_not_taken(
    repo, measured, tmp_path, monkeypatch
):
    """Asv knows builds by their commit alone."""
    clone = tmp_path / "clone"
    shutil.copytree(repo, clone, symlinks=True)
    project = find_project(clone)
    (made,) = environments(project)
    builds = Path(made._cache._path)
    assert list(builds.glob("*/*.whl"))
    for changed in ("", "-O1"):
        monkeypatch.setenv("CFLAGS", changed)
        forget_other_builds(project, [made])
        assert bool(list(builds.glob("*/*.whl"))) == (not changed)
    assert made._get_installed_commit_hash() is None


def test_the_committed_history_is_valid_and_neutral(committed):
    refused = sources.refusals(committed / "results", ROOT)
    if git(ROOT, "rev-parse", "--is-shallow-repository") == "true":  # knows no old commits
        refused = {path: why for path, why in refused.items() if "not in this repo" not in why}
    assert refused == {}
    for path in (committed / "results").rglob("*.*"):
        text = path.read_text()
        for trace in ("/home/", "/root", "/tmp", "/usr/", str(ROOT)):
            assert trace not in text, path
