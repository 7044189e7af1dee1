"""Is a block-status pass over a real qcow2 image fast and small? Against real QEMU, interleaved.

Run it where Debian's qemu-system-common and qemu-utils are installed::

    tox -e qcow2-pass
    tox -e qcow2-pass -- --size 1T --image-dir /var/tmp/images

Each round measures the plain build-up of a daemon, then ours on the same file, in a new process
each; a round before the others warms the page cache. The exit code is 1 when a promise is broken:
ours takes at most half of QEMU's time (the median of the rounds' ratios) and 200 MB.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from hbitmap_bench.base import scratch
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.sizes import parse_size
from hbitmap_bench.qemu.builds import QemuBuild, find_daemon, find_qemu_img, parse_build, run_tool
from hbitmap_bench.qemu.buildup import measure_once
from hbitmap_bench.qemu.images import Image, ensure_images

MAX_RATIO: Final = 0.5
MAX_BYTES: Final = 200 * 10**6

_OURS: Final = """
import json, resource, sys, time
from hbitmap_impl.qcow2 import Qcow2Image
from hbitmap_impl.setups import assemble
start_s = time.perf_counter()
with Qcow2Image(sys.argv[1]) as image:
    queries = assemble("plain", image).build_up().queries
elapsed_s = time.perf_counter() - start_s
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([elapsed_s, queries, peak * 1024]))
"""


class Round(NamedTuple):
    """Seconds of both, one after the other; queries and peak memory (bytes) of ours."""

    qemu_s: float
    ours_s: float
    queries: int
    peak_bytes: int

    @property
    def ratio(self) -> float:
        """Ours over QEMU's."""
        return self.ours_s / self.qemu_s


def measure(build: QemuBuild, image: Image) -> Round:
    """One round."""
    qemu_s = measure_once(build, image, filtered=False, l2_slice_bytes=None).wall_s
    ours = run_tool([sys.executable, "-P", "-c", _OURS, image.path], timeout_s=None)
    return Round(qemu_s, *json.loads(ours))


def report(rounds: Sequence[Round], console: Console) -> bool:
    """Print all rounds; whether both promises are kept."""
    table = Table("round", "QEMU, s", "ours, s", "ratio", "ours, us a query", "ours, peak MB")
    for number, one in enumerate(rounds, start=1):
        table.add_row(
            str(number),
            f"{one.qemu_s:.2f}",
            f"{one.ours_s:.2f}",
            f"{one.ratio:.3f}",
            f"{one.ours_s / one.queries * 1e6:.2f}",
            f"{one.peak_bytes / 1e6:.0f}",
        )
    console.print(table)
    ratios = [one.ratio for one in rounds]
    peak_bytes = max(one.peak_bytes for one in rounds)
    kept = statistics.median(ratios) <= MAX_RATIO and peak_bytes <= MAX_BYTES
    console.print(
        f"ours / QEMU: median {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f}..{max(ratios):.3f}), at most {MAX_RATIO}; "
        f"peak {peak_bytes / 1e6:.0f} MB, at most {MAX_BYTES / 1e6:.0f} MB: "
        f"{'kept' if kept else 'MISSED'}"
    )
    return kept


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with scratch.folder() as folder:
        yield folder


@click.command()
@click.option("--size", default="10T", show_default=True, help="Of the image: 160 MB of disk a T.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--image-dir", type=click.Path(path_type=Path), help="Keep the image there.")
def main(size: str, rounds: int, image_dir: Path | None) -> None:
    """Print QEMU's time and ours, round by round; exit with 1 if a promise is broken."""
    console = Console()
    daemon = find_daemon()
    if daemon is None:
        raise click.ClickException("qemu-storage-daemon is not on PATH: install qemu-system-common")
    try:
        build = parse_build(str(daemon))
        with _folder(image_dir) as folder:
            sizes = [(parse_size(size), 65536)]
            (image,) = ensure_images(folder, sizes, find_qemu_img(daemon), console.print)
            measure(build, image)
            steps = track(range(rounds), "measuring", console=console, transient=True)
            found = [measure(build, image) for _ in steps]
    except UserError as error:
        raise click.ClickException(str(error)) from error
    console.print(f"{build.name}, {size} preallocated at 64K clusters, {found[0].queries} queries")
    sys.exit(0 if report(found, console) else 1)


if __name__ == "__main__":
    main()
