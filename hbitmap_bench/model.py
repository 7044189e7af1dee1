"""The model's rows: cells measured in process, as records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from hbitmap_bench.cells import SETUPS, TABLE_SIZES, Layout
from hbitmap_bench.disturbance import reason_of_all, usual_loop_words_s
from hbitmap_bench.growth import over_plain
from hbitmap_bench.measure import (
    PASSES,
    SamplePass,
    Timing,
    can_sample,
    expected_s,
    measure_exact,
    sample_cells,
    summarize,
)
from hbitmap_bench.records import CellRecord, Mode, Setup

Progress = Callable[[float], object]
"""Told the share of the whole work (the shares add up to 1) that was just done."""

TABLE_VISITS: Final = 3
"""A pass visits the cells of the published table so often: they are what the headline says."""

WORDS_TOLERANCE: Final = 0.001
"""Words scaled from a sample against the closed form; a larger gap means a wrong sample."""


def exact_rows(layouts: Sequence[Layout], progress: Progress) -> list[CellRecord]:
    """Every setup of every layout, run as a whole once."""
    total_s = exact_seconds(layouts)
    rows = []
    for layout in layouts:
        timings = {
            setup: measure_exact(layout, setup, _part(progress, layout, setup, total_s))
            for setup in SETUPS
        }
        rows += _records(layout, timings, "exact")
    return rows


def exact_seconds(layouts: Sequence[Layout]) -> float:
    """About what ``exact_rows`` takes."""
    return sum(expected_s(layout, setup) for layout in layouts for setup in SETUPS)


def _part(
    progress: Progress, layout: Layout, setup: Setup, total_s: float
) -> Callable[[int], object]:
    share = expected_s(layout, setup) / layout.queries / total_s
    return lambda n_queries: progress(n_queries * share)


def sampled_rows(layouts: Sequence[Layout], *, seed: int, progress: Progress) -> list[CellRecord]:
    """Every setup of every layout, sampled; layouts too small for a sample are run as a whole."""
    cells = [
        (layout, setup)
        for layout in layouts
        if can_sample(layout)
        for setup in SETUPS
        for _ in range(TABLE_VISITS if layout.image_bytes in TABLE_SIZES else 1)
    ]
    passes: dict[tuple[Layout, Setup], list[SamplePass]] = defaultdict(list)
    for index, sample in sample_cells(cells, seed=seed):
        passes[cells[index]].append(sample)
        progress(1 / (len(cells) * PASSES))
    usual = usual_loop_words_s(one.run for found in passes.values() for one in found)
    rows = []
    for layout in layouts:
        if can_sample(layout):
            timings = {setup: summarize(passes[layout, setup], usual) for setup in SETUPS}
            rows += _records(layout, timings, "sampled")
        else:
            rows += exact_rows([layout], lambda _: None)
    return rows


def _records(layout: Layout, timings: dict[Setup, Timing], mode: Mode) -> list[CellRecord]:
    rows = [_record(layout, setup, timings[setup], mode) for setup in SETUPS]
    return [over_plain(row, rows) for row in rows]


def _record(layout: Layout, setup: Setup, timing: Timing, mode: Mode) -> CellRecord:
    words = layout.words(setup)
    _require_same_words(layout, setup, timing, words, mode)
    counted = mode == "exact"
    return CellRecord(
        source="model",
        setup=setup,
        image_bytes=layout.image_bytes,
        cluster_bytes=layout.cluster_bytes,
        copy_cluster_bytes=layout.copy_cluster_bytes,
        l2_slice_bytes=layout.l2_slice_bytes,
        l2_entry_bytes=layout.l2_entry_bytes,
        mode=mode,
        elapsed_s=timing.seconds.wall_s,
        cpu_s=timing.seconds.cpu_s,
        disturbed=reason_of_all(timing.runs),
        interval_s=timing.interval_s,
        interval_kind="prediction95" if timing.interval_s else None,
        runs=timing.runs,
        queries=layout.queries,
        words_examined=None if setup == "plain" else words,
        words_source=None if setup == "plain" else "counted" if counted else "closed_form",
    )


def _require_same_words(
    layout: Layout, setup: Setup, timing: Timing, words: int, mode: Mode
) -> None:
    """A row whose counted words are not those of the formula measured something else."""
    tolerance = 0 if mode == "exact" else WORDS_TOLERANCE * words
    if abs(timing.words_examined - words) > tolerance:
        raise RuntimeError(
            f"{setup} at {layout}: counted {timing.words_examined} words ({mode}), "
            f"the closed form says {words}"
        )
