"""Projects that are not this one, of odd shapes: a real asv, environments, builds and git."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asv.plugins.git import Git
from rich.console import Console
from synthetic_gate import MACHINE
from tiny import COMMAND, git

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.checks import foreign
from hbitmap_bench.commits import sources, store
from hbitmap_bench.commits.asv_library import at_work, configuration, environments
from hbitmap_bench.commits.bench import anchor_of, commits_to_measure
from hbitmap_bench.commits.gate import measure
from hbitmap_bench.commits.gate.environments import Workshop
from hbitmap_bench.commits.gate.judge import _floor as floor_of
from hbitmap_bench.commits.gate.runs import load_run
from hbitmap_bench.commits.gate.sides import resolve
from hbitmap_bench.commits.gate.suites import Cell
from hbitmap_bench.commits.gate.thresholds import FLOOR_S
from hbitmap_bench.commits.project import find_project

CONFIGURATION = """{
    // asv reads comments: the configuration is in a subfolder, the suites are beside the package
    "version": 1,
    "project": "toy-words", /* as its distribution is called */
    "repo": "..",
    "branches": ["trunk"],
    "benchmark_dir": "../speed",
    "env_dir": "env",
    "environment_type": "virtualenv",
    "build_command": [
        "python -m pip wheel --no-deps --no-build-isolation -w {build_cache_dir} {build_dir}"
    ],
    "uninstall_command": [], // asv's own would be a call of pip for each install, which forces it
    "matrix": {"env_nobuild": {"TOY_MODE": ["plain", "odd"]}}
}
"""

SUITE = """
import os
import toy

print("a suite that speaks")


class Words:
    params = ([1, 2], ["a", None, 0.5], [len])
    param_names = ["n", "kind", "call"]

    def setup_cache(self):
        return toy.WORDS

    def setup(self, words, n, kind, call):
        if n == 2 and kind is None:
            raise NotImplementedError

    def track_words(self, words, n, kind, call):
        assert words == toy.WORDS
        return words * n

    def time_words(self, words, n, kind, call):
        sum(range(words * 10))


def track_alone():
    print("a benchmark that speaks")
    return toy.WORDS + (os.environ["TOY_MODE"] == "odd")


def mem_list():
    return [0] * toy.WORDS


def timeraw_import():
    return "import toy"


def peakmem_list():
    return [0] * toy.WORDS


def time_200_ns():
    sum(range(10))
"""

LONG = """
import time

def time_long():
    time.sleep(1)

time_long.timeout = 2.9  # enough for asv, which calls it twice
"""

TREE = {
    "perf/asv.conf.json": CONFIGURATION,
    ".gitignore": "__pycache__\n/perf/results\n/perf/html\n/perf/env\n",
    "pyproject.toml": '[project]\nname = "toy-words"\nversion = "1"\n'
    '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
    "src/toy/__init__.py": "WORDS = 7\n",
    "speed/__init__.py": "",
    "speed/suite.py": SUITE,
}


def commit(repo: Path, files: dict[str, str], subject: str) -> str:
    for name, text in files.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(text)
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", subject)
    return git(repo, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    """A repository with a branch ``trunk``, and what asv has measured of its two first commits."""
    repo = tmp_path_factory.mktemp("foreign") / "toy"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "trunk")
    commit(repo, TREE, "Begin")
    commit(repo, {"src/toy/__init__.py": "WORDS = 8\n"}, "Say more")
    ran = run(repo, "bench", "--machine", "test", "HEAD~1..HEAD")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 of 1 commits stored" in ran.stdout  # in each of two environments
    return repo


@pytest.fixture
def change(repo):
    def change(files: dict[str, str]) -> str:
        git(repo, "checkout", "-q", "-B", "change", "trunk")
        return commit(repo, files, "Change")

    yield change
    git(repo, "checkout", "-q", "-f", "trunk")
    git(repo, "clean", "-q", "-f", "-d")


@pytest.fixture
def configured(repo):
    """A function: change the configuration of the working tree; undone afterwards."""
    path = repo / "perf" / "asv.conf.json"

    def configured(before: str, after: str) -> None:
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, after, 1))

    yield configured
    path.write_text(CONFIGURATION)


def run(repo: Path, *arguments: str, at: str = "perf", **env: str):
    return subprocess.run(
        [COMMAND, *arguments], cwd=repo / at, capture_output=True, text=True,
        env={**os.environ, **env},
    )  # fmt: skip


def gate(repo: Path, *arguments: str, at: str = "perf"):
    return run(repo, "gate", "--format", "json", *arguments, at=at)


def told(ran) -> list[dict]:
    found = json.loads(ran.stdout)
    return found if isinstance(found, list) else [found]


def words(ran) -> dict[str, str]:
    return {f["cell"]: f["word"] for one in told(ran) for f in one["findings"]}


def refused(ran) -> str:
    assert ran.returncode == 2, ran.stdout + ran.stderr
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("hbitmap-bench: ")]
    assert "Traceback" not in ran.stderr
    return line


def test_every_environment_of_the_matrix_is_measured_and_shown(repo):
    paths = list(sources.result_paths(repo / "perf" / "results"))
    assert len(paths) == 2
    (files,) = {json.dumps(sources.read_record(path)[1]) for path in paths}
    assert list(json.loads(files)[0]) == ["toy/__init__.py"]
    shown = run(repo, "show", COLUMNS="200")
    assert shown.returncode == 0, shown.stderr
    assert "TOY_MODEplain" in shown.stdout
    assert "TOY_MODEodd" in shown.stdout
    assert git(repo, "status", "--porcelain") == ""


def test_every_kind_of_benchmark_gets_a_verdict_in_every_environment(repo, change):
    change({"src/toy/__init__.py": "WORDS = 9\n"})
    ran = gate(repo, "--bench", r"track|\.mem_list")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert [one["run"]["environment"].rsplit("TOY_MODE")[-1] for one in told(ran)] == [
        "plain",
        "odd",
    ]
    cells = [f"suite.Words.track_words({n}, {kind!r}, <built-in function len>)"
             for n in (1, 2) for kind in ("a", None, 0.5) if (n, kind) != (2, None)]  # fmt: skip
    assert words(ran) == dict.fromkeys([*cells, "suite.track_alone", "suite.mem_list"], "REGRESSED")


def test_noisy_kinds_are_timed_and_what_a_setup_skips_is_not_missing(repo, change, monkeypatch):
    """In one round: what the gate says of so few is told elsewhere."""
    change({"src/toy/__init__.py": "WORDS = 8  # as ever\n", "speed/long.py": LONG})
    monkeypatch.setattr(measure, "ROUNDS", (1, 1))
    project = find_project(repo / "perf")
    sides = resolve(project, None, None, allow_dirty=False)
    request = measure.Request(
        *sides, profile="quick", bench="time|peakmem", machine={**MACHINE, "machine": "test"},
        band=0.05, band_source="", budget_s=0.0,
    )  # fmt: skip
    found = load_run(measure.measure(Workshop(project), request, Console(quiet=True)))
    assert found.manifest.failures == found.manifest.required == ()
    (timed,) = found.passes
    skipped = [cell for cell in found.manifest.cells if cell not in timed]
    assert [cell.params[:2] for cell in skipped] == [(2, None)]
    assert all(np.isfinite(pair).all() for pair in timed.values())
    assert {cell.benchmark for cell in timed} == {
        "long.time_long",
        *(f"suite.{name}" for name in ("Words.time_words", "timeraw_import", "peakmem_list")),
        "suite.time_200_ns",
    }
    short = Cell("suite.time_200_ns", ())
    assert found.calls[short] > 1
    assert floor_of(found, short) == FLOOR_S.value / found.calls[short]


def test_a_change_that_leaves_the_package_as_it_is_is_the_same_code(repo, change):
    change({"README.md": "Read me.\n"})
    ran = gate(repo)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {one["outcome"] for one in told(ran)} == {"SAME_CODE"}


def test_a_benchmark_that_is_gone_or_fails_is_not_measured(repo, change):
    fails = SUITE.replace("return [0] * toy.WORDS", "raise RuntimeError('no room')", 1)
    change(
        {"src/toy/__init__.py": "WORDS = 7\n", "speed/suite.py": fails.replace("track_alone", "x")}
    )
    ran = gate(repo, "--bench", r"track_alone|\.mem_list")
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert words(ran) == {"suite.track_alone": "NOT_MEASURED", "suite.mem_list": "NOT_MEASURED"}
    assert "no room" in ran.stdout


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"speed/suite.py": "import nowhere\n"}, "the suites of the head can't be imported: "
         "ModuleNotFoundError: No module named 'nowhere'"),
        ({"src/toy/__init__.py": "import nowhere\n"}, "No module named 'nowhere'"),
        ({"pyproject.toml": "[project\n"}, "can't be built and installed"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_or_built_is_told_in_a_line(repo, change, files, said):
    change(files)
    assert said in refused(gate(repo))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"virtualenv"', '"conda"', "environment_type 'conda': set it to \"virtualenv\""),
        ('"virtualenv"', '"existing"', "existing environment"),
        ('"version": 1,', '"version": 1, "include": [{"python": "2.0"}],', "Python 2.0, and there"),
        ('"version": 1,', '"version": 1, "pythons": ["2.0"],', "Python 2.0, and there is none"),
        ('"odd"]}}', '"odd"]}}, "exclude": [{"environment_type": "virtualenv"}]', "gives none"),
        ('"repo": "..",', "", "No repo specified"),
        ('"version": 1,', '"version": 1, "dvcs": "hg",', "dvcs 'hg'"),
    ],
)
def test_a_configuration_that_makes_no_environment_is_told_in_a_line(
    repo, configured, before, after, said
):
    configured(before, after)
    for command in (("gate", "--base", "HEAD~1", "--head", "HEAD"), ("bench", "HEAD^!")):
        assert said in refused(run(repo, *command))


def test_a_python_that_is_excluded_is_not_asked_for(repo, configured):
    """As a project does that names each environment in ``include``."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    configured(
        '"version": 1,',
        f'''"version": 1, "pythons": ["2.0"],
        "exclude": [{{"python": "2.0"}}], "include": [{{"python": "{here}"}}],''',
    )
    (one,) = environments(find_project(repo / "perf"))
    assert one.python == here


NEWER = (
    SUITE.replace("toy.WORDS +", "toy.MORE +")
    + """

def track_more():
    return toy.MORE
"""
)


def test_what_fails_on_the_base_alone_is_not_measured_but_where_it_is_new(
    repo, change, configured, monkeypatch
):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # what it prints comes after the error
    change({"src/toy/__init__.py": "WORDS = MORE = 8\n", "speed/suite.py": NEWER})
    configured(', "odd"', "")
    sides = ("--base", "trunk", "--head", "HEAD")
    ran = gate(repo, *sides, "--bench", r"track_(alone|more)|\.mem_list")
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert words(ran) == {"suite.track_alone": "NOT_MEASURED", "suite.mem_list": "UNCHANGED"}
    assert "it failed on the base: AttributeError" in ran.stdout
    assert json.loads(ran.stdout)["new"] == ["suite.track_more"]


def test_a_remote_repository_is_mirrored_and_fetched_anew(repo, change, configured):
    configured('"repo": ".."', f'"repo": "{repo.as_uri()}"')
    mirror = find_project(repo / "perf").root
    assert git(mirror, "rev-parse", "trunk") == git(repo, "rev-parse", "trunk")
    newer = change({"src/toy/__init__.py": "WORDS = 9\n"})
    assert find_project(repo / "perf").root == mirror
    assert git(mirror, "rev-parse", "change") == newer


def test_a_remote_repository_that_does_not_answer_is_told_in_a_line(repo, configured, tmp_path):
    configured('"repo": ".."', f'"repo": "{tmp_path.as_uri()}/nowhere"')
    assert "can't be cloned" in refused(run(repo, "show"))


def worktree(repo: Path, place: Path) -> Path:
    git(repo, "worktree", "add", "-q", "--detach", str(place), "change")
    return place


def submodule(repo: Path, place: Path) -> Path:
    place.mkdir()
    git(place, "init", "-q")
    git(place, "submodule", "add", "-q", str(repo), "toy")
    git(place / "toy", "checkout", "-q", "--detach")
    return place / "toy"


def merged_in_depth_2(repo: Path, place: Path) -> Path:
    """As a pull request's check has it: the merge and its parents."""
    git(repo, "checkout", "-q", "--detach", "trunk")
    git(repo, "merge", "-q", "--no-ff", "change", "-m", "Merge")
    git(repo, "branch", "-f", "merged")
    git(repo.parent, "clone", "-q", "--depth", "2", "-b", "merged", f"file://{repo}", str(place))
    return place


@pytest.fixture
def submodules_by_file(monkeypatch):
    """Git allows them: not from a path, by default."""
    for name, value in {"COUNT": "1", "KEY_0": "protocol.file.allow", "VALUE_0": "always"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)


def share_environments(repo: Path, clone: Path) -> None:
    """Those that are made for the toy, without their clones of it; one of the matrix is enough."""
    env = repo / "perf" / "env"
    for pattern in ("*/project", "hbitmap-bench/gate/envs/*/*/*/project"):
        for project in env.glob(pattern):
            shutil.rmtree(project)
    (clone / "perf" / "env").symlink_to(env)
    (clone / "perf" / "asv.conf.json").write_text(CONFIGURATION.replace(', "odd"', ""))


@pytest.mark.parametrize("made", [worktree, submodule, merged_in_depth_2])
def test_a_clone_of_any_kind_is_measured(repo, change, tmp_path, submodules_by_file, made):
    """Its head is detached, or has a history that ends soon."""
    change({"src/toy/__init__.py": "WORDS = 9\n"})
    clone = made(repo, tmp_path / "clone")
    share_environments(repo, clone)
    ran = gate(clone, "--bench", "track_alone", "--base", "HEAD^1", "--head", "HEAD")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert words(ran) == {"suite.track_alone": "REGRESSED"}


@pytest.mark.parametrize("wanted", [True, False])
def test_submodules_are_checked_out_unless_a_project_does_without(
    tmp_path, submodules_by_file, wanted
):
    """Beside what the user has set for git; a build brings one by its name."""
    part, whole, perf = (tmp_path / name for name in ("part", "whole", "perf"))
    for folder in (part, whole, perf):
        folder.mkdir()
    for repo in (part, whole):
        git(repo, "init", "-q", "-b", "trunk")
    commit(part, {"words": "8"}, "Begin")
    git(whole, "submodule", "add", "-q", str(part), "part")
    commit(whole, {"more": "9"}, "Take words")
    (perf / "asv.conf.json").write_text(json.dumps({"version": 1, "repo": str(whole)}))
    (perf / "hbitmap-bench.toml").write_text(f"[measured]\nsubmodules = {str(wanted).lower()}\n")
    git(perf, "init", "-q")
    before, made = dict(os.environ), tmp_path / "made"
    with at_work(find_project(perf), "nothing can be checked out"):
        Git(str(whole), "").checkout(str(made), git(whole, "rev-parse", "HEAD"))
        assert (made / "more").exists()
        assert (made / "part" / "words").exists() == wanted
        git(made, "submodule", "update", "-q", "--init", "part")
        assert (made / "part" / "words").exists()
    assert dict(os.environ) == before


def test_a_submodule_can_be_what_is_measured(repo, tmp_path, submodules_by_file):
    part, clone = tmp_path / "part", tmp_path / "clone"
    part.mkdir()
    git(part, "init", "-q")
    commit(part, {"__init__.py": "WORDS = 8\n"}, "Begin")
    git(tmp_path, "clone", "-q", str(repo), "clone")
    git(clone, "submodule", "add", "-q", str(part), "src/toy/part")
    declared = '[measured]\npaths = ["src/toy/part"]\n'
    files = {"src/toy/__init__.py": "from toy.part import WORDS\n"}
    commit(clone, files | {"perf/hbitmap-bench.toml": declared}, "Take words from a submodule")
    commit(part, {"__init__.py": "WORDS = 9\n"}, "Say more")
    git(clone / "src" / "toy" / "part", "pull", "-q")
    commit(clone, {}, "Take more")
    share_environments(repo, clone)
    ran = gate(clone, "--bench", "track_alone", "--base", "HEAD^1", "--head", "HEAD")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert words(ran) == {"suite.track_alone": "REGRESSED"}


def test_what_is_new_is_told_by_history_and_not_by_dates(repo, monkeypatch):
    """A change that is older than what was measured, and merged later."""
    trunk = git(repo, "rev-parse", "trunk")
    git(repo, "checkout", "-q", "--detach", "trunk~1")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2001-01-01T00:00:00Z")
    old = commit(repo, {"src/toy/old.py": ""}, "Work long on a change")
    git(repo, "merge", "-q", "trunk", "-m", "Merge")
    merged = git(repo, "rev-parse", "HEAD")
    project = find_project(repo / "perf")
    assert commits_to_measure(project, trunk.__eq__) == [old, merged]
    assert anchor_of(project, trunk.__eq__, [old, merged]) == trunk
    shown = [commit.hash for commit in store._commits(repo, {trunk, merged})]
    git(repo, "checkout", "-q", "trunk")
    assert shown == [trunk, merged]


def test_commits_may_be_named_whatever_they_changed(repo):
    """As a project's tags are, which may change a version alone; the older one comes first."""
    project, names = find_project(repo / "perf"), ("trunk", "trunk~1")
    found = commits_to_measure(project, "".__eq__, names)
    assert found == [git(repo, "rev-parse", name) for name in names[::-1]]
    with pytest.raises(UserError, match="rev-parse failed"):
        commits_to_measure(project, "".__eq__, ("trunk", "nowhere"))


def test_a_tag_alone_is_its_commit_and_a_branch_alone_is_a_range(repo):
    """As asv and git have it, a release by its name would be all commits up to it."""
    project, newest = find_project(repo / "perf"), git(repo, "rev-parse", "trunk")
    git(repo, "tag", "v1", "trunk")
    git(repo, "tag", "-a", "-m", "Annotated", "v1-again", "trunk")
    try:
        for tag in ("v1", "v1-again"):
            assert commits_to_measure(project, "".__eq__, [tag]) == [newest]
        for many in ("trunk", "v1~0", newest):
            assert len(commits_to_measure(project, "".__eq__, [many])) > 1
    finally:
        git(repo, "tag", "-d", "v1", "v1-again")


def test_results_of_another_matrix_are_a_history_of_their_own(repo, configured, tmp_path):
    shutil.copytree(repo / "perf" / "results", tmp_path / "results")
    configured('"plain", "odd"', '"other"')
    configured('"repo": "..",', f'"repo": "..", "results_dir": "{tmp_path}/results",')
    ran = run(repo, "bench", "--machine", "test")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 of 1 commits stored" in ran.stdout
    assert len(list(sources.result_paths(tmp_path / "results"))) == 3
    assert run(repo, "bench", "--machine", "test").stdout.startswith("Nothing to measure")
    shown = run(repo, "show", COLUMNS="200")
    assert all(f"TOY_MODE{mode}" in shown.stdout for mode in ("plain", "odd", "other"))


def test_what_a_killed_asv_leaves_is_refused_and_measured_anew(repo, configured, tmp_path):
    results = tmp_path / "results"
    configured('"repo": "..",', f'"repo": "..", "results_dir": "{results}",')
    asv, home = [sys.executable, "-P", "-m", "asv"], {**os.environ, "HOME": str(tmp_path)}
    where = {"cwd": repo / "perf", "env": home, "stdout": subprocess.DEVNULL}
    subprocess.run([*asv, "machine", "--yes", "--machine", "test"], check=True, **where)
    command = [*asv, "run", "--machine", "test", "--bench", "track_alone", "trunk^!"]
    with subprocess.Popen(command, start_new_session=True, **where) as running:
        while not list(sources.result_paths(results)):
            assert running.poll() is None
            time.sleep(0.01)
        os.killpg(running.pid, signal.SIGKILL)
    assert "no side record" in refused(run(repo, "show"))
    ran = run(repo, "bench", "--machine", "test", "trunk^!")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert sources.refusals(results, repo) == {}


@pytest.mark.parametrize("file", ["src/toy/__init__.py", "speed/suite.py"])
def test_bench_says_why_what_cannot_be_imported_was_not_measured(
    repo, change, configured, tmp_path, file
):
    change({file: "import nowhere\n"})
    configured(', "odd"', "")
    configured('"repo": "..",', f'"repo": "..", "results_dir": "{tmp_path}/results",')
    ran = run(repo, "bench", "--machine", "test", "HEAD^!")
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert "ModuleNotFoundError: No module named 'nowhere'" in ran.stdout


def test_builds_that_rounds_come_back_to_are_kept(repo, configured):
    """asv keeps two by itself."""
    assert configuration(find_project(repo / "perf")).build_cache_size == 16
    configured('"version": 1,', '"version": 1, "build_cache_size": 40,')
    assert configuration(find_project(repo / "perf")).build_cache_size == 40


def test_the_configuration_may_be_elsewhere_and_the_repository_bare(repo, tmp_path_factory):
    """Suites are then those of the working tree, and environments may be shared."""
    home = repo.parent / "elsewhere"
    git(repo.parent, "clone", "-q", "--bare", str(repo), "bare.git")
    home.mkdir()
    conf = CONFIGURATION.replace('"repo": ".."', '"repo": "../bare.git"')
    conf = conf.replace('"env_dir": "env"', '"env_dir": "../toy/perf/env"').replace(', "odd"', "")
    (home / "asv.conf.json").write_text(conf.replace('"../speed"', '"../toy/speed"'))
    ran = gate(repo, "--bench", "track_alone", "--base", "trunk~1", at=home)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert words(ran) == {"suite.track_alone": "REGRESSED"}


def test_an_existing_environment_is_measured_as_it_is(tmp_path):
    """The one that runs these tests: this project is installed there."""
    git(tmp_path, "init", "-q")
    conf = '{"version": 1, "project": "hbitmap-bench", "repo": ".", "environment_type": "existing"}'
    suite = "def track_none():\n    return 0\n"
    files = {"asv.conf.json": conf, "benchmarks/__init__.py": "", "benchmarks/suite.py": suite}
    commit(tmp_path, files, "Begin")
    ran = run(tmp_path, "bench", "--machine", "test", at=".")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (path,) = sources.result_paths(tmp_path / "results")
    _, (files,) = sources.read_record(path)
    assert "hbitmap_bench/cli.py" in files
    assert "name no commits" in refused(run(tmp_path, "bench", "HEAD~1..HEAD", at="."))


def test_the_check_tells_how_each_command_fares_on_a_clone(repo, change, tmp_path):
    conf = CONFIGURATION.replace(', "odd"', "").replace('"env"', f'"{repo}/perf/env"')
    new = change({"perf/asv.conf.json": conf, "src/toy/__init__.py": "WORDS = 9\n"})
    command = [sys.executable, "-P", "-m", "hbitmap_bench.checks.foreign", str(repo)]
    ran = subprocess.run(
        [*command, "--bench", "track_alone", "--commits", "2"], cwd=tmp_path, text=True,
        capture_output=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count(" yes ") == 6
    assert "2 of 2 commits stored" in ran.stdout
    assert "the suites of the head can't be imported" in ran.stdout
    assert git(repo, "rev-parse", "HEAD") == new
    assert git(repo, "status", "--porcelain") == ""


def test_the_check_makes_a_function_slower_and_leaves_its_result(repo):
    where: dict[str, Any] = {}
    slower = foreign.SLOWER.format(name="A.run")
    exec("class A:\n    def run(self, n):\n        return n" + slower, where)
    assert where["A"]().run(7) == 7
