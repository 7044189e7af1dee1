"""The growth exponent, on seeded synthetic power laws: its value, and what its interval covers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.slopes import loglog_slope, loglog_slopes
from hbitmap_bench.reproduction.growth import (
    WIDEST_HALF,
    extra_is_resolved,
    growth_of,
    growth_records,
    series,
)
from hbitmap_bench.reproduction.published import published_cells
from hbitmap_bench.reproduction.records import CellRecord

T = 2**40
SIZES = (1, 2, 4, 8, 16, 32, 64)
NOISE = 0.03


def cell(
    size_t: float, seconds: float | None, setup: str = "plain", **changes: object
) -> CellRecord:
    wide = None if seconds is None else (0.99 * seconds, 1.01 * seconds)
    plain = CellRecord(
        source="model",
        setup=setup,
        mode="sampled",
        image_bytes=int(size_t * T),
        cluster_bytes=65536,
        copy_cluster_bytes=65536,
        l2_slice_bytes=4096,
        elapsed_s=seconds,
        cpu_s=seconds,
        interval_s=wide,
    )
    return replace(plain, **changes)


def power_law(exponent: float, setup: str = "plain", **changes: object) -> list[CellRecord]:
    return [cell(size, 2.0 * size**exponent, setup, **changes) for size in SIZES]


@pytest.mark.parametrize("exponent", [1, 2])
@pytest.mark.parametrize("n_sizes", [3, 7])
def test_interval_covers_as_promised(exponent: int, n_sizes: int) -> None:
    """95% promised. Over 1000 draws its standard error is 0.7%: 3 of these each way."""
    rng = np.random.default_rng(20250522 + 10 * exponent + n_sizes)
    sizes = np.array(SIZES[:n_sizes], float)
    hits = 0
    for _ in range(1000):
        times = sizes**exponent * np.exp(rng.normal(0, NOISE, n_sizes))
        lower, upper = loglog_slope(sizes, times).interval
        hits += lower <= exponent <= upper
    assert 0.93 <= hits / 1000 <= 0.97


def test_interval_tells_linear_from_quadratic() -> None:
    """Power: over 300 draws of a quadratic law, the interval never holds 1 or even 1.8."""
    rng = np.random.default_rng(7)
    lowest = min(
        loglog_slope(SIZES, np.square(SIZES) * np.exp(rng.normal(0, NOISE, 7))).interval[0]
        for _ in range(300)
    )
    assert lowest > 1.8


def test_slope_of_an_exact_law() -> None:
    slope = loglog_slope(SIZES, [3 * size**1.5 for size in SIZES])
    assert slope.exponent == pytest.approx(1.5)
    assert slope.interval == pytest.approx((1.5, 1.5))


def test_many_slopes_are_those_of_scipy() -> None:
    rng = np.random.default_rng(3)
    sizes = np.array(SIZES, float)
    values = sizes ** rng.uniform(0, 2, (200, 1)) * np.exp(rng.normal(0, NOISE, (200, 7)))
    values[rng.random(values.shape) < 0.3] = np.nan
    values[0], values[1, 1:], values[2, 2:], values[3] = np.nan, np.nan, np.nan, 7.0
    values[4, :2] = 0, np.inf
    found = loglog_slopes(sizes, values)
    for row, *ends, n_sizes in zip(values, *found, strict=True):
        usable = np.isfinite(row) & (row > 0)
        assert n_sizes == usable.sum()
        if n_sizes < 2:
            assert np.isnan(ends).all()
            continue
        fit = stats.linregress(np.log(sizes[usable]), np.log(row[usable]))
        half = stats.t.ppf(0.975, n_sizes - 2) * fit.stderr if n_sizes > 2 else np.nan
        expected = [fit.slope, fit.slope - half, fit.slope + half]
        assert ends == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)


def test_a_constant_has_no_scatter_to_make_an_interval_of() -> None:
    found = loglog_slopes(np.array(SIZES, float), np.full((1, 7), 7.1))
    assert found.value == 0
    assert np.isnan([found.low, found.high]).all()


def test_two_sizes_give_a_slope_without_interval() -> None:
    slope = loglog_slope([10, 11], [325, 413])
    assert slope.exponent == pytest.approx(2.514, abs=0.001)
    assert slope.interval is None


@pytest.mark.parametrize(
    ("sizes", "values", "rule"),
    [
        ([1], [1], "two sizes"),
        ([1, 1], [1, 2], "two sizes"),
        ([1, 2], [1], "a value each"),
        ([1, 2], [0, 1], "positive"),
        ([-1, 2], [1, 1], "positive"),
        ([1, 2], [1, float("nan")], "positive"),
    ],
)
def test_slope_refuses(sizes: list[float], values: list[float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        loglog_slope(sizes, values)


def test_series_keep_regimes_builds_and_sources_apart() -> None:
    rows = [
        *power_law(1),
        *power_law(1, l2_slice_bytes=65536),
        *power_law(1, source="qemu", build="7.2.22", mode="measured"),
        *power_law(1, source="qemu", build="10.0", mode="measured"),
        *power_law(1, copy_cluster_bytes=2**20),
        *power_law(1, mode="exact"),
    ]
    assert [len(found) for found in series(rows).values()] == [7] * 6
    found = growth_records(rows)
    assert [record.exponent for record in found] == [pytest.approx(1)] * 6
    assert [record.build for record in found[2:4]] == ["7.2.22", "10.0"]


def test_a_line_over_two_regimes_is_refused() -> None:
    with pytest.raises(UserError, match="one l2_slice_bytes, not of 4096, 65536"):
        growth_of([cell(1, 1), cell(2, 2, l2_slice_bytes=65536)])
    with pytest.raises(UserError, match="one build, not of"):
        growth_of([cell(1, 1, build="a"), cell(2, 2, build="b")])
    with pytest.raises(UserError, match="seconds at every size"):
        growth_of([cell(1, 1), cell(2, None)])


def test_rows_come_in_any_order_and_empty_or_lone_ones_are_left_out() -> None:
    busy = cell(2, 50, disturbed="cold")
    rows = [cell(4, 8), cell(2, None), cell(1, 2), busy, cell(1, 99), cell(1, 1, setup="deny")]
    (record,) = growth_records(rows)
    assert record.sizes == (T, 4 * T)
    assert record.exponent == pytest.approx(1)


def over_plain(exponent: float, **changes: object) -> list[CellRecord]:
    rows = power_law(1)
    extra = {size: 0.5 * size**exponent for size in SIZES}
    return rows + [
        cell(size, 2 * size + extra[size], "access", extra_s=extra[size], **changes)
        for size in SIZES
    ]


def test_extra_exponent_is_that_of_the_extra_seconds() -> None:
    plain, access = growth_records(over_plain(2))
    assert access.extra_exponent == pytest.approx(2)
    low, high = access.extra_interval
    assert 1.9 < low < 2 < high < 2.1, "an exact law: as wide as the rows' own intervals make it"
    assert 1 < access.exponent < 2
    assert (plain.extra_exponent, plain.extra_interval) == (None, None)


def test_extra_that_noise_may_have_made_has_no_exponent() -> None:
    rows = over_plain(2)
    rows[7] = replace(rows[7], interval_s=(0.9 * rows[0].cpu_s, 1.1 * rows[7].cpu_s))
    assert growth_records(rows)[1].extra_exponent is None
    rows[7] = replace(rows[7], extra_s=-1.0)
    assert growth_records(rows)[1].extra_exponent is None


@pytest.mark.parametrize(("share", "resolved"), [(0.1, False), (0.3, True), (-0.5, False)])
def test_without_intervals_extra_is_resolved_from_a_share_of_plain_on(
    share: float, resolved: bool
) -> None:
    plain = cell(1, 2, interval_s=None)
    row = cell(1, 2 + 2 * share, "access", extra_s=2 * share, interval_s=None)
    assert extra_is_resolved(row, plain) is resolved


def test_extra_needs_its_own_plain_row() -> None:
    (access,) = growth_records(over_plain(2)[7:])
    assert access.extra_exponent is None
    other_slice = growth_records(over_plain(2, l2_slice_bytes=65536))
    assert other_slice[1].extra_exponent is None


@pytest.mark.parametrize(("gap", "resolved"), [(0.1, True), (-0.1, False)])
def test_with_intervals_extra_is_resolved_where_they_do_not_overlap(
    gap: float, resolved: bool
) -> None:
    plain = cell(1, 2, interval_s=(1.8, 2.2))
    row = cell(1, 3, "access", extra_s=1, interval_s=(2.2 + gap, 4))
    assert extra_is_resolved(row, plain) is resolved


def test_two_near_sizes_of_noisy_runs_have_no_exponent_but_a_growth() -> None:
    """Half a percent of noise at 10T and 11T may be told as an exponent; five may not."""
    for share, told in ((0.005, True), (0.05, False)):
        rows = [
            cell(size, s, interval_s=((1 - share) * s, (1 + share) * s))
            for size, s in ((10, 100.0), (11, 121.0))
        ]
        (record,) = growth_records(rows)
        assert (record.exponent is not None) is told
        assert (record.interval is not None) is told


def test_a_size_with_a_single_run_leaves_the_series_without_an_exponent() -> None:
    rows = power_law(1)
    rows[-1] = replace(rows[-1], interval_s=None)
    assert growth_records(rows)[0].exponent is None


@pytest.mark.parametrize(("n_sizes", "covered"), [(2, 0.85), (3, 0.95), (7, 0.95)])
def test_the_interval_holds_the_exponent_of_noisy_runs(n_sizes: int, covered: float) -> None:
    """From three sizes on it errs to the wide side; two have min..max of their runs alone."""
    rng = np.random.default_rng(n_sizes)
    sizes = [10, 11] if n_sizes == 2 else SIZES[:n_sizes]
    held = told = 0
    for _ in range(1000):
        rows = []
        for size in sizes:
            runs = size**2 * np.exp(rng.normal(0, 0.005, 3))
            ends = (float(runs.min()), float(runs.max()))
            rows.append(cell(size, float(np.median(runs)), interval_s=ends))
        (record,) = growth_records(rows)
        if record.interval is not None:
            told += 1
            held += record.interval[0] <= 2 <= record.interval[1]
            assert record.interval[1] - record.interval[0] <= 2 * WIDEST_HALF
    assert told > 900
    assert held / told > covered


def test_published_rows() -> None:
    plain, access, deny = growth_records(published_cells())
    assert (plain.setup, access.setup, deny.setup) == ("plain", "access", "deny")
    assert access.sizes == (10 * T, 11 * T)
    for record in (plain, access, deny):
        assert (record.exponent, record.interval) == (None, None), "no runs, so no spread"
        assert (record.extra_exponent, record.extra_interval) == (None, None)
