"""The judge's rules, one by one, on runs stored on disk.

How often noise deceives it is held in ``test_gate_power``.
"""

import math
import re
import shlex
import shutil
from dataclasses import replace
from math import nan

import numpy as np
import pytest
from synthetic_gate import ENVIRONMENTS, FACTS, finding, make_run, steady, write_run
from synthetic_history import DECLARED

from hbitmap_bench.commits.gate import steepness, thresholds
from hbitmap_bench.commits.gate.allowances import Allowance
from hbitmap_bench.commits.gate.blindness import doubts, notes
from hbitmap_bench.commits.gate.instructions import Counts
from hbitmap_bench.commits.gate.judge import hiding, judge, levels, n_tests, suspects
from hbitmap_bench.commits.gate.runs import load_run
from hbitmap_bench.commits.gate.suites import Cell
from hbitmap_bench.commits.gate.verdict import Override
from hbitmap_bench.commits.gate.verdict_formats import render

TIME = "bitmap_ops.BitmapOps.time_set"
SECONDS = "buildup.BuildUp.time_queries"
QUERIES = "buildup.BuildUp.track_queries"
WORDS = "buildup.Words.track_extra_words_a_query"
EXAMINED = "buildup.Words.track_words_examined"
PEAK = "memory.Peak.peakmem_build_up"

A, B, C = (("deny", tib, 64, 1) for tib in (1, 4, 16))
DENY, DENY_8 = (("deny", tib, 64) for tib in (16, 8))
SIZES = (1, 2, 4, 8, 16)


def busy(before, slowed=1.6):
    """Half of the processes on either side are slowed: nothing can be told."""
    base = before * np.where(np.arange(12) % 2, slowed, 1.0) * (1 + np.arange(12) / 1000)
    return base, base[::-1]


def unclear(before):
    """INCONCLUSIVE, and nothing large hides."""
    return steady(before, 1.08, spread=0.06)


def again(before, ratio, **more):
    return steady(before, ratio, n=20, seed=1, **more)


class Judged:
    """A run that was stored, loaded and judged."""

    def __init__(self, folder, seconds=None, **more):
        self.run = load_run(write_run(folder, seconds or {}, **more))
        self.whole = judge(self.run)

    def one(self, evidence=None):
        (found,) = [f for f in self.whole.findings if evidence in (None, f.evidence)]
        return found


@pytest.fixture
def judged(tmp_path):
    numbers = iter(range(100))
    return lambda *args, **more: Judged(tmp_path / str(next(numbers)), *args, **more)


def outcome(judged):
    return judged.whole.outcome, judged.whole.exit_code


# ---------------------------------------------------------------- exact counters


def test_a_counter_that_rises_by_one_is_a_regression(judged):
    found = judged(counters={(EXAMINED, DENY): (429_498_040_320, 429_498_040_321)})
    assert outcome(found) == ("REGRESSED", 1)
    one = found.one()
    assert (one.word, one.evidence, one.unit) == ("REGRESSED", "exact", "words")
    assert (one.before, one.after) == (429_498_040_320, 429_498_040_321)
    assert "from 429,498,040,320 to 429,498,040,321" in one.reason
    assert one.interval is one.level is one.resolvable is None
    assert found.whole.reasons == ("verdicts: 1, of which REGRESSED: 1",)


@pytest.mark.parametrize(
    ("before", "after", "word", "ratio"),
    [(8, 7, "IMPROVED", 7 / 8), (7, 7, "UNCHANGED", 1), (0, 0, "UNCHANGED", None),
     (0, 1, "REGRESSED", None), (6.5, 6.5 + 1e-9, "REGRESSED", pytest.approx(1))],
)  # fmt: skip
def test_counters(judged, before, after, word, ratio):
    found = judged(counters={(EXAMINED, DENY): (before, after)})
    assert (found.one().word, found.one().ratio) == (word, ratio)
    assert found.whole.exit_code == (word == "REGRESSED")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (None, {DENY: "UNCHANGED", DENY_8: "UNCHANGED"}),
        (["deny", 16, 64], {DENY: "UNCHANGED", DENY_8: "REGRESSED"}),
        (["deny", 64, 64], {DENY: "REGRESSED", DENY_8: "REGRESSED"}),
    ],
)
def test_a_counter_may_rise_where_it_is_allowed_by_name(judged, params, words):
    counters = {(EXAMINED, DENY): (7, 8), (EXAMINED, DENY_8): (7, 8)}
    allowed = Allowance(EXAMINED, params, "An eighth level.")
    found = judged(counters=counters, allowances=(allowed,))
    assert {f.params: f.word for f in found.whole.findings} == words
    assert found.whole.exit_code == ("REGRESSED" in words.values())
    for one in found.whole.findings:
        assert ("allowed: An eighth level." in one.reason) == (one.word == "UNCHANGED")


def test_an_allowance_is_for_one_benchmark(judged):
    other = Allowance(WORDS, None, "Of another benchmark.")
    found = judged(counters={(EXAMINED, DENY): (7, 8)}, allowances=(other,))
    assert found.whole.exit_code == 1


# ---------------------------------------------------------------- what the change allows

COMMIT = "e0a1360" + "c" * 33


@pytest.mark.parametrize(
    ("names", "words", "expected"),
    [
        ([EXAMINED], [True, True], ("PASSED", 0)),
        ([Cell(EXAMINED, DENY).name], [True, False], ("REGRESSED", 1)),
        ([Cell(EXAMINED, DENY).name, Cell(EXAMINED, DENY_8).name], [True, True], ("PASSED", 0)),
        ([WORDS], [False, False], ("REGRESSED", 1)),
        ([], [False, False], ("REGRESSED", 1)),
    ],
)
def test_a_regression_that_is_named_passes_and_stays_one(judged, names, words, expected):
    counters = {(EXAMINED, DENY): (7, 8), (EXAMINED, DENY_8): (7, 8)}
    overrides = tuple(Override(name, "A check more.", COMMIT) for name in names)
    found = judged(counters=counters, overrides=overrides)
    assert outcome(found) == expected
    assert {f.word for f in found.whole.findings} == {"REGRESSED"}
    by_cell = {f.params: f.allowed for f in found.whole.findings}
    assert [by_cell[DENY], by_cell[DENY_8]] == [
        "A check more. (commit e0a1360ccc)" if is_allowed else None for is_allowed in words
    ]
    assert found.whole.overrides == overrides
    for name in names:  # all are told, needed or not
        assert any(r.startswith(f"allowed to regress: {name} (") for r in found.whole.reasons)


def test_what_is_allowed_to_regress_hides_nothing_else(judged):
    override = (Override(EXAMINED, "A check more.", COMMIT),)
    counters = {(EXAMINED, DENY): (7, 8)}
    gone = (Cell(EXAMINED, DENY), Cell("gone.Suite.track_it", ()))
    assert outcome(judged(counters=counters, overrides=override, required=gone)) == (
        "NOT_JUDGED", 2,
    )  # fmt: skip
    blind = judged({(TIME, A): busy(0.01)}, counters=counters, overrides=override)
    assert outcome(blind) == ("NOT_JUDGED", 2)


def test_time_that_is_allowed_to_regress(judged):
    override = (Override(TIME, "A check more.", COMMIT),)
    seconds, second = {(TIME, A): steady(0.01, 1.12)}, {(TIME, A): again(0.01, 1.12)}
    found = judged(seconds, again=second, overrides=override)
    assert outcome(found) == ("PASSED", 0)
    assert found.whole.reasons[0] == (
        "verdicts: 1, of which REGRESSED: 1, each of them allowed by name"
    )


# ---------------------------------------------------------------- what is missing


def missing(judged, **more):
    found = judged(counters={(EXAMINED, DENY): (7, 7)}, **more)
    return found, [f for f in found.whole.findings if f.word == "NOT_MEASURED"]


def assert_not_measured(found, not_measured, *said):
    assert outcome(found) == ("NOT_JUDGED", 2)
    (one,) = not_measured
    assert one.before is one.after is one.ratio is None
    for words in said:
        assert words in one.reason
        assert any(words in reason for reason in found.whole.reasons)


@pytest.mark.parametrize(
    ("cell", "evidence"),
    [(Cell("buildup.Words.track_old_name", DENY), "exact"),
     (Cell("gone.Suite.time_it", ()), "time"),
     (Cell(EXAMINED, ("deny", 16, 64, "more")), "exact"),
     (Cell(EXAMINED, ("deny", 128, 64)), "exact"),
     (Cell(TIME, ("deny", 2, 64, 1)), "time")],
)  # fmt: skip
def test_what_the_base_listed_must_be_there(judged, cell, evidence):
    """Gone, renamed, or with other parameters."""
    found, not_measured = missing(judged, required=(Cell(EXAMINED, DENY), cell))
    assert_not_measured(found, not_measured, "the head's suites do not have it")
    assert not_measured[0].evidence == evidence
    assert not_measured[0].cell == cell.name
    assert found.whole.reasons[0].startswith(f"NOT_MEASURED: 1 of 2, the first {cell.name}: ")


@pytest.mark.parametrize("side", ["base", "head"])
def test_what_failed_on_a_side_was_not_measured(judged, side):
    cell = Cell(EXAMINED, DENY_8)
    found, not_measured = missing(
        judged,
        cells=(Cell(EXAMINED, DENY), cell),
        failures=((side, cell.name, "it ran out of time"),),
    )
    assert_not_measured(found, not_measured, f"it failed on the {side}: it ran out of time")


def test_a_new_cell_that_fails_was_not_measured_either(judged):
    cell = Cell(EXAMINED, DENY_8)
    failures = (("head", cell.name, "it was killed by signal 9"),)
    cells, required = (Cell(EXAMINED, DENY), cell), (Cell(EXAMINED, DENY),)
    found, not_measured = missing(judged, cells=cells, required=required, failures=failures)
    assert_not_measured(found, not_measured, "signal 9")


@pytest.mark.parametrize(
    ("pair", "is_required", "said"),
    [((7, nan), True, "the head skips it"), ((7, nan), False, "the head skips it"),
     ((nan, 7), True, "the head's suites skip it there"),
     ((nan, nan), True, "the head's suites skip it there")],
)  # fmt: skip
def test_what_is_skipped_on_a_side_was_not_measured(judged, pair, is_required, said):
    cell = Cell(EXAMINED, DENY_8)
    counters = {(EXAMINED, DENY): (7, 7), (cell.benchmark, cell.params): pair}
    required = (Cell(EXAMINED, DENY), *((cell,) if is_required else ()))
    found = judged(counters=counters, required=required, cells=(Cell(EXAMINED, DENY), cell))
    assert_not_measured(found, [f for f in found.whole.findings if f.word == "NOT_MEASURED"], said)


def test_a_timed_cell_that_only_the_head_skips_was_not_measured(judged):
    base, _ = steady(0.01)
    found = judged({(TIME, A): (base, np.full(12, nan)), (TIME, B): steady(0.01)})
    assert outcome(found) == ("NOT_JUDGED", 2)
    assert [(f.word, f.evidence, f.params) for f in found.whole.findings] == [
        ("NOT_MEASURED", "time", A), ("UNCHANGED", "time", B),
    ]  # fmt: skip


def test_what_only_the_head_has_is_new_and_compared_with_nothing(judged):
    _, head = steady(0.01)
    new = Cell(TIME, C)
    seconds = {(TIME, B): steady(0.01), (TIME, C): (np.full(12, nan), head)}
    counters = {(EXAMINED, DENY): (nan, 7), (EXAMINED, DENY_8): (nan, nan)}
    found = judged(seconds, counters=counters, required=(Cell(TIME, B),))
    assert outcome(found) == ("PASSED", 0)
    assert [f.params for f in found.whole.findings] == [B]
    assert set(found.whole.new) == {new.name, Cell(EXAMINED, DENY).name}


def test_a_benchmark_that_measures_something_else_now_is_not_what_was_listed(judged, tmp_path):
    run = make_run({}, counters={(EXAMINED, DENY): (7, 7)})
    run = replace(run, manifest=replace(run.manifest, versions={EXAMINED: "0"}))
    whole = judge(run)
    assert whole.exit_code == 2
    assert {f.word for f in whole.findings} == {"NOT_MEASURED", "UNCHANGED"}
    assert "version 1" in whole.reasons[0]
    assert "version 0" in whole.reasons[0]
    new = replace(run, manifest=replace(run.manifest, required=()))
    assert judge(new).exit_code == 0


def test_nothing_measured_passes_nothing(judged):
    found = judged()
    assert outcome(found) == ("NOT_JUDGED", 2)
    assert found.whole.reasons == ("nothing was measured",)
    only_new = judged(counters={(EXAMINED, DENY): (nan, 7)}, required=())
    assert outcome(only_new) == ("NOT_JUDGED", 2)
    only_missing = judged(cells=(), required=(Cell(EXAMINED, DENY),))
    assert outcome(only_missing) == ("NOT_JUDGED", 2)
    assert only_missing.whole.reasons[1] == "nothing was measured"


def test_a_run_that_lost_its_counters_does_not_pass(tmp_path):
    folder = write_run(
        tmp_path / "run", {(TIME, A): steady(0.01)}, counters={(EXAMINED, DENY): (7, 8)}
    )
    assert judge(load_run(folder)).exit_code == 1
    shutil.rmtree(folder / "counters")
    assert judge(load_run(folder)).exit_code == 2


def test_same_package_judges_nothing_and_same_code_needs_no_judging(judged):
    required = (Cell(EXAMINED, DENY),)
    found = judged(same_package=True, required=required, cells=())
    assert outcome(found) == ("NOT_JUDGED", 2)
    assert "identical" in found.whole.reasons[0]
    assert found.whole.findings == ()
    found = judged(same_code=True, required=required, cells=required)
    assert outcome(found) == ("SAME_CODE", 0)
    assert "nothing was timed" in found.whole.reasons[0]
    assert found.whole.findings == ()


def test_the_same_code_does_not_pass_without_a_benchmark_that_the_base_listed(judged):
    kept, gone = Cell(EXAMINED, DENY), Cell(EXAMINED, ("deny", 128, 64))
    found = judged(same_code=True, required=(kept, gone), cells=(kept,))
    assert outcome(found) == ("NOT_JUDGED", 2)
    assert [(f.params, f.word) for f in found.whole.findings] == [(gone.params, "NOT_MEASURED")]


def test_a_regression_beside_what_was_not_measured_is_told_with_it(judged):
    gone = Cell(EXAMINED, ("deny", 128, 64))
    counters = {(EXAMINED, DENY): (7, 8)}
    found = judged(counters=counters, required=(Cell(EXAMINED, DENY), gone))
    assert outcome(found) == ("REGRESSED", 1)
    assert found.whole.reasons[0] == "verdicts: 2, of which REGRESSED: 1"
    assert gone.name in found.whole.reasons[1]
    assert [f.word for f in found.whole.findings] == ["REGRESSED", "NOT_MEASURED"]


# ---------------------------------------------------------------- time


def test_slower_in_two_passes_is_a_regression(judged):
    first, second = {(TIME, A): steady(0.01, 1.12)}, {(TIME, A): again(0.02, 1.15)}
    found = judged(first, again=second)
    assert outcome(found) == ("REGRESSED", 1)
    one = found.one()
    assert (one.evidence, one.word, one.unit) == ("time", "REGRESSED", "seconds")
    # of the second pass, whose level is that of a single test: 1% shared with the first one's 5%
    assert one.before == pytest.approx(0.02, rel=0.01)
    assert one.after == pytest.approx(0.023, rel=0.01)
    low, high = one.interval
    assert 1.13 < low < one.ratio < high < 1.17
    assert one.ratio == pytest.approx(one.after / one.before)
    assert one.level == thresholds.SCREEN_LEVEL.value == 0.05
    assert 0.05 < one.resolvable < 0.08
    assert "in two passes" in one.reason
    assert one.command.startswith("hbitmap-bench gate --base 1f3aae6bbb --head e0a1360ccc --bench ")
    assert "time_set" in one.command


def test_levels_are_shared_out_among_cells_and_exponents():
    seconds = {(TIME, params): steady(0.01) for params in (A, B, C)}
    assert levels(make_run(seconds)).confirm == pytest.approx(0.05)  # no more than the first pass
    many = {(SECONDS, (i, t, 64)): steady(0.01) for i in ("access", "deny") for t in SIZES}
    peaks = {(PEAK, ("deny", 16, 2048)): steady(1e8)}
    run = make_run({**seconds, **many, **peaks}, counters=timed_queries(many))
    assert n_tests(run) == 3 + 10 + 1 + 2 * 2
    limit = levels(run)
    assert limit.screen == 0.05
    assert limit.screen * limit.confirm * 18 == pytest.approx(0.01)
    assert math.exp(limit.log_band) == pytest.approx(1.05)
    assert limit.band == pytest.approx(0.05)


def test_suspects_are_what_is_measured_again(judged):
    seconds = {(TIME, A): steady(0.01, 1.12), (TIME, B): steady(0.01), (TIME, C): steady(0.01, 0.8)}
    assert suspects(make_run(seconds)) == (Cell(TIME, A), Cell(TIME, C))


def test_faster_in_two_passes_is_an_improvement_and_in_one_is_not(judged):
    first = {(TIME, A): steady(0.01, 0.8), (TIME, B): steady(0.01)}
    found = judged(first, again={(TIME, A): again(0.01, 0.85)})
    assert (found.whole.findings[0].word, outcome(found)) == ("IMPROVED", ("PASSED", 0))
    assert found.whole.findings[0].ratio == pytest.approx(0.85, abs=0.01)  # of the second pass
    assert "in two passes" in found.whole.findings[0].reason
    for ratio in (0.99, 1.15):
        found = judged(first, again={(TIME, A): again(0.01, ratio)})
        one = found.whole.findings[0]
        assert (one.word, outcome(found)) == ("INCONCLUSIVE", ("PASSED", 0))
        assert one.reason == "IMPROVED in the first pass; the second did not confirm it"
    assert outcome(judged(first)) == ("NOT_JUDGED", 2)


@pytest.mark.filterwarnings("error")
def test_a_cell_that_a_side_lacks_is_no_suspect():
    """Nor is it a warning of NumPy's, about the mean of nothing."""
    base, head = steady(0.01, 1.2)
    none = np.full(12, nan)
    run = make_run({(TIME, A): (base, none), (TIME, B): (none, head), (TIME, C): (none, none)})
    assert suspects(run) == ()


@pytest.mark.parametrize(("alone", "expected"), [(False, ("PASSED", 0)), (True, ("NOT_JUDGED", 2))])
def test_suspected_and_not_confirmed_is_inconclusive(judged, alone, expected):
    first, second = {(TIME, A): steady(0.01, 1.12)}, {(TIME, A): again(0.01, 1.02)}
    quiet = {} if alone else {(TIME, B): steady(0.01)}
    found = judged({**first, **quiet}, again=second)
    one = found.whole.findings[0]
    assert (one.word, one.params) == ("INCONCLUSIVE", A)
    assert "did not confirm" in one.reason
    assert one.ratio == pytest.approx(1.02, abs=0.01)
    assert outcome(found) == expected


def test_suspected_and_not_measured_again_is_not_judged(judged):
    first, quiet = {(TIME, A): steady(0.01, 1.12)}, {(TIME, B): steady(0.01)}
    lost = {(TIME, A): (again(0.01, 1.12)[0], np.full(20, nan)), (TIME, B): again(0.01, 1)}
    for second in (None, {(TIME, B): again(0.01, 1)}, lost):
        found = judged({**first, **quiet}, again=second)
        assert outcome(found) == ("NOT_JUDGED", 2)
        assert found.whole.findings[0].word == "NOT_MEASURED"
        assert "not measured again" in found.whole.findings[0].reason


def test_a_suspect_that_fails_in_the_second_pass_is_told_once(judged):
    failures = (("head", Cell(TIME, A).name, "it ran out of time"),)
    found = judged({(TIME, A): steady(0.01, 1.12)}, failures=failures)
    assert [(f.word, f.evidence) for f in found.whole.findings] == [("NOT_MEASURED", "time")]
    assert "it ran out of time" in found.whole.reasons[0]


def test_a_cell_that_fails_after_it_was_seen_to_regress_is_told_as_both(judged):
    failures = (("head", Cell(TIME, A).name, "it ran out of time"),)
    base, head = again(0.01, 1.12)
    head[15:] = nan
    found = judged(
        {(TIME, A): steady(0.01, 1.12)}, again={(TIME, A): (base, head)}, failures=failures
    )
    assert [f.word for f in found.whole.findings] == ["REGRESSED", "NOT_MEASURED"]
    assert outcome(found) == ("REGRESSED", 1)
    assert "it ran out of time" in found.whole.reasons[1]


def test_too_few_rounds_pass_nothing(judged):
    found = judged({(TIME, A): steady(0.01, n=4)})
    assert outcome(found) == ("NOT_JUDGED", 2)
    said = "4 rounds give a p of 0.062 at best, and the corrected level is 0.05"
    assert said in found.whole.reasons[-1]
    shortest = judged({(TIME, A): steady(0.01, n=5)})
    assert "could have shown is none at all" in shortest.whole.reasons[0]
    assert judged({(TIME, A): steady(0.01, n=9)}).whole.exit_code == 0


def test_too_few_rounds_for_the_corrected_level_pass_nothing(judged):
    """Seven give 1/128 at best; with 26 tests that is 1%/26/5% = 1/130."""
    first, again = {(TIME, A): steady(0.01, 1.2)}, {(TIME, A): steady(0.01, 1.2, n=7, seed=1)}
    others = [
        (TIME, (i, tib, 64, percent))
        for i in ("access", "deny")
        for tib in (1, 4, 16)
        for percent in (0, 1, 50)
    ] + [(PEAK, (i, tib, 2048)) for i in ("plain", "access") for tib in (1, 4, 16, 64)]
    others = dict.fromkeys(others[:25], steady(1e8))
    found = judged({**others, **first}, again=again)
    assert n_tests(found.run) == 25
    assert outcome(found) == ("REGRESSED", 1)
    others[PEAK, ("deny", 1, 2048)] = steady(1e8)
    found = judged({**others, **first}, again=again)
    assert n_tests(found.run) == 26
    assert outcome(found) == ("NOT_JUDGED", 2)
    said = "7 rounds give a p of 0.0078 at best, and the corrected level is 0.0077"
    assert said in found.whole.reasons[-1]


def test_a_cell_that_lost_its_rounds_was_not_measured(judged):
    base, head = steady(0.01, 1.12)
    base[:4], head[4:8] = nan, nan
    found = judged({(TIME, A): (base, head), (TIME, B): steady(0.01)})
    assert outcome(found) == ("NOT_JUDGED", 2)
    assert "4 rounds give a p" in found.whole.findings[0].reason
    never = np.where(np.arange(12) % 2, base[8], nan), np.where(np.arange(12) % 2, nan, head[8])
    found = judged({(TIME, A): never, (TIME, B): steady(0.01)})
    assert "no round has both sides" in found.whole.reasons[0]


def test_a_round_that_lost_a_side_does_not_count(judged):
    base, head = steady(0.01)
    base[3] = nan
    head[3] = 1e9
    assert judged({(TIME, A): (base, head)}).one().word == "UNCHANGED"


@pytest.mark.parametrize(
    ("seconds", "ratio", "word", "said"),
    [(100e-6, 1.3, "INCONCLUSIVE", "noise"), (100e-6, 1.2, "UNCHANGED", "floor of 5e-05"),
     (400e-6, 1.12, "UNCHANGED", "floor of 5e-05"), (450e-6, 1.12, "REGRESSED", "in two passes")],
)  # fmt: skip
def test_below_the_floor_nothing_regresses(judged, seconds, ratio, word, said):
    found = judged(
        {(TIME, A): steady(seconds, ratio, spread=0.001), (TIME, B): steady(1)},
        again={(TIME, A): again(seconds, ratio, spread=0.001)} if word == "REGRESSED" else None,
    )
    one = next(f for f in found.whole.findings if f.params == A)
    assert (one.word, said in one.reason) == (word, True)


def test_the_second_pass_must_rise_above_the_floor_too(judged):
    first, second = {(TIME, A): steady(600e-6, 1.12)}, {(TIME, A): again(300e-6, 1.12)}
    assert judged(first, again=second).one().word == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("band", "ratio", "word"),
    [(0.05, 1.04, "UNCHANGED"), (0.02, 1.04, "REGRESSED"), (0.15, 1.12, "UNCHANGED"),
     (0.05, 0.96, "UNCHANGED"), (0.02, 0.96, "IMPROVED"), (0.05, 0.8, "IMPROVED")],
)  # fmt: skip
def test_the_interval_must_lie_wholly_beyond_the_band(judged, band, ratio, word):
    second = {(TIME, A): again(0.01, ratio)} if word != "UNCHANGED" else None
    found = judged(
        {(TIME, A): steady(0.01, ratio)}, again=second, band=band, band_source="calibrated"
    )
    assert found.one().word == word
    assert found.whole.exit_code == (word == "REGRESSED")
    if word != "UNCHANGED":
        assert f"the band of {band:.1%}" in found.one().reason
    assert (found.whole.band, found.whole.band_source) == (band, "calibrated")


def test_faster_by_less_than_the_floor_is_no_improvement(judged):
    assert judged({(TIME, A): steady(100e-6, 0.6)}).one().word == "UNCHANGED"
    first, second = {(TIME, A): steady(600e-6, 0.8)}, {(TIME, A): again(200e-6, 0.8)}
    assert judged(first, again=second).one().word == "INCONCLUSIVE"


def test_what_noise_may_hide_or_make_is_inconclusive(judged):
    hidden = judged({(TIME, A): busy(0.01), (TIME, B): steady(0.01)})
    one = hidden.whole.findings[0]
    assert (one.word, one.params) == ("INCONCLUSIVE", A)
    assert one.interval[1] > 1.25
    assert "25%" in one.reason
    made = judged({(TIME, A): unclear(0.01), (TIME, B): steady(0.01)})
    one = made.whole.findings[0]
    assert one.interval[0] < 1.05 < one.ratio < one.interval[1] < 1.25
    assert (one.word, "may be noise" in one.reason) == ("INCONCLUSIVE", True)
    assert (outcome(hidden), outcome(made)) == (("NOT_JUDGED", 2), ("PASSED", 0))


def test_mostly_inconclusive_passes_nothing(judged):
    noise, quiet = unclear(0.01), steady(0.01)
    half = judged({(TIME, A): noise, (TIME, B): quiet}, counters={(EXAMINED, DENY): (7, 7)})
    assert outcome(half) == ("PASSED", 0)
    most = judged({(TIME, A): noise, (TIME, B): noise, (PEAK, ("deny", 16, 2048)): steady(1e8)})
    assert outcome(most) == ("NOT_JUDGED", 2)
    assert "2 of 3 noisy cells are INCONCLUSIVE" in most.whole.reasons[0]


# ---------------------------------------------------------------- what may hide


def test_a_rise_that_one_cell_may_hide_passes_nothing(judged):
    """Whatever the others show; counters that stay as they are say nothing about times."""
    counters = {(EXAMINED, DENY): (7, 7)}
    seconds = {(TIME, A): busy(0.01, 3), (TIME, B): steady(0.01), (TIME, C): steady(0.01)}
    found = judged(seconds, counters=counters)
    assert outcome(found) == ("NOT_JUDGED", 2)
    said, counters_, help_ = found.whole.reasons
    assert said == f"a rise of 50% may hide in 1 of 3 noisy cells, the first {Cell(TIME, A).name}"
    assert counters_ == "exact counters that did not rise: 1; they say nothing about times"
    for words in ("what would help", "quieter machine", "--budget", "--instructions"):
        assert words in help_
    assert hiding(found.run) == (Cell(TIME, A),)


def test_a_run_whose_median_time_could_not_have_shown_a_rise_passes_nothing(judged):
    loud = {(TIME, A): busy(0.01), (TIME, B): busy(0.02)}
    found = judged(loud | {(TIME, C): steady(0.01)})
    shown = sorted(f.resolvable for f in found.whole.findings)
    assert shown[0] < thresholds.BLIND.value < shown[1]
    assert all(f.interval[1] < 1.5 for f in found.whole.findings)
    assert outcome(found) == ("NOT_JUDGED", 2)
    assert f"is {shown[1]:.0%} in the median of 3 times" in " ".join(found.whole.reasons)
    assert set(hiding(found.run)) == {Cell(TIME, A), Cell(TIME, B)}
    quiet = judged(loud | {(TIME, (*C[:3], p)): steady(0.01) for p in (0, 1, 50)})
    assert outcome(quiet) == ("PASSED", 0)


def test_nothing_hides_in_what_regressed_or_was_never_noisy(judged):
    counted = judged(counters={(EXAMINED, DENY): (7, 7)})
    assert (hiding(counted.run), outcome(counted)) == ((), ("PASSED", 0))
    slower = judged({(TIME, A): steady(0.01, 1.9)}, again={(TIME, A): again(0.01, 1.9)})
    assert (hiding(slower.run), slower.whole.reasons) == (
        (), ("verdicts: 1, of which REGRESSED: 1",)
    )  # fmt: skip


def test_more_rounds_of_some_cells_count_and_the_others_have_none(judged):
    quiet, rest = steady(0.01), np.full(12, nan)
    noisy, calm = busy(0.01), steady(0.01, n=24)
    seconds = {
        (TIME, A): tuple(np.concatenate([a, b]) for a, b in zip(noisy, calm, strict=True)),
        (TIME, B): tuple(np.concatenate([side, rest, rest]) for side in quiet),
    }
    facts = replace(FACTS, more_rounds=24)
    found = judged(seconds, facts=facts)
    assert outcome(found) == ("PASSED", 0)
    assert found.whole.run.rounds == (12,)
    assert [len(side) for side in found.run.passes[0][Cell(TIME, B)]] == [36, 36]


@pytest.mark.parametrize(
    ("word", "params", "is_judged"),
    [("UNCHANGED", A, True), ("IMPROVED", A, True), ("NOT_MEASURED", A, False),
     ("INCONCLUSIVE", A, False), ("UNCHANGED", B, False)],
)  # fmt: skip
def test_instructions_of_the_cell_stand_for_its_time(word, params, is_judged):
    hidden = finding("INCONCLUSIVE", "time", A, interval=(0.7, 1.9), resolvable=math.inf)
    counted = finding(word, "instructions", params)
    assert (not [*doubts([hidden, counted])]) == is_judged
    assert bool([*notes([hidden, counted])]) == is_judged
    peak = finding("INCONCLUSIVE", "memory", A, interval=(0.7, 1.9), benchmark=hidden.benchmark)
    assert [*doubts([peak, counted])]


def test_peaks_are_noisy(judged):
    cell = (PEAK, ("deny", 16, 2048))
    found = judged({cell: steady(1e8, 1.1)}, again={cell: again(1e8, 1.1)})
    assert found.one().word == "REGRESSED"
    assert (found.one().evidence, found.one().unit) == ("memory", "bytes")
    # a tenth of eight million is below the floor of 2**20
    assert judged({cell: steady(8e6, 1.1)}).one().word == "UNCHANGED"
    alike = np.full(12, 1e8), np.full(12, 1.2e8)
    twice = np.full(20, 1e8), np.full(20, 1.2e8)
    assert judged({cell: alike}, again={cell: twice}).one().word == "REGRESSED"
    assert judged({cell: (alike[0], alike[0])}).one().word == "UNCHANGED"


def test_findings_come_in_order_of_weight(judged):
    found = judged(
        {
            (TIME, A): steady(0.01, 0.8),
            (TIME, B): busy(0.01),
            (TIME, C): steady(0.01),
        },
        again={(TIME, A): again(0.01, 0.8)},
        counters={(EXAMINED, DENY): (7, 8), (EXAMINED, DENY_8): (7, 7)},
        required=(Cell("gone.Suite.track_it", ()),),
    )
    assert [f.word for f in found.whole.findings] == [
        "REGRESSED", "NOT_MEASURED", "INCONCLUSIVE", "IMPROVED", "UNCHANGED", "UNCHANGED",
    ]  # fmt: skip
    assert found.whole.findings[4].evidence == "exact"
    assert found.whole.thresholds == steepness.thresholds(DECLARED)
    assert found.whole.run == found.run.manifest.facts


# ---------------------------------------------------------------- two environments


@pytest.mark.parametrize("form", ["text", "markdown", "github", "junit"])
def test_two_environments_are_called_a_and_b_and_their_commit_by_its_name(judged, form):
    found = judged(
        {(TIME, A): steady(0.01)}, counters=words_of({t: (1, t) for t in SIZES}),
        facts=ENVIRONMENTS, failures=(("head", Cell(PEAK, DENY).name, "it ran out of time"),),
        required=(Cell(PEAK, DENY), Cell(TIME, A)),
    )  # fmt: skip
    assert found.run.manifest.facts == replace(ENVIRONMENTS, rounds=(12,))
    page = " ".join(render(found.whole, form).split("Thresholds")[0].split())
    for said in (
        "numpy=1.26.4: Python 3.11.7, numpy 1.26.4", "as configured: Python 3.11.7, numpy 2.4.6",
        "1.000 in A", "so it is the environment's", "Ranges are of B over A",
        "gate --head e0a1360ccc --env-a numpy=1.26.4 --bench", "it failed on B: it ran out of time",
    ):  # fmt: skip
        assert said in page
    assert not re.search(r"\b(base|before|after)\b|\bhead\b(?!=| e0a)", page)


# ---------------------------------------------------------------- growth


def timed_queries(seconds, counted=lambda tib: 1024):
    """Counters of the timed queries, as many on either side."""
    return {
        (QUERIES, params): (counted(params[1]),) * 2 for name, params in seconds if name == SECONDS
    }


def build_up(exponents, sizes=SIZES, implementation="deny", n=12, at_largest=1.0):
    """Seconds of blocks of as many queries whatever the size; of the whole they are the more."""
    before, after = exponents
    return {
        (SECONDS, (implementation, tib, 64)): (
            steady(0.002 * (tib / 16) ** (before - 1), n=n, seed=tib)[0],
            at_largest * steady(0.002 * (tib / 16) ** (after - 1), n=n, seed=tib)[1],
        )
        for tib in sizes
    }


def growth_of(found):
    return found.one("growth")


def words_of(pairs, implementation="deny"):
    return {(WORDS, (implementation, tib, 64)): pair for tib, pair in pairs.items()}


@pytest.mark.parametrize(
    ("pairs", "word", "said"),
    [(dict.fromkeys(SIZES, (7, 7)), "UNCHANGED", "exponent 1.000, 1.000 before"),
     ({t: (7, 100 * t) for t in SIZES}, "REGRESSED", "above the 1 of deny"),
     ({t: (100 * t, 100 * t * t) for t in SIZES}, "REGRESSED", "exponent 3.000, 2.000 before"),
     ({t: (100 * t, 7) for t in SIZES}, "IMPROVED", "exponent 1.000, 2.000 before"),
     (dict.fromkeys(SIZES, (7, 8)), "UNCHANGED", "exponent 1.000"),
     # smaller ones read less: steeper, and no worse
     ({t: (700, 700 - 300 // t) for t in SIZES[:-1]} | {16: (700, 700)}, "UNCHANGED", "no more"),
     # within the margin
     ({t: (700, 700 + t) for t in SIZES}, "UNCHANGED", "1.000 before")],
)  # fmt: skip
def test_growth_of_words_is_exact(judged, pairs, word, said):
    found = judged(counters=words_of(pairs))
    one = growth_of(found)
    assert (one.word, said in one.reason) == (word, True)
    assert (one.unit, one.params, one.benchmark) == ("exponent", ("deny", 64), WORDS)
    assert one.ratio is one.interval is one.level is None
    exact_rose = any(after > before for before, after in pairs.values())
    assert found.whole.exit_code == exact_rose


def test_growth_of_words_is_held_against_the_implementations_own_limit(judged):
    steeper = {t: (100 * t**0.9, 100 * t) for t in SIZES}
    assert growth_of(judged(counters=words_of(steeper, "access"))).word == "REGRESSED"  # than base
    assert "above" not in growth_of(judged(counters=words_of(steeper, "access"))).reason
    assert "above the 1" in growth_of(judged(counters=words_of({t: (1, t) for t in SIZES}))).reason


def test_an_allowed_rise_may_change_the_exponent_within_its_limit(judged):
    pairs = {t: (7 / t**0.5, 8 / t**0.5 if t < 8 else 10 / t**0.5) for t in SIZES}
    some = tuple(Allowance(WORDS, ["deny", t, 64], "An eighth level.") for t in SIZES[1:])
    every = (Allowance(WORDS, None, "An eighth level."),)
    assert growth_of(judged(counters=words_of(pairs), allowances=some)).word == "REGRESSED"
    found = judged(counters=words_of(pairs), allowances=every)
    assert (growth_of(found).word, found.whole.exit_code) == ("UNCHANGED", 0)
    assert "allowed" in growth_of(found).reason
    scanning = {t: (7, 100 * t) for t in SIZES}
    found = judged(counters=words_of(scanning), allowances=every)
    assert growth_of(found).word == "REGRESSED"  # a limit is no counter


def test_an_exponent_needs_three_sizes_over_a_span_of_eight(judged):
    def has_growth(sizes, pair=(7, 7)):
        found = judged(counters=words_of(dict.fromkeys(sizes, pair)), required=())
        return any(f.evidence == "growth" for f in found.whole.findings)

    assert has_growth((1, 2, 8))
    assert not has_growth((1, 2, 4))
    assert not has_growth((1, 16))
    assert not has_growth((1, 2, 8), (7, nan))
    assert not has_growth((1, 2, 8), (0, 7))


def test_cells_without_a_number_are_left_out_of_an_exponent(judged):
    pairs = dict.fromkeys(SIZES, (7, 7)) | {16: (7, nan)}
    found = judged(counters=words_of(pairs))
    assert growth_of(found).word == "UNCHANGED"
    assert "16" not in growth_of(found).command.split("track_extra")[1]
    assert outcome(found) == ("NOT_JUDGED", 2)


def test_a_build_up_that_turns_quadratic_grows_steeper(judged):
    first, second = (build_up((1, 2), at_largest=16, n=n) for n in (12, 20))
    found = judged(first, again=second, counters=timed_queries(first))
    assert outcome(found) == ("REGRESSED", 1)
    one = growth_of(found)
    assert (one.word, one.benchmark, one.params) == ("REGRESSED", SECONDS, ("deny", 64))
    assert (one.before, one.after) == (pytest.approx(1, abs=0.02), pytest.approx(2, abs=0.02))
    low, high = one.interval
    assert 1.95 < low < one.after < high < 2.05
    assert one.level == levels(found.run).confirm
    assert "2.00, 1.00 before, limit 1" in one.reason


SLOWER = 1.12
"""The largest must take longer beyond the band, or steeper is no worse."""


@pytest.mark.parametrize(
    ("exponents", "implementation", "word"),
    [((1.0, 1.05), "deny", "UNCHANGED"), ((1.0, 1.2), "deny", "REGRESSED"),
     ((1.5, 1.58), "deny", "UNCHANGED"), ((1.5, 1.66), "deny", "REGRESSED"),
     ((1.57, 1.65), "plain", "REGRESSED"),  # by the limit alone
     ((2.0, 1.0), "access", "UNCHANGED"), ((2.0, 2.5), "access", "REGRESSED"),
     ((2.7, 2.75), "access", "UNCHANGED"), ((2.7, 2.9), "access", "REGRESSED")],
)  # fmt: skip
def test_growth_of_time(judged, exponents, implementation, word):
    first = build_up(exponents, implementation=implementation, at_largest=SLOWER)
    second = build_up(exponents, implementation=implementation, at_largest=SLOWER, n=20)
    found = judged(first, again=second, counters=timed_queries(first))
    assert growth_of(found).word == word
    assert growth_of(found).level == (0.05 if word == "UNCHANGED" else levels(found.run).confirm)


def test_steeper_is_no_worse_where_the_largest_takes_no_longer(judged):
    first = build_up((1, 2))
    run = make_run(first, counters=timed_queries(first))
    faster = [cell for cell in run.passes[0] if cell.params[1] < 16]
    assert set(suspects(run)) == set(faster)  # each for itself, and not as a group
    assert growth_of(judged(first, counters=timed_queries(first))).word == "UNCHANGED"


def test_steeper_must_be_confirmed(judged):
    first, quiet = build_up((1, 1.3), at_largest=SLOWER), build_up((1, 1), n=20)
    counters = timed_queries(first)
    assert set(suspects(make_run(first, counters=counters))) == {Cell(*key) for key in first}
    assert growth_of(judged(first, again=quiet, counters=counters)).word == "INCONCLUSIVE"
    found = judged(first, counters=counters)
    assert growth_of(found).word == "NOT_MEASURED"
    assert found.whole.exit_code == 2
    few = build_up((1, 1.3), at_largest=SLOWER, n=4)
    found = judged(first, again=few, counters=counters)
    assert growth_of(found).word == "NOT_MEASURED"


def test_growth_needs_rounds_that_have_all_sizes(judged):
    seconds = build_up((1, 1))
    for place, (base, _) in enumerate(seconds.values()):
        base[2 * place : 2 * place + 2] = nan  # leaves ten of each, and two of all
    found = judged(seconds, counters=timed_queries(seconds))
    assert growth_of(found).word == "NOT_MEASURED"
    assert "2 rounds" in growth_of(found).reason
    assert outcome(found) == ("NOT_JUDGED", 2)


def test_growth_scales_by_the_queries_that_either_side_counted(judged):
    """Where the head asks more queries a call, its seconds are of more of them."""
    seconds = build_up((1, 1))
    asked = {key: (base, head * key[1][1]) for key, (base, head) in seconds.items()}
    counters = {
        key: (before, before * key[1][1]) for key, (before, _) in timed_queries(seconds).items()
    }
    found = judged(
        asked,
        again={k: (np.tile(b, 2), np.tile(h, 2)) for k, (b, h) in asked.items()},
        counters=counters,
    )
    assert growth_of(found).word == "UNCHANGED"
    assert growth_of(found).after == pytest.approx(1, abs=0.02)


def test_growth_of_time_is_not_judged_without_counted_queries(judged):
    seconds = build_up((1, 1))
    found = judged(seconds)
    assert {f.evidence for f in found.whole.findings} == {"time"}


def test_the_command_of_an_exponent_measures_all_that_it_needs(judged):
    first = build_up((1, 1))
    found = judged(first, counters=timed_queries(first) | words_of(dict.fromkeys(SIZES, (7, 7))))
    for one in found.whole.findings:
        if one.evidence == "growth":
            words = shlex.split(one.command)
            assert words[-2:] == ["--machine", "bench-2core"]
            regex = re.compile(words[words.index("--bench") + 1])
            matched = {cell for cell in found.run.manifest.cells if regex.search(cell.name)}
            wanted = {WORDS} if one.benchmark == WORDS else {SECONDS, QUERIES}
            assert {cell.benchmark for cell in matched} == wanted
            assert len(matched) == len(SIZES) * len(wanted)
            decoy = Cell(one.benchmark, ("deny", 10, 64)), Cell(one.benchmark, ("access", 16, 64))
            assert not any(regex.search(cell.name) for cell in decoy)


# ---------------------------------------------------------------- instructions


def instructions(base, also, head):
    return Counts({Cell(SECONDS, DENY): (base, also, head)}, {Cell(TIME, A): "it waits"})


@pytest.mark.parametrize(
    ("head", "word"),
    [(1006, "REGRESSED"), (1004, "UNCHANGED"), (996, "UNCHANGED"), (994, "IMPROVED")],
)
def test_instructions(judged, head, word):
    found = judged(
        counters={(EXAMINED, DENY): (7, 7)}, instructions=instructions(1000, 1001, head)
    )  # fmt: skip
    one = found.one("instructions")
    assert (one.word, one.before, one.after, one.params) == (word, 1000, head, DENY)
    assert one.ratio == head / 1000
    assert "--instructions" in one.command
    assert found.whole.exit_code == (word == "REGRESSED")
    assert found.whole.not_counted == {Cell(TIME, A).name: "it waits"}


def test_instructions_that_do_not_repeat_are_no_evidence(judged):
    found = judged(
        counters={(EXAMINED, DENY): (7, 7)}, instructions=instructions(1000, 1002, 2000)
    )  # fmt: skip
    assert outcome(found) == ("PASSED", 0)
    assert "differ by 0.20%" in found.whole.not_counted[Cell(SECONDS, DENY).name]


def test_more_instructions_in_less_time_are_no_regression(judged):
    faster = {(SECONDS, DENY): steady(0.1, 0.7)}
    confirmed = {(SECONDS, DENY): again(0.1, 0.7)}
    found = judged(faster, again=confirmed, instructions=instructions(1000, 1000, 1100))
    assert (found.one("time").word, found.one("instructions").word) == ("IMPROVED", "UNCHANGED")
