"""The trend of a history: which commit brought what stands, what is in doubt, and its exit code.

``PYTHONPATH=tests python tests/commits/test_trend.py`` writes the golden file anew:
read its diff before committing it.
"""

import io
import json
import math
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
import synthetic_history
from rich.console import Console
from test_history import PEAK, SECONDS, WORDS, Stored, git, timed

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.program import exit_code
from hbitmap_bench.checks import step_rules
from hbitmap_bench.cli import cli
from hbitmap_bench.commits import bisect as bisecting
from hbitmap_bench.commits.changes import FLOORS, Line
from hbitmap_bench.commits.series import Benchmark
from hbitmap_bench.commits.steps import level_now, rises_steadily, stands, steps_of, undone_by
from hbitmap_bench.commits.trend import trend, worst
from hbitmap_bench.commits.trend_json import to_json
from hbitmap_bench.commits.trend_text import render_trend

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parents[1] / "golden" / "trend-80.txt"
COMMAND = str(Path(sys.executable).with_name("hbitmap-bench"))
DENY, ACCESS = ("deny", 4, 64), ("access", 4, 64)
TIMED = Benchmark("a.B.time_c", "time", "seconds", "1", (), ())
COUNTED = Benchmark("a.B.track_c", "track", "words", "1", (), ())


@pytest.fixture
def stored(tmp_path):
    return Stored(tmp_path)


def line(*levels, noise=0.005, width=0.01, seed=1):
    """A series in units of 10 ms, with scatter and intervals of so much."""
    value = 0.01 * np.array(levels, float)
    value *= np.exp(noise * np.random.default_rng(seed).standard_normal(len(levels)))
    low, high = value * (1 - width), value * (1 + width)
    return Line(np.arange(len(levels)), value, low, high, FLOORS["time"])


def found(given, benchmark=TIMED):
    return [(s.place, s.evidence, s.rises) for s in steps_of(given, benchmark)]


def standing(given, benchmark=TIMED):
    steps = steps_of(given, benchmark)
    now = level_now(given.value, steps)
    floor = FLOORS[benchmark.kind]
    return [s.place for s in steps if s.is_confirmed and s.rises and stands(s, now, floor)]


# ---------------------------------------------------------------- steps of one series


def test_two_commits_apart_from_two_are_a_step_that_stands():
    given = line(*[1.0] * 5, *[1.5] * 5)
    assert found(given) == [(5, "step", True)]
    assert standing(given) == [5]


def test_what_went_back_does_not_stand():
    given = line(*[1.0] * 5, *[1.5] * 4, *[1.02] * 4)
    first, second = steps_of(given, TIMED)
    assert standing(given) == []
    assert undone_by(first, [second], FLOORS["time"]) == second


def test_what_went_back_by_half_still_stands():
    assert standing(line(*[1.0] * 5, *[1.5] * 4, *[1.25] * 4)) == [5]


def test_the_second_of_two_steps_stands_over_the_first():
    assert standing(line(*[1.0] * 4, *[1.3] * 4, *[1.7] * 4)) == [4, 8]


def test_a_step_after_an_improvement_is_one_though_the_first_level_was_higher():
    assert standing(line(*[2.0] * 4, *[1.0] * 4, *[1.4] * 4)) == [8]


def test_levels_are_medians_of_all_their_commits():
    (step,) = steps_of(line(*[1.0] * 6, 1.5, 1.5, 1.5, 1.6, 1.4, 1.5, noise=0, width=0.02), TIMED)
    assert (step.before, step.after) == pytest.approx((0.01, 0.015))


def test_a_level_that_single_commits_hide_is_seen_in_the_whole_series():
    given = line(*[1.0] * 40, *[1.2] * 40, noise=0.06, width=0.15)
    ((place, evidence, rises),) = found(given)
    assert (evidence, rises) == ("level", True)
    assert abs(place - 40) <= 2
    assert standing(given) == [place]


def test_two_slow_commits_are_a_burst():
    given = line(*[1.0] * 5, 1.6, 1.6, *[1.0] * 5)
    assert found(given) == []


def test_the_newest_commit_alone_is_no_step():
    given = line(*[1.0] * 9, 3.0)
    assert found(given) == [(9, "single", True)]
    assert standing(given) == []


@pytest.mark.parametrize("levels", [[1.0] * 2, [1.0], [1.0, 2.0], [1.0, 2.0, 1.0], [1e-9] * 12])
def test_short_and_tiny_series_have_no_step(levels):
    assert [step for step in steps_of(line(*levels), TIMED) if step.is_confirmed] == []


def test_an_interval_that_asv_could_not_give_leaves_the_whole_series_to_look_at():
    nan = np.full(40, math.nan)
    given = line(*[1.0] * 20, *[1.5] * 20)._replace(low=nan, high=nan)
    assert found(given) == [(20, "level", True)]


def test_counters_count_with_any_difference_and_stand_until_they_are_what_they_were():
    given = line(7, 7, 8, 8, 7, noise=0, width=0)
    assert found(given, COUNTED) == [(2, "exact", True), (4, "exact", False)]
    assert standing(given, COUNTED) == []
    assert standing(line(7, 7, 9, 8, noise=0, width=0), COUNTED) == [2]
    assert standing(line(0, 0, 1, noise=0, width=0), COUNTED) == [2]
    assert standing(line(7, 8, noise=0, width=0), COUNTED) == [1]


def test_creep_is_seen_where_no_step_is():
    given = line(*accumulate([1.0] * 60, lambda level, _: level * 1.01), noise=0.02, width=0.04)
    assert rises_steadily(given, [])
    assert not rises_steadily(line(*[1.0] * 60, noise=0.05), [])
    falling = given._replace(value=given.value[::-1])
    assert not rises_steadily(falling, [])
    assert not rises_steadily(line(0.0, 0.0, *[1.0] * 8), [])
    late = line(*[2.0] * 10, *accumulate([1.0] * 40, lambda level, _: level * 1.01))
    assert rises_steadily(late, steps_of(late, TIMED))


def test_the_rules_of_the_comparison_are_scored_by_what_was_put_in():
    rng = np.random.default_rng(1)
    scenario = step_rules.Scenario("", 40, step_rules.QUIET, 2, 1.3)
    cases = [step_rules.synthetic(scenario, rng) for _ in range(10)]
    score, blind = step_rules.Score(), step_rules.Score()
    for case in cases:
        score.add(case, *step_rules.trend_rule(case.line), 0.0)
        blind.add(case, [], False, 0.0)
    assert (score.found, score.right, score.false, score.missed_now) == (20, 20, 0, 0)
    assert (blind.found, blind.steps, blind.missed_now) == (0, 20, sum(c.regressed for c in cases))
    nothing = step_rules.synthetic(replace(scenario, n_steps=0), rng)
    wrong = step_rules.Score()
    wrong.add(nothing, steps_of(line(*[1.0] * 5, *[9.0] * 35), TIMED), False, 0.0)
    assert wrong.false == 1


# ---------------------------------------------------------------- a history


def test_first_bad_last_good_and_what_was_not_measured_between(stored):
    good = [stored.commit({SECONDS: timed({DENY: 0.01})}, f"Good {i}") for i in range(3)]
    unmeasured = [change_bitmap(stored, f"Unmeasured {i}") for i in range(2)]
    git(stored.repo, "commit", "-q", "--allow-empty", "-m", "Changes nothing that is measured")
    bad = [stored.commit({SECONDS: timed({DENY: 0.02})}, f"Bad {i}") for i in range(2)]
    result = trend(stored.load(), stored.repo)
    (one,) = result.found
    assert (one.first_bad.hash, one.first_bad.subject) == (bad[0], "Bad 0")
    assert one.last_good.hash == good[-1]
    assert one.between == tuple(unmeasured)
    assert (one.before, one.after, one.now) == pytest.approx((0.01, 0.02, 0.02))
    assert (one.evidence, one.state, one.undone) == ("step", "stands", None)
    assert (result.exit_code, result.reasons, result.n_series) == (1, (), 1)


def test_a_series_that_commits_between_did_not_measure_has_them_in_its_range(stored):
    stored.commit({WORDS: {DENY: 7}})
    skipped = stored.commit({SECONDS: timed({DENY: 0.01})})
    stored.commit({WORDS: {DENY: 8}, SECONDS: timed({DENY: 0.01})})
    (one,) = trend(stored.load(), stored.repo).found
    assert one.between == (skipped,)
    assert one.evidence == "exact"


def test_a_mended_regression_is_told_with_the_commit_that_mended_it(stored):
    levels = [1, 1, 1, 2, 2, 2, 1, 1, 1]
    commits = [stored.commit({SECONDS: timed({DENY: 0.01 * level})}) for level in levels]
    result = trend(stored.load(), stored.repo)
    improved, regressed = result.found
    assert improved.state == "improved"
    assert (regressed.state, regressed.first_bad.hash) == ("undone", commits[3])
    assert regressed.undone is not None
    assert regressed.undone.hash == commits[6]
    assert (result.exit_code, result.standing) == (0, ())


def test_peak_memory_is_judged_though_it_has_no_interval(stored):
    peak = ("deny", 1, 2048)
    for n_bytes in (40e6, 40.1e6, 40e6, 80e6, 80.2e6):
        stored.commit({PEAK: {peak: (n_bytes, math.nan, math.nan)}})
    (one,) = trend(stored.load(), stored.repo).standing
    assert (one.before, one.after) == pytest.approx((40e6, 80.1e6))


def test_only_all_that_was_judged_gives_0(stored):
    cells = {SECONDS: timed({DENY: 0.01, ACCESS: 0.02}), WORDS: {DENY: 7}}

    def judged(**changes):
        stored.commit({**cells, **changes})
        result = trend(stored.load(), stored.repo)
        return result.exit_code, " ".join(result.reasons)

    code, reason = judged()
    assert code == 2
    assert "nothing to compare it with" in reason
    assert judged() == (0, "")
    code, reason = judged(**{SECONDS: timed({DENY: 0.02, ACCESS: 0.02})})
    assert code == 2
    assert "1 series lie above their level at their newest commit alone" in reason
    assert judged() == (0, ""), "the next commit cleared it"
    code, reason = judged(**{WORDS: {}})
    assert code == 2
    assert (
        f"1 series are not measured at the newest commit, and are at the one before: {WORDS}"
        in (reason)
    )
    assert judged(**{WORDS: {DENY: 8}})[0] == 1


def test_a_refused_result_keeps_from_judging(stored):
    stored.commit({WORDS: {DENY: 7}})
    stored.commit({WORDS: {DENY: 7}})
    broken = stored.commit({WORDS: {DENY: 7}})
    (path,) = stored.results.glob(f"here/{broken[:8]}*.json")
    path.write_text(path.read_text()[:50])
    result = trend(stored.load(), stored.repo)
    assert result.exit_code == 2
    assert "1 stored results are refused" in result.reasons[0]
    assert path.name in result.reasons[0]


def test_creep_can_not_be_judged(stored):
    for i in range(16):
        stored.commit({SECONDS: timed({DENY: 0.01 * 1.02**i})})
    result = trend(stored.load(), stored.repo)
    assert result.exit_code == 2
    assert [doubt.kind for doubt in result.doubts] == ["creeps"]
    assert "1 series creep up by 10% and more without a step" in result.reasons[0]


def test_the_worst_history_gives_the_exit_code():
    assert worst([0, 0]) == 0
    assert worst([0, 2]) == 2
    assert worst([2, 1, 0]) == 1


def test_every_series_of_a_history_is_looked_at(repo_of):
    history = repo_of(synthetic_history.history(8, regression=(5, 1.5)))
    result = trend(history[0], history[1])
    deny = [
        (name, params)
        for name, benchmark in history[0].benchmarks.items()
        if benchmark.kind == "time"
        for params in benchmark.cells
        if params[0] == "deny" and synthetic_history.cost(benchmark, params) * 0.5 > FLOORS["time"]
    ]
    assert {(one.benchmark.name, one.params) for one in result.standing} == set(deny)
    assert {one.first_bad for one in result.standing} == {history[0].commits[5]}
    assert result.n_series == sum(len(b.cells) for b in history[0].benchmarks.values())


@pytest.fixture
def repo_of(tmp_path):
    """Put a synthetic history's commits into a repository, so that git can list them."""

    def make(history):
        git(tmp_path, "init", "-q", "-b", "main")
        commits = []
        for i, commit in enumerate(history.commits):
            (tmp_path / "setup.py").write_text(f"# {i}\n")
            git(tmp_path, "add", ".")
            git(tmp_path, "commit", "-q", "-m", commit.subject)
            commits.append(replace(commit, hash=git(tmp_path, "rev-parse", "HEAD")))
        return replace(history, commits=tuple(commits)), tmp_path

    return make


def change_bitmap(stored, subject):
    """A commit that changes what is measured, and is not."""
    module = stored.repo / "hbitmap_impl" / "bitmap.py"
    module.write_text(module.read_text() + "\n")
    git(stored.repo, "commit", "-q", "-a", "-m", subject)
    return git(stored.repo, "rev-parse", "HEAD")


# ---------------------------------------------------------------- bisecting


@pytest.mark.parametrize("n_between", [0, 1, 2, 3, 7, 20])
def test_bisecting_names_the_first_bad_commit_wherever_it_is(n_between):
    commits = [f"c{i}" for i in range(n_between + 2)]
    for first_bad in range(1, len(commits)):
        result = bisecting.bisect(
            commits[0], commits[1:-1], commits[-1], lambda c, bad=first_bad: int(c[1:]) >= bad
        )
        assert result.outcome == "confirmed"
        assert (result.last_good, result.first_bad) == (commits[first_bad - 1], commits[first_bad])
        assert len(result.asked) <= 2 + math.ceil(math.log2(n_between + 1))
        assert len({commit for commit, _ in result.asked}) == len(result.asked)


def test_ends_that_are_not_what_was_stored_are_told():
    def always(answer):
        return bisecting.bisect("a", ["b", "c"], "d", lambda _: answer)

    assert always(True) == bisecting.Bisection("last good is bad", "a", "d", (("a", True),))
    assert always(False) == bisecting.Bisection(
        "first bad is good", "a", "d", (("a", False), ("d", False))
    )


def test_what_measuring_raises_ends_it():
    def fail(_):
        raise UserError("no compiler")

    with pytest.raises(UserError, match="no compiler"):
        bisecting.bisect("a", [], "b", fail)


def test_commits_between_are_those_that_change_what_is_measured(stored):
    first = stored.commit({})
    middle = change_bitmap(stored, "Measured")
    (stored.repo / "README").write_text("x")
    git(stored.repo, "add", ".")
    git(stored.repo, "commit", "-q", "-m", "Documents")
    last = change_bitmap(stored, "Last")
    paths = ["hbitmap_impl", "setup.py"]
    assert bisecting.commits_between(stored.repo, first, last, paths) == (middle,)
    assert bisecting.commits_between(stored.repo, middle, last, paths) == ()
    with pytest.raises(UserError, match="fetch the whole history"):
        bisecting.commits_between(stored.repo, "0" * 40, last, paths)


# ---------------------------------------------------------------- the command


def terminal(result, width=80):
    stream = io.StringIO()
    render_trend(result, Console(file=stream, width=width, color_system=None))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def golden_trend(folder):
    """One of all: what stands, what was mended, what is in doubt. Dates make hashes the same."""
    stored = Stored(folder)
    levels = [1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1]
    for i, level in enumerate(levels):
        cells = {
            SECONDS: timed({DENY: 0.01 * level, ACCESS: 0.02 if i < 8 else 0.05}),
            WORDS: {DENY: 7 if i < 9 else 8},
        }
        if i == len(levels) - 1:
            cells[SECONDS] |= timed({DENY: 0.016})
        if i == 8:
            change_bitmap(stored, "Not measured")
        stored.commit(cells, f"Change the bitmap {i} [b]\x1b[2J")
    return trend(stored.load(), stored.repo)


@pytest.fixture
def dated(monkeypatch):
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_DATE", "2026-01-01T00:00:00Z")


@pytest.mark.usefixtures("dated")
def test_golden(tmp_path):
    assert terminal(golden_trend(tmp_path)) == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.usefixtures("dated")
def test_json_has_all_and_text_of_others_steers_no_terminal(tmp_path):
    result = golden_trend(tmp_path)
    document = json.loads(to_json([result]), parse_constant=pytest.fail)
    assert (document["schema"], document["kind"], document["exit_code"]) == (1, "trend", 1)
    (history,) = document["histories"]
    states = [(one["benchmark"], one["state"]) for one in history["regressions"]]
    assert states == [(WORDS, "stands"), (SECONDS, "stands"), (SECONDS, "undone")]
    assert history["regressions"][1]["params"] == {
        "implementation": "access", "image_tib": 4, "cluster_kib": 64
    }  # fmt: skip
    assert len(history["regressions"][1]["between"]) == 1
    assert len(history["improvements"]) == 1
    assert [doubt["why"] for doubt in history["doubts"]] == ["newest alone"]
    for width in (40, 80, 160):
        text = terminal(result, width)
        assert "\x1b" not in text
        assert "[b]" in text
        assert "…" not in text


def in_process(*arguments):
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as errors:
        code = exit_code(lambda: cli.main(["trend", *arguments], standalone_mode=False))
    return code, out.getvalue(), errors.getvalue()


def test_command_on_a_regression(stored, tmp_path):
    for words in (7, 7, 8):
        stored.commit({WORDS: {DENY: words}})
    places = ["--results", str(stored.results), "--repo", str(stored.repo)]
    done = subprocess.run(
        [COMMAND, "trend", *places, "--json", "t.json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    assert "REGRESSED" in done.stdout
    code, out, _ = in_process(*places, "--json", "-")
    assert code == 1
    assert out == (tmp_path / "t.json").read_text()
    stored.commit({WORDS: {DENY: 7}})
    assert in_process(*places)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--results", "none"], "has no benchmarks.json"),
        (["--repo", "none"], "none"),
        (["--json", "no/folder/t.json"], "t.json"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(arguments, line, monkeypatch):
    monkeypatch.chdir(ROOT)
    code, out, errors = in_process(*arguments)
    assert code == 2
    assert out == ""
    assert line in errors
    assert len(errors.splitlines()) == 1


def test_the_committed_history_is_judged(committed):
    results = str(committed / "results")
    code, out, _ = in_process("--results", results, "--repo", str(ROOT), "--json", "-")
    (history,) = json.loads(out)["histories"]
    assert code == history["exit_code"]
    assert history["series"] > 100


def test_help_teaches():
    code, out, _ = in_process("--help")
    assert code == 0
    assert "Examples:" in out
    assert "Exit codes:" in out


if __name__ == "__main__":
    import os
    import tempfile

    for role in ("AUTHOR", "COMMITTER"):
        os.environ[f"GIT_{role}_DATE"] = "2026-01-01T00:00:00Z"
    with tempfile.TemporaryDirectory() as scratch:
        GOLDEN.write_text(terminal(golden_trend(Path(scratch))), encoding="utf-8")
