"""Do backups that are pulled over NBD stall as pushed ones do? Measured on real QEMU.

Run it where Debian's qemu-system-common and qemu-utils are installed::

    tox -e pull-backup
    tox -e pull-backup -- --size 1T --size 2T --image-dir /var/tmp/images

A backup program asks for the block status of a whole NBD export, once of the disk itself and once
of a snapshot-access node over a copy-before-write filter over it. Two clients ask: one of our own,
in the longest requests that 32 bits allow, and the build's ``qemu-img map``, in the longest that it
and the daemon have in common, which from QEMU 8.2 on reach to the end of the disk. Passes are timed
in a daemon of their own each, in turn; a round before the others warms the page cache. Images are
full, or fragmented: every other 16 MiB discarded. The build-up of a pushed backup
(``blockdev-backup``) over the same image stands beside them. Growth is that of the daemon's own
seconds of processor, since passes of different sizes are not in turn.
"""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import click
from rich.console import Console
from rich.table import Table

from hbitmap_bench.base import scratch
from hbitmap_bench.base.children import kill_group
from hbitmap_bench.base.consoles import table_console
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.program import run_to_exit
from hbitmap_bench.base.sizes import format_size, parse_size
from hbitmap_bench.base.slopes import loglog_slope
from hbitmap_bench.qemu.builds import QemuBuild, find_daemon, find_qemu_img, parse_build
from hbitmap_bench.qemu.buildup import measure_once
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.detect import detect_algorithm
from hbitmap_bench.qemu.graph import COPY_CLUSTER_BYTES
from hbitmap_bench.qemu.images import Image, ensure_images
from hbitmap_bench.qemu.nbd import MAX_REQUEST_BYTES
from hbitmap_bench.qemu.pulled import Client, Pass, ask_by, ask_in_32_bits, pull

PIECE_BYTES: Final = 16 * 2**20
WORDS_A_REQUEST: Final = MAX_REQUEST_BYTES // COPY_CLUSTER_BYTES // 64
"""What one access check can scan at most: the request's own range."""

SUFFERS_RATIO: Final = 1.5
SUFFERS_EXPONENT: Final = 1.2
"""A pass suffers where it takes so many times the disk's own pass at the largest size, and the
ratio's growth shows in an exponent so far above 1 (a linear pass has 1, the scan 2)."""

_CLUSTER: Final = 65536


class Row(NamedTuple):
    """An image's passes over both exports by one client, in turn, and one pushed build-up."""

    image: Image
    kind: str
    client: str
    plain: tuple[Pass, ...]
    snapshot: tuple[Pass, ...]
    pushed: Pass

    @property
    def ratios(self) -> list[float]:
        """Snapshot over disk, round by round, in seconds."""
        pairs = zip(self.snapshot, self.plain, strict=True)
        return [ours.elapsed_s / theirs.elapsed_s for ours, theirs in pairs]


def push(build: QemuBuild, image: Image) -> Pass:
    """The build-up of a pushed backup through both filters, in a daemon of its own."""
    run = measure_once(build, image, filtered=True, l2_slice_bytes=None)
    return Pass(run.wall_s, run.cpu_s or 0.0)


def measure(
    build: QemuBuild,
    image: Image,
    kind: str,
    clients: Mapping[str, Client],
    rounds: int,
    say: Callable[[str], object],
) -> list[Row]:
    """A row for each client."""
    pushed = push(build, image)
    rows = []
    for name, client in clients.items():
        say(f"{kind}, {format_size(image.image_bytes)}, {name}")
        plain, snapshot = _both(build, image, client, rounds)
        rows.append(Row(image, kind, name, plain, snapshot, pushed))
    return rows


def _both(
    build: QemuBuild, image: Image, client: Client, rounds: int
) -> tuple[tuple[Pass, ...], tuple[Pass, ...]]:
    """A warm-up of each export, then rounds of both in turn, every other one backwards."""
    both: dict[bool, list[Pass]] = {False: [], True: []}
    for filtered in both:
        pull(build, image, client, filtered=filtered)
    for number in range(rounds):
        for filtered in (False, True) if number % 2 else (True, False):
            both[filtered].append(pull(build, image, client, filtered=filtered))
    return tuple(both[False]), tuple(both[True])


def fragment(full: Image, folder: Path, qemu_img: Path) -> Image:
    """A copy of the image with every other piece discarded. Costs some 0.1 ms a piece."""
    (made,) = ensure_images(folder, [(full.image_bytes, _CLUSTER)], qemu_img, lambda _: None)
    offsets = range(0, made.image_bytes, 2 * PIECE_BYTES)
    script = "".join(f"discard -q {offset} {PIECE_BYTES}\n" for offset in offsets)
    command: list[str | Path] = [
        qemu_img.with_name("qemu-io"),
        "-t",
        "unsafe",
        "-d",
        "unmap",
        made.path,
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        process.communicate(script.encode())
    finally:
        kill_group(process)
    if process.returncode:
        raise UserError(f"qemu-io could not fragment {made.path}: exit code {process.returncode}")
    return made


def table(rows: Sequence[Row]) -> Table:
    """All rows: the ratio of seconds with its range; seconds of processor of all three."""
    shown = Table(
        "image", "client", "extents", "snapshot\n/ disk", "disk,\nCPU s", "snapshot,\nCPU s",
        "pushed,\nCPU s", "pushed,\ns",
    )  # fmt: skip
    for row in rows:
        ratios, last = row.ratios, row.snapshot[-1]
        shown.add_row(
            f"{row.kind}\n{format_size(row.image.image_bytes)}",
            row.client + (f"\n{last.requests:,}" if last.requests else ""),
            f"{last.extents:,}",
            f"{statistics.median(ratios):.2f}\n{min(ratios):.2f}-{max(ratios):.2f}",
            *(f"{seconds:.2f}" for seconds in _cpu_seconds(row)),
            f"{row.pushed.elapsed_s:.2f}",
        )
    return shown


def _cpu_seconds(row: Row) -> tuple[float, float, float]:
    """Medians of the disk's and the snapshot's passes, and the pushed build-up."""
    plain, snapshot = (
        statistics.median(one.cpu_s for one in passes) for passes in (row.plain, row.snapshot)
    )
    return plain, snapshot, row.pushed.cpu_s


def words_line(rows: Sequence[Row]) -> str:
    """How far one access check can scan, pulled and pushed."""
    largest = max(row.image.image_bytes for row in rows)
    return (
        f"An access check scans its request's range: at most {WORDS_A_REQUEST:,} words where a "
        f"request has 32 bits. Pushed, and by clients and servers that both know longer requests, "
        f"up to {largest // COPY_CLUSTER_BYTES // 64:,} at {format_size(largest)}."
    )


def exponents(rows: Sequence[Row]) -> tuple[float, float, float]:
    """Growth exponents of the processor's seconds: disk, snapshot, pushed."""
    sizes = [row.image.image_bytes for row in rows]
    columns = zip(*map(_cpu_seconds, rows), strict=True)
    plain, snapshot, pushed = (loglog_slope(sizes, column).exponent for column in columns)
    return plain, snapshot, pushed


def verdict(rows: Sequence[Row]) -> str:
    """What the rows of one kind and client say, from their numbers alone."""
    largest = max(rows, key=lambda row: row.image.image_bytes)
    ratio = statistics.median(largest.ratios)
    what = f"{largest.kind}, {largest.client}"
    if len(rows) == 1:
        return f"{what}: ratio {ratio:.2f} at one size; a growth needs two"
    plain, snapshot, pushed = exponents(rows)
    suffers = ratio > SUFFERS_RATIO and snapshot > SUFFERS_EXPONENT
    word = "suffers" if suffers else "does not suffer"
    return (
        f"{what}: block status of the snapshot over NBD {word}. Exponents of CPU time: "
        f"{snapshot:.2f} of the snapshot, {plain:.2f} of the disk itself, {pushed:.2f} pushed; "
        f"at {format_size(largest.image.image_bytes)} the snapshot takes {ratio:.2f} times the "
        "disk's time"
    )


@contextmanager
def _folders(given: Path | None) -> Iterator[tuple[Path, Path]]:
    """Where full images are, kept if named, and where fragmented ones are, never kept."""
    with scratch.folder(given) as folder:
        yield (given or folder / "full"), folder / "fragmented"


def run(build: QemuBuild, sizes: Sequence[int], rounds: int, given: Path | None) -> list[Row]:
    """All rows, an image at a time."""
    console = Console(stderr=True)
    qemu_img = find_qemu_img(build.path)
    clients = {"32-bit": ask_in_32_bits, "qemu-img": ask_by(qemu_img)}
    rows: list[Row] = []
    with _folders(given) as (full, fragmented):
        pairs = [(size, _CLUSTER) for size in sizes]
        for image in ensure_images(full, pairs, qemu_img, console.print):
            rows += measure(build, image, "full", clients, rounds, console.print)
            pieces = fragment(image, fragmented, qemu_img)
            rows += measure(build, pieces, "fragmented", clients, rounds, console.print)
            pieces.path.unlink()
    return sorted(rows, key=lambda row: (row.kind != "full", row.client, row.image.image_bytes))


@click.command()
@click.option(
    "--size", "sizes", multiple=True, default=("1T", "2T", "4T"), show_default=True,
    help="Of the images; repeatable. 320 MB of disk a T.",
)  # fmt: skip
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--qemu", metavar="[LABEL=]PATH", help="Default: qemu-storage-daemon on PATH.")
@click.option("--image-dir", type=click.Path(path_type=Path), help="Keep the full images there.")
def main(sizes: tuple[str, ...], rounds: int, qemu: str | None, image_dir: Path | None) -> None:
    """Print the passes and what follows from them."""
    console = table_console()
    daemon = qemu or find_daemon()
    if daemon is None:
        raise UserError("qemu-storage-daemon is not on PATH: install qemu-system-common")
    build = parse_build(str(daemon))
    with Daemon(build) as running:
        console.print(f"{build.name}: detected algorithm {detect_algorithm(running)}")
    rows = run(build, [parse_size(size) for size in sizes], rounds, image_dir)
    console.print(table(rows))
    for _, alike in groupby(rows, key=lambda row: (row.kind, row.client)):
        console.print(verdict(list(alike)))
    console.print(words_line(rows))


if __name__ == "__main__":
    run_to_exit(main)
