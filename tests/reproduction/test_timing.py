"""Sampling: what is counted is exact, what is linear cancels, and intervals hold what they say."""

import itertools
import math
import random

import numpy as np
import pytest

from hbitmap_bench.qemu.account import Run
from hbitmap_bench.qemu.filters import SETUPS
from hbitmap_bench.qemu.geometry import layout
from hbitmap_bench.reproduction import disturbance, timing
from hbitmap_bench.reproduction.growth import over_plain
from hbitmap_bench.reproduction.model import (
    TABLE_VISITS,
    Beside,
    _require_same_words,
    exact_rows,
    sampled_rows,
)
from hbitmap_bench.reproduction.records import CellRecord
from hbitmap_bench.reproduction.timing import (
    STRATA,
    SamplePass,
    Seconds,
    Timing,
    block_queries,
    block_starts,
    can_sample,
    measure_exact,
    sample_cells,
    sample_pass,
    summarize,
)

T = 2**40


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("size", [10 * T, 11 * T, T + 65536])
def test_sampled_words_are_those_of_the_closed_form(setup, size):
    cell = layout(size)
    words = sample_pass(cell, setup, random.Random(5)).words
    assert words == pytest.approx(cell.words(setup), rel=0.001)


@pytest.mark.parametrize("setup", SETUPS)
def test_exact_words_are_those_of_the_closed_form(setup):
    cell = layout(128 * 2**30, l2_slice_bytes=4096)
    told = []
    timing = measure_exact(cell, setup, told.append)
    assert timing.words_examined == cell.words(setup)
    assert sum(told) == cell.queries
    (run,) = timing.runs
    assert (run.wall_s, run.cpu_s) == timing.seconds
    assert run.cpu_s <= run.wall_s
    assert run.waited_s is not None
    assert len(run.loop_words_s) == 2


@pytest.mark.parametrize("n_queries", [32, 33, 512, 327_680])
def test_blocks_lie_in_their_strata_and_in_mirrored_pairs(n_queries):
    block = 2
    for seed in range(50):
        starts = block_starts(n_queries, block, random.Random(seed))
        assert all(0 <= start <= n_queries - block for start in starts)
        for i, start in enumerate(starts):
            assert start + starts[STRATA - 1 - i] == n_queries - block
            assert i * n_queries / STRATA - 1 < start < (i + 1) * n_queries / STRATA
        assert all(a + block <= b for a, b in itertools.pairwise(starts))


def test_block_lengths_fit_the_strata():
    for size in (T // 32, T, 64 * T):
        cell = layout(size, l2_slice_bytes=4096)
        for setup in SETUPS:
            assert 2 <= block_queries(cell, setup) <= cell.queries // STRATA


def test_a_small_image_is_run_as_a_whole():
    assert not can_sample(layout(2**30))
    (plain, access, deny) = sampled_rows([layout(2**30)], seed=1, progress=lambda _: None)
    assert {row.mode for row in (plain, access, deny)} == {"exact"}
    assert {row.interval_s for row in (plain, access, deny)} == {None}


def a_pass(cpu_s, wall_s=None, **changes):
    return SamplePass(Run(wall_s=wall_s or cpu_s, cpu_s=cpu_s, **changes), 0)


def test_a_disturbed_pass_does_not_count():
    passes = [a_pass(101), a_pass(103), a_pass(500, loop_words_s=(1e9, 1e9))]
    timing = summarize(passes, loop_words_s=3e9)
    assert timing.seconds == (102, 102)
    assert [run.disturbed is None for run in timing.runs] == [True, True, False]


def test_passes_of_few_seconds_are_judged_as_those_of_many():
    """What a run of a daemon may exceed its own seconds by would be all of a small cell's."""
    timing = summarize([a_pass(0.01, wall_s=0.03), a_pass(0.011, wall_s=0.03)])
    assert None not in [run.disturbed for run in timing.runs]
    assert {run.disturbed for run in summarize([a_pass(0.010), a_pass(0.011)]).runs} == {None}


def test_a_single_undisturbed_pass_is_no_sample():
    timing = summarize([a_pass(101), a_pass(150, wall_s=400)])
    assert None not in [run.disturbed for run in timing.runs]


def test_the_prediction_interval_holds_a_further_draw_as_often_as_it_says():
    rng = np.random.default_rng(2)
    draws = rng.normal(100, 5, (4000, 9))
    held = 0
    for row in draws:
        low, high = summarize([a_pass(x) for x in row[:8]]).interval_s
        held += low <= row[8] <= high
    assert 0.94 < held / len(draws) < 0.96  # 95%; three standard errors are 1.0%


def test_cells_beside_a_real_build_are_sampled_before_each_of_its_runs():
    beside = Beside([layout(T), layout(2 * T), layout(2**30)], seed=1)
    assert layout(T) in beside
    assert layout(2**30) not in beside, "too small for a sample"
    for _ in range(timing.MIN_PASSES + 1):
        beside.visit(layout(T))
    beside.visit(layout(4 * T))
    rows = beside.rows()
    found = [(row.image_bytes, row.setup, len(row.runs)) for row in rows]
    visits = {T: timing.MIN_PASSES + 1, 2 * T: timing.MIN_PASSES}
    assert found == [(size, setup, visits[size]) for size in visits for setup in SETUPS]
    assert {row.mode for row in rows} == {"sampled"}
    assert all(run.loop_words_s for row in rows for run in row.runs)


def test_passes_spread_each_cell_over_the_run():
    cells = [(layout(T), setup) for setup in SETUPS]
    seen = [index for index, _ in sample_cells(cells, seed=3)]
    rounds = [sorted(seen[i : i + 3]) for i in range(0, len(seen), 3)]
    assert rounds == [[0, 1, 2]] * len(rounds)
    assert len(rounds) == timing.PASSES


def test_without_time_there_are_fewer_passes_but_some():
    seen = [index for index, _ in sample_cells([(layout(T), "deny")], seed=3, budget_s=0)]
    assert len(seen) == timing.MIN_PASSES


@pytest.fixture
def _quiet(monkeypatch):
    """Nothing counts as disturbed, however busy the host is."""
    monkeypatch.setattr(disturbance, "EXCESS_SHARE", 1e9)
    monkeypatch.setattr(disturbance, "SLOW_LOOP_SHARE", 1.0)


@pytest.mark.usefixtures("_quiet")
def test_rows_say_what_they_are():
    shares = []
    rows = sampled_rows([layout(T)], seed=1, progress=shares.append)
    assert [row.setup for row in rows] == ["plain", "access", "deny"]
    assert {row.mode for row in rows} == {"sampled"}
    assert {row.interval_kind for row in rows} == {"prediction95"}
    assert sum(shares) == pytest.approx(1)
    plain, access, deny = rows
    assert (plain.extra_s, plain.words_examined, plain.words_source) == (None, None, None)
    assert access.extra_s == access.cpu_s - plain.cpu_s
    assert (access.words_examined, access.words_source) == (
        layout(T).words("access"),
        "closed_form",
    )
    assert deny.scan_rate_words_s is None


def test_exact_rows_have_counted_words_and_no_interval():
    cell = layout(2**38, l2_slice_bytes=4096)
    rows = exact_rows([cell], lambda _: None)
    assert [row.words_source for row in rows] == [None, "counted", "counted"]
    assert {row.interval_s for row in rows} == {None}
    assert {row.mode for row in rows} == {"exact"}


@pytest.fixture
def second_a_query(monkeypatch):
    """A clock by which each query takes a second, and reading it a quarter of one."""
    calls = []

    def time_queries(job, offset, n_queries=None):
        calls.append((offset, n_queries))
        return Seconds(*[job.build_up(offset, n_queries).queries + 0.25] * 2)

    monkeypatch.setattr(timing, "time_queries", time_queries)
    return calls


@pytest.mark.parametrize("setup", SETUPS)
def test_seconds_are_scaled_to_the_whole_without_the_clocks_own(setup, second_a_query):
    cell = layout(T)
    run = sample_pass(cell, setup, random.Random(1)).run
    assert (run.wall_s, run.cpu_s) == pytest.approx((cell.queries, cell.queries))
    if setup != "access":
        whole = [cell.queries, cell.queries]
        assert measure_exact(cell, setup).seconds == pytest.approx(whole)


def test_each_block_is_warmed_up_by_the_queries_before_it(monkeypatch):
    asked = []
    real = timing.open_job

    class Watched:
        def __init__(self, job):
            self.size, self.check, self.job = job.size, job.check, job

        def build_up(self, start, n_queries=None):
            asked.append((start, n_queries))
            return self.job.build_up(start, n_queries)

    monkeypatch.setattr(timing, "open_job", lambda *cell: Watched(real(*cell)))
    cell = layout(T)
    sample_pass(cell, "deny", random.Random(1))
    blocks = [call for call in asked if call[0] != cell.image_bytes]
    assert len(blocks) == 2 * STRATA
    for warm_up, block in zip(blocks[::2], blocks[1::2], strict=True):
        assert warm_up == (max(block[0] - 2 * cell.answer_bytes, 0), 2)


def test_the_order_of_cells_changes_from_pass_to_pass():
    cells = [(layout(T), setup) for setup in SETUPS] * 2
    seen = [index for index, _ in sample_cells(cells, seed=3)]
    orders = {tuple(seen[i : i + 6]) for i in range(0, len(seen), 6)}
    assert len(orders) > 1


def test_the_interval_is_that_of_a_further_draw():
    low, high = summarize([a_pass(x) for x in (101, 102, 103)]).interval_s
    assert (high - low) / 2 == pytest.approx(4.302653 * math.sqrt(1 + 1 / 3), rel=1e-6)
    assert (high + low) / 2 == pytest.approx(102)


def test_an_uneven_layout_with_few_queries_is_run_as_a_whole():
    cell = layout(4416 * 2**20, copy_cluster_bytes=64 * 2**20, l2_slice_bytes=4096)
    assert not can_sample(cell)
    assert {row.mode for row in sampled_rows([cell], seed=1, progress=lambda _: None)} == {"exact"}


def test_a_row_whose_words_are_not_those_of_the_formula_is_refused():
    with pytest.raises(RuntimeError, match="the closed form says"):
        _require_same_words(
            layout(T), "access", Timing(Seconds(1, 1), (), None, 99), 100, "sampled"
        )
    with pytest.raises(RuntimeError, match="the closed form says"):
        _require_same_words(
            layout(T), "deny", Timing(Seconds(1, 1), (), None, 10_001), 10_000, "exact"
        )


def test_the_published_sizes_are_visited_more_often():
    rows = sampled_rows([layout(10 * T)], seed=1, progress=lambda _: None)
    assert {len(row.runs) for row in rows} == {TABLE_VISITS * timing.PASSES}


def test_extra_seconds_within_the_noise_give_no_scan_rate():
    place = {"image_bytes": T, "cluster_bytes": 65536, "copy_cluster_bytes": 65536}
    common = {**place, "source": "model", "mode": "sampled", "l2_slice_bytes": 4096}
    plain = CellRecord(**common, setup="plain", elapsed_s=1.0, interval_s=(0.8, 1.2))
    for low, rate in ((1.1, None), (1.3, 100 / 0.5)):
        row = CellRecord(
            **common, setup="access", elapsed_s=1.5, interval_s=(low, 1.7), words_examined=100
        )
        assert over_plain(row, [plain]).scan_rate_words_s == rate
        assert over_plain(row, [plain]).extra_s == 0.5
