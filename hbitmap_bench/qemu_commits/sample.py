"""What the suites of QEMU's commits call: one sample of an installed build, as JSON.

A suite runs in an environment that has none of the harness, so it starts this program, which the
build's install has put beside it. A sample that a busy host has disturbed is tried again, and is
an error in the end: nothing is stored of it. What a build lacks is left out of the answer.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import click

from hbitmap_bench.base import scratch
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.program import run_to_exit
from hbitmap_bench.base.sizes import format_size, parse_size
from hbitmap_bench.qemu import blueprint
from hbitmap_bench.qemu.account import Run, peak_bytes
from hbitmap_bench.qemu.blueprint import Blueprint
from hbitmap_bench.qemu.builds import DAEMON, QemuBuild, find_qemu_img, parse_build
from hbitmap_bench.qemu.buildup import add_ends, build_up
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.denied import pull_allowed
from hbitmap_bench.qemu.detect import missing_parts
from hbitmap_bench.qemu.driver import Words, instructions, started, two_bitmaps
from hbitmap_bench.qemu.graph import BACKUP_TARGET, add_null_disk
from hbitmap_bench.qemu.images import Image, ensure_images
from hbitmap_bench.qemu.overwritten import MAX_DISCARD_BYTES, add_overwritable, overwrite
from hbitmap_bench.qemu.profiled import profile_build_up
from hbitmap_bench.qemu.pulled import Pass, ask_by, pull
from hbitmap_bench.qemu.queries import count_queries
from hbitmap_bench.qemu_commits.build import DRIVER
from hbitmap_bench.reproduction.disturbance import judged
from hbitmap_bench.reproduction.rows import Row, probe, run_once
from hbitmap_bench.reproduction.scan_loop import ScanLoop
from hbitmap_impl.image import SMALL_L2_SLICE_BYTES

TRIES: Final = 3

RUN_CLUSTERS: Final = 64
"""Of a fragmented image, where an answer ends as host offsets stop being contiguous; and of what a
half-denied one allows and denies in turn."""

CLUSTER_BYTES: Final = 65536

BITS: Final = 2**24
"""The bitmap of 1 TiB at 64 KiB a bit."""

SETUPS: Final = ("plain", "cbw_snap")
"""As the suites call them."""

TOP_FUNCTIONS: Final = 10
"""Of a profile."""

DENSITIES: Final = ("0", "0.5", "1")
"""Shares of set bits."""

WORK: Final[dict[str, tuple[int, int, Words]]] = {
    "next_zero": (4, 512, ("next_zero", 1, 0, BITS)),
    "next_dirty": (4, 512, ("next_dirty", 1, 0, BITS)),
    "next_dirty_area": (64, 512, ("next_dirty_area", 1, 0, BITS // 2, 512)),
    "status": (64, 512, ("status", 1, 0, 512)),
    "set": (64, 512, ("set", 1, 0, 512)),
    "reset": (64, 512, ("reset", 1, 0, 512)),
    "merge": (2, 0, ("merge", 0, 1)),
    "iterate": (2, 0, ("iterate", 1, 0, BITS // 64)),
    "truncate": (64, -64, ("truncate", 1, BITS)),
}
"""Calls, how far a call's start is behind the last one's, and the call."""

WORDS_EXPONENT: Final = {"access": 2, "deny": 1}
"""How the words that the check examines grow with the size of the image, by algorithm."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A commit's build, and the folder of the images that all commits share."""

    build: QemuBuild
    images: Path

    @property
    def qemu_img(self) -> Path:
        """Its own."""
        return self.build.path.with_name("qemu-img")

    def require(self, *, filtered: bool) -> None:
        """End with an empty answer where the build lacks the filters that are to be measured."""
        if filtered and self._missing():
            click.echo("{}")
            click.get_current_context().exit()

    def _missing(self) -> frozenset[str]:
        with Daemon(self.build) as daemon:
            return missing_parts(daemon.execute("query-qmp-schema"))

    def image(self, size: int, cluster_size: int) -> Image:
        """The image of a size, made by one qemu-img for all commits, if there is one."""
        tool = find_qemu_img(None if shutil.which("qemu-img") else self.build.path)
        (found,) = ensure_images(self.images, [(size, cluster_size)], tool, lambda words: None)
        return found

    def fragmented(self, size: int) -> Image:
        """The image whose runs have 64 clusters; it appears when it is complete."""
        path = self.images / f"fragmented-{format_size(size)}.qcow2"
        if not path.exists():
            self.images.mkdir(parents=True, exist_ok=True)
            with scratch.folder(self.images) as folder:
                drawn = folder / path.name
                Blueprint(image_bytes=size, pattern=blueprint.fragmented(RUN_CLUSTERS)).write(drawn)
                drawn.rename(path)
        return Image(path, size, CLUSTER_BYTES)


@click.group()
@click.option("--programs", required=True, type=click.Path(path_type=Path))
@click.option("--images", required=True, type=click.Path(path_type=Path))
@click.pass_context
def main(context: click.Context, programs: Path, images: Path) -> None:
    """Measure an installed build of QEMU once; prints JSON."""
    context.obj = Installed(parse_build(str(programs / DAEMON)), images)


@main.command()
@click.pass_obj
def facts(installed: Installed) -> None:
    """What the build has: its version, what it lacks, and the algorithm that it was found to have.

    ``words_exponent`` is null where the algorithm is not known.
    """
    found = probe(installed.build)
    told = {
        "version": installed.build.version,
        "lacks": sorted(found.missing),
        "detected": found.detected,
        "words_exponent": WORDS_EXPONENT.get(found.detected or ""),
    }
    click.echo(json.dumps(told))


size_option: Final = click.option("--size", required=True, type=parse_size)
filtered_option: Final = click.option(
    "--filtered", is_flag=True, help="Through copy-before-write and snapshot-access."
)


@main.command()
@size_option
@filtered_option
@click.option("--cluster-size", default="64K", show_default=True, type=parse_size)
@click.option("--l2-slice", required=True, type=parse_size)
@click.pass_obj
def buildup(
    installed: Installed, size: int, filtered: bool, cluster_size: int, l2_slice: int
) -> None:
    """CPU and wall seconds of one build-up."""
    installed.require(filtered=filtered)
    row = Row(installed.build, installed.image(size, cluster_size), filtered, l2_slice)
    _tell(_undisturbed(partial(run_once, row)))


@main.command()
@size_option
@filtered_option
@click.pass_obj
def fragmented(installed: Installed, size: int, filtered: bool) -> None:
    """CPU and wall seconds of one build-up over an image whose runs have 64 clusters."""
    installed.require(filtered=filtered)
    row = Row(installed.build, installed.fragmented(size), filtered, SMALL_L2_SLICE_BYTES)
    _tell(_undisturbed(partial(run_once, row)))


@main.command()
@size_option
@click.pass_obj
def overwritten(installed: Installed, size: int) -> None:
    """CPU and wall seconds of one build-up after the guest has overwritten the whole disk."""
    installed.require(filtered=True)
    with scratch.folder() as folder, Daemon(installed.build) as daemon:
        daemon.keep_to_one_core()
        disk, fleecing = folder / "disk", folder / "fleecing"
        Blueprint(image_bytes=size, pattern=None).write(disk)
        Blueprint(image_bytes=size).write(fleecing)
        source = add_overwritable(daemon, size, disk, fleecing, SMALL_L2_SLICE_BYTES)
        target = add_null_disk(daemon, BACKUP_TARGET, size)
        pieces = range(0, size, MAX_DISCARD_BYTES)
        overwrite(daemon, ((start, min(MAX_DISCARD_BYTES, size - start)) for start in pieces))
        _tell(_undisturbed(lambda _: build_up(daemon, source, target)))


@main.command()
@size_option
@filtered_option
@click.pass_obj
def pulled(installed: Installed, size: int, filtered: bool) -> None:
    """CPU seconds of a pass of block status over NBD, by the build's own qemu-img.

    Its requests are as long as client and daemon can: from QEMU 8.2 on, up to the end of the disk.
    """
    installed.require(filtered=filtered)
    image, client = installed.image(size, CLUSTER_BYTES), ask_by(installed.qemu_img)
    _tell_pass(partial(pull, installed.build, image, client, filtered=filtered))


@main.command("half-denied")
@size_option
@filtered_option
@click.pass_obj
def half_denied(installed: Installed, size: int, filtered: bool) -> None:
    """CPU seconds of a pass of block status over the half of a snapshot that may be read.

    Runs of 64 clusters are allowed and denied in turn, by the filter's bitmap argument. Each
    request is for one run: no job goes over such a snapshot.
    """
    installed.require(filtered=filtered)
    image = installed.image(size, CLUSTER_BYTES)
    run_bytes = RUN_CLUSTERS * CLUSTER_BYTES
    _tell_pass(
        partial(
            pull_allowed, installed.build, image,
            run_bytes=run_bytes, filtered=filtered, l2_slice_bytes=SMALL_L2_SLICE_BYTES,
        )
    )  # fmt: skip


@main.command()
@size_option
@filtered_option
@click.pass_obj
def queries(installed: Installed, size: int, filtered: bool) -> None:
    """Questions that a build-up asks, counted by QEMU's own trace; null where it has none."""
    installed.require(filtered=filtered)
    image = installed.image(size, CLUSTER_BYTES)
    slice_bytes = SMALL_L2_SLICE_BYTES
    found = count_queries(installed.build, image, filtered=filtered, l2_slice_bytes=slice_bytes)
    click.echo(json.dumps({"queries": found}))


@main.command()
@size_option
@filtered_option
@click.pass_obj
def memory(installed: Installed, size: int, filtered: bool) -> None:
    """The daemon's largest resident set in a build-up, in bytes."""
    installed.require(filtered=filtered)
    image = installed.image(size, CLUSTER_BYTES)
    with Daemon(installed.build) as daemon:
        build_up(daemon, *add_ends(daemon, image, filtered=filtered))
        click.echo(json.dumps({"peak_bytes": peak_bytes(daemon.pid)}))


@main.command()
@size_option
@click.option("--setup", required=True, type=click.Choice(SETUPS))
@click.option("--cluster-size", default="64K", show_default=True, type=parse_size)
@click.option("--l2-slice", default="4K", show_default=True, type=parse_size)
@click.option("--fragmented", "in_runs", is_flag=True, help="Over the image with short runs.")
@click.pass_obj
def profile(
    installed: Installed, size: int, setup: str, cluster_size: int, l2_slice: int, in_runs: bool
) -> None:
    """Where the CPU time of one build-up goes, by perf: its top functions, as text."""
    image = installed.fragmented(size) if in_runs else installed.image(size, cluster_size)
    with Daemon(installed.build) as daemon:
        daemon.keep_to_one_core()
        ends = add_ends(daemon, image, filtered=setup != "plain", l2_slice_bytes=l2_slice)
        elapsed_s, found = profile_build_up(daemon, *ends)
    what = f"qemu {installed.build.version}, {setup}, {format_size(size)}"
    kernel = "" if found.with_kernel else ", without the kernel's"
    click.echo(f"{what}: {elapsed_s:.2f} s, {found.total} samples{kernel}")
    ranked = sorted(found.counts.items(), key=lambda item: -item[1])
    for (function, file), n in ranked[:TOP_FUNCTIONS]:
        click.echo(f"{n / found.total:6.1%}  {function} ({file})")


def _undisturbed(once: Callable[[ScanLoop], Run]) -> Run:
    """A run that no busy host has spoilt, of a few. Raises ``UserError`` without one."""
    loop = ScanLoop()
    usual = max(loop.words_s() for _ in range(TRIES))
    for _ in range(TRIES):
        (run,) = judged([once(loop)], usual)
        if run.disturbed is None:
            return run
    raise UserError(f"disturbed in {TRIES} of {TRIES} runs, the last by {run.disturbed}")


def _tell_pass(once: Callable[[], Pass]) -> None:
    def run(loop: ScanLoop) -> Run:
        before = loop.words_s()
        cpu_s = once().cpu_s
        # The daemon waits for its client, so that wall seconds tell nothing.
        return Run(wall_s=cpu_s, cpu_s=cpu_s, loop_words_s=(before, loop.words_s()))

    _tell(_undisturbed(run))


def _tell(run: Run) -> None:
    click.echo(json.dumps({"cpu_s": run.cpu_s, "wall_s": run.wall_s}))


@main.command()
@click.argument("operation", type=click.Choice([*WORK]))
@click.argument("density", type=click.Choice(DENSITIES))
@click.pass_obj
def kernel(installed: Installed, operation: str, density: str) -> None:
    """Instructions of a call of QEMU's own HBitmap, by callgrind; null where the build lacks it."""
    program = installed.build.path.with_name(DRIVER)
    found = None
    if program.exists() and operation in _operations(program):
        calls, step, work = WORK[operation]
        before = two_bitmaps(density, BITS)
        found = round(instructions(program, before, calls, step, work) / calls)
    click.echo(json.dumps({"instructions": found}))


def _operations(program: Path) -> list[str]:
    with started(program) as driver:
        return driver.ask("operations")


if __name__ == "__main__":
    run_to_exit(main)
