"""The command ``profile``: arguments and exit codes, nothing else."""

from __future__ import annotations

from pathlib import Path

import click

from hbitmap_bench.errors import UserError
from hbitmap_bench.perf import require_perf
from hbitmap_bench.sizes import parse_size


@click.command()
@click.option(
    "--size", type=parse_size, metavar="SIZE", default="4T", show_default=True,
    help="Image size. On a real build: 160 MB of disk a TiB at 64K clusters.",
)  # fmt: skip
@click.option(
    "--cluster-size", type=parse_size, metavar="SIZE", default="64K", show_default=True,
    help="The image's cluster size.",
)  # fmt: skip
@click.option(
    "--qemu", "qemu_builds", multiple=True, metavar="[LABEL=]PATH",
    help="A qemu-storage-daemon to profile; repeatable. Default: the one on PATH.",
)  # fmt: skip
@click.option("--no-qemu", is_flag=True, help="Profile in process only.")
@click.option(
    "--image-dir", type=click.Path(file_okay=False, path_type=Path),
    help="Keep the image here, and use it again. Default: a temporary folder.",
)  # fmt: skip
@click.option(
    "--figure", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Draw the shares there, as PNG.",
)  # fmt: skip
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write all functions as JSON here, too; - prints JSON instead of the tables.",
)  # fmt: skip
def profile(
    size: int,
    cluster_size: int,
    qemu_builds: tuple[str, ...],
    no_qemu: bool,
    image_dir: Path | None,
    figure: Path | None,
    json_path: Path | None,
) -> None:
    """Show which functions have the time of a build-up, beside the published shares.

    The published profile of a stuck job has 96.67% in hbitmap_next_zero. A real build is sampled
    by perf while it builds the copy bitmap through both filters; then our own implementation, with
    an access and with a deny bitmap. At 4T that takes about a minute, and another to make the
    image.

    Needs perf, but no hardware counters: apt install linux-perf. Kernel functions show where root
    runs it. Shares grow with the image, since the other functions' time grows less.

    \b
    Examples:
      hbitmap-bench profile
      hbitmap-bench profile --size 10T --image-dir /var/tmp/images --figure profile.png
      hbitmap-bench profile --no-qemu --json - | jq '.profiles[].functions[0]'
    """  # noqa: D301 - click wants the control character, not its name
    if no_qemu and qemu_builds:
        raise UserError("--no-qemu profiles no build, --qemu names one: give one of the two")
    require_perf()
    from hbitmap_bench import profile as run  # NumPy, SciPy, Matplotlib: not for --help
    from hbitmap_bench.cells import layout
    from hbitmap_bench.reproduce import QemuPlan

    place = layout(size, cluster_size)
    plan = None
    if not no_qemu:
        plan = QemuPlan(
            builds=qemu_builds, sizes=(size,), cluster_sizes=(cluster_size,), image_dir=image_dir
        )
    run.profile(plan, place, figure=figure, json_path=json_path)
