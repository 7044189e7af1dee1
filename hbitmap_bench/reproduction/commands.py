"""The commands ``reproduce``, ``releases`` and ``compare``: arguments and exit codes."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource
from rich.console import Console

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import check_output, json_option, out_option, put_json
from hbitmap_bench.base.places import Place
from hbitmap_bench.base.seconds import Seconds
from hbitmap_bench.base.sizes import parse_size

_OF_BUILDS: Final = {
    "qemu_builds", "qemu_sizes", "n_runs", "budget_s", "about_builds", "image_dir"
}  # fmt: skip
"""What ``reproduce`` takes for real builds alone."""


image_dir_option: Final = click.option(
    "--image-dir", type=Place(file_okay=False),
    help="Keep the images for the real builds here, and use them again. "
    "Default: a temporary folder.",
)  # fmt: skip


@click.command()
@click.option(
    "--size", "sizes", multiple=True, type=parse_size, metavar="SIZE",
    help="Image size, such as 10T; repeatable. Replaces the default cells and the sweep.",
)  # fmt: skip
@click.option(
    "--cluster-size", "cluster_sizes", multiple=True, type=parse_size, metavar="SIZE",
    help="The image's cluster size, such as 64K; repeatable. Replaces the sweep.",
)  # fmt: skip
@click.option(
    "--copy-cluster-size", type=parse_size, metavar="SIZE",
    default="64K", show_default=True,
    help="What one bit of the bitmaps stands for, in process. On real builds: 64K.",
)  # fmt: skip
@click.option(
    "--l2-slice", type=parse_size, metavar="SIZE",
    help="L2 slice (l2-cache-entry-size). Default: QEMU's rule, 4K for all large images.",
)  # fmt: skip
@click.option(
    "--exact", is_flag=True,
    help="Run whole build-ups in process instead of sampling. Needs --size; 10T takes minutes.",
)  # fmt: skip
@click.option(
    "--qemu", "qemu_builds", multiple=True, metavar="[LABEL=]PATH[@SIZE]",
    help="A qemu-storage-daemon to measure, with @4T on images of up to 4T; repeatable. Default: "
    "the one on PATH.",
)  # fmt: skip
@click.option("--no-qemu", is_flag=True, help="Measure in process only.")
@click.option(
    "--qemu-size", "qemu_sizes", multiple=True, type=parse_size, metavar="SIZE",
    default=("512G", "1T", "2T"), show_default=True,
    help="Image size for the real builds; repeatable, whatever --size is. 160 MB of disk a TiB.",
)  # fmt: skip
@click.option(
    "--runs", "n_runs", type=click.IntRange(1, 100), default=3, show_default=True,
    help="Undisturbed runs of each row on real builds. A row that takes under a minute runs 3 "
    "times, or --runs if that is less, whatever the budget.",
)  # fmt: skip
@click.option(
    "--budget", "budget_s", type=Seconds(0), default=180.0, show_default=True,
    metavar="SECONDS",
    help="Seconds of build-ups on real builds, after which slow rows and disturbed ones are not "
    "repeated. What is left out is said.",
)  # fmt: skip
@click.option(
    "--about-builds", type=Place(dir_okay=False), metavar="FILE",
    help="Markdown to put into the report under \"The builds\": how they were made, what was "
    "changed in them.",
)  # fmt: skip
@image_dir_option
@out_option("Folder of the report: reproduction.md, .json, figures.")
@click.option(
    "--json", "json_path", type=Place(dir_okay=False),
    help="Write the JSON here too.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, metavar="N",
    help="Which queries are sampled.",
)  # fmt: skip
def reproduce(
    sizes: tuple[int, ...],
    cluster_sizes: tuple[int, ...],
    copy_cluster_size: int,
    l2_slice: int | None,
    exact: bool,
    qemu_builds: tuple[str, ...],
    no_qemu: bool,
    qemu_sizes: tuple[int, ...],
    n_runs: int,
    budget_s: float,
    about_builds: Path | None,
    image_dir: Path | None,
    out_dir: Path,
    json_path: Path | None,
    seed: int,
) -> None:
    """Reproduce the published table: 10T took 52 s without and 325 s with the access bitmap.

    Measures both algorithms in process, sampled, at 10T and 11T and over a sweep from 1T to 64T;
    then real QEMU builds, where there are any. Prints the tables and writes the report.

    \b
    Examples:
      hbitmap-bench reproduce
      hbitmap-bench reproduce --out reports    # in a clone: replace the committed report
      hbitmap-bench reproduce --exact --no-qemu --size 10T --size 11T
      hbitmap-bench reproduce --qemu stock=PATH --qemu patched=PATH --qemu-size 10T
          --qemu-size 11T --budget 1500
    """  # noqa: D301 - click wants the control character, not its name
    from hbitmap_bench.reproduction import main as run  # NumPy, SciPy, Matplotlib: not for --help

    if no_qemu:
        _refuse_options_of_builds()
    model = run.ModelPlan(
        sizes=sizes,
        cluster_sizes=cluster_sizes,
        copy_cluster_bytes=copy_cluster_size,
        l2_slice_bytes=l2_slice,
        exact=exact,
        seed=seed,
    )
    qemu = None
    if not no_qemu:
        qemu = run.QemuPlan(
            builds=qemu_builds,
            sizes=qemu_sizes,
            cluster_sizes=cluster_sizes,
            l2_slice_bytes=l2_slice,
            image_dir=image_dir,
            n_runs=n_runs,
            budget_s=budget_s,
        )
    run.reproduce(model, qemu, out_dir=out_dir, json_path=json_path, about_builds=about_builds)


@click.command()
@click.argument("builds", nargs=-1, required=True, metavar="LABEL=PATH[@SIZE]...")
@click.option(
    "--size", "sizes", multiple=True, type=parse_size, metavar="SIZE",
    default=("1T", "2T"), show_default=True,
    help="Image size; repeatable. 160 MB of disk a TiB.",
)  # fmt: skip
@click.option(
    "--rounds", type=click.IntRange(1, 100), default=8, show_default=True,
    help="Undisturbed runs that each row is to have, in at most twice as many rounds. A verdict "
    "needs six rounds.",
)  # fmt: skip
@image_dir_option
@out_option("Folder of the report: releases.md and .json.")
def releases(
    builds: tuple[str, ...], sizes: tuple[int, ...], rounds: int, image_dir: Path | None,
    out_dir: Path,
) -> None:  # fmt: skip
    """Has a QEMU release become slower? Builds side by side, the oldest first.

    PATH is a release's qemu-storage-daemon. Every round measures each build without the filter and
    with it, in turn. From each release to the next the change is told with its interval: of the
    plain path, and of the check that the filter adds. Four builds take some ten minutes.

    A build that crashes loses the row in which it does, and the others are measured on.

    \b
    Examples:
      hbitmap-bench releases 7.2=/usr/bin/qemu-storage-daemon 10.2=PATH
      hbitmap-bench releases old=PATH new=PATH --size 4T --rounds 12 --image-dir /var/tmp/images

    \b
    Exit codes: 0 all rows measured, whatever was found; 2 a build has failed, or can't be run.
    """  # noqa: D301 - click wants the control character, not its name
    from hbitmap_bench.reproduction import main as run  # NumPy, SciPy, Matplotlib: not for --help

    plan = run.QemuPlan(
        builds=builds, sizes=tuple(dict.fromkeys(sizes)), image_dir=image_dir, n_runs=rounds,
        budget_s=math.inf, remedies=False, whole_rounds=True,
    )  # fmt: skip
    run.releases(plan, out_dir)


def _refuse_options_of_builds() -> None:
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and option.name in _OF_BUILDS:
            raise UserError(
                f"--no-qemu measures no build, and {option.opts[0]} is about builds: "
                "give one of the two"
            )


@click.command()
@click.argument("a", type=Place(), metavar="A.json")
@click.argument("b", type=Place(), metavar="B.json")
@json_option("Write all pairs as JSON here, too; - prints JSON instead of the tables.")
def compare(a: Path, b: Path, json_path: Path | None) -> None:
    """Lay two reproductions side by side: of two hosts, or of two QEMU builds.

    A.json and B.json are what reproduce writes. Rows pair by source, setup, image, clusters and L2
    slice; builds of one name pair with each other, others with all that have no namesake. An
    unpatched build in A against a patched one in B shows what the patches gain.

    Extra seconds, scan rates and growth exponents compare between hosts. Raw seconds do not: they
    are shown only where both hosts look alike. Where ranges overlap no difference is claimed.

    \b
    Examples:
      hbitmap-bench compare here/reproduction.json there/reproduction.json
      hbitmap-bench compare old.json new.json --json - | jq '.pairs[].extra_s.finding'

    \b
    Exit codes: 0 compared, whatever was found; 2 not one row of the two can be compared.
    """  # noqa: D301 - click wants the control character, not its name
    from hbitmap_bench.reproduction.comparison import compare_files
    from hbitmap_bench.reproduction.comparison_json import to_json
    from hbitmap_bench.reproduction.comparison_text import render_comparison

    check_output(json_path)
    comparison = compare_files(a, b)
    if json_path is not None and os.path.realpath(json_path) in map(os.path.realpath, (a, b)):
        raise UserError(f"the JSON goes to a file of its own, not over {json_path}: name one")
    tables = partial(render_comparison, comparison, Console())
    put_json(json_path, lambda: to_json(comparison), tables)
