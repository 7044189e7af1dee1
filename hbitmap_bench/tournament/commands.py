"""The command ``tournament``."""

from __future__ import annotations

from pathlib import Path

import click

from hbitmap_bench.base.output import out_option
from hbitmap_bench.base.sizes import parse_size


@click.command()
@click.option(
    "--contender", "names", multiple=True, metavar="NAME",
    help="Who plays; repeatable. Default: all that are registered.",
)  # fmt: skip
@click.option(
    "--workload", "workloads", multiple=True, metavar="NAME",
    help="What is played; repeatable. Default: all.",
)  # fmt: skip
@click.option(
    "--size", "sizes", multiple=True, type=parse_size, metavar="SIZE",
    default=("64G", "128G", "256G"), show_default=True, help="Image size; repeatable.",
)  # fmt: skip
@click.option(
    "--rounds", type=click.IntRange(1, 1000), default=6, show_default=True,
    help="How often each game is played. Fewer than six have no interval, and no winner. What a "
    "busy host disturbs is played again, at most as often.",
)  # fmt: skip
@out_option("Folder of the report: tournament.md, .json, figure.")
def tournament(
    names: tuple[str, ...], workloads: tuple[str, ...], sizes: tuple[int, ...], rounds: int,
    out_dir: Path,
) -> None:  # fmt: skip
    """Which access check is best, and for what? Contenders side by side, in process.

    A contender is a class behind the protocol of the access check, registered under the entry
    point hbitmap_bench.contenders: the two published ones, rivals of this project, and yours. Each
    plays every workload at every size, in turn with the others. CPU time, words examined, set-up,
    memory and growth are compared. The default takes one to three minutes.

    \b
    Examples:
      hbitmap-bench tournament
      hbitmap-bench tournament --contender deny --contender mine --workload full --size 1T
    """  # noqa: D301 - click wants the control character, not its name
    from hbitmap_bench.tournament.main import run  # NumPy, SciPy, Matplotlib: not for --help

    run(names, workloads, tuple(dict.fromkeys(sizes)), rounds, out_dir)
