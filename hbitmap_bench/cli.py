"""The command ``hbitmap-bench``: what its rooms bring, in one group."""

from __future__ import annotations

import io
import sys

import click

from hbitmap_bench import __version__
from hbitmap_bench.base.program import run_to_exit
from hbitmap_bench.commits.commands import bench, publish, show, trend
from hbitmap_bench.commits.gate.commands import calibrate, gate, judge
from hbitmap_bench.doctor.commands import doctor
from hbitmap_bench.field.commands import diagnose, predict, profile
from hbitmap_bench.qemu_commits.commands import qemu_project
from hbitmap_bench.reproduction.commands import compare, releases, reproduce
from hbitmap_bench.tournament.commands import tournament


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hbitmap-bench")
def cli() -> None:
    """Measure why a QEMU backup of a large disk stands still before its first byte.

    The copy-before-write filter asks an access bitmap, on every block-status call, whether all the
    rest of the disk may be read; that is quadratic in the size of the disk. A deny bitmap answers
    in a few words. Both are measured here, in process and on real QEMU builds.
    """


for _command in (
    *(reproduce, releases, compare),
    *(predict, profile, diagnose),
    *(bench, show, trend, publish),
    *(gate, judge, calibrate),
    *(qemu_project, tournament, doctor),
):
    cli.add_command(_command)


def main() -> None:
    """Run the command; every error that a user can mend is one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a mark that an old terminal lacks is no error
    run_to_exit(cli)
