"""Are predicted build-ups those of real QEMU? On images of many kinds, in interleaved rounds.

Run it where Debian's qemu-system-common and qemu-utils are installed::

    tox -e predict-accuracy
    tox -e predict-accuracy -- --rounds 5

Each round measures every build-up, plain and through the filters, and calibrates the build anew
right before, on images of its own: a drift of the machine meets both sides alike. A row's ratio is
the median of its rounds' ratios, predicted over measured. The exit code is 1 if a promise is
broken: 0.8 to 1.25 for a build-up of half a second or more, within 0.1 s below that; and as many
queries in our walk as the real job has looks at L2 slices, by the daemon's own trace.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from hbitmap_bench.base import scratch
from hbitmap_bench.base.consoles import table_console
from hbitmap_bench.base.program import run_to_exit
from hbitmap_bench.field.predict.calibrate import BuildCalibration
from hbitmap_bench.field.predict.counts import Counts, count
from hbitmap_bench.field.predict.main import probe
from hbitmap_bench.field.predict.subject import Subject, of_file
from hbitmap_bench.qemu.blueprint import Blueprint, alternating, fragmented
from hbitmap_bench.qemu.builds import QemuBuild, find_daemon, parse_build
from hbitmap_bench.qemu.buildup import measure_once
from hbitmap_bench.qemu.filters import Detected, Setup
from hbitmap_bench.qemu.images import Image

K, M, G, T = 2**10, 2**20, 2**30, 2**40

LOW, HIGH = 0.8, 1.25
SHORT_S: Final = 0.5
SHORT_ERROR_S: Final = 0.1
MORE_LOOKS: Final = 8

BACKING: Final = "backing.raw"

PLANS: Final = {
    "256G, 64K, preallocated": Blueprint(image_bytes=256 * G),
    "1T, 64K, preallocated": Blueprint(image_bytes=T),
    "1T, 128K, fragmented": Blueprint(
        image_bytes=T, cluster_bytes=128 * K, pattern=fragmented(256)
    ),
    "512G, 64K, half allocated": Blueprint(image_bytes=512 * G, pattern=alternating(512)),
    "512G, 64K, extended L2": Blueprint(image_bytes=512 * G, extended_l2=True),
    "1T, 64K, over a backing file": Blueprint(
        image_bytes=T, pattern=alternating(2048), backing=Path(BACKING)
    ),
    "2T, 256K, preallocated": Blueprint(image_bytes=2 * T, cluster_bytes=256 * K),
    "2T, 1M, fragmented": Blueprint(image_bytes=2 * T, cluster_bytes=M, pattern=fragmented(64)),
    "4T, 1M, preallocated": Blueprint(image_bytes=4 * T, cluster_bytes=M),
    "4T, 2M, half allocated": Blueprint(
        image_bytes=4 * T, cluster_bytes=2 * M, pattern=alternating(512)
    ),
}


@dataclass(slots=True)
class Row:
    """One build-up of one image: what it does, and round by round its seconds."""

    name: str
    subject: Subject
    setup: Setup
    counts: Counts
    looks: int = 0
    predicted_s: list[float] = field(default_factory=list)
    measured_s: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Predicted over measured: the median of the rounds'."""
        pairs = zip(self.predicted_s, self.measured_s, strict=True)
        return median(predicted / measured for predicted, measured in pairs)

    @property
    def error_s(self) -> float:
        """Predicted less measured: the median of the rounds'."""
        pairs = zip(self.predicted_s, self.measured_s, strict=True)
        return median(predicted - measured for predicted, measured in pairs)

    @property
    def kept(self) -> bool:
        """Whether the promises are kept. The first chunk that is copied looks a few times more."""
        if not self.counts.queries <= self.looks <= self.counts.queries + MORE_LOOKS:
            return False
        if median(self.measured_s) < SHORT_S:
            return abs(self.error_s) <= SHORT_ERROR_S
        return LOW <= self.ratio <= HIGH


def make_rows(folder: Path, filtered: Setup) -> Iterator[Row]:
    """Make the images, and count what their build-ups do."""
    with (folder / BACKING).open("xb") as file:
        file.truncate(T)
    for name, plan in PLANS.items():
        path = folder / f"{name.replace(', ', '-').replace(' ', '-')}.qcow2"
        plan.write(path)
        subject = of_file(path)
        for setup in ("plain", filtered):
            yield Row(name, subject, setup, count(subject, filtered=setup != "plain"))


def measure(row: Row, build: QemuBuild) -> float:
    """Seconds of one real build-up."""
    subject = row.subject
    assert subject.path is not None
    image = Image(subject.path, subject.image_bytes, subject.cluster_bytes)
    return measure_once(build, image, filtered=row.setup != "plain", l2_slice_bytes=None).wall_s


def one_round(rows: Sequence[Row], build: QemuBuild, calibration: BuildCalibration) -> None:
    """Calibrate beside each image, and measure its rows once."""
    for row in track(rows, "measuring", transient=True):
        costs = calibration.measure([row.counts.bits])[row.counts.bits]
        row.predicted_s.append(costs.seconds(row.counts, row.setup))
        row.measured_s.append(measure(row, build))


def looks(row: Row, build: QemuBuild, folder: Path) -> int:
    """How often the real job looks at an L2 slice: the daemon traces it."""
    log, script = folder / "trace", folder / "daemon"
    daemon, to = shlex.quote(str(build.path)), shlex.quote(str(log))
    script.write_text(f'#!/bin/sh\nexec {daemon} -T qcow2_cache_get "$@" 2>{to}\n')
    script.chmod(0o755)
    measure(row, QemuBuild("traced", script, build.version))
    return log.read_text().count("is_l2_cache 1 ")


def report(rows: Sequence[Row], console: Console) -> bool:
    """Print all rows; whether all promises are kept."""
    columns = (
        "image",
        "setup",
        "queries",
        "looks in QEMU",
        "G words",
        "predicted, s",
        "measured, s",
        "ratio",
    )
    table = Table(*columns, "error, s", "")
    for row in rows:
        table.add_row(
            row.name,
            row.setup,
            f"{row.counts.queries:,}",
            f"{row.looks:,}",
            f"{row.counts.words_access / 1e9:.3f}" if row.setup == "access" else "-",
            f"{median(row.predicted_s):.3f}",
            f"{median(row.measured_s):.3f}",
            f"{row.ratio:.3f}",
            f"{row.error_s:+.3f}",
            "PASS" if row.kept else "FAIL",
        )
    console.print(table)
    kept = sum(row.kept for row in rows)
    console.print(
        f"{kept} of {len(rows)} build-ups as promised: {LOW} to {HIGH} from {SHORT_S} s on, "
        f"within {SHORT_ERROR_S} s below"
    )
    return kept == len(rows)


@click.command()
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--qemu", metavar="[LABEL=]PATH", help="Default: the daemon on PATH.")
def main(rounds: int, qemu: str | None) -> int:
    """Print predicted and measured build-ups; exit with 1 if a promise is broken."""
    console = table_console()
    build = parse_build(qemu or str(find_daemon() or "qemu-storage-daemon"))
    detected, _ = probe(build)
    rows = _measured(rounds, build, detected, console)
    console.print(f"{build.name}, detected: {detected}; {rounds} rounds")
    return 0 if report(rows, console) else 1


def _measured(rounds: int, build: QemuBuild, detected: Detected, console: Console) -> Sequence[Row]:
    filtered: Setup = "deny" if detected == "deny" else "access"
    with scratch.folder() as images, scratch.folder() as own:
        rows = list(make_rows(images, filtered))
        bits = [row.counts.bits for row in rows]
        calibration = BuildCalibration(build, detected, own, bits)
        for row in rows:  # which warms the page cache as well
            row.looks = looks(row, build, Path(own))
        for number in range(1, rounds + 1):
            console.print(f"round {number} of {rounds}")
            one_round(rows, build, calibration)
    return rows


if __name__ == "__main__":
    run_to_exit(main)
