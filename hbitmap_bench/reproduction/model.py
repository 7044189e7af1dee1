"""The model's rows: cells measured in process, as records."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from hbitmap_bench.qemu.filters import SETUPS, Setup
from hbitmap_bench.qemu.geometry import Layout
from hbitmap_bench.reproduction.cells import TABLE_SIZES
from hbitmap_bench.reproduction.disturbance import reason_of_all, usual_loop_words_s
from hbitmap_bench.reproduction.growth import over_plain
from hbitmap_bench.reproduction.records import CellRecord, Mode
from hbitmap_bench.reproduction.scan_loop import ScanLoop
from hbitmap_bench.reproduction.timing import (
    MIN_PASSES,
    PASSES,
    SamplePass,
    Timing,
    can_sample,
    expected_s,
    measure_exact,
    sample_cells,
    sample_pass,
    summarize,
)

Progress = Callable[[float], object]
"""Told the share of the whole work (the shares add up to 1) that was just done."""

TABLE_VISITS: Final = 3
"""A pass visits the cells of the published table so often: they are what the headline says."""

VISIT_BLOCKS: Final = 8
"""Blocks in each stratum of a visit: a quarter of a second of the slowest setup."""

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
    passes: dict[Layout, dict[Setup, list[SamplePass]]] = defaultdict(lambda: defaultdict(list))
    for index, sample in sample_cells(cells, seed=seed):
        layout, setup = cells[index]
        passes[layout][setup].append(sample)
        progress(1 / (len(cells) * PASSES))
    usual = _usual_words_s(passes.values())
    rows = []
    for layout in layouts:
        if can_sample(layout):
            rows += _sampled(layout, passes[layout], usual)
        else:
            rows += exact_rows([layout], lambda _: None)
    return rows


class Beside:
    """The model's cells of layouts that real builds measure too, sampled in turn with their runs.

    So that whatever the host does meanwhile meets both. A visit's seconds are one pass over more
    blocks: a real run is long, and evens out what lasts some milliseconds.
    """

    def __init__(self, layouts: Iterable[Layout], *, seed: int) -> None:
        self._rng = random.Random(seed)
        self._loop = ScanLoop()
        self._visits: dict[Layout, dict[Setup, list[SamplePass]]] = {
            layout: {setup: [] for setup in SETUPS} for layout in layouts if can_sample(layout)
        }

    def __contains__(self, layout: object) -> bool:
        return layout in self._visits

    def visit(self, layout: Layout) -> None:
        """Sample the layout's setups, if it is one of these: half a second."""
        for setup, passes in self._visits.get(layout, {}).items():
            before = self._loop.words_s()
            sample = sample_pass(layout, setup, self._rng, VISIT_BLOCKS)
            rates = before, self._loop.words_s()
            passes.append(replace(sample, run=replace(sample.run, loop_words_s=rates)))

    def rows(self) -> list[CellRecord]:
        """All cells, each after ``MIN_PASSES`` visits at least."""
        for layout, setups in self._visits.items():
            while len(setups["plain"]) < MIN_PASSES:
                self.visit(layout)
        usual = _usual_words_s(self._visits.values())
        return [
            row
            for layout, setups in self._visits.items()
            for row in _sampled(layout, setups, usual)
        ]


def _usual_words_s(cells: Iterable[Mapping[Setup, Sequence[SamplePass]]]) -> float | None:
    """What the fixed loop mostly reached beside the passes of these cells."""
    return usual_loop_words_s(
        one.run for setups in cells for passes in setups.values() for one in passes
    )


def _sampled(
    layout: Layout, passes: Mapping[Setup, Sequence[SamplePass]], usual_words_s: float | None
) -> list[CellRecord]:
    timings = {setup: summarize(passes[setup], usual_words_s) for setup in SETUPS}
    return _records(layout, timings, "sampled")


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
