"""The gate's statistics: against scipy's permutation test, their invariances, their coverage."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from hbitmap_bench.commits.gate import paired
from hbitmap_bench.commits.gate.paired import (
    MOST_EXACT,
    estimate,
    fast_mean,
    log_ratio,
    p_above,
    p_steeper,
    slope,
    slope_estimate,
    smallest_change,
    smallest_p,
    summary,
    swaps,
)

SIZES = np.array([1.0, 2, 4, 8, 16])


def draw(seed, n, spread=0.03, change=0.0):
    """Base and head of n rounds; bursts, so that nothing is normal."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, spread, (2, n)) + np.where(rng.random((2, n)) < 0.15, 0.4, 0)
    base, head = np.exp(noise + np.cumsum(rng.normal(0, 0.02, n)))
    return base, head * (1 + change)


def slow_fast_mean(values):
    ordered = sorted(values)
    used = [v for i, v in enumerate(ordered) if len(values) // 10 <= i < (len(values) + 1) // 2]
    return math.fsum(used) / len(used)


def slow_p(base, head, bound):
    """By scipy, which swaps pairs itself: the literal slow twin of ``p_above``."""

    def statistic(head, base, axis):
        rows = np.moveaxis(np.stack([head, base]), axis, -1)
        found = np.apply_along_axis(slow_fast_mean, -1, rows)
        return np.log(found[0] / found[1])

    found = stats.permutation_test(
        (head * math.exp(-bound), base), statistic, permutation_type="samples",
        alternative="greater", vectorized=True, n_resamples=np.inf,
    )  # fmt: skip
    return found.pvalue


def rounds(least=5, most=9):
    """Base and head of a few rounds, of which a side's are distinct or not."""
    one = st.floats(0.5, 3)
    return st.integers(least, most).flatmap(
        lambda n: st.tuples(arrays(float, n, elements=one), arrays(float, n, elements=one))
    )


# ---------------------------------------------------------------- the statistic


@pytest.mark.parametrize("n", [1, 2, 3, 9, 10, 11, 12, 20, 24])
def test_fast_mean_is_that_of_the_faster_half_without_the_fastest_tenth(n):
    values = np.random.default_rng(n).exponential(1, n)
    assert fast_mean(values) == pytest.approx(slow_fast_mean(values))


def test_fast_mean_takes_the_last_axis():
    values = np.random.default_rng(0).exponential(1, (3, 4, 12))
    expected = [[slow_fast_mean(row) for row in rows] for rows in values]
    np.testing.assert_allclose(fast_mean(values), expected)


def test_neither_bursts_nor_a_lucky_round_move_the_statistic():
    values = np.linspace(1, 1.02, 12)
    slowed, lucky = values.copy(), values.copy()
    slowed[-5:] *= 2
    lucky[0] /= 2
    assert fast_mean(slowed) == fast_mean(values)
    assert fast_mean(lucky) == fast_mean(values)


def test_a_round_is_summarised_by_its_fastest_sample():
    assert summary([3.0, 1.0, 2.0]) == 1.0


# ---------------------------------------------------------------- p


@pytest.mark.parametrize("bound", [0.0, 0.05, -0.1])
@pytest.mark.parametrize("n", [3, 6, 8, 10])
def test_p_is_that_of_scipys_permutation_test(n, bound):
    for seed in range(5):
        base, head = draw(seed, n, change=0.05)
        assert p_above(base, head, bound) == pytest.approx(slow_p(base, head, bound), abs=1e-12)


@settings(max_examples=30)
@given(rounds(3, 7), st.floats(-0.3, 0.3))
def test_p_is_that_of_scipys_whatever_the_numbers(pair, bound):
    # where ties are decided by the last digit, either may count
    base, head = (np.round(side, 2) for side in pair)
    low, high = (slow_p(base, head * math.exp(e), bound) for e in (1e-9, -1e-9))
    assert min(low, high) - 1e-12 <= p_above(base, head, bound) <= max(low, high) + 1e-12


def test_rounds_that_are_all_alike_are_told_apart_too():
    """A round that is swapped is the fastest of its side, and left out."""
    same = np.full(12, 2.0)
    assert p_above(same, same * 1.2, 0.0) == 13 / 2**12
    assert estimate(same, same * 1.2, 0.05) == pytest.approx([math.log(1.2)] * 3, abs=1e-5)


def test_ties_count():
    same = np.full(6, 2.0)
    assert p_above(same, same, 0.0) == 1.0


@settings(max_examples=50)
@given(rounds(), st.floats(-0.2, 0.2), st.floats(0.001, 1000))
def test_p_does_not_know_the_unit_nor_the_order_of_rounds(pair, bound, factor):
    base, head = pair
    expected = p_above(base, head, bound)
    order = np.random.default_rng(0).permutation(len(base))
    for found in (
        p_above(base * factor, head * factor, bound),
        p_above(base[order], head[order], bound),
    ):
        assert found == pytest.approx(expected, abs=3 / 2 ** len(base))  # ties of the last digit


@settings(max_examples=50)
@given(rounds(), st.floats(-0.2, 0.2))
def test_both_sides_share_what_there_is(pair, bound):
    base, head = pair
    up, down = p_above(base, head, bound), p_above(head, base, -bound)
    assert up + down >= 1.0  # ties, and no swap at all, are in both
    assert min(up, down) >= smallest_p(len(base))


@settings(max_examples=50)
@given(rounds(), st.floats(-0.2, 0.2), st.floats(0, 0.5))
def test_p_grows_with_the_bound(pair, bound, more):
    assert p_above(*pair, bound) <= p_above(*pair, bound + more)


@pytest.mark.parametrize("n", [5, 8, 12])
def test_smallest_p_is_reached_by_sides_wholly_apart(n):
    base = np.linspace(1, 1.01, n)
    assert p_above(base, base * 2, 0.0) == smallest_p(n) == 2.0**-n


@pytest.mark.parametrize("n", [14, 20, 24, 40])
def test_smallest_p_is_reached_by_a_subgroup_too(n):
    base = np.random.default_rng(n).permutation(np.linspace(1, 1.01, n))
    assert p_above(base, base * 2, 0.0) == smallest_p(n) == 2.0**-MOST_EXACT


# ---------------------------------------------------------------- swaps


@pytest.mark.parametrize("n", [1, 5, MOST_EXACT])
def test_all_ways_to_swap_a_few_rounds(n):
    found = swaps(n).T
    assert found.shape == (2**n, n)
    assert len(np.unique(found, axis=0)) == 2**n
    assert not found[0].any()


@pytest.mark.parametrize("n", range(MOST_EXACT + 1, 41))
def test_ways_to_swap_many_rounds_are_a_subgroup(n):
    """Exactness needs no more: to swap by one way and then by another is a way to swap."""
    found = swaps(n).T
    assert len(np.unique(found, axis=0)) == 2**MOST_EXACT == len(found)
    assert not found[0].any()
    known = {row.tobytes() for row in found}
    one, other = np.random.default_rng(n).integers(0, len(found), (2, 200))
    assert all(row.tobytes() in known for row in found[one] ^ found[other])
    np.testing.assert_array_equal(found.mean(axis=0), 0.5)  # every round, in half of the ways
    together = (found.T.astype(float) @ found.astype(float)) / len(found)
    np.testing.assert_array_equal(together[~np.eye(n, dtype=bool)], 0.25)  # no two as one


def test_p_of_a_subgroup_is_close_to_that_of_all_ways(monkeypatch):
    pairs = [draw(seed, 16, change=0.04) for seed in range(20)]
    few = [p_above(base, head, 0.0) for base, head in pairs]
    monkeypatch.setattr(paired, "MOST_EXACT", 16)
    swaps.cache_clear()
    every = [p_above(base, head, 0.0) for base, head in pairs]
    swaps.cache_clear()
    assert len(set(every)) > 10
    error = np.sqrt(np.array(every) * (1 - np.array(every)) / 2**13)
    assert np.all(np.abs(np.array(few) - every) <= 4 * error + 2 / 2**13)


# ---------------------------------------------------------------- bounds


@settings(max_examples=50)
@given(rounds(6, 9), st.sampled_from([0.05, 0.02]))
def test_bounds_are_where_p_crosses_the_level(pair, level):
    base, head = pair
    found = estimate(base, head, level)
    assert found.value == log_ratio(base, head)
    assert found.low < found.value < found.high
    step = 2 * paired.FARTHEST * 2.0**-9  # how near the search comes
    for bound, one, other in ((found.low, base, head), (-found.high, head, base)):
        if math.isfinite(bound):
            assert p_above(one, other, bound) <= level
            assert p_above(one, other, bound + step) > level
        else:
            assert p_above(one, other, log_ratio(one, other) - paired.FARTHEST) > level


@pytest.mark.parametrize("n", [12, 24])
@pytest.mark.parametrize("level", [0.05, 0.004])
def test_bounds_of_real_sizes_are_sharp(n, level):
    for seed in range(5):
        base, head = draw(seed, n, change=0.1)
        found = estimate(base, head, level)
        for bound, one, other in ((found.low, base, head), (-found.high, head, base)):
            assert p_above(one, other, bound) <= level
            assert p_above(one, other, bound + 1e-4) > level


def test_bounds_swap_with_the_sides_and_do_not_know_the_unit():
    base, head = draw(1, 12, change=0.1)
    found = estimate(base, head, 0.05)
    back = estimate(head, base, 0.05)
    assert (back.value, back.low, back.high) == pytest.approx(
        (-found.value, -found.high, -found.low)
    )
    assert estimate(base * 1e3, head * 1e3, 0.05) == pytest.approx(found, abs=1e-5)
    shifted = estimate(base, head * math.exp(0.2), 0.05)
    assert shifted == pytest.approx([bound + 0.2 for bound in found], abs=1e-4)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_too_few_rounds_have_no_bounds(n):
    base, head = draw(0, n, change=0.5)
    assert estimate(base, head, 0.05)[1:] == (-math.inf, math.inf)
    assert smallest_p(n) > 0.05


def test_five_rounds_have_bounds_at_five_percent():
    base = np.linspace(1, 1.01, 5)
    found = estimate(base, base * 1.5, 0.05)
    assert 0.3 < found.low < math.log(1.5) < found.high < 0.5


def test_noise_beyond_a_factor_of_e_has_no_bound():
    base, head = np.random.default_rng(0).lognormal(0, 3, (2, 12))
    assert estimate(base, head, 0.004)[1:] == (-math.inf, math.inf)


@pytest.mark.parametrize(("n", "level", "trials"), [(12, 0.05, 1000), (24, 0.05, 400)])
def test_bounds_are_passed_by_chance_as_often_as_promised(n, level, trials):
    """Exactly so often at most, whatever the noise: here with bursts, drift and a real change."""
    ps = []
    for seed in range(trials):
        base, head = draw(seed, n, change=0.07)
        ps += [p_above(base, head, math.log(1.07)), p_above(head, base, -math.log(1.07))]
    passed = [p <= level for p in ps]
    # Both sides of one draw exclude each other, so their number varies less than that of as many
    # independent draws.
    assert 0.6 * level < np.mean(passed)
    assert stats.binomtest(sum(passed), len(passed), level, alternative="greater").pvalue > 1e-3


def test_small_levels_are_kept_too():
    """The second pass rejects at some 0.4%: by pairs of sides without a change, 24 rounds."""
    rng = np.random.default_rng(0)
    trials = 3000
    noise = rng.exponential(0.05, (trials, 2, 24))
    passed = 0
    for base, head in np.exp(noise):
        if log_ratio(base, head) > 0.02:  # others have no small p: below they are spared the test
            passed += p_above(base, head, 0.0) <= 0.004
    assert stats.binomtest(passed, trials, 0.004, alternative="greater").pvalue > 1e-3
    assert passed >= 4


def test_smallest_change_is_the_band_and_the_distances_of_two_bounds():
    base, head = draw(3, 12)
    found = estimate(base, head, 0.05)
    rare = estimate(base, head, (1 - 0.95**0.5) / 7)
    reach = (found.value - found.low) + (found.value - rare.low)
    assert reach > 2 * (found.value - found.low)
    for band in (0.02, 0.05):
        expected = (1 + band) * math.exp(reach) - 1
        assert smallest_change(base, head, found, band) == pytest.approx(expected)


def test_smallest_change_is_the_band_where_there_is_no_noise_and_none_where_too_little_is_known():
    base = np.full(12, 2.0)
    assert smallest_change(base, base, estimate(base, base, 0.05), 0.05) == pytest.approx(
        0.05, abs=1e-4
    )
    base, head = draw(1, 6)
    found = estimate(base, head, 0.05)
    assert math.isfinite(found.low)
    assert smallest_change(base, head, found, 0.05) == math.inf  # six can't tell what is rare


# ---------------------------------------------------------------- growth


def grown(seed, n, exponent, spread=0.02):
    """Seconds (sizes, rounds) that grow with the exponent."""
    rng = np.random.default_rng(seed)
    return SIZES[:, None] ** exponent * np.exp(rng.normal(0, spread, (len(SIZES), n)))


def test_slope_is_least_squares_of_the_logarithms():
    seconds = grown(0, 12, 1.3)
    expected = stats.linregress(np.log(SIZES), np.log([slow_fast_mean(row) for row in seconds]))
    assert slope(SIZES, seconds) == pytest.approx(expected.slope)
    assert slope(SIZES, SIZES[:, None] ** 2.0 * np.ones(3)) == pytest.approx(2.0)


def test_slope_of_many():
    many = np.stack([grown(seed, 12, 1.0) for seed in range(3)])
    np.testing.assert_allclose(slope(SIZES, many), [slope(SIZES, one) for one in many])


def test_bounds_of_a_slope_bracket_it_and_shrink_with_noise():
    noisy, quiet = (slope_estimate(SIZES, grown(0, 12, 1.5, s), 0.05) for s in (0.05, 0.005))
    for found in (noisy, quiet):
        assert found.low < found.value < found.high
        assert found == slope_estimate(
            SIZES, grown(0, 12, 1.5, 0.05 if found is noisy else 0.005), 0.05
        )
    assert quiet.high - quiet.low < (noisy.high - noisy.low) / 5
    assert abs(quiet.value - 1.5) < 0.02
    none = slope_estimate(SIZES, np.repeat(SIZES[:, None], 12, axis=1), 0.05)
    assert none == pytest.approx((1, 1, 1))


@pytest.mark.parametrize("n", [6, 9])
def test_p_of_a_steeper_slope_is_that_of_scipys(n):
    base, head = grown(1, n, 1.0), grown(2, n, 1.02)

    def statistic(*rows):
        # scipy swaps what is paired along the last axis: sizes of a round stay together by index
        return slope(SIZES, head_or_base(rows[0])) - slope(SIZES, head_or_base(rows[1]))

    def head_or_base(which):
        which = np.asarray(which, int)
        return np.where((which % 2 == 1)[None], head[:, which // 2], base[:, which // 2])

    labels = (2 * np.arange(n) + 1, 2 * np.arange(n))
    found = stats.permutation_test(
        labels, statistic, permutation_type="samples", alternative="greater",
        vectorized=False, n_resamples=np.inf,
    )  # fmt: skip
    assert p_steeper(SIZES, base, head, 0.0) == pytest.approx(found.pvalue, abs=1e-12)


def test_p_of_a_steeper_slope_knows_its_bound():
    base, head = grown(1, 12, 1.0), grown(2, 12, 1.3)
    ps = [p_steeper(SIZES, base, head, bound) for bound in (0.0, 0.2, 0.3, 0.4)]
    assert ps == sorted(ps)
    assert ps[0] < 0.01
    assert 0.01 < ps[2] < 0.99
    assert ps[3] > 0.99
    assert p_steeper(SIZES, base * 7, head * 7, 0.3) == pytest.approx(ps[2], abs=1e-3)


def test_a_slope_is_found_steeper_by_chance_as_often_as_promised():
    trials = 400
    passed = sum(
        p_steeper(SIZES, grown(2 * seed, 8, 1.2), grown(2 * seed + 1, 8, 1.3), 0.1) <= 0.05
        for seed in range(trials)
    )
    assert stats.binomtest(passed, trials, 0.05, alternative="greater").pvalue > 1e-3
    assert passed > 0.02 * trials
