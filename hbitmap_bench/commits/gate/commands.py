"""The commands ``gate``, ``judge`` and ``calibrate``: arguments and exit codes, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hbitmap_bench.base.interrupt import rather_than_errors
from hbitmap_bench.base.places import Place
from hbitmap_bench.base.seconds import Seconds
from hbitmap_bench.commits.gate import BUDGET_S, LOCAL

if TYPE_CHECKING:
    from hbitmap_bench.commits.gate.verdict_formats import Format

FORMATS = ("text", "json", "markdown", "junit", "github")

machine_option = click.option(
    "--machine", metavar="NAME", default=LOCAL, show_default=True,
    envvar="HBITMAP_BENCH_MACHINE", show_envvar=True, help="What this machine is called.",
)  # fmt: skip
profile_option = click.option(
    "--profile", metavar="NAME", default="quick", show_default=True,
    help="Which cells: quick or full, or what hbitmap-bench.toml has.",
)  # fmt: skip
bench_option = click.option(
    "--bench", metavar="REGEX",
    help="Of the profile, only cells that match, such as \"^buildup.*'deny'\".",
)  # fmt: skip
format_option = click.option(
    "--format", "format_", type=click.Choice(FORMATS), default="text", show_default=True,
    help="junit: XML, as results of tests. github: annotations of a workflow run.",
)  # fmt: skip
output_option = click.option(
    "--output", type=Place(dir_okay=False), metavar="FILE",
    help="Write the report there, and its first lines here. Default: all of it here.",
)  # fmt: skip


@contextmanager
def judging_nothing_if_interrupted() -> Iterator[None]:
    """End by exit code 2: an interrupted gate has not judged."""
    try:
        with rather_than_errors():
            yield
    except KeyboardInterrupt:
        click.echo(
            "hbitmap-bench: interrupted: nothing is judged; earlier runs are as they were", err=True
        )
        raise click.exceptions.Exit(2) from None


@click.command()
@click.option("--base", metavar="REF", help="Default: where HEAD left the main branch.")
@click.option("--head", metavar="REF", help="Default: HEAD, which needs a clean working tree.")
@click.option("--allow-dirty", is_flag=True, help="Take uncommitted work for the head.")
@click.option(
    "--env-a", multiple=True, metavar="NAME=VALUE",
    help="Measure HEAD (or --head) alone, in two environments. What A has: python=VERSION, "
    "PACKAGE=VERSION or env:NAME=VALUE, as often as needed; the rest is as configured.",
)  # fmt: skip
@click.option("--env-b", multiple=True, metavar="NAME=VALUE", help="What B has, the same way.")
@profile_option
@bench_option
@click.option(
    "--instructions/--no-instructions", default=None,
    help="Count them by callgrind too. Default: where valgrind is installed, for some two minutes.",
)  # fmt: skip
@click.option(
    "--budget", "budget_s", type=Seconds(0), metavar="SECONDS", default=BUDGET_S, show_default=True,
    help="For more rounds of cells in which a large rise may hide.",
)  # fmt: skip
@machine_option
@format_option
@output_option
def gate(
    base: str | None,
    head: str | None,
    allow_dirty: bool,
    env_a: tuple[str, ...],
    env_b: tuple[str, ...],
    profile: str,
    bench: str | None,
    instructions: bool | None,
    budget_s: float,
    machine: str,
    format_: Format,
    output: Path | None,
) -> int:
    """Say whether a change made things slower, by asv, both commits measured in turn.

    An exact counter must not rise, unless hbitmap-bench.toml or an Allow-slower: line of a commit's
    message allows it. A time is a regression if the whole interval of its ratio lies above the
    machine's band of noise, and the change above a floor, in two passes measured apart. A run in
    which noise could hide a rise of 50% does not pass; more rounds may help. Instructions of a call
    may rise by half a percent, in cells where they repeat. Growth exponents are held against what
    that file promises, and against the base.

    With --env-a or --env-b one commit is measured in two environments, A and B, and B is judged
    against A as a head is against its base. A variable of env: reaches the build and the
    benchmarks; each environment has its own builds. Nothing is allowed to rise then.

    \b
    Examples:
      hbitmap-bench gate
      hbitmap-bench gate --base v1.0 --head HEAD~3 --format markdown --output verdict.md
      hbitmap-bench gate --bench '^access_check' --allow-dirty
      hbitmap-bench gate --env-a numpy=1.26.4 --env-b numpy=2.4.6
      hbitmap-bench gate --env-a python=3.12 --env-b python=3.13 --env-b env:PYTHON_JIT=1
      hbitmap-bench gate --env-b env:CFLAGS=-O3

    \b
    Exit codes:
      0  measured, and nothing regressed; or both sides are the same code
      1  regressed
      2  could not be judged: something failed, is missing, may hide, or was interrupted
    """  # noqa: D301 - click wants the control character, not its name
    with judging_nothing_if_interrupted():
        from hbitmap_bench.commits.gate import main

        options = main.Options(profile, bench, machine, instructions, budget_s)
        report = main.Report(format_, output)
        refs = main.Refs(base, head, allow_dirty)
        return main.gate(Path.cwd(), refs, (env_a, env_b), options, report)


@click.command()
@click.argument("runs", nargs=-1, required=True, type=Place(exists=True, file_okay=False))
@format_option
@output_option
def judge(runs: tuple[Path, ...], format_: Format, output: Path | None) -> int:
    """Judge stored runs of the gate again, without measuring anything.

    RUNS are folders of runs, as gate prints them, such as those in .asv/gate/runs.

    \b
    Examples:
      hbitmap-bench judge .asv/gate/runs/20260102T030405-1a2b3c4d-5e6f7a8b
      hbitmap-bench judge RUN --format github

    The exit code is that of gate; of several runs, the worst: 1, then 2, then 0. If one of them is
    damaged, none is judged. The JSON of several runs is a list, their JUnit XML one document.
    """  # noqa: D301 - click wants the control character, not its name
    with judging_nothing_if_interrupted():
        from hbitmap_bench.commits.gate import main

        return main.judge_stored(runs, main.Report(format_, output))


@click.command()
@profile_option
@bench_option
@machine_option
@click.option(
    "--passes", type=click.IntRange(1, 100), default=3, show_default=True,
    help="Sessions, the package installed anew in each: some five minutes each.",
)  # fmt: skip
def calibrate(profile: str, bench: str | None, machine: str, passes: int) -> None:
    """Find out what this machine can resolve: HEAD is measured against itself.

    What differs between a commit and itself is noise. The band that holds 99% of it is stored
    beside the machine's results, and the gate takes it from there: results/NAME/band.calibration.

    \b
    Examples:
      hbitmap-bench calibrate
      hbitmap-bench calibrate --passes 5 --machine runner-7
    """  # noqa: D301 - click wants the control character, not its name
    with judging_nothing_if_interrupted():
        from hbitmap_bench.commits.gate import main

        options = main.Options(profile, bench, machine, instructions=False)
        main.calibrate(Path.cwd(), options, passes)
