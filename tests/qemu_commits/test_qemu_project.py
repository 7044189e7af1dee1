"""QEMU's commits as an asv project: on a repository whose builds hand out the system's daemon."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
import tiny
from click.testing import CliRunner
from driver_stub import RULES, SOURCES
from perf_permitted import needs_perf
from tiny import commit, git

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.asv_library import environments
from hbitmap_bench.commits.gate.environments import copy_environment
from hbitmap_bench.commits.project import find_project
from hbitmap_bench.commits.project_file import read
from hbitmap_bench.qemu.builds import DAEMON
from hbitmap_bench.qemu_commits.build import first_error
from hbitmap_bench.qemu_commits.build import main as build_main
from hbitmap_bench.qemu_commits.sample import main as sample_main
from hbitmap_bench.qemu_commits.writing import write_project

GIB = 4
"""Of each image: its build-up asks 128 questions."""

COMMAND = Path(sys.executable).with_name("hbitmap-bench")

CONFIGURE = """\
#!/bin/sh
# Stands for QEMU's: writes build.ninja into the folder where it is called.
echo configured >> "$CONFIGURED"
cat > build.ninja <<END
{rules}
rule daemon
  command = sh $source/make-daemon \\$out
build storage-daemon/qemu-storage-daemon: daemon
END
cat > qemu-img.c <<END
#include <unistd.h>
int main(int n, char **words) {{ return execv("{qemu_img}", words); }}
END
"""

MAKE = """\
mkdir -p storage-daemon
printf '#!/bin/sh\\n# {what}\\nexec {daemon} "$@"\\n' > $1
chmod +x $1
"""


def commit_make(repo, make, subject):
    """How the daemon is made; in a folder whose change calls for measuring."""
    return commit(repo, {"storage-daemon/make": make, "make-daemon": make}, subject)


@pytest.fixture(scope="module")
def daemon():
    found = shutil.which("qemu-storage-daemon")
    if found is None:
        pytest.skip("needs a qemu-storage-daemon: Debian's qemu-system-common")
    return found


@pytest.fixture(scope="module")
def history(tmp_path_factory, daemon):
    """A repository, and its commits: two that work, one that doesn't compile, one that hangs."""
    repo = tmp_path_factory.mktemp("qemu") / "repo"
    for folder in ("util", "storage-daemon"):
        (repo / folder).mkdir(parents=True)
    git(repo, "init", "-q", "-b", "master")
    (repo / "util" / "hbitmap.c").write_text("/* none */\n")
    rules = RULES.replace("$", "\\$")
    made = CONFIGURE.format(rules=rules, qemu_img=shutil.which("qemu-img"))
    configure = made.replace("$source", '$(dirname "$0")')
    (repo / "configure").write_text(configure)
    (repo / "configure").chmod(0o755)
    one, two = (
        commit_make(repo, MAKE.format(what=what, daemon=daemon), what) for what in ("one", "two")
    )
    broken = commit_make(repo, "echo 'x.c:1:1: error: no such thing' >&2; exit 1\n", "Break")
    hangs = commit_make(repo, "sleep 1000\n", "Hang")
    return repo, {"one": one, "two": two, "broken": broken, "hangs": hangs}


@pytest.fixture(scope="module")
def project(history, tmp_path_factory, made):
    """What the command has written, for small images, and all suites measured of one commit."""
    repo, _ = history
    folder = tmp_path_factory.mktemp("work")
    ran = run(folder, "qemu-project", "--repo", str(repo), "--out", "mine", "--build-limit", "10")
    assert ran.returncode == 0, ran.stderr
    assert [line for line in ran.stdout.splitlines() if line.startswith("    ")] == [
        "    cd mine",
        "    hbitmap-bench bench TAG TAG...       # or a range as git has it",
        "    hbitmap-bench publish                # the graphs; or: hbitmap-bench show",
        "    hbitmap-bench gate --base TAG --head BRANCH",
    ]
    edit(folder / "mine")
    found = find_project(folder / "mine")
    assert found.conf["matrix"] == {"req": {"pip+asv_runner": [version("asv_runner")]}}
    (ours,) = environments(found)  # of which a copy is made in a second, by pip in ten
    copy_environment(Path(tiny.environment(made)._path), Path(ours._path))
    ours.save_info_file(ours._path)
    return folder / "mine"


def edit(project):
    """Small images and few cells; of the driver's operations those that they need."""
    suite = project / "benchmarks" / "buildup.py"
    small, n = re.subn(r"\], \[\d+(, \d+)*\]\]", f"], [{GIB}]]", suite.read_text())
    assert n == 6
    assert "[0.5, 1, 2, 4], [64], [4, 64])" in small
    small = small.replace("[0.5, 1, 2, 4], [64], [4, 64])", f"[{GIB / 1024}], [64], [4])")
    suite.write_text(small)
    kernels = project / "benchmarks" / "kernels.py"
    kernels.write_text(re.sub(r"\*\(\"next_zero.*?\n {8}\],\n.*?\],", '"status"], ["0"],',
                              kernels.read_text(), flags=re.DOTALL))  # fmt: skip
    operations = project / "driver" / "operations"
    assert {one.name for one in operations.iterdir()} == {
        one.name for one in (SOURCES / "operations").iterdir()
    }
    for one in operations.iterdir():
        if one.stem not in ("status", "reset_all"):
            one.unlink()
    declared = project / "hbitmap-bench.toml"
    quick = re.sub(r"^cells = \[.*?^\]$", "cells = ['words_exponent']", declared.read_text(),
                   flags=re.DOTALL | re.M)  # fmt: skip
    assert "cells = ['words_exponent']" in quick
    declared.write_text(quick)


def run(folder, *words, **variables):
    env = {**os.environ, "CONFIGURED": str(folder / "configured"), **variables}
    return subprocess.run([COMMAND, *words], cwd=folder, capture_output=True, text=True, env=env)


def n_configured(folder):
    path = folder / "configured"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture(scope="module")
def measured(project, history):
    """All suites of one commit: its values by benchmark, and what asv's log says of failures."""
    _, commits = history
    ran = run(project, "bench", "--machine", "test", "--profile", "full", f"{commits['one']}^!")
    log = (project / "env" / "hbitmap-bench" / "bench.log").read_text()
    assert ran.returncode == 0 or "disturbed in 3 of 3 runs" in log, ran.stdout + ran.stderr
    (stored,) = (project / "results" / "test").glob(f"{commits['one'][:8]}*.json")
    return {name: row[0] for name, row in json.loads(stored.read_text())["results"].items()}, log


def test_every_suite_measures_a_commit(measured):
    values, log = measured
    suites = (
        "BuildUp.track",
        *(f"track_{what}" for what in ("fragmented", "overwritten", "pulled", "half_denied")),
    )
    for seconds in (values[f"buildup.{suite}_cpu_s"] or [] for suite in suites):
        had = [one for one in seconds if one is not None and one == one]
        assert all(one > 0 for one in had)
        assert had == seconds != [] or "disturbed in 3 of 3 runs" in log
    assert values["buildup.track_words_exponent"] in ([1], [2])
    assert values["buildup.track_queries"] == [GIB * 2**30 // (512 * 65536)] * 2
    assert all(peak > 2**20 for peak in values["buildup.track_peak_bytes"])
    (counted,) = values["kernels.Kernels.track_instructions"]
    assert counted > 1


def test_a_build_that_lacks_the_filters_is_measured_plain(daemon, tmp_path):
    """What it lacks is left out of the answer, which suites take for not measured."""
    programs = tmp_path / "programs"
    programs.mkdir()
    without = Path(daemon).read_bytes().replace(b"snapshot-access", b"x" * len("snapshot-access"))
    (programs / DAEMON).write_bytes(without)
    (programs / DAEMON).chmod(0o755)
    words = ["--programs", str(programs), "--images", str(tmp_path / "images"), "memory"]
    for filtered, answers in (([], {"peak_bytes"}), (["--filtered"], set())):
        told = CliRunner().invoke(sample_main, [*words, "--size", "1G", *filtered])
        assert told.exit_code == 0, told.output
        assert set(json.loads(told.stdout)) == answers


@needs_perf
@pytest.mark.parametrize("of", ["BuildUp.track_cpu_s", "track_fragmented_cpu_s"])
def test_the_profile_that_the_gate_attaches_names_functions(project, measured, of):
    """As the gate runs it, by an environment's own program."""
    (attached,) = [one for one in read(project).attached if one.of == f"buildup.{of}"]
    params = {"setup": "cbw_snap", "image_tib": GIB / 1024, "image_gib": GIB}
    params |= {"cluster_kib": 64, "slice_kib": 4}
    program, *words = (word.format(**params) for word in attached.command)
    (found,) = (project / "env").glob(f"*/bin/{program}")
    ran = subprocess.run([found, *words], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    head, *functions = ran.stdout.splitlines()
    assert re.fullmatch(rf"qemu [\d.]+\S*, cbw_snap, {GIB}G: \d+\.\d\d s, \d+ samples.*", head)
    assert all(re.fullmatch(r" *\d+\.\d%  \S.* \(\S+\)", line) for line in functions)
    assert len(functions) <= 10


def test_commits_are_built_once_and_what_does_not_build_is_passed_over(project, history, measured):
    _, commits = history
    built = n_configured(project)
    ran = run(project, "bench", "--machine", "test", *commits.values())
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert "2 of 4 commits stored" in ran.stdout
    assert n_configured(project) == built + 3  # all but the one that is built
    running = [one.info["cmdline"] for one in psutil.process_iter(["cmdline"])]
    left = [command for command in running if "make-daemon" in str(command)]
    assert left == []  # the build that hung is stopped, and what it started
    told = {path.name[:40]: path.read_text() for path in (project / "failed-builds").iterdir()}
    assert told == {
        commits["broken"]: "x.c:1:1: error: no such thing\n",
        commits["hangs"]: "a build may take 10 s, and ninja has not ended: it was stopped\n",
    }
    before = n_configured(project)
    assert run(project, "bench", "--machine", "test", f"{commits['broken']}^!").returncode == 2
    assert n_configured(project) == before


def test_what_was_measured_is_shown_and_gated(project, history):
    _, commits = history
    shown = run(project, "show", COLUMNS="200")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("2 commits on test")
    sides = ("--base", commits["one"], "--head", commits["two"], "--profile", "full")
    before = images(project)
    counters = "words_exponent|track_queries"
    ran = run(project, "gate", "--machine", "test", "--bench", counters, *sides)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert images(project) == before != set()  # both sides have used the images that were there


def images(project):
    found = ((one.name, one.stat()) for one in (project / "images").iterdir())
    return {(name, stat.st_ino, stat.st_mtime_ns) for name, stat in found}


def name_of(process):
    try:
        return process.name()
    except psutil.Error:  # it has ended meanwhile
        return ""


def test_an_interrupted_build_leaves_nothing(project, history, tmp_path):
    """Neither ninja nor what it runs, nor a folder, nor half a build, nor a record."""
    repo, commits = history
    source = tmp_path / "source"
    git(repo, "worktree", "add", "-q", "--detach", str(source), commits["hangs"])
    words = [sys.executable, "-P", "-m", "hbitmap_bench.qemu_commits.build", source]
    words += [tmp_path / "cache", "--commit", commits["hangs"], "--failures", tmp_path / "failures"]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    env = {**os.environ, "CONFIGURED": str(tmp_path / "configured"), "TMPDIR": str(scratch)}
    with subprocess.Popen(words, env=env, stderr=subprocess.PIPE) as building:
        try:
            while "sleep" not in map(name_of, psutil.Process(building.pid).children(True)):
                assert building.poll() is None, building.stderr.read()
                time.sleep(0.01)
            started = psutil.Process(building.pid).children(True)
        finally:
            building.send_signal(signal.SIGINT)
        building.communicate(timeout=60)
    assert building.returncode == 130
    _, alive = psutil.wait_procs(started, timeout=10)
    assert not alive
    assert not list(scratch.iterdir())
    assert not (tmp_path / "failures").exists()
    assert not (tmp_path / "cache").exists()


def test_only_a_clone_of_qemu_is_taken_and_nothing_is_overwritten(tmp_path, history):
    repo, _ = history
    limits = {"builds_bytes": 10**9, "jobs": None, "limit_s": 60}
    git(tmp_path, "init", "-q", "other")
    with pytest.raises(UserError, match="must be a clone of QEMU, and HEAD of .* has no configure"):
        write_project(tmp_path / "other", tmp_path / "out", **limits)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="a folder of its own"):
        write_project(repo, tmp_path / "out", **limits)
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(UserError, match="outside of the clone"):
        write_project(repo, repo / "qemu-benchmarks", **limits)
    with pytest.raises(UserError, match="blanks or colons"):
        write_project(repo, tmp_path / "my work" / "out", **limits)
    assert not (tmp_path / "my work").exists()


def test_a_commit_is_not_blamed_for_a_program_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    words = [str(tmp_path), str(tmp_path / "cache"), "--commit", "0" * 40]
    with pytest.raises(UserError, match="builds need ninja"):
        build_main([*words, "--failures", str(tmp_path / "failures")], standalone_mode=False)
    assert not (tmp_path / "failures").exists()


def test_a_commit_is_not_blamed_where_configure_fails(tmp_path, monkeypatch):
    """A library may be missing here: it is told, and tried again once that is installed."""
    for name in ("CCACHE_DIR", "CCACHE_MAXSIZE", "CCACHE_NOHASHDIR"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))  # which builds set for themselves
    source, failures = tmp_path / "source", tmp_path / "failures"
    source.mkdir()
    configure = source / "configure"
    words = [str(source), str(tmp_path / "cache"), "--commit", "0" * 40]
    for makes, said in (("", "glib-2.56 is needed"), ("touch build.ninja", "unknown target")):
        configure.write_text(f"#!/bin/sh\n{makes or 'echo ERROR: glib-2.56 is needed; exit 1'}\n")
        configure.chmod(0o755)
        with pytest.raises(UserError, match=said):
            build_main([*words, "--failures", str(failures)], standalone_mode=False)
        assert failures.exists() == bool(makes)


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("[1/9] cc a.c\na.c:3:1: error: no\nninja: build stopped\n", "a.c:3:1: error: no"),
        ("\nERROR: glib-2.56 is needed\n", "ERROR: glib-2.56 is needed"),
        ("something\nthe last\n\n", "the last"),
        ("", "the build failed without a word"),
    ],
)
def test_the_first_line_that_speaks_of_an_error_is_the_reason(log, said):
    assert first_error(log) == said
