"""The gate's promises, kept in seeded simulations of whole runs: false alarms, power, growth.

How often exactly, by kind of noise, is printed by ``tox -e gate-power``; here only what is promised
must hold.
"""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import binomtest

from hbitmap_bench.checks.gate_power import (
    CELLS,
    NOISES,
    SPINNERS,
    Count,
    calibrated,
    draw_pass,
    false_alarms,
    gate_run,
    growth_power,
    outcomes,
    power,
    resolvable,
    steeper,
)
from hbitmap_bench.commits.gate import noisy, thresholds
from hbitmap_bench.commits.gate.judge import judge, levels, n_tests, suspects
from hbitmap_bench.commits.gate.measure import ROUNDS
from hbitmap_bench.commits.gate.noisy import Levels, too_few

DEFAULT = thresholds.DEFAULT_BAND.value

QUIET = ("normal-2", "tails", "one-sided", "drift", "bursts-3", "bursts-10", "copies")
"""Noise that calls for a band of 5% or less: here +10% must be seen."""


@cache
def usual_band(name):
    rng = np.random.default_rng(0)
    return float(np.median([calibrated(rng, NOISES[name]) for _ in range(10)]))


def test_which_noise_is_quiet():
    assert {name for name in NOISES if usual_band(name) <= DEFAULT} == set(QUIET)


# ---------------------------------------------------------------- false alarms


@pytest.mark.parametrize("name", NOISES)
def test_a_commit_against_itself_raises_a_false_alarm_in_one_run_of_a_hundred_at_most(name):
    """No false alarm in 300 runs: at most 1% of them, with a confidence of 95%."""
    found = false_alarms(np.random.default_rng(1), NOISES[name], None, 300)
    assert found.at_most <= thresholds.FAMILY_LEVEL.value, found


@pytest.mark.parametrize("name", ["tails", "one-sided"])
def test_nor_does_it_at_the_default_band(name):
    found = false_alarms(np.random.default_rng(2), NOISES[name], DEFAULT, 300)
    assert found.at_most <= thresholds.FAMILY_LEVEL.value, found


def test_without_any_band_statistics_alone_keep_the_level():
    """The hardest: a true change of nothing, held against a band of nothing.

    The level of a cell is the product of both passes'; runs of 47 cells would be too few to tell.
    """
    rng, noise = np.random.default_rng(3), NOISES["bursts-25"]
    run = gate_run(rng, noise, 0.0)
    limit = levels(run)
    assert n_tests(run) == len(CELLS) + 2 * 3
    assert limit.log_band == 0
    assert limit.screen * limit.confirm * n_tests(run) == pytest.approx(0.01)
    assert too_few(ROUNDS[0], limit.screen) is too_few(ROUNDS[1], limit.confirm) is None
    of_first = of_second = 0
    n_first = n_second = 0
    for _ in range(20):
        first = zip(*draw_pass(rng, noise, np.ones(len(CELLS)), ROUNDS[0]), strict=True)
        of_first += sum(noisy.is_slower(pair, limit, 0.0) for pair in first)
        n_first += len(CELLS)
        second = zip(*draw_pass(rng, noise, np.ones(len(CELLS)), ROUNDS[1]), strict=True)
        at_confirm = Levels(limit.confirm, 0.0, screen=limit.confirm)
        of_second += sum(noisy.is_slower(pair, at_confirm, 0.0) for pair in second)
        n_second += len(CELLS)
    for some, of_all, level in (
        (of_first, n_first, limit.screen),
        (of_second, n_second, limit.confirm),
    ):
        assert binomtest(some, of_all, level, alternative="greater").pvalue > 1e-3
    assert of_first > 0.5 * limit.screen * n_first


def test_a_run_without_suspects_has_no_regression():
    """What ``false_alarms`` relies on."""
    rng = np.random.default_rng(4)
    for name in ("tails", "busy"):
        run = gate_run(rng, NOISES[name], usual_band(name))
        words = {f.word for f in judge(run).findings}
        assert len(run.passes) == 2 or "REGRESSED" not in words
        assert "NOT_MEASURED" not in words


def test_beside_busy_neighbours_no_verdict_is_false_and_no_pass_hides_half_as_much_again():
    """One cell of 47 is slower, or none; three runs of each, with more rounds and without."""
    rng = np.random.default_rng(11)
    same, improved = outcomes(rng, SPINNERS, DEFAULT, 0.0, 3)
    assert same["REGRESSED"] == improved == 0
    slower, _ = outcomes(rng, SPINNERS, DEFAULT, 0.5, 3, most_more=0)
    assert slower["PASSED"] == 0


# ---------------------------------------------------------------- power


def assert_promised(found: Count) -> None:
    """95%, as far as so many can tell."""
    assert found.of_all >= 80
    assert binomtest(found.some, found.of_all, 0.95, alternative="less").pvalue > 0.05, found


@pytest.mark.parametrize("name", QUIET)
def test_ten_percent_more_time_are_seen_at_the_default_band(name):
    hardest = name == "one-sided"
    assert_promised(
        power(np.random.default_rng(5), NOISES[name], DEFAULT, 0.10, 9 if hardest else 2)
    )


def test_ten_percent_more_time_are_seen_at_the_band_of_a_calibration():
    """Which is narrower, so that more is seen; several kinds of noise together."""
    rng, found = np.random.default_rng(6), Count()
    for name in ("tails", "one-sided", "bursts-10"):
        one = power(rng, NOISES[name], usual_band(name), 0.10, 1)
        found.add(one.some, one.of_all)
    assert_promised(found)


@pytest.mark.parametrize("name", ["normal-4", "bursts-25", "bimodal", "busy", "place"])
def test_where_noise_is_wider_the_change_that_a_run_calls_resolvable_is_seen(name):
    rng, band = np.random.default_rng(6), usual_band(name)
    assert band > DEFAULT
    smallest = resolvable(rng, NOISES[name], band)
    assert_promised(power(rng, NOISES[name], band, smallest, 2))


def test_much_less_than_what_is_called_resolvable_is_not_seen_as_often():
    """Else it would say nothing: halfway between it and the band."""
    rng, noise, band = np.random.default_rng(7), NOISES["normal-4"], usual_band("normal-4")
    found = power(rng, noise, band, (band + resolvable(rng, noise, band)) / 2, 3)
    assert found.at_most < 0.95


# ---------------------------------------------------------------- growth


@pytest.mark.parametrize("name", ["bursts-10", "busy"])
def test_a_deny_check_that_scans_is_seen_to_grow(name):
    """A quarter of what the access check scans is enough."""
    found = growth_power(np.random.default_rng(8), NOISES[name], DEFAULT, 0.25, 4)
    assert found == Count(4, 4)


def test_growth_may_be_suspected_where_the_larger_cells_alone_are_slower():
    """Then all cells of the exponent are measured again, those too that got faster."""
    slower = np.ones(len(CELLS))
    deny = [place for place, cell in enumerate(CELLS) if cell.params[0] == "deny"][:5]
    slower[deny] = np.geomspace(0.7, 1.08, 5)
    run = gate_run(np.random.default_rng(9), NOISES["drift"], DEFAULT, slower)
    first = replace(run, passes=run.passes[:1])
    assert {CELLS[place] for place in deny} <= set(suspects(first))
    assert steeper(judge(run))


def test_growth_raises_no_alarm_by_noise():
    rng = np.random.default_rng(10)
    for name in ("tails", "bursts-25", "busy"):
        for _ in range(10):
            run = gate_run(rng, NOISES[name], DEFAULT)
            if len(run.passes) > 1:
                growth = [f for f in judge(run).findings if f.evidence == "growth"]
                assert all(f.word != "REGRESSED" for f in growth)


def test_counts_have_exact_bounds():
    assert Count(0, 300).at_most == pytest.approx(1 - 0.05 ** (1 / 300))
    assert Count(300, 300).at_least == pytest.approx(0.05 ** (1 / 300))
    assert math.isclose(Count(5, 10).at_least, 0.2224, abs_tol=1e-4)
