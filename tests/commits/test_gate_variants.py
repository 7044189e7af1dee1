"""One commit in two environments: real ones, whose builds and benchmarks a variable changes."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from synthetic_gate import MACHINE
from tiny import COMMAND, SETUP, commit, gate, git, make_repo, run_folder

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.gate import measure
from hbitmap_bench.commits.gate.environments import Workshop
from hbitmap_bench.commits.gate.runs import load_run
from hbitmap_bench.commits.gate.sides import resolve_one
from hbitmap_bench.commits.gate.suites import Cell
from hbitmap_bench.commits.gate.variants import variants
from hbitmap_bench.commits.project import find_project

BUILT = """
import os
level = os.environ.get("LEVEL", "1")
if level == "bad":
    raise SystemExit("error: no such level")
open("hbitmap_impl/built.py", "w").write(f"LEVEL = {level}\\n")
"""
"""What begins ``setup.py``."""

SUITE = """
import os, sys
from hbitmap_impl.built import LEVEL


def track_built():
    return LEVEL


def track_run():
    return int(os.environ.get("LEVEL", 1))


def track_same():
    return 7


def track_setuptools():
    import setuptools
    return int(setuptools.__version__.split(".")[0])


def track_place():
    return 1 if "/one/" in sys.prefix else 2


def track_params(n):
    return n


track_params.params = [LEVEL, 3]

if LEVEL == 1:
    def track_only_in_one():
        return 1
else:
    def track_only_in_two():
        return 1
"""

ONE_AND_TWO = ("--env-a=env:LEVEL=1", "--env-b=env:LEVEL=2")


@pytest.fixture(scope="module")
def repo(tmp_path_factory, made):
    repo = tmp_path_factory.mktemp("variants") / "repo"
    make_repo(repo, {"suite": SUITE}, made)
    noisy = '[counters]\nnoisy = ["track_place"]\n'
    commit(repo, {"setup.py": BUILT + SETUP, "hbitmap-bench.toml": noisy}, "Build a level")
    commit(repo, {"hbitmap_impl/words.py": "WORDS = 8\n"}, "Read more")
    return repo


def judge(run: Path, form: str) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, "judge", run, "--format", form]
    return subprocess.run(command, capture_output=True, text=True)


def verdicts(ran: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {f["cell"].removeprefix("suite."): f["word"] for f in json.loads(ran.stdout)["findings"]}


def refused(ran: subprocess.CompletedProcess[str]) -> str:
    """The one line that says why, with exit code 2."""
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert ran.stdout == ""
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("hbitmap-bench: ")]
    assert "Traceback" not in ran.stderr
    return line


def test_a_variable_reaches_the_build_and_the_benchmarks_and_is_judged_so_again(repo):
    ran = gate(repo, *ONE_AND_TWO, "--bench", "track_(built|run|same)", "--format", "json")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    words = {"track_built": "REGRESSED", "track_run": "REGRESSED", "track_same": "UNCHANGED"}
    assert verdicts(ran) == words
    told = json.loads(ran.stdout)
    sides = told["run"]["base"], told["run"]["head"]
    assert {side["commit"] for side in sides} == {git(repo, "rev-parse", "HEAD")}
    for side, name, level in zip(sides, "AB", "12", strict=True):
        environment = side["environment"]
        assert environment["name"] == name
        assert environment["options"] == [f"env:LEVEL={level}"]
        assert environment["variables"] == {"LEVEL": level}
        assert environment["packages"]["setuptools"]
    (command,) = {f["command"].split(" --bench")[0] for f in told["findings"]}
    assert command.endswith("--env-a env:LEVEL=1 --env-b env:LEVEL=2")
    assert judge(run_folder(ran), "json").stdout == ran.stdout
    for form in ("text", "markdown", "github", "junit"):
        page = judge(run_folder(ran), form).stdout
        assert "in A" in page
        assert "env:LEVEL=2: Python 3." in page
        for word in ("base", "head", "before", "after", "change's"):
            said = page.replace("--head", "").split("Thresholds")[0]
            assert word not in said, form


def test_the_other_way_round_it_improves_with_each_build_as_it_was(repo):
    arguments = ("--env-a=env:LEVEL=2", "--env-b=env:LEVEL=1", "--bench=track_built")
    ran = gate(repo, *arguments, "--format", "json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert verdicts(ran) == {"track_built": "IMPROVED"}
    wheels = (repo / ".asv/gate/envs").glob("variant-*/one/*/asv-build-cache/*/*.whl")
    assert len(set(wheels)) == 2


def test_what_is_not_named_is_as_configured_and_the_project_s_own_environments_stay(repo):
    assert gate(repo, "--base=HEAD~1", "--bench=track_same").returncode == 0
    ran = gate(repo, "--env-b=env:LEVEL=2", "--bench=track_same")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "no change in performance detected" in ran.stdout
    assert "A         as configured: Python 3." in ran.stdout
    folders = [path.name for path in (repo / ".asv/gate/envs").iterdir()]
    assert sorted(name.startswith("variant-") for name in folders) == [False, True, True]


def test_what_one_environment_lacks_is_not_measured(repo):
    ran = gate(repo, *ONE_AND_TWO, "--bench", "track_only", "--format", "json")
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert verdicts(ran) == {
        "track_only_in_one": "NOT_MEASURED",
        "track_only_in_two": "NOT_MEASURED",
    }
    assert "B's suites do not have it" in ran.stdout
    assert "it failed on A" in ran.stdout


def measured(repo: Path, a: str, b: str) -> Path:
    """A run of two rounds of the place that each side is measured in."""
    project = find_project(repo)
    side = resolve_one(project, None, allow_dirty=False)
    (pair,) = variants(project, ["env:LEVEL=1"], ["env:LEVEL=2"])
    by_option = {variant.options[0]: variant for variant in pair}
    pair = replace(by_option[a], name="A"), replace(by_option[b], name="B")
    request = measure.Request(
        side, side, profile="quick", bench="track_place", machine={**MACHINE, "machine": "test"},
        band=0.05, band_source="", budget_s=0.0, same_code_too=True,
    )  # fmt: skip
    return measure.measure(Workshop(project, variants=pair), request, Console(quiet=True))


def test_sides_exchange_places(repo, monkeypatch):
    """Each is measured in the first copy of its environment and in the second."""
    monkeypatch.setattr(measure, "ROUNDS", (2, 2))
    run = load_run(measured(repo, "env:LEVEL=1", "env:LEVEL=2"))
    a, b = run.passes[0][Cell("suite.track_place", ())]
    assert sorted(a) == sorted(b) == [1, 2]
    assert all(a != b)


def test_environments_that_turn_out_to_be_one_are_not_compared(repo):
    with pytest.raises(UserError, match="A and B have turned out to be the same"):
        measured(repo, "env:LEVEL=2", "env:LEVEL=2")


def test_another_version_of_a_requirement_is_found(repo):
    ran = gate(repo, "--env-b=Setuptools=80.9.0", "--bench=track_setuptools", "--format=json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert verdicts(ran) == {"track_setuptools": "IMPROVED"}
    told = json.loads(ran.stdout)["run"]["head"]["environment"]
    assert told["packages"]["setuptools"] == "80.9.0"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--env-a=numpy"], "'numpy' is none of them"),
        (["--env-a=numpy==1.26.4"], "'numpy==1.26.4' is none of them"),
        (["--env-a=numpy=>=1.26"], "'numpy=>=1.26' is none of them"),
        (["--env-b=env:2=3"], "'env:2=3' is none of them"),
        (["--env-b=python="], "'python=' is none of them"),
        (["--env-b=a_b=1", "--env-b=A-B=2"], "'A-B=2' is a second"),
        (["--env-a=env:X=1", "--env-b=env:X=1"], "A and B are the same"),
        ([*ONE_AND_TWO, "--base=HEAD"], "there is a --base: leave it out"),
        (["--env-b=python=2.0"], "Python 2.0, and there is none on PATH"),
        (["--env-b=setuptools=0.0.1"], "environment B (setuptools=0.0.1) can't be made: ERROR: "),
        (["--env-b=env:PYTHONPATH=/"], "since asv itself sets PYTHONPATH"),
        (["--env-b=env:LEVEL=bad"], "built and installed in environment B (env:LEVEL=bad)"),
        (["--env-b=env:LEVEL=x"], "the suites of environment B (env:LEVEL=x) can't be imported"),
        ([*ONE_AND_TWO, "--bench=track_params"], "suite.track_params has not"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_told_in_a_line(repo, arguments, said):
    assert said in refused(gate(repo, *arguments))


def test_each_environment_of_a_matrix_is_compared(repo, tmp_path):
    """Of those that are one once they are changed, one."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(repo), "clone")
    conf = json.loads((clone / "asv.conf.json").read_text())
    conf["matrix"] |= {"env_nobuild": {"LEVEL": ["1", "2"], "MODE": ["a", "b"]}}
    (clone / "asv.conf.json").write_text(json.dumps(conf))
    project = find_project(clone)
    pairs = variants(project, [], ["env:LEVEL=2"])
    found = [[v.project.conf["matrix"]["env_nobuild"] for v in pair] for pair in pairs]
    assert found == [
        [{"LEVEL": ["1"], "MODE": [mode]}, {"LEVEL": ["2"], "MODE": [mode]}] for mode in "ab"
    ]
    assert len(variants(project, ["env:LEVEL=1"], ["env:LEVEL=2"])) == 2
