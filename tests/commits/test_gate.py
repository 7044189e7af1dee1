"""The gate on a repository of its own, by its command: real environments, a real asv, real git."""

import fcntl
import json
import os
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import psutil
import pytest
import yaml
from action_steps import ROOT, Runner
from rich.console import Console
from tiny import COMMAND, DECLARED, commit, gate, git, make_repo, run_folder

from hbitmap_bench.commits.bisect import Bisection
from hbitmap_bench.commits.gate.commands import FORMATS
from hbitmap_bench.commits.gate.confirm import confirm
from hbitmap_bench.commits.gate.sides import measured_ids
from hbitmap_bench.commits.series import Commit
from hbitmap_bench.commits.store import decode_benchmark
from hbitmap_bench.commits.trend import Found

SUITE = """
import os, time
from benchmarks.common import Suite, benchmark, provided


class Work(Suite):
    param_names = ("implementation", "image_tib")
    params = (["deny"], [1, 2])

    def prepare(self, implementation, image_tib):
        words = provided("words", "WORDS")
        if image_tib == 2 and words == 66:
            raise RuntimeError("sixty-six is too many")
        if image_tib == 2 and words == 99:
            os.kill(os.getpid(), 9)
        if image_tib == 2 and words == 100:
            time.sleep(100)
        if image_tib == 2 and words == 101:
            raise NotImplementedError
        self.words = words

    @benchmark(version="1", timeout=60)
    def time_work(self, *_):
        time.sleep(self.words / 3000)  # which other work on the machine hardly changes

    @benchmark(version="1", timeout=3, unit="words")
    def track_words(self, *_):
        return self.words
"""

LIST = {
    f"suite.Work.{name}": {
        "type": kind,
        "unit": unit,
        "version": "1",
        "param_names": ["implementation", "image_tib"],
        "params": [["'deny'"], ["1", "2"]],
    }
    for name, kind, unit in (("time_work", "time", "seconds"), ("track_words", "track", "words"))
}
WORDS = "track_words"
"""Counters alone: a second."""


@pytest.fixture(scope="module")
def repo(tmp_path_factory, made):
    repo = tmp_path_factory.mktemp("gate") / "repo"
    make_repo(repo, {"suite": SUITE}, made)
    golden = {"tests/golden/benchmarks.json": json.dumps(LIST)}
    (repo / "tests").mkdir()
    commit(repo, golden, "List the benchmarks")
    return repo


@pytest.fixture
def change(repo):
    """A function: commit on a branch of its own, on top of main; undone afterwards."""

    def change(files: dict[str, str], subject: str = "Change") -> str:
        git(repo, "checkout", "-q", "-B", "change", "main")
        return commit(repo, files, subject)

    yield change
    git(repo, "checkout", "-q", "-f", "main")
    git(repo, "clean", "-q", "-f", "-d")


def words(n: int) -> dict[str, str]:
    return {"hbitmap_impl/words.py": f"WORDS = {n}\n"}


def allowed(entry: str) -> dict[str, str]:
    return {"hbitmap-bench.toml": f"{DECLARED}\n[[counters.allowed]]\n{entry}\n"}


def verdicts(ran: subprocess.CompletedProcess[str]) -> dict[str, str]:
    told = json.loads(ran.stdout)
    return {f"{f['benchmark']}{tuple(f['params'])}": f["word"] for f in told["findings"]}


def assert_refused(ran: subprocess.CompletedProcess[str], *said: str) -> None:
    """Exit code 2, and one line that says it."""
    assert ran.returncode == 2, ran.stdout + ran.stderr
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("hbitmap-bench: ")]
    assert "Traceback" not in ran.stderr
    for words in said:
        assert words in line


def test_a_slower_change_is_regressed_by_counters_and_by_time_and_judged_so_again(repo, change):
    change(words(14))
    ran = gate(repo, "--format", "json")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert json.loads(ran.stdout)["outcome"] == "REGRESSED"
    assert verdicts(ran) == {
        f"suite.Work.{name}('deny', {tib})": "REGRESSED"
        for name in ("time_work", "track_words")
        for tib in (1, 2)
    }
    assert (run_folder(ran) / "verdict.json").read_text() == ran.stdout
    again = [COMMAND, "judge", run_folder(ran), "--format", "json"]
    judged = subprocess.run(again, cwd="/", capture_output=True, text=True)
    assert (judged.returncode, judged.stdout) == (1, ran.stdout)


ATTACHED = """
[[attached]]
of = "suite.Work.track_words"
title = "What it reads"
command = [
    "python", "-P", "-c",
    "import sys; from hbitmap_impl import words; print(words.WORDS, sys.argv[1:])",
    "{implementation}", "{image_tib}T",
]

[[attached]]
of = "suite.Work.track_words"
title = "What fails"
command = ["python", "-c", "raise SystemExit('no luck')"]

[[attached]]
of = "suite.Work.track_words"
title = "What is not there"
command = ["no-such-program", "{image_gib}"]

[[attached]]
of = "suite.Work.time_work"
title = "What is not asked for"
command = ["python", "-c", "print('unseen')"]
"""


def test_what_a_project_has_to_say_of_a_regression_is_attached(repo, change):
    """By the slower side; a run that is judged again has it, and what fails changes no verdict."""
    change({**words(8), "hbitmap-bench.toml": f"{DECLARED}\n{ATTACHED}"})
    ran = gate(repo, "--bench", WORDS, "--format", "json")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    cell = "suite.Work.track_words('deny', 1)"
    told = {one["title"]: (one["cell"], one["text"]) for one in json.loads(ran.stdout)["attached"]}
    assert told.pop("What it reads") == (cell, "8 ['deny', '1T']")
    assert told.pop("What fails") == (cell, "python gave nothing to attach: no luck")
    assert "{image_gib}" in told.pop("What is not there")[1]
    assert not told
    for form in ("text", "markdown"):
        again = [COMMAND, "judge", run_folder(ran), "--format", form]
        judged = subprocess.run(again, cwd="/", capture_output=True, text=True)
        assert judged.returncode == 1
        assert "8 ['deny', '1T']\n" in judged.stdout


def test_a_change_that_costs_nothing_passes(repo, change):
    change({"hbitmap_impl/words.py": "WORDS = 7  # as ever\n"})
    ran = gate(repo, "--bench", WORDS)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "PASSED" in ran.stdout
    for form in FORMATS:  # a reader who has seen enough changes no verdict
        piped = f"'{COMMAND}' judge '{run_folder(ran)}' --format {form} | true"
        unread = subprocess.run(["bash", "-o", "pipefail", "-c", piped], capture_output=True)
        assert (unread.returncode, unread.stderr) == (0, b"")


def test_what_an_environment_costs_is_no_regression(repo, change):
    """The head begins in the second one, and would be slower in every round that it stays there."""
    change({
        "hbitmap_impl/words.py": """import sys
WORDS = 14 if "/two/" in sys.prefix else 7
"""
    })  # fmt: skip
    ran = gate(repo, "--bench", "time_work", "--budget", "0", "--format", "json")
    assert "REGRESSED" not in verdicts(ran).values(), ran.stdout + ran.stderr
    installed_in = "*/one/*/lib/*/site-packages/hbitmap_impl/words.py"
    (installed,) = (repo / ".asv/gate/envs").glob(installed_in)
    assert "two" in installed.read_text()  # they have changed places


def test_options_of_the_build_are_measured_and_the_rest_of_its_file_is_not(repo, change):
    text = '[build-system]\nrequires = ["setuptools"]\n'
    paths = ["hbitmap_impl", "setup.py", "setup.cfg"]

    def ids(files):
        return measured_ids(repo, change(files), paths)

    (before,) = {measured_ids(repo, "main", paths), ids({"README.md": "Read.\n"})}
    options = '\n[tool.distutils.build_ext]\ndefine = "HBITMAP_NO_COUNTERS"\n'
    assert ids({"pyproject.toml": text + options}) != before
    assert ids({"pyproject.toml": text + "\n[tool.other]\n"}) == before
    assert ids({"setup.cfg": options}) != before
    assert ids({"pyproject.toml": "no = TOML"}) != before


def test_a_link_that_leads_elsewhere_hinders_nobody(repo, change):
    change({"hbitmap_impl/words.py": "WORDS = 7  # as linked\n"})
    (repo / "elsewhere").symlink_to("/nowhere")
    git(repo, "add", "elsewhere")
    git(repo, "commit", "-q", "-m", "Link")
    assert gate(repo, "--bench", WORDS).returncode == 0


def test_a_change_of_documents_is_the_same_code(repo, change):
    change({"README.md": "Read me.\n"})
    ran = gate(repo)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "SAME_CODE" in ran.stdout


def test_a_counter_may_rise_where_the_change_brings_a_reason(repo, change):
    change(
        {**words(8), **allowed('benchmark = "suite.Work.track_words"\nreason = "A wider word."')}
    )
    ran = gate(repo, "--bench", WORDS, "--format", "json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "A wider word." in ran.stdout
    change({**allowed('benchmark = "x"'), **words(9)})
    assert_refused(gate(repo, "--bench", WORDS), "hbitmap-bench.toml", "reason")


def test_a_regression_passes_where_a_commit_names_it_with_a_reason(repo, change):
    change(words(8), "Read more\n\nAllow-slower: suite.Work.track_words: A wider word.\n")
    ran = gate(repo, "--bench", WORDS)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "REGRESSED by exact counter (allowed): suite.Work.track_words" in ran.stdout.replace(
        " REGRESSED  by", "REGRESSED by"
    )
    change(words(9), "Read more\n\nAllow-slower: suite.Work.track_words\n")
    assert_refused(gate(repo, "--bench", WORDS), "NAME: REASON", "track_words")


@pytest.mark.parametrize(
    ("n", "reason"),
    [(66, "sixty-six is too many"), (99, "signal 9"), (100, "out of time"), (101, "skips it")],
)
def test_what_the_head_fails_or_skips_is_not_measured(repo, change, n, reason):
    change(words(n))
    ran = gate(repo, "--bench", f"{WORDS}.*2", "--format", "json")
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert verdicts(ran) == {"suite.Work.track_words('deny', 2)": "NOT_MEASURED"}
    assert reason in ran.stdout


def test_a_benchmark_that_is_gone_is_not_measured(repo, change):
    renamed = SUITE.replace("track_words", "track_all_words")
    change({"benchmarks/suite.py": renamed, **words(6)})
    ran = gate(repo, "--bench", "words", "--format", "json")
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert verdicts(ran)["suite.Work.track_words('deny', 1)"] == "NOT_MEASURED"
    assert verdicts(ran)["suite.Work.track_all_words('deny', 1)"] == "IMPROVED"


def test_a_change_that_only_takes_a_benchmark_away_does_not_pass(repo, change):
    change({"benchmarks/suite.py": SUITE.replace("track_words", "track_all_words")})
    ran = gate(repo, "--bench", "words", "--format", "json")
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert set(verdicts(ran).values()) == {"NOT_MEASURED"}
    change({"benchmarks/suite.py": SUITE + "\n# no more than this\n"})
    ran = gate(repo, "--bench", "words", "--format", "json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout)["outcome"] == "SAME_CODE"


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('version="1", timeout=3', 'version="2", timeout=3', "version 2 of it"),
        ('version="1", timeout=3', 'version="1", skip_params=[("deny", 2)], timeout=3', "skip it"),
    ],
)
def test_a_change_of_the_suites_that_measures_less_does_not_pass(
    repo, change, before, after, reason
):
    change({"benchmarks/suite.py": SUITE.replace(before, after)})
    ran = gate(repo, "--bench", WORDS, "--format", "json")
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert set(verdicts(ran).values()) == {"NOT_MEASURED"}
    assert reason in ran.stdout


def test_a_clone_may_have_a_space_in_its_path(repo, tmp_path):
    git(tmp_path, "clone", "-q", str(repo), "with a space")
    assert gate(tmp_path / "with a space").returncode == 0


def test_runs_of_one_second_do_not_hide_each_other(repo, change):
    runs = {run_folder(gate(repo, "--base", "HEAD")) for _ in range(3)}
    assert len(runs) == 3


def test_uncommitted_work_is_refused_or_measured_as_it_is(repo, change):
    change(words(6))
    (repo / "hbitmap_impl" / "words.py").write_text("from hbitmap_impl.more import WORDS\n")
    (repo / "hbitmap_impl" / "more.py").write_text("WORDS = 8\n")
    assert_refused(gate(repo), "--allow-dirty")
    assert_refused(gate(repo, "--allow-dirty", "--head", "HEAD"), "not both")
    ran = gate(repo, "--allow-dirty", "--bench", WORDS)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "uncommitted" in ran.stdout.lower()
    assert "?? hbitmap_impl/more.py" in git(repo, "status", "--porcelain")  # as it was


def test_a_build_that_fails_or_takes_no_change_judges_nothing(repo, change):
    change({"setup.py": "raise SystemExit('error: no compiler')\n"})
    assert_refused(gate(repo), "can't be built", "no compiler")
    cython = "Error compiling Cython file:\\n----\\nhbitmap_impl/a.pyx:7:5: Expected an identifier"
    change({"setup.py": f"raise SystemExit('{cython}')\n"})
    assert_refused(gate(repo), "hbitmap_impl/a.pyx:7:5: Expected an identifier")
    change({"setup.py": git(repo, "show", "main:setup.py") + "\n# nothing\n"})
    ran = gate(repo)
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert "identical" in ran.stdout


def test_refs_that_lead_nowhere_are_told(repo, change, tmp_path):
    assert_refused(gate(repo, "--head", "nowhere"), "nowhere")
    assert_refused(gate(repo, "--base", ""), "''")  # a variable of CI's that nobody set
    assert_refused(gate(repo, "--head", ""), "''")
    assert_refused(gate(repo, "--head=--help"), "--help")
    assert_refused(gate(repo, "--bench", "("), "regular expression")
    assert_refused(gate(tmp_path), "git")
    git(repo, "checkout", "-q", "--orphan", "alone")
    git(repo, "commit", "-q", "-m", "Alone")
    ran = gate(repo)
    git(repo, "checkout", "-q", "-f", "main")
    assert_refused(ran, "no commit in common", "--base")


def test_a_shallow_clone_is_told_how_to_deepen(repo, change, tmp_path):
    change(words(8))
    git(tmp_path, "clone", "-q", "--depth", "1", "-b", "change", f"file://{repo}", "shallow")
    ran = gate(tmp_path / "shallow", "--base", git(repo, "rev-parse", "main"))
    assert_refused(ran, "git fetch --unshallow")


@pytest.mark.parametrize("branch", ["main", "change"])
def test_a_shallow_clone_is_not_compared_with_itself(repo, change, tmp_path, branch):
    change(words(8))
    git(tmp_path, "clone", "-q", "--depth", "1", "-b", branch, f"file://{repo}", "shallow")
    assert_refused(gate(tmp_path / "shallow"), "git fetch --unshallow")


def test_damaged_runs_are_told_by_name(repo, change, tmp_path):
    change(words(8))
    ran = gate(repo, "--bench", WORDS)
    run = run_folder(ran)
    (result,) = [p for p in run.rglob("*.json") if "head" in p.parts]

    def judge():
        return subprocess.run([COMMAND, "judge", run], capture_output=True, text=True)

    assert judge().returncode == 1
    whole = result.read_bytes()
    result.write_bytes(whole[:-100])
    assert_refused(judge(), result.name)
    result.write_bytes(whole)
    manifest = run / "run.json"
    told = json.loads(manifest.read_text())
    for key, value in (("asv", ["0.5", "0.1"]), ("schema", 0), ("cells", 1)):
        manifest.write_text(json.dumps({**told, key: value}))
        assert_refused(judge(), "run.json" if key != "asv" else "0.5")
    manifest.write_text(json.dumps(told)[:50])
    assert_refused(judge(), "run.json")


def test_ctrl_c_leaves_nothing_behind_and_earlier_runs_as_they_are(repo, change):
    change(words(100))
    runs = repo / ".asv" / "gate" / "runs"
    before = sorted(runs.iterdir())
    command = [COMMAND, "gate", "--machine", "test", "--bench", f"{WORDS}.*2"]
    running = psutil.Popen(
        command, cwd=repo, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    children = wait_for_benchmark(running)
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 2
    assert "interrupted" in running.stderr.read()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert sorted(runs.iterdir()) == before
    assert git(repo, "status", "--porcelain") == ""


def test_one_gate_at_a_time_measures_in_a_clone(repo, change):
    change(words(8))
    folder = repo / ".asv" / "gate"
    left = folder / "runs" / "unfinished-by-a-killed-run"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        left.mkdir(parents=True)
        assert_refused(gate(repo, "--bench", WORDS), "one gate", "wait")
        assert left.exists()
    assert gate(repo, "--bench", WORDS).returncode == 1
    assert not left.exists()


def test_what_is_allowed_must_be_a_counter(repo, change):
    change(words(8) | allowed('benchmark = "suite.Work.time_work"\nreason = "It is slow."'))
    assert_refused(gate(repo, "--bench", WORDS), "exact counters", "suite.Work.time_work")


def test_ctrl_c_in_a_build_ends_what_the_build_started(repo, change, tmp_path):
    started = tmp_path / "started"
    sleep = f"import subprocess; open({str(started)!r}, 'w').close()"
    change({"setup.py": f"{sleep}; subprocess.run(['sleep', '1000.25'])\n"})
    command = [COMMAND, "gate", "--machine", "test", "--bench", WORDS]
    running = psutil.Popen(
        command, cwd=repo, stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.default_int_handler
        ),
    )  # fmt: skip
    while not started.exists():
        assert running.poll() is None
        time.sleep(0.05)
    children = running.children(recursive=True)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 2
    assert psutil.wait_procs(children, timeout=10)[1] == []


def wait_for_benchmark(running: psutil.Popen) -> list[psutil.Process]:
    """Its children, once one of them is a benchmark of asv's."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        children = running.children(recursive=True)
        if sum("run_server" in " ".join(named(child)) for child in children) > 2:
            return children
        time.sleep(0.05)
    raise AssertionError("no benchmark was started")


def named(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_step_is_bisected_by_measuring(repo, change):
    good = change(words(6))
    same = commit(repo, {"hbitmap_impl/words.py": "WORDS = 6  # still\n"}, "Reword")
    bad = commit(repo, words(8), "Read more")
    later = commit(repo, {"hbitmap_impl/words.py": "WORDS = 8  # still\n"}, "Reword")
    at = {h: Commit(h, datetime(2026, 1, 1, tzinfo=UTC), "") for h in (good, later)}
    benchmark = decode_benchmark(
        {**LIST["suite.Work.track_words"], "name": "suite.Work.track_words"}
    )
    found = Found(
        benchmark, ("deny", 1), first_bad=at[later], last_good=at[good], between=(same, bad),
        before=6, after=8, now=8, evidence="exact", state="stands", undone=None,
    )  # fmt: skip
    trend = SimpleNamespace(standing=(found,))
    (confirmed,) = confirm(repo, [trend], Console(quiet=True))
    assert confirmed.bisection == Bisection(
        "confirmed", same, bad, ((good, False), (later, True), (same, False), (bad, True))
    )


def merge(repo: Path, head: str) -> None:
    """Check out a change merged into main, as a pull request's check has it."""
    git(repo, "checkout", "-q", "--detach", "main")
    git(repo, "merge", "-q", "--no-ff", head, "-m", "Merge")


@pytest.mark.parametrize(("n", "code", "outcome"), [(6, "0", "PASSED"), (8, "1", "REGRESSED")])
def test_the_action_measures_a_pull_request_that_is_merged(
    repo, change, tmp_path, n, code, outcome
):
    merge(repo, change(words(n)))
    runner = Runner(repo, tmp_path, arguments=f"--bench={WORDS}.*1\n\n--budget=0\n")
    assert runner.run("Prepare").returncode == 0
    ran = runner.run("Measure and judge")
    assert (ran.returncode, runner.output("gate", "exit-code")) == (0, code), ran.stderr
    assert runner.run("Tell").returncode == 0
    assert runner.output("tell", "outcome") == outcome
    assert runner.summary().startswith(f"## {outcome}: ")
    assert "github-Linux-X64" in runner.summary()
    assert runner.run("Verdict").returncode == int(code)


def test_the_action_deepens_a_shallow_clone_and_no_run_is_no_pass(repo, change, tmp_path):
    """Of depth 2, as a merge and its parents."""
    merge(repo, change(words(8)))
    git(repo, "branch", "-f", "merged")
    git(tmp_path, "clone", "-q", "--depth", "2", "-b", "merged", f"file://{repo}", "pull")
    runner = Runner(tmp_path / "pull", tmp_path, base="HEAD^1", arguments="--bench=(")
    assert runner.run("Measure and judge").returncode == 0
    assert git(tmp_path / "pull", "rev-parse", "--is-shallow-repository") == "false"
    assert (runner.output("gate", "exit-code"), runner.output("gate", "run")) == ("2", "")
    assert "It stopped before it had a verdict" in runner.run("Tell").stdout
    assert runner.run("Verdict").returncode == 2


def test_the_script_for_gitlab_measures_and_leaves_junit(repo, change, tmp_path):
    text = (ROOT / "docs" / "ci.md").read_text().split("```yaml")[2].split("```")[0]
    (job,) = yaml.safe_load(text).values()
    (script,) = job["script"]
    change(words(8))
    given = {"CI_MERGE_REQUEST_DIFF_BASE_SHA": git(repo, "rev-parse", "main")}
    path = f"{Path(COMMAND).parent}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["sh", "-e", "-c", f"{script} --bench {WORDS}"], cwd=repo, capture_output=True, text=True,
        env={**os.environ, "PATH": path, **given},
    )  # fmt: skip
    assert ran.returncode == 1, ran.stdout + ran.stderr
    junit = repo / job["artifacts"]["reports"]["junit"]
    failed = ElementTree.parse(junit).getroot().findall("*/testcase[failure]")
    assert {case.get("name") for case in failed} == {"verdict", "track_words"}


def test_a_commit_against_itself_calibrates_the_machine(repo):
    command = [
        COMMAND,
        "calibrate",
        "--machine",
        "test",
        "--passes",
        "1",
        "--bench",
        "time_work.*1",
    ]
    ran = subprocess.run(command, cwd=repo, capture_output=True, text=True, env=os.environ)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    path = repo / "results" / "test" / "band.calibration"
    stored = json.loads(path.read_text())
    assert len(stored["log_ratios"]) == 1
    assert stored["band"] >= 0.05  # one difference can make no band narrower than the default
    assert f"{stored['band']:.1%}" in ran.stdout
    path.unlink()


def test_counters_calibrate_nothing(repo):
    command = [COMMAND, "calibrate", "--machine", "test", "--passes", "1", "--bench", WORDS]
    ran = subprocess.run(command, cwd=repo, capture_output=True, text=True)
    assert_refused(ran, "a calibration needs noisy cells", "widen --bench")
