"""QEMU's rows: build-ups on real builds, their repeats interleaved, as records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from hbitmap_bench.cells import Layout, layout
from hbitmap_bench.growth import over_plain
from hbitmap_bench.interrupt import stop_like_ctrl_c
from hbitmap_bench.qemu.builds import QemuBuild
from hbitmap_bench.qemu.buildup import measure_once
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.detect import JOB, detect_algorithm, missing_parts
from hbitmap_bench.qemu.graph import COPY_CLUSTER_BYTES
from hbitmap_bench.qemu.images import Image
from hbitmap_bench.records import CellRecord, Detected, Setup
from hbitmap_bench.sizes import format_size

REPEATS: Final = 3
"""Runs of a row after the warm-up."""

ALWAYS_REPEATED_BYTES: Final = 2 * 2**40
"""Up to this image size a row has all its runs, however slow they are."""

SLOW_RUN_S: Final = 10.0
"""A larger row is not repeated after a run that took longer than this."""

REMEDY_SLICE_BYTES: Final = 64 * 1024
"""What ``l2-cache-entry-size`` is raised to, on builds that are not patched."""

# For the progress bar alone: about what a query and a word cost on a real build.
_QUERY_S: Final = 30e-6
_WORD_S: Final = 0.6e-9

Advance = Callable[[float], object]
"""Told the share of the whole work (the shares add up to 1) that was just done."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row to measure. A slice of None leaves the build its default."""

    build: QemuBuild
    image: Image
    filtered: bool
    l2_slice_bytes: int | None = None

    @property
    def layout(self) -> Layout:
        """The geometry of the row: the null targets have no clusters, so theirs are 64 KiB."""
        return layout(
            self.image.image_bytes,
            self.image.cluster_bytes,
            l2_slice_bytes=self.l2_slice_bytes,
            copy_cluster_bytes=COPY_CLUSTER_BYTES,
        )

    def __str__(self) -> str:
        size = format_size(self.image.image_bytes)
        pinned = self.l2_slice_bytes
        option = f", l2-cache-entry-size={format_size(pinned)}" if pinned else ""
        name = "cbw + snap" if self.filtered else "blockdev-backup"
        return f"{self.build.name}: {name}, {size}{option}"


@dataclass(frozen=True, slots=True)
class Probe:
    """What a build was found to have; ``detected`` is None where it lacks a part to look at."""

    missing: frozenset[str]
    detected: Detected | None

    def lacks(self, row: Row) -> bool:
        """Whether the row can't be measured with this build."""
        return bool(self.missing) if row.filtered else JOB in self.missing


def plan_rows(
    builds: Iterable[QemuBuild], images: Sequence[Image], l2_slice_bytes: int | None = None
) -> list[Row]:
    """For each build and image plain and cbw + snap, with the default slice and with the remedy.

    The remedy is a slice of 64 KiB, at most a cluster, where the default is smaller; its plain row
    is what its extra seconds are over. ``l2_slice_bytes`` pins one slice for all rows instead.
    """
    return [
        row
        for build in builds
        for image in images
        for chosen in _slices(image, l2_slice_bytes)
        for row in (Row(build, image, False, chosen), Row(build, image, True, chosen))
    ]


def _slices(image: Image, pinned: int | None) -> tuple[int | None, ...]:
    if pinned is not None:
        return (pinned,)
    default = layout(image.image_bytes, image.cluster_bytes).l2_slice_bytes
    remedy = min(REMEDY_SLICE_BYTES, image.cluster_bytes)
    return (None, remedy) if remedy > default else (None,)


def probe(build: QemuBuild) -> Probe:
    """Ask a build which parts it has and, where it has all, which algorithm."""
    with Daemon(build) as daemon:
        missing = missing_parts(daemon.execute("query-qmp-schema"))
        return Probe(missing, None if missing else detect_algorithm(daemon))


def measure_rows(
    rows: Sequence[Row], say: Callable[[str], object], advance: Advance
) -> list[CellRecord]:
    """Measure all rows in one session, and return a record for each, in their order.

    Runs go round in turn, forwards and backwards, so that a drift of the machine meets all rows
    alike. Each image is warmed up by one plain run first: with the kernel's cache filled, later
    daemons find what the first would have read from disk. A row whose build lacks a part gets a
    line through ``say`` and a record without seconds. Raises ``UserError`` where a daemon or a job
    fails; SIGTERM and SIGHUP end it as Ctrl-C does. Cost: about 31 us a query and, with the filters
    of an unpatched build, 0.6 ns a word, a run.
    """
    with stop_like_ctrl_c():
        probes = {build: probe(build) for build in dict.fromkeys(row.build for row in rows)}
        for build, found in probes.items():
            say(_finding(build, found))
        able = [row for row in rows if not probes[row.build].lacks(row)]
        bar = _Bar(able, advance)
        for row in _warm_ups(able):
            say(f"warm-up: {row}")
            _run(row)
            bar.ran(row)
        runs = _interleaved(able, say, bar)
    records = [_record(row, probes[row.build], runs.get(row, [])) for row in rows]
    return [over_plain(record, records) for record in records]


def _finding(build: QemuBuild, found: Probe) -> str:
    if found.missing:
        parts = ", ".join(sorted(found.missing))
        return f"{build.name} has no {parts}: its rows that need it stay empty"
    return f"{build.name} ({build.path}): detected algorithm {found.detected}"


def _warm_ups(rows: Iterable[Row]) -> list[Row]:
    """The first row of each image. All of an image's rows read the same tables."""
    first: dict[Image, Row] = {}
    for row in rows:
        first.setdefault(row.image, row)
    return list(first.values())


def _interleaved(
    rows: Sequence[Row], say: Callable[[str], object], bar: _Bar
) -> dict[Row, list[float]]:
    runs: dict[Row, list[float]] = {row: [] for row in rows}
    for number in range(1, REPEATS + 1):
        for row in rows if number % 2 else reversed(rows):
            if is_repeated(row.image.image_bytes, runs[row]):
                say(f"run {number} of {REPEATS}: {row}")
                runs[row].append(_run(row))
            bar.ran(row)
    return runs


def is_repeated(image_bytes: int, runs_s: Sequence[float]) -> bool:
    """Whether a row with these runs is to have another one, while fewer than ``REPEATS``."""
    return not runs_s or image_bytes <= ALWAYS_REPEATED_BYTES or max(runs_s) <= SLOW_RUN_S


def _run(row: Row) -> float:
    return measure_once(
        row.build, row.image, filtered=row.filtered, l2_slice_bytes=row.l2_slice_bytes
    )


class _Bar:
    """Turns runs into shares of the whole, by what they are expected to take."""

    def __init__(self, rows: Sequence[Row], advance: Advance) -> None:
        repeats_s = REPEATS * sum(map(_expected_s, rows))
        self._total_s = repeats_s + sum(map(_expected_s, _warm_ups(rows)))
        self._advance = advance

    def ran(self, row: Row) -> None:
        self._advance(_expected_s(row) / self._total_s)


def _expected_s(row: Row) -> float:
    words = row.layout.words("access") if row.filtered else 0
    return row.layout.queries * _QUERY_S + words * _WORD_S


def _record(row: Row, found: Probe, runs_s: Sequence[float]) -> CellRecord:
    empty = CellRecord(
        source="qemu",
        setup=_setup(row, found),
        image_bytes=row.layout.image_bytes,
        cluster_bytes=row.layout.cluster_bytes,
        copy_cluster_bytes=row.layout.copy_cluster_bytes,
        l2_slice_bytes=row.layout.l2_slice_bytes,
        l2_entry_bytes=row.layout.l2_entry_bytes,
        mode="measured",
        build=row.build.label,
        detected=found.detected,
    )
    if not runs_s:
        return empty
    several = len(runs_s) > 1
    known = row.filtered and found.detected in ("access", "deny")
    return replace(
        empty,
        elapsed_s=median(runs_s),
        # One run has no spread.
        interval_s=(min(runs_s), max(runs_s)) if several else None,
        interval_kind="min_max" if several else None,
        runs_s=tuple(runs_s),
        queries=row.layout.queries,
        words_examined=row.layout.words(empty.setup) if known else None,
        words_source="closed_form" if known else None,
    )


def _setup(row: Row, found: Probe) -> Setup:
    if not row.filtered:
        return "plain"
    return "deny" if found.detected == "deny" else "access"
