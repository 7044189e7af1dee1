"""Sampling: what is counted is exact, what is linear cancels, and intervals hold what they say."""

import itertools
import random

import numpy as np
import pytest

from hbitmap_bench import measure
from hbitmap_bench.cells import SETUPS, layout
from hbitmap_bench.measure import (
    STRATA,
    SamplePass,
    block_queries,
    block_starts,
    can_sample,
    measure_exact,
    sample_cells,
    sample_pass,
    summarize,
)
from hbitmap_bench.model import exact_rows, sampled_rows

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
    assert timing.runs_s == (timing.elapsed_s,)


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


def test_the_prediction_interval_holds_a_further_draw_as_often_as_it_says():
    rng = np.random.default_rng(2)
    draws = rng.normal(100, 5, (4000, 9))
    held = 0
    for row in draws:
        low, high = summarize([SamplePass(x, 0) for x in row[:8]]).interval_s
        held += low <= row[8] <= high
    assert 0.94 < held / len(draws) < 0.96  # 95%; three standard errors are 1.0%


def test_passes_spread_each_cell_over_the_run():
    cells = [(layout(T), setup) for setup in SETUPS]
    seen = [index for index, _ in sample_cells(cells, seed=3)]
    rounds = [sorted(seen[i : i + 3]) for i in range(0, len(seen), 3)]
    assert rounds == [[0, 1, 2]] * len(rounds)
    assert len(rounds) == measure.PASSES


def test_without_time_there_are_fewer_passes_but_some():
    seen = [index for index, _ in sample_cells([(layout(T), "deny")], seed=3, budget_s=0)]
    assert len(seen) == measure.MIN_PASSES


def test_rows_say_what_they_are():
    shares = []
    rows = sampled_rows([layout(T)], seed=1, progress=shares.append)
    assert [row.setup for row in rows] == ["plain", "access", "deny"]
    assert {row.mode for row in rows} == {"sampled"}
    assert {row.interval_kind for row in rows} == {"prediction95"}
    assert sum(shares) == pytest.approx(1)
    plain, access, deny = rows
    assert (plain.extra_s, plain.words_examined, plain.words_source) == (None, None, None)
    assert access.extra_s == access.elapsed_s - plain.elapsed_s
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
