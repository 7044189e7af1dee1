"""What does a build-up cost once the guest has overwritten the disk? On any builds of QEMU.

Run it where Debian's qemu-system-common is installed::

    tox -e second-path
    tox -e second-path -- --qemu stock=/a/qemu-storage-daemon --qemu patched=/b/qemu-storage-daemon

After the access check a snapshot's block status asks the *done* bitmap how far the first cluster's
state reaches. Where clusters were overwritten, that is a second search for a zero bit. A guest
overwrites a part of the disk by discards, which the filter copies to the fleecing target; then a
backup job (``sync=top``) builds its copy bitmap, again and again in the same daemon. The disk has
no clusters, so that copying is quick; its answers are for a slice at a time all the same. Growth is
that of the daemon's own seconds of processor. Words are those that both searches for a zero must
read, by the closed form: what a build reads of them, its profile says. Needs 170 MB of disk a TiB,
and some 10 s a TiB for the overwriting.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from hbitmap_bench.base import scratch
from hbitmap_bench.base.consoles import table_console
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.program import run_to_exit
from hbitmap_bench.base.sizes import format_size, parse_size
from hbitmap_bench.base.slopes import loglog_slope
from hbitmap_bench.qemu.account import Run
from hbitmap_bench.qemu.blueprint import Blueprint, Pattern, fragmented, full
from hbitmap_bench.qemu.builds import QemuBuild, find_daemon, parse_build
from hbitmap_bench.qemu.buildup import build_up
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.detect import detect_algorithm
from hbitmap_bench.qemu.graph import BACKUP_TARGET, COPY_CLUSTER_BYTES, SNAPSHOT, add_null_disk
from hbitmap_bench.qemu.overwritten import MAX_DISCARD_BYTES, add_overwritable, overwrite
from hbitmap_bench.qemu.perf import PerfEndedError, PerfMissingError, recording
from hbitmap_bench.reproduction.disturbance import counted, judged, reason_of_all

SLICE_BYTES: Final = 4096
ANSWER_BITS: Final = 512
"""Of both images, whatever their size: QEMU's default slice over 256G."""

PIECE_BITS: Final = MAX_DISCARD_BYTES // COPY_CLUSTER_BYTES

LEAST_SIZES: Final = 3
"""For an exponent: two sizes lie on a line, whatever else they do."""

SEED: Final = 13
_SCAN: Final = "hbitmap_next_zero"

Bits = npt.NDArray[np.int64]
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class State:
    """What the guest overwrote (``done``), and how the fleecing target answers about that.

    ``done`` makes of the disk's number of copy clusters the numbers at which runs begin, done ones
    first: 0, where it is not done any more, where it is done again, ... ``target`` is how clusters
    lie in the fleecing image, None for a null disk. ``reach`` is how many clusters one answer of
    it has at most.
    """

    done: Callable[[int], Bits]
    target: Pattern | None
    reach: int


def first(part: float) -> Callable[[int], Bits]:
    """The first part of the disk, in one run."""
    return lambda n: np.array([0, round(n * part)])


def scattered(n: int) -> Bits:
    """Each cluster by the toss of a coin: the runs of a random half."""
    done = np.random.default_rng(SEED).integers(0, 2, n, dtype=np.int8)
    done[0] = 1
    return np.concatenate([[0], np.flatnonzero(np.diff(done)) + 1])


STATES: Final = {
    "none": State(lambda _: np.array([0, 0]), full, ANSWER_BITS),
    "half": State(first(0.5), full, ANSWER_BITS),
    "full": State(first(1.0), full, ANSWER_BITS),
    "shuffled": State(first(1.0), fragmented(1), 1),
    "scattered": State(scattered, full, ANSWER_BITS),
    "whole": State(first(1.0), None, 2**41),
}
"""``full`` and ``half`` are written in the disk's order. ``shuffled`` is all of it in random order:
the same bitmap, but its clusters lie anywhere in the fleecing image, so that an answer is for one.
``scattered`` is a random half of the clusters. ``whole`` is ``full`` with a null target."""


class Work(NamedTuple):
    """Block-status queries of a build-up, and words that searches for a zero read in it."""

    queries: int
    access_words: int
    done_words: int


def work(state: State, n_bits: int) -> Work:
    """What a build-up has to do over so many copy clusters, in closed form.

    A query begins where an answer ends: at a slice of the disk's or the target's table, or where
    done and not done meet. From the word of its first bit the access check reads to the last word,
    and ``status``, if the bit is done, to the word of the first bit that is not. O(queries).
    """
    edges = state.done(n_bits)
    run_starts = np.unique(np.append(edges, 0))  # an empty run is none
    starts = np.unique(np.concatenate([run_starts, np.arange(0, n_bits, ANSWER_BITS)]))
    starts = starts[starts < n_bits]
    done, ends = _runs(edges, starts, n_bits)
    if state.reach != ANSWER_BITS:
        starts = np.concatenate([starts[~done], _done_starts(edges, n_bits, state.reach)])
        done, ends = _runs(edges, starts, n_bits)
    last_word = (n_bits - 1) // 64
    words = starts // 64
    zero_at = np.minimum(ends // 64, last_word)
    return Work(
        queries=len(starts),
        access_words=int((last_word - words + 1).sum()),
        done_words=int((zero_at - words + 1)[done].sum()),
    )


def _runs(edges: Bits, starts: Bits, n_bits: int) -> tuple[npt.NDArray[np.bool_], Bits]:
    """Whether the bit at each start is done, and where its run ends."""
    after = np.searchsorted(edges, starts, side="right")
    return after % 2 == 1, np.append(edges, n_bits)[after]


def _done_starts(edges: Bits, n_bits: int, reach: int) -> Bits:
    """Where questions about done runs begin if an answer is for ``reach`` clusters."""
    return np.concatenate([np.arange(a, b, reach) for a, b in _done_runs(edges, n_bits)])


def _done_runs(edges: Bits, n_bits: int) -> Bits:
    """Begin and end of each done run: (runs, 2)."""
    bounds = np.append(edges, n_bits) if len(edges) % 2 else edges
    return bounds.reshape(-1, 2)


def discards(edges: Bits, n_bits: int, skip_bits: int = 0) -> Iterator[tuple[int, int]]:
    """The discards (offset, length in bytes) that overwrite the done runs beyond ``skip_bits``."""
    for begin, end in _done_runs(edges, n_bits).tolist():
        for bit in range(max(begin, skip_bits), end, PIECE_BITS):
            length = min(PIECE_BITS, end - bit)
            yield bit * COPY_CLUSTER_BYTES, length * COPY_CLUSTER_BYTES


class Profile(NamedTuple):
    """What of a build-up is ``hbitmap_next_zero``: its share of all samples, and its seconds.

    Where perf looks, each change of threads costs more, in a virtual machine several times as much:
    the share is too small then, and the seconds are not.
    """

    share: float
    scan_s: float


class Row(NamedTuple):
    """A build's runs over a disk in a state, and the profile of one more."""

    build: str
    state: str
    image_bytes: int
    algorithm: str
    runs: tuple[Run, ...]
    profile: Profile | None

    @property
    def seconds(self) -> list[float]:
        """Seconds of processor of the runs that count."""
        return [run.cpu_s or 0.0 for run in counted(self.runs)]

    @property
    def is_disturbed(self) -> bool:
        """Whether no run of it counts."""
        return reason_of_all(self.runs) is not None


def measure(
    build: QemuBuild, size: int, names: Sequence[str], rounds: int, folder: Path, say: Say
) -> Iterator[Row]:
    """Rows of states that share a target, in one daemon, one after the other."""
    target = STATES[names[0]].target
    disk = _draw(folder / "disk", size, None)
    fleecing = None if target is None else _draw(folder / "fleecing", size, target)
    n_bits, done_bits = size // COPY_CLUSTER_BYTES, 0
    with Daemon(build) as daemon:
        daemon.keep_to_one_core()
        algorithm = detect_algorithm(daemon)
        add_overwritable(daemon, size, disk, fleecing, SLICE_BYTES)
        add_null_disk(daemon, BACKUP_TARGET, size)
        for name in names:
            say(f"{build.label}, {format_size(size)}, {name}: overwriting, then {rounds + 1} runs")
            edges = STATES[name].done(n_bits)
            overwrite(daemon, discards(edges, n_bits, done_bits))
            done_bits = int(_done_runs(edges, n_bits)[-1, 1])
            found = [build_up(daemon, SNAPSHOT, BACKUP_TARGET) for _ in range(rounds)]
            runs = judged(found, None)
            row = Row(build.label, name, size, algorithm, runs, _profile(daemon))
            say(", ".join(f"{run.cpu_s or 0:.3f} CPU s ({run.disturbed})" for run in runs))
            yield row


def _draw(path: Path, size: int, pattern: Pattern | None) -> Path:
    path.unlink(missing_ok=True)
    Blueprint(image_bytes=size, pattern=pattern).write(path)
    return path


def _profile(daemon: Daemon) -> Profile | None:
    """Of a build-up of its own; None where perf does not tell."""
    try:
        with recording(daemon.pid) as recorder:
            recorder.enable()
            build_up(daemon, SNAPSHOT, BACKUP_TARGET)
            samples = recorder.samples()
    except (PerfMissingError, PerfEndedError):
        return None
    if (share := samples.share(_SCAN)) is None:
        return None
    return Profile(share, share * samples.total / samples.frequency_hz)


def table(rows: Iterable[Row]) -> Table:
    """All rows: seconds of processor, those of the scan, the work by the closed form."""
    shown = Table(
        "build", "overwritten", "image", "CPU s\n(median)", "range", "runs\n(disturbed)",
        "next_zero\nshare", "next_zero\ns", "queries", "access words\n(closed form)",
        "done words\n(closed form)",
    )  # fmt: skip
    for row in rows:
        must = work(STATES[row.state], row.image_bytes // COPY_CLUSTER_BYTES)
        spoilt = sum(run.disturbed is not None for run in row.runs)
        shown.add_row(
            f"{row.build} ({row.algorithm})",
            row.state,
            format_size(row.image_bytes),
            f"{statistics.median(row.seconds):.3f}" + "*" * row.is_disturbed,
            f"{min(row.seconds):.3f}-{max(row.seconds):.3f}",
            f"{len(row.runs)} ({spoilt})",
            "-" if row.profile is None else f"{row.profile.share:.1%}",
            "-" if row.profile is None else f"{row.profile.scan_s:.3f}",
            f"{must.queries:,}",
            f"{must.access_words:,}",
            f"{must.done_words:,}",
        )
    return shown


def growth(rows: Sequence[Row]) -> str:
    """How one build's seconds grow in one state, by the sizes with a run that counts.

    Fewer than three of them have no exponent.
    """
    last, told = rows[-1], [row for row in rows if not row.is_disturbed]
    name = f"{last.build}, {last.state}"
    spoilt = [format_size(row.image_bytes) for row in rows if row.is_disturbed]
    without = f"; disturbed: {', '.join(spoilt)}" if spoilt else ""
    if len(told) < LEAST_SIZES:
        return f"{name}: no exponent, of fewer than {LEAST_SIZES} sizes{without}"
    sizes = [row.image_bytes for row in told]
    exponent, interval = loglog_slope(sizes, [statistics.median(row.seconds) for row in told])
    ends = f" ({interval[0]:.2f}..{interval[1]:.2f})" if interval else ""
    return f"{name}: CPU seconds grow with exponent {exponent:.2f}{ends}{without}"


def run(
    builds: Sequence[QemuBuild],
    sizes: Sequence[int],
    names: Sequence[str],
    rounds: int,
    given: Path | None,
) -> Iterator[Row]:
    """All rows: builds in turn at each size. What a daemon has overwritten it goes on from."""
    say = Console(stderr=True, highlight=False).print
    grown = [name for name in ("none", "half", "full") if name in names]
    groups = [grown] if grown else []
    groups += [[name] for name in names if name not in grown]
    for size in sizes:
        for group in groups:
            for build in builds:
                with scratch.folder(given) as folder:
                    yield from measure(build, size, group, rounds, folder, say)


@click.command()
@click.option("--qemu", "builds", metavar="[LABEL=]PATH", multiple=True, help="Repeatable.")
@click.option(
    "--size", "sizes", multiple=True, default=("256G", "512G", "1T"), show_default=True,
    help="Of the disks; repeatable.",
)  # fmt: skip
@click.option(
    "--state", "names", multiple=True, type=click.Choice(list(STATES)),
    default=("none", "half", "full"), show_default=True,
    help="What was overwritten; repeatable. shuffled and scattered take minutes from 128G on.",
)  # fmt: skip
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where images lie meanwhile; by default in TMPDIR.",
)  # fmt: skip
def main(
    builds: tuple[str, ...],
    sizes: tuple[str, ...],
    names: tuple[str, ...],
    rounds: int,
    folder: Path | None,
) -> None:
    """Print the runs of every build, and how their seconds grow. A * marks what is disturbed."""
    console = table_console()
    given = builds or ((str(found),) if (found := find_daemon()) else ())
    if not given:
        raise UserError("qemu-storage-daemon is not on PATH: install it, or give --qemu")
    measured = [parse_build(text) for text in given]
    rows = list(run(measured, [parse_size(size) for size in sizes], names, rounds, folder))
    rows.sort(key=lambda row: (row.build, row.state, row.image_bytes))
    console.print(table(rows))
    for _, alike in groupby(rows, key=lambda row: (row.build, row.state)):
        if len(same := list(alike)) > 1:
            console.print(growth(same))


if __name__ == "__main__":
    run_to_exit(main)
