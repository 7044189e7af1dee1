"""Installs a build of QEMU into an environment: asv's install command.

Beside the programs it puts the command that suites call: a suite runs in the environment's Python,
which has nothing of ours.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

import click

from hbitmap_bench.base.output import write_atomic
from hbitmap_bench.base.program import run_to_exit
from hbitmap_bench.qemu_commits.build import BUILT

SAMPLE: Final = "hbitmap-bench-sample"


@click.command()
@click.argument("cache", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("environment", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--images", required=True, type=click.Path(file_okay=False, path_type=Path))
def main(cache: Path, environment: Path, images: Path) -> None:
    """Put the programs of a build in CACHE into ENVIRONMENT, in place of those that are there."""
    programs = environment / "programs"
    shutil.rmtree(programs, ignore_errors=True)
    shutil.copytree(cache / BUILT, programs)
    ours = [sys.executable, "-P", "-m", "hbitmap_bench.qemu_commits.sample"]
    words = shlex.join([*ours, "--programs", str(programs), "--images", str(images.absolute())])
    command = environment / "bin" / SAMPLE
    write_atomic(command, f'#!/bin/sh\nexec {words} "$@"\n'.encode())
    command.chmod(0o755)


if __name__ == "__main__":
    run_to_exit(main)
