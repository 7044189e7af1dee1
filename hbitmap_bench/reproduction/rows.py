"""QEMU's rows: build-ups on real builds, their repeats interleaved, as records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.interrupt import stop_like_ctrl_c
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.qemu.account import Run
from hbitmap_bench.qemu.builds import QemuBuild
from hbitmap_bench.qemu.buildup import measure_once
from hbitmap_bench.qemu.daemon import Daemon, DaemonDied
from hbitmap_bench.qemu.detect import JOB, detect_algorithm, missing_parts
from hbitmap_bench.qemu.filters import Detected, Setup
from hbitmap_bench.qemu.geometry import Layout, layout
from hbitmap_bench.qemu.graph import COPY_CLUSTER_BYTES
from hbitmap_bench.qemu.images import Image
from hbitmap_bench.qemu.page_cache import cached_share, warm
from hbitmap_bench.reproduction.disturbance import (
    counted,
    judged,
    reason_of_all,
    usual_loop_words_s,
)
from hbitmap_bench.reproduction.growth import over_plain
from hbitmap_bench.reproduction.records import CellRecord
from hbitmap_bench.reproduction.scan_loop import ScanLoop

RUNS: Final = 3
"""Runs of a row that count, where the budget has them."""

BUDGET_S: Final = 180.0
"""Seconds of build-ups. Beyond it no row is repeated that has its least number of runs."""

LEAST_RUNS: Final = 3
QUICK_S: Final = 60.0
"""A row that takes less has its least number of runs, whatever the budget; a slower one has one."""

RETRIED_S: Final = 15.0
"""A row whose runs have taken less altogether is tried again beyond the budget if it was disturbed.

Six tries of a row of two seconds; the default run stays near its budget on a busy host too.
"""

REMEDY_SLICE_BYTES: Final = 64 * 1024
"""What ``l2-cache-entry-size`` is raised to, on builds that are not patched."""

# For the progress bar alone: about what a query and a word cost on a real build.
_QUERY_S: Final = 30e-6
_WORD_S: Final = 0.6e-9

Advance = Callable[[float], object]
"""Told the share of the whole work that was just done. Repeats of disturbed runs come on top."""

BeforeRun = Callable[[Layout], object]
"""Told what is about to be measured, to measure something else of the same layout in turn."""


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
    """What a build was found to have; ``detected`` is None where it lacks a part to look at.

    ``failed`` is what the daemon said last where it has crashed at the filter.
    """

    missing: frozenset[str]
    detected: Detected | None
    failed: str | None = None

    def lacks(self, row: Row) -> bool:
        """Whether the row can't be measured with this build."""
        return bool(self.missing) if row.filtered else JOB in self.missing

    def failure(self, row: Row) -> str | None:
        """Why the row is not even tried with this build."""
        return self.failed if row.filtered else None


def plan_rows(
    builds: Iterable[QemuBuild], images: Sequence[Image], l2_slice_bytes: int | None = None
) -> list[Row]:
    """For each build and image plain and cbw + snap, with the default slice and with the remedy.

    The remedy is a slice of 64 KiB, at most a cluster, where the default is smaller; its plain row
    is what its extra seconds are over. ``l2_slice_bytes`` pins one slice for all rows instead. A
    build that is limited to a size has no rows of larger images.
    """
    return [
        row
        for build in builds
        for image in images
        if build.largest_bytes is None or image.image_bytes <= build.largest_bytes
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


def _probed(build: QemuBuild) -> Probe:
    """As ``probe``, also of a build that crashes: without the filter it may run."""
    try:
        return probe(build)
    except DaemonDied as error:
        return Probe(frozenset(), None, str(error))


def measure_rows(
    rows: Sequence[Row],
    say: Callable[[str], object],
    advance: Advance,
    *,
    n_runs: int = RUNS,
    budget_s: float = BUDGET_S,
    before_run: BeforeRun = lambda _: None,
    whole_rounds: bool = False,
) -> list[CellRecord]:
    """Measure all rows in one session, and return a record for each, in their order.

    Runs go round in turn, forwards and backwards, so that a drift of the machine meets all rows
    alike. Before each run ``before_run`` is told its layout, and its image's metadata is read into
    the page cache. How often a row is measured: see ``Session.wants``. With ``whole_rounds`` all
    rows are measured while one is wanted: run N of each row is then of round N. A row whose build
    lacks a part gets a line through ``say`` and a record without seconds. So does a row whose
    daemon or job fails: it is measured no more, and the others are. SIGTERM and SIGHUP end it as
    Ctrl-C does. Cost: about 31 us a query and, with the filters of an unpatched build, 0.6 ns a
    word, a run.
    """
    with stop_like_ctrl_c():
        probes = {build: _probed(build) for build in dict.fromkeys(row.build for row in rows)}
        for build, found in probes.items():
            say(_finding(build, found))
        failures = {row: said for row in rows if (said := probes[row.build].failure(row))}
        able = [row for row in rows if not (probes[row.build].lacks(row) or row in failures)]
        session = Session(
            able, say, advance, before_run,
            n_runs=n_runs, budget_s=budget_s, whole_rounds=whole_rounds,
        )  # fmt: skip
        session.run()
    runs, failures = session.judged_runs(), failures | session.failures
    records = [
        _record(row, probes[row.build], runs.get(row, ()), failures.get(row)) for row in rows
    ]
    return [over_plain(record, records) for record in records]


def _finding(build: QemuBuild, found: Probe) -> str:
    if found.missing:
        parts = ", ".join(sorted(found.missing))
        return f"{build.name} has no {parts}: its rows that need it stay empty"
    if found.failed:
        return f"failed, and measured without the filter alone: {found.failed}"
    return f"{build.name} ({build.path}): detected algorithm {found.detected}"


class Session:
    """Rounds over rows until each has the runs that it is to have, or the budget is used up.

    ``failures`` are the rows that could not be run once more, and what was said then.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        say: Callable[[str], object],
        advance: Advance,
        before_run: BeforeRun = lambda _: None,
        *,
        n_runs: int,
        budget_s: float,
        whole_rounds: bool = False,
    ) -> None:
        self._runs: dict[Row, list[Run]] = {row: [] for row in rows}
        self.failures: dict[Row, str] = {}
        self._say = say
        self._advance = advance
        self._before_run = before_run
        self._n_runs = n_runs
        self._least = min(LEAST_RUNS, n_runs)
        self._budget_s = budget_s
        self._whole_rounds = whole_rounds
        self._loop = ScanLoop()
        self._total_s = n_runs * sum(map(_expected_s, rows))

    def run(self) -> None:
        """Measure round after round, each in the other direction, and say what was left out."""
        while wanted := [row for row in self._in_turn() if self.wants(row)]:
            for row in self._in_turn() if self._whole_rounds else wanted:
                if row not in self.failures and (self._whole_rounds or self.wants(row)):
                    self._measure(row)  # unless the budget is used up since
        for row, runs in self.judged_runs().items():
            self._tell_left_out(row, runs)

    def wants(self, row: Row) -> bool:
        """Whether a row is to be measured once more.

        Never once it has failed; else at least once, and a quick row ``LEAST_RUNS`` times. Beyond
        that while fewer than ``n_runs`` of its runs are undisturbed, if it has been tried at most
        twice as often. As long a run as its last one has to fit into the budget, a slow one beside
        what quick rows lack, unless a quick row has too few undisturbed runs and all its runs
        together took less than ``RETRIED_S``.
        """
        runs, quick = self._runs[row], self._is_quick(row)
        if row in self.failures:
            return False
        if not runs or (quick and len(runs) < self._least):
            return True
        undisturbed = self._undisturbed(row)
        if undisturbed >= self._n_runs or len(runs) >= 2 * self._n_runs:
            return False
        if quick and undisturbed < self._least and sum(run.wall_s for run in runs) < RETRIED_S:
            return True
        lacking_s = 0.0 if quick else sum(map(self._lacking_s, self._runs))
        return self._spent_s() + lacking_s + runs[-1].wall_s <= self._budget_s

    def judged_runs(self) -> dict[Row, tuple[Run, ...]]:
        """The runs of each row, with what disturbed them."""
        return {row: self._judged(row) for row in self._runs}

    def _is_quick(self, row: Row) -> bool:
        return all(run.wall_s < QUICK_S for run in self._runs[row])

    def _undisturbed(self, row: Row) -> int:
        return sum(run.disturbed is None for run in self._judged(row))

    def _lacking_s(self, row: Row) -> float:
        """Seconds of the runs that a quick row lacks of ``LEAST_RUNS``, as its last one took."""
        runs = self._runs[row]
        if not runs or not self._is_quick(row) or row in self.failures:
            return 0.0
        return max(0, self._least - self._undisturbed(row)) * runs[-1].wall_s

    def _in_turn(self) -> Iterable[Row]:
        done = max((len(runs) for runs in self._runs.values()), default=0)
        return self._runs if done % 2 == 0 else reversed(self._runs)

    def _judged(self, row: Row) -> tuple[Run, ...]:
        usual_words_s = usual_loop_words_s(run for runs in self._runs.values() for run in runs)
        return judged(self._runs[row], usual_words_s)

    def _spent_s(self) -> float:
        return sum(run.wall_s for runs in self._runs.values() for run in runs)

    def _measure(self, row: Row) -> None:
        runs = self._runs[row]
        self._say(f"run {len(runs) + 1}: {row}")
        self._before_run(row.layout)
        try:
            runs.append(run_once(row, self._loop))
        except UserError as error:
            self.failures[row] = str(error)
            self._say(f"failed, and not measured again: {error}")
            return
        reason = self._judged(row)[-1].disturbed
        if reason is not None:
            self._say(f"disturbed: {reason}")
        if len(runs) <= self._n_runs:
            self._advance(_expected_s(row) / self._total_s)

    def _tell_left_out(self, row: Row, runs: Sequence[Run]) -> None:
        undisturbed = sum(run.disturbed is None for run in runs)
        if undisturbed < self._n_runs:
            left_out = self._n_runs - undisturbed
            self._advance(max(self._n_runs - len(runs), 0) * _expected_s(row) / self._total_s)
            if row in self.failures:
                return  # said when it did
            tried_enough = len(runs) >= 2 * self._n_runs
            self._say(
                f"{undisturbed} of {self._n_runs} runs: {row}; "
                + (
                    f"{len(runs) - undisturbed} were disturbed, and no more are tried"
                    if tried_enough
                    else f"{left_out} more did not fit into --budget {self._budget_s:.0f}"
                )
            )


def run_once(row: Row, loop: ScanLoop) -> Run:
    """One run on one core, its image's metadata in the page cache if memory can hold it."""
    path = row.image.path
    if (cached_before := cached_share(path)) < 1:
        warm(path)
        cached_before = cached_share(path)
    rate_before = loop.words_s()
    run = measure_once(
        row.build,
        row.image,
        filtered=row.filtered,
        l2_slice_bytes=row.l2_slice_bytes,
        one_core=True,
    )
    return replace(
        run,
        loop_words_s=(rate_before, loop.words_s()),
        cached_before=cached_before,
        cached_after=cached_share(path),
    )


def _expected_s(row: Row) -> float:
    words = row.layout.words("access") if row.filtered else 0
    return row.layout.queries * _QUERY_S + words * _WORD_S


def _record(row: Row, found: Probe, runs: Sequence[Run], failed: str | None) -> CellRecord:
    """A row that has failed keeps its runs, and nothing is made of them."""
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
    if failed is not None or not runs:
        return replace(empty, runs=tuple(runs), failed=failed)
    known = row.filtered and found.detected in ("access", "deny")
    return replace(
        _with_seconds(empty, runs),
        runs=tuple(runs),
        queries=row.layout.queries,
        words_examined=row.layout.words(empty.setup) if known else None,
        words_source="closed_form" if known else None,
    )


def _with_seconds(record: CellRecord, runs: Sequence[Run]) -> CellRecord:
    found = counted(runs)
    seconds = [run.cpu_s for run in found if run.cpu_s is not None]
    several = len(seconds) > 1  # one run has no spread
    return replace(
        record,
        elapsed_s=median(run.wall_s for run in found),
        cpu_s=median(seconds),
        disturbed=reason_of_all(runs),
        interval_s=(min(seconds), max(seconds)) if several else None,
        interval_kind="min_max" if several else None,
    )


def _setup(row: Row, found: Probe) -> Setup:
    if not row.filtered:
        return "plain"
    return "deny" if found.detected == "deny" else "access"
