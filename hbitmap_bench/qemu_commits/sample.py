"""What the suites of QEMU's commits call: one sample of an installed build, as JSON.

A suite runs in an environment that has none of the harness, so it starts this program, which the
build's install has put beside it. A sample that a busy host has disturbed is tried again, and is
an error in the end: nothing is stored of it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final

import click

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.program import run_to_exit
from hbitmap_bench.base.sizes import parse_size
from hbitmap_bench.qemu.builds import DAEMON, find_qemu_img, parse_build
from hbitmap_bench.qemu.driver import Words, instructions, started
from hbitmap_bench.qemu.images import ensure_images
from hbitmap_bench.qemu_commits.build import DRIVER
from hbitmap_bench.reproduction.disturbance import judged
from hbitmap_bench.reproduction.rows import Row, probe, run_once
from hbitmap_bench.reproduction.scan_loop import ScanLoop

TRIES: Final = 3

BITS: Final = 2**24
"""The bitmap of 1 TiB at 64 KiB a bit."""

CONTENTS: Final[dict[str, Words]] = {
    "0": ("reset_all", 1),
    "0.5": ("shuffle", 1, BITS),
    "1": ("set", 1, 0, BITS),
}
"""What gives the bitmap of slot 1 a density."""

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


@click.group()
@click.option("--programs", required=True, type=click.Path(path_type=Path))
@click.option("--images", required=True, type=click.Path(path_type=Path))
@click.pass_context
def main(context: click.Context, programs: Path, images: Path) -> None:
    """Measure an installed build of QEMU once; prints JSON."""
    context.obj = (parse_build(str(programs / DAEMON)), images)


@main.command()
@click.pass_context
def facts(context: click.Context) -> None:
    """What the build has: its version, what it lacks, and the algorithm that it was found to have.

    ``words_exponent`` is null where the algorithm is not known.
    """
    build, _ = context.obj
    found = probe(build)
    told = {
        "version": build.version,
        "lacks": sorted(found.missing),
        "detected": found.detected,
        "words_exponent": WORDS_EXPONENT.get(found.detected or ""),
    }
    click.echo(json.dumps(told))


@main.command()
@click.option("--size", required=True, type=parse_size)
@click.option("--cluster-size", default="64K", show_default=True, type=parse_size)
@click.option("--filtered", is_flag=True, help="Through copy-before-write and snapshot-access.")
@click.pass_context
def buildup(context: click.Context, size: int, cluster_size: int, filtered: bool) -> None:
    """CPU and wall seconds of one build-up."""
    build, folder = context.obj
    # One qemu-img for all commits, if there is one: their images are the same.
    tool = find_qemu_img(None if shutil.which("qemu-img") else build.path)
    (image,) = ensure_images(folder, [(size, cluster_size)], tool, lambda words: None)
    row = Row(build, image, filtered)
    loop = ScanLoop()
    usual = max(loop.words_s() for _ in range(TRIES))
    reason = None
    for _ in range(TRIES):
        (run,) = judged([run_once(row, loop)], usual)
        if (reason := run.disturbed) is None:
            click.echo(json.dumps({"cpu_s": run.cpu_s, "wall_s": run.wall_s}))
            return
    raise UserError(f"disturbed in {TRIES} of {TRIES} runs, the last by {reason}")


@main.command()
@click.argument("operation", type=click.Choice([*WORK]))
@click.argument("density", type=click.Choice([*CONTENTS]))
@click.pass_context
def kernel(context: click.Context, operation: str, density: str) -> None:
    """Instructions of a call of QEMU's own HBitmap, by callgrind; null where the build lacks it."""
    build, _ = context.obj
    program = build.path.with_name(DRIVER)
    found = None
    if program.exists() and operation in _operations(program):
        before = [("new", 0, BITS, 0), ("new", 1, BITS, 0), CONTENTS[density]]
        calls, step, work = WORK[operation]
        found = round(instructions(program, before, calls, step, work) / calls)
    click.echo(json.dumps({"instructions": found}))


def _operations(program: Path) -> list[str]:
    with started(program) as driver:
        return driver.ask("operations")


if __name__ == "__main__":
    run_to_exit(main)
