"""What a query and a word cost: on a QEMU build, or without one on this host, with its doubt.

A build is calibrated on images made for it, not on the user's: so a planned image can be predicted
too, nothing but metadata is read of one that is in use, and no build-up as long as the one in
question is run. What runs on the user's own image is ``--verify``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

from hbitmap_bench.field.predict.costs import Costs, fit
from hbitmap_bench.field.predict.counts import Counts, count
from hbitmap_bench.field.predict.subject import of_file
from hbitmap_bench.qemu.blueprint import Blueprint, fragmented, full
from hbitmap_bench.qemu.builds import QemuBuild
from hbitmap_bench.qemu.buildup import measure_once
from hbitmap_bench.qemu.filters import Detected, Setup
from hbitmap_bench.qemu.geometry import layout
from hbitmap_bench.qemu.images import Image
from hbitmap_bench.reproduction.timing import open_job, time_queries
from hbitmap_impl.clusters import full_bitmap

K, M, G = 2**10, 2**20, 2**30

ROUNDS: Final = 3
"""Each round measures all runs once, for costs of its own: how they differ is the interval."""

MODEL_ERROR: Final = 1.15
"""Few coefficients stand for all of a build-up: an interval is widened by this factor both ways."""

BUILDS_DIFFER: Final = 2.0
"""Without a build: two builds of the same loop were seen to differ twofold."""

SCAN_WORDS: Final = 1_500_000_000
"""A run that measures the scan reads at least so many words, half a second of them."""

MIN_SCAN_BITS: Final = 2**22
"""A smaller bitmap (than of 256 GiB) is scanned too quickly to be timed: this one stands for it."""

_HOST_S: Final = 0.3
_PASS_WORDS: Final = 1_000_000
_PASS_QUERIES: Final = 1000

# QEMU 7.2.22 of Debian, calibrated on a host on which our own job and scan took what follows.
REFERENCE: Final = Costs(
    start_s=0.01,
    query_s=0.12e-6,
    load_s=16e-6,
    cache_entry_s=1.1e-9,
    entry_s=11e-9,
    filter_s=0.1e-6,
    seek_s=0.8e-6,
    word_s=0.31e-9,
)
REFERENCE_QUERY_S: Final = 1.0e-6
REFERENCE_WORD_S: Final = 0.273e-9


@dataclass(frozen=True, slots=True)
class Calibration:
    """Costs, one set a round. ``build`` is None where this host alone was measured.

    ``factor`` is what a prediction may be off both ways, on top of how the rounds differ.
    """

    build: QemuBuild | None
    detected: Detected | None
    rounds: tuple[Costs, ...]
    factor: float

    def seconds(self, counts: Counts, setup: Setup) -> tuple[float, float, float]:
        """Predicted seconds, and the ends of their interval."""
        each = [costs.seconds(counts, setup) for costs in self.rounds]
        return median(each), min(each) / self.factor, max(each) * self.factor

    def scan_s(self, counts: Counts) -> float:
        """What of that is the search of the access bitmap."""
        return median(costs.scan_s(counts) for costs in self.rounds)


@dataclass(frozen=True, slots=True)
class _Run:
    """One build-up to measure, and what it does."""

    image: Image
    l2_slice_bytes: int
    setup: Setup
    counts: Counts


class BuildCalibration:
    """Calibrates one build on images in ``folder``: 50 MB, and about 4 s a round.

    ``detected`` is the build's algorithm. A build with a deny bitmap has no scan to measure: the
    word's cost is then this host's own, in process.
    """

    def __init__(
        self, build: QemuBuild, detected: Detected, folder: Path, bitmaps: Iterable[int]
    ) -> None:
        self._build, self._detected, self._folder = build, detected, folder
        self._filtered: Setup = "deny" if detected == "deny" else "access"
        self._bitmaps = sorted(set(bitmaps))
        self._rounds: list[dict[int, Costs]] = []
        self._runs = self._general_runs()
        scanned = self._bitmaps if detected == "access" else ()
        self._scans = {bits: self._scan_run(bits) for bits in scanned}

    def measure_round(self) -> None:
        """Measure all runs once more."""
        self._rounds.append(self.measure(self._bitmaps))

    def measure(self, bitmaps: Iterable[int]) -> dict[int, Costs]:
        """Costs by one measurement of each run, for bitmaps of so many bits."""
        general = fit([(run.counts, run.setup, self._measure(run)) for run in self._runs])
        return {bits: self._with_scan(general, bits) for bits in bitmaps}

    def of(self, bits: int) -> Calibration:
        """The calibration for bitmaps of so many bits, one of those that were named."""
        rounds = tuple(costs[bits] for costs in self._rounds)
        return Calibration(self._build, self._detected, rounds, MODEL_ERROR)

    def _measure(self, run: _Run) -> float:
        return measure_once(
            self._build,
            run.image,
            filtered=run.setup != "plain",
            l2_slice_bytes=run.l2_slice_bytes,
        ).wall_s

    def _general_runs(self) -> list[_Run]:
        whole = self._image("full", Blueprint(image_bytes=256 * G, pattern=full))
        pieces = self._image("pieces", Blueprint(image_bytes=16 * G, pattern=fragmented(4)))
        hollow = Blueprint(image_bytes=8 * G, cluster_bytes=4 * K, pattern=None)
        nothing = self._image("nothing", hollow)
        filtered = self._filtered
        return [
            _run(whole, 64 * K, "plain"),
            _run(whole, 4 * K, "plain"),
            _run(whole, 2 * K, "plain"),
            _run(whole, 4 * K, filtered),
            _run(pieces, 4 * K, "plain"),
            _run(pieces, 4 * K, filtered),
            _run(nothing, 512, "plain"),
            _run(nothing, 512, filtered),
        ]

    def _scan_run(self, bits: int) -> _Run:
        """An image without tables: its queries cost next to nothing but their scan."""
        size_bits = max(bits, MIN_SCAN_BITS)
        cluster, slice_bytes = scan_geometry(size_bits)
        plan = Blueprint(image_bytes=size_bits * 64 * K, cluster_bytes=cluster, pattern=None)
        return _run(self._image(f"scan-{bits}", plan), slice_bytes, self._filtered)

    def _with_scan(self, general: Costs, bits: int) -> Costs:
        if self._detected != "access":
            return replace(general, word_s=scan_word_s(bits))
        run = self._scans[bits]
        elapsed_s = self._measure(run)
        rest_s = general.seconds(run.counts, "deny")
        return replace(general, word_s=max(elapsed_s - rest_s, 0) / run.counts.words_access)

    def _image(self, name: str, plan: Blueprint) -> Image:
        path = self._folder / f"{name}.qcow2"
        plan.write(path)
        return Image(path, plan.image_bytes, plan.cluster_bytes)


def _run(image: Image, l2_slice_bytes: int, setup: Setup) -> _Run:
    filtered = setup != "plain"
    counts = count(of_file(image.path), filtered=filtered, l2_slice_bytes=l2_slice_bytes)
    return _Run(image, l2_slice_bytes, setup, counts)


def scan_geometry(bits: int) -> tuple[int, int]:
    """Cluster and L2 slice (bytes) of an empty image whose build-up reads ``SCAN_WORDS`` or more.

    ``bits`` is its size in copy clusters of 64 KiB. An answer there reaches 64 clusters or more.
    """
    words = -(-bits // 64)
    for cluster, slice_bytes in reversed(_SCANS):
        answer_bits = slice_bytes // 8 * cluster // (64 * K)
        if bits // answer_bits * words // 2 >= SCAN_WORDS:
            return cluster, slice_bytes
    return _SCANS[0]


_SCANS: Final = (
    *((cluster * K, 512) for cluster in (64, 128, 256, 512, 1024, 2048)),
    *((2 * M, slice_bytes) for slice_bytes in (1024, 2048, 4096)),
)


def calibrate_host(bitmaps: Iterable[int], say: Callable[[str], object]) -> dict[int, Calibration]:
    """The reference build's costs, in proportion to what our own job and scan take here.

    For bitmaps of so many bits, each 0.3 s and once; and 0.3 s for the job.
    """
    query = query_s() / REFERENCE_QUERY_S
    words = {bits: scan_word_s(bits) / REFERENCE_WORD_S for bits in dict.fromkeys(bitmaps)}
    for word in words.values():
        say(f"this host against the reference: a query {query:.2f}x, a word {word:.2f}x")
    return {
        bits: Calibration(None, None, (REFERENCE.scaled(query, word),), BUILDS_DIFFER)
        for bits, word in words.items()
    }


def query_s() -> float:
    """Seconds of one of our own job's plain queries of a disk in memory."""
    job = open_job(layout(256 * G, l2_slice_bytes=512), "plain")
    return min(_repeated(lambda: time_queries(job, 0, _PASS_QUERIES).wall_s)) / _PASS_QUERIES


def scan_word_s(bits: int) -> float:
    """Seconds a word of a full bitmap of so many bits takes our own ``next_zero``.

    A smaller one than of ``MIN_SCAN_BITS`` counts as one of those, lest the call be what is timed.
    """
    bits = max(bits, MIN_SCAN_BITS)
    bitmap = full_bitmap(bits * 64 * K, 64 * K)
    words = -(-bits // 64)

    times = 1 + _PASS_WORDS // words

    def scan() -> float:
        start_s = perf_counter()
        for _ in range(times):
            bitmap.next_zero(0, bits * 64 * K)
        return (perf_counter() - start_s) / times

    return min(_repeated(scan)) / words


def _repeated(measure: Callable[[], float]) -> Sequence[float]:
    """Its answers, until ``_HOST_S`` have passed."""
    end_s, found = perf_counter() + _HOST_S, [measure()]
    while perf_counter() < end_s:
        found.append(measure())
    return found
