"""A build-up in process: timed whole, or sampled and scaled to the whole with an interval.

Sampling times *blocks of consecutive queries*, not single ones: a query finds in the caches what
the query before it left there, and one that comes from elsewhere finds less. A pass puts a block
into each stratum of the query sequence, at random, in mirrored pairs: the cost of an access
check falls linearly along the disk, and in a mirrored pair whatever is linear cancels. Each pass
estimates the whole; how the passes differ is how sure that estimate is. They are spread over
the whole run, in turn with all other cells, so that drift of the machine shows in them.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter, thread_time
from typing import Final, NamedTuple

from scipy import stats

from hbitmap_bench.qemu.account import Run, spent, thread_totals
from hbitmap_bench.qemu.filters import Setup
from hbitmap_bench.qemu.geometry import Layout
from hbitmap_bench.reproduction.disturbance import counted, judged, usual_loop_words_s
from hbitmap_bench.reproduction.scan_loop import ScanLoop
from hbitmap_impl.backup import BackupJob
from hbitmap_impl.image import FullImage
from hbitmap_impl.setups import assemble

STRATA: Final = 8
"""Even, since blocks come in mirrored pairs."""

PASSES: Final = 8
"""Interval widths fall slowly beyond: t(0.975, 7) = 2.36 against 1.96 for ever more passes."""

MIN_PASSES: Final = 4
BUDGET_S: Final = 40.0
"""On a slow or busy machine there are fewer passes, but no fewer than the minimum: the default
sweep has to be done within a minute, and its intervals say what the missing ones cost."""

WARM_UP_QUERIES: Final = 2
"""Untimed queries before each block, so that it starts with the caches of a running build-up."""

BLOCK_S: Final = 0.004
"""About how long a block of slow queries lasts."""

MIN_BLOCK_QUERIES: Final = 2
MAX_BLOCK_QUERIES: Final = 256
"""Enough that even the quickest queries last a thousand times what reading the clock costs."""

MIN_UNEVEN_QUERIES: Final = 1024
"""Where an answer is no whole number of words, words fall in steps that mirroring does not cancel;
from so many queries on that is far below 0.1% of them."""

CHUNK_S: Final = 0.1
"""An exact build-up reports its progress about as often."""

ASSUMED_QUERY_S: Final = 4e-6
ASSUMED_WORDS_S: Final = 1.5e9
"""For planning block lengths and foretelling durations only; no result depends on them."""


class Seconds(NamedTuple):
    """Seconds by the clock, and of them those that the measuring thread worked."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Timing:
    """A whole build-up.

    ``runs`` are the exact runs, or the passes of a sample, scaled. ``interval_s``, of a sampled
    one, is where the CPU seconds of 95 of 100 exact runs should lie (a prediction interval, not
    one of the mean). ``words_examined`` is what was counted: exactly, or scaled from the blocks.
    """

    seconds: Seconds
    runs: tuple[Run, ...]
    interval_s: tuple[float, float] | None
    words_examined: float


def expected_s(layout: Layout, setup: Setup) -> float:
    """About what a whole build-up takes, for planning and for telling the user beforehand."""
    return layout.queries * ASSUMED_QUERY_S + layout.words(setup) / ASSUMED_WORDS_S


def open_job(layout: Layout, setup: Setup) -> BackupJob:
    """A backup job over a fully allocated image. An access bitmap is filled, and so pre-faulted.

    Empty bitmaps (deny, done) are read as the kernel's one zero page, in whole build-ups too.
    """
    image = FullImage(
        layout.image_bytes, layout.cluster_bytes, layout.l2_slice_bytes, layout.l2_entry_bytes
    )
    return assemble(
        setup,
        image,
        cbw_cluster_bytes=layout.copy_cluster_bytes,
        target_cluster_bytes=layout.copy_cluster_bytes,
    )


def time_queries(job: BackupJob, offset: int, n_queries: int | None = None) -> Seconds:
    """What the build-up takes for some queries from ``offset`` on (to the end if None)."""
    build_up = job.build_up
    start, cpu_start = perf_counter(), thread_time()
    build_up(offset, n_queries)
    cpu_end, end = thread_time(), perf_counter()
    return Seconds(end - start, cpu_end - cpu_start)


def timer(job: BackupJob) -> Seconds:
    """What ``time_queries`` costs without a query: the clocks and the call."""
    empty = [time_queries(job, job.size) for _ in range(50)]
    return Seconds(*map(statistics.median, zip(*empty, strict=True)))


def _total(parts: Sequence[Seconds], overhead: Seconds, scale: float = 1.0) -> Seconds:
    """The sum of the parts without what timing each of them costs, scaled."""
    sums = map(sum, zip(*parts, strict=True))
    pairs = zip(sums, overhead, strict=True)
    return Seconds(*(scale * (seconds - len(parts) * one) for seconds, one in pairs))


# ---------------------------------------------------------------- exact


def measure_exact(
    layout: Layout, setup: Setup, progress: Callable[[int], object] = lambda _: None
) -> Timing:
    """Run the whole build-up and time it.

    ``progress`` is told the queries of each finished part, between timings. Costs
    ``expected_s``, and N / 8 bytes for the access bitmap.
    """
    job, loop = open_job(layout, setup), ScanLoop()
    overhead = timer(job)
    chunk = max(1, round(layout.queries * CHUNK_S / max(expected_s(layout, setup), CHUNK_S)))
    rate_before, before = loop.words_s(), thread_totals()
    parts = []
    for first in range(0, layout.queries, chunk):
        parts.append(time_queries(job, first * layout.answer_bytes, chunk))
        progress(min(chunk, layout.queries - first))
    seconds = _total(parts, overhead)
    run = replace(
        spent(before, thread_totals(), wall_s=seconds.wall_s),
        cpu_s=seconds.cpu_s,
        loop_words_s=(rate_before, loop.words_s()),
    )
    words = job.check.words_examined if job.check else 0
    usual_words_s = usual_loop_words_s([run])
    return Timing(seconds, judged([run], usual_words_s), None, words)


# ---------------------------------------------------------------- sampled


@dataclass(frozen=True, slots=True)
class SamplePass:
    """What one pass over the strata says of the whole: seconds and words, scaled.

    The other numbers of ``run`` are the pass's own.
    """

    run: Run
    words: float


def block_queries(layout: Layout, setup: Setup) -> int:
    """Timed queries in a block: about ``BLOCK_S`` long, and at most half a stratum."""
    query_s = expected_s(layout, setup) / layout.queries
    wanted = min(max(round(BLOCK_S / query_s), MIN_BLOCK_QUERIES), MAX_BLOCK_QUERIES)
    return min(wanted, layout.queries // (2 * STRATA))


def can_sample(layout: Layout) -> bool:
    """Whether there are queries enough: with fewer, a whole build-up is as quick as a sample."""
    even = layout.answer_bytes // layout.copy_cluster_bytes % 64 == 0
    least = 2 * STRATA * MIN_BLOCK_QUERIES if even else MIN_UNEVEN_QUERIES
    return layout.queries >= least


def block_starts(n_queries: int, block: int, rng: random.Random) -> list[int]:
    """First query of each block: one in each stratum, the upper half mirroring the lower.

    A mirrored pair of blocks lies symmetrically about the middle of the build-up, so that the
    mean of anything linear in the query's number is met exactly.
    """
    width = n_queries / STRATA
    lower = [math.floor(i * width + rng.random() * (width - block)) for i in range(STRATA // 2)]
    return lower + [n_queries - block - start for start in reversed(lower)]


def sample_pass(layout: Layout, setup: Setup, rng: random.Random, n_blocks: int = 1) -> SamplePass:
    """Time blocks in each stratum, and scale to the whole: mean seconds a query times queries."""
    job = open_job(layout, setup)
    block = block_queries(layout, setup)
    overhead = timer(job)
    starts = [start for _ in range(n_blocks) for start in block_starts(layout.queries, block, rng)]
    words, parts, before = 0, [], thread_totals()
    for start in starts:
        _warm_up(job, layout, start)
        words -= job.check.words_examined if job.check else 0
        parts.append(time_queries(job, start * layout.answer_bytes, block))
        words += job.check.words_examined if job.check else 0
    account = spent(before, thread_totals(), wall_s=0.0)
    scale = layout.queries / (block * len(starts))
    wall_s, cpu_s = _total(parts, overhead, scale)
    return SamplePass(replace(account, wall_s=wall_s, cpu_s=cpu_s), words * scale)


def _warm_up(job: BackupJob, layout: Layout, start: int) -> None:
    """Ask the queries before a block; the first block's own first ones where there are too few."""
    first = max(start - WARM_UP_QUERIES, 0)
    job.build_up(first * layout.answer_bytes, WARM_UP_QUERIES)


def summarize(passes: Sequence[SamplePass], loop_words_s: float | None = None) -> Timing:
    """The mean of the passes that count, with the 95% prediction interval for one more build-up.

    mean +- t(0.975, n - 1) * s * sqrt(1 + 1/n), s the standard deviation between the n >= 2
    passes: the interval for a further draw from a normal distribution. A pass varies more than a
    whole build-up does, for it sees only some of the queries, so it errs to the wide side. With a
    single pass that is undisturbed there is no interval, and the row counts as disturbed.
    """
    runs = _judged_sample(passes, loop_words_s)
    found = [Seconds(run.wall_s, run.cpu_s or 0.0) for run in counted(runs)]
    wall_s, mean = (statistics.fmean(column) for column in zip(*found, strict=True))
    n = len(found)
    deviation = statistics.stdev(seconds.cpu_s for seconds in found)
    half = float(stats.t.ppf(0.975, n - 1)) * deviation * math.sqrt(1 + 1 / n)
    words = statistics.fmean(one.words for one in passes)
    return Timing(Seconds(wall_s, mean), runs, (max(mean - half, 0.0), mean + half), words)


def _judged_sample(passes: Sequence[SamplePass], loop_words_s: float | None) -> tuple[Run, ...]:
    """The passes as runs; a single undisturbed one shares the fate of the others."""
    runs = judged([one.run for one in passes], loop_words_s, excess_s=0)
    reasons = [run.disturbed for run in runs if run.disturbed is not None]
    if len(runs) - len(reasons) != 1 or not reasons:
        return runs
    return tuple(replace(run, disturbed=run.disturbed or reasons[0]) for run in runs)


def sample_cells(
    cells: Sequence[tuple[Layout, Setup]], *, seed: int, budget_s: float = BUDGET_S
) -> Iterator[tuple[int, SamplePass]]:
    """Sample all cells, pass by pass: yields (index of the cell, its pass) as each is measured.

    Each pass visits the cells in an order of its own, so that none always follows the same other.
    There are ``PASSES`` of them, or fewer, ``MIN_PASSES`` at least, once another one would not fit
    into ``budget_s``. One cell's bitmaps are in memory at a time, and the fixed loop's.
    """
    rng = random.Random(seed)
    start, loop = perf_counter(), ScanLoop()
    rate = loop.words_s()
    for done in range(PASSES):
        elapsed_s = perf_counter() - start
        if done >= MIN_PASSES and elapsed_s * (done + 1) / done > budget_s:
            return
        order = list(range(len(cells)))
        rng.shuffle(order)
        for index in order:
            sample = sample_pass(*cells[index], rng)
            rate, rate_before = loop.words_s(), rate
            run = replace(sample.run, loop_words_s=(rate_before, rate))
            yield index, replace(sample, run=run)
