"""The command ``qemu-project``."""

from __future__ import annotations

from pathlib import Path

import click

from hbitmap_bench.base.places import Place
from hbitmap_bench.base.seconds import Seconds
from hbitmap_bench.base.sizes import parse_size


@click.command("qemu-project")
@click.option(
    "--repo", required=True, type=Place(exists=True, file_okay=False),
    help="A clone of QEMU. Its commits are checked out elsewhere; it stays as it is.",
)  # fmt: skip
@click.option(
    "--out", default="qemu-benchmarks", show_default=True,
    type=Place(file_okay=False), help="A folder that is not there yet.",
)  # fmt: skip
@click.option(
    "--cache-size", "builds_bytes", default="1G", show_default=True, type=parse_size,
    metavar="SIZE", help="Disk for builds that are kept; the oldest are dropped. Images take "
    "1.3G more, and ccache up to 1G.",
)  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 1024), help="Of ninja. Default: as many as cores.")
@click.option(
    "--build-limit", "limit_s", default=1800.0, show_default=True, metavar="SECONDS",
    type=Seconds(1), help="After which a build is stopped, and recorded as failed.",
)  # fmt: skip
def qemu_project(
    repo: Path, out: Path, builds_bytes: int, jobs: int | None, limit_s: float
) -> None:
    """Write an asv project that measures QEMU's commits, for bench, publish and gate.

    Nothing is built yet. Each commit that is measured later is configured and compiled, once: its
    storage daemon and qemu-img alone. That runs the code of that commit, as you.

    \b
    Examples:
      hbitmap-bench qemu-project --repo ~/src/qemu
      cd qemu-benchmarks
      hbitmap-bench bench $(git -C ~/src/qemu tag --sort=-v:refname --list 'v*.0' | head -n 10)
    """  # noqa: D301 - click wants the control character, not its name
    from hbitmap_bench.qemu_commits.writing import next_steps, write_project

    write_project(repo, out, builds_bytes=builds_bytes, jobs=jobs, limit_s=limit_s)
    click.echo(next_steps(out))
