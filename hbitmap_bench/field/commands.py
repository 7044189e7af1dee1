"""The commands ``predict``, ``profile`` and ``diagnose``: their arguments and exit codes."""

from __future__ import annotations

from pathlib import Path

import click

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import STDOUT, json_option
from hbitmap_bench.base.places import Place
from hbitmap_bench.base.seconds import Seconds
from hbitmap_bench.base.sizes import parse_size


@click.command()
@click.argument("images", nargs=-1, metavar="[IMAGE]...", type=Place())
@click.option(
    "--size", "sizes", multiple=True, type=parse_size, metavar="SIZE",
    help="Size of an image that is only planned, such as 10T; repeatable.",
)  # fmt: skip
@click.option(
    "--cluster-size", "cluster_sizes", multiple=True, type=parse_size, metavar="SIZE",
    help="Its cluster size; repeatable. Default: 64K.",
)  # fmt: skip
@click.option(
    "--qemu", "build", metavar="[LABEL=]PATH",
    help="A qemu-storage-daemon to calibrate on: twenty seconds, and 50 MB of disk meanwhile.",
)  # fmt: skip
@click.option(
    "--verify", "verified", is_flag=True,
    help="Run it too: on the images themselves, read-only, with each knob that the build has. "
    "Takes as long as it predicts, several times. Default build: the one on PATH.",
)  # fmt: skip
@click.option(
    "--fleet", type=Place(exists=True, file_okay=False), metavar="DIR",
    help="Predict for all images in this folder and below it, as they are: one table, the longest "
    "stall first. Files that are no images, or are damaged, are listed with the reason.",
)  # fmt: skip
@json_option("Write all as JSON here, too; - prints JSON instead of the tables.")
@click.option(
    "--csv", "csv_path", metavar="FILE",
    type=Place(dir_okay=False, allow_dash=True),
    help="Write the fleet as CSV here, too; - prints CSV instead of the tables.",
)  # fmt: skip
def predict(
    images: tuple[Path, ...],
    sizes: tuple[int, ...],
    cluster_sizes: tuple[int, ...],
    build: str | None,
    verified: bool,
    fleet: Path | None,
    json_path: Path | None,
    csv_path: Path | None,
) -> int:
    """Predict how long a backup of IMAGE will stand still before its first byte, and what helps.

    Walks the metadata of qcow2 (or raw) images and counts, exactly, what the build-up of the copy
    bitmap asks and reads. Seconds come from a calibration: with --qemu on that build, by short
    build-ups of images made for it; without, on this host alone, and then only to a factor of two.

    An image may be in use: it is opened read-only and no lock is taken. What its guest allocates
    meanwhile may or may not be counted.

    Local files may be named by QEMU's json: options, as IMAGE and as backing files. A relative name
    in them is relative to the current folder, as in QEMU.

    \b
    Examples:
      hbitmap-bench predict /var/lib/images/db.qcow2 --qemu qemu-storage-daemon
      hbitmap-bench predict *.qcow2 --verify
      hbitmap-bench predict --size 30T --cluster-size 64K --cluster-size 1M
      hbitmap-bench predict db.qcow2 --json - | jq '.images[].as_it_is.access.predicted_s'
      hbitmap-bench predict --fleet /var/lib/libvirt/images --csv stalls.csv

    \b
    Exit codes: 0 all done; 2 an image could not be read, or not be verified: a line says why, and
    the others are done. Of a fleet: 0 if any image was predicted.
    """  # noqa: D301 - click wants the control character, not its name
    from hbitmap_bench.field.predict.main import Plan
    from hbitmap_bench.field.predict.main import predict as run

    if cluster_sizes and not sizes:
        raise UserError("--cluster-size is that of a planned image: give its --size as well")
    if fleet is not None and (images or sizes or verified):
        raise UserError("--fleet predicts for a folder alone: give no IMAGE, --size or --verify")
    if csv_path is not None and fleet is None:
        raise UserError("--csv is of a fleet: give --fleet DIR as well")
    if csv_path == json_path == STDOUT:
        raise UserError("stdout takes one of --csv - and --json -: give the other a file's name")
    return run(
        Plan(
            paths=images,
            sizes=sizes,
            cluster_sizes=cluster_sizes,
            build=build,
            verified=verified,
            json_path=json_path,
            fleet=fleet,
            csv_path=csv_path,
        )
    )


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
    "--image-dir", type=Place(file_okay=False),
    help="Keep the image here, and use it again. Default: a temporary folder.",
)  # fmt: skip
@click.option(
    "--figure", type=Place(dir_okay=False), metavar="FILE",
    help="Draw the shares there, as PNG.",
)  # fmt: skip
@json_option("Write all functions as JSON here, too; - prints JSON instead of the tables.")
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
    from hbitmap_bench.qemu.perf import require_perf

    require_perf()
    from hbitmap_bench.field.profile import main as run  # NumPy, SciPy, Matplotlib: not for --help
    from hbitmap_bench.qemu.geometry import layout
    from hbitmap_bench.reproduction.main import QemuPlan

    place = layout(size, cluster_size)
    plan = None
    if not no_qemu:
        plan = QemuPlan(
            builds=qemu_builds, sizes=(size,), cluster_sizes=(cluster_size,), image_dir=image_dir
        )
    run.profile(plan, place, figure=figure, json_path=json_path)


@click.command()
@click.option(
    "--qmp", type=Place(), metavar="SOCKET",
    help="A Unix socket that QEMU serves QMP on, with no other client on it.",
)  # fmt: skip
@click.option(
    "--libvirt", "domain", metavar="DOMAIN",
    help="A virtual machine of libvirt, by name, ID or UUID; asked through virsh, which honours "
    "LIBVIRT_DEFAULT_URI.",
)  # fmt: skip
@click.option(
    "--pid", type=click.IntRange(1), metavar="N",
    help="QEMU's process. Default: who listens on the socket, or libvirt's.",
)  # fmt: skip
@click.option(
    "--seconds", type=Seconds(1, 600), default=5.0, show_default=True, metavar="S",
    help="How long to watch, or how long a sample of --watch takes. Longer narrows the range of "
    "the time left.",
)  # fmt: skip
@click.option(
    "--watch", "watched", is_flag=True,
    help="Take sample after sample until the build-up ends. The QMP connection is kept as long.",
)  # fmt: skip
@json_option(
    "Write all that was seen as JSON here, too; - prints JSON instead of the lines. With --watch, "
    "one line a sample."
)
@click.option(
    "--metrics", "metrics_path", type=Place(dir_okay=False), metavar="FILE",
    help="Write progress, the scan's share and the time left here, too, as OpenMetrics text for "
    "the textfile collector of node_exporter. With --watch it is replaced at each sample.",
)  # fmt: skip
def diagnose(
    qmp: Path | None,
    domain: str | None,
    pid: int | None,
    seconds: float,
    watched: bool,
    json_path: Path | None,
    metrics_path: Path | None,
) -> None:
    """Say why a backup job stands at 0 right now, and how long it still will.

    Reads only: a few query commands over QMP, files of /proc, and perf where it is permitted. QEMU
    and its jobs go on as they were. A virtual machine or a qemu-storage-daemon will do; for
    processes of others run it as root. libvirt keeps a machine's only QMP connection for itself:
    --libvirt asks through it, and libvirt then marks the machine as tainted ("custom-monitor").

    Where the image has preallocated metadata, the build-up's offset shows in the position of the
    image's open file: the time left follows from its speed and from the scan's share of the time.
    Other images give a range.

    \b
    Examples:
      hbitmap-bench diagnose --qmp /run/qemu/backup.qmp
      hbitmap-bench diagnose --libvirt db
      hbitmap-bench diagnose --pid 4711 --seconds 30
      hbitmap-bench diagnose --pid 4711 --json - | jq .time_left.estimated_s
      hbitmap-bench diagnose --libvirt db --watch
          --metrics /var/lib/prometheus/node-exporter/db.prom

    \b
    Diagnoses:
      access-scan  the build-up scans the access bitmap: what this project is about
      done-scan    it scans the done bitmap, of what the guest has overwritten, deny bitmap or not
      both-scans   it scans the access bitmap, then the done bitmap
      deny         a build-up on a QEMU that has the deny bitmap, and no scan
      no-filter    a build-up without the filters
      build-up     a build-up whose time goes elsewhere, or a bitmap not recognised
      copying, throttled, paused, waiting, concluded, no-job, unknown

    The exit code is 0 whatever was found, and 2 if nothing could be seen. With --watch it is 0 once
    no build-up is under way, and 2 if QEMU can't be seen any more before that.
    """  # noqa: D301 - click wants the control character, not its name
    if qmp is None and domain is None and pid is None:
        raise UserError(
            "diagnose needs a QEMU to look at: give --qmp SOCKET, --libvirt DOMAIN or --pid N"
        )
    if qmp is not None and domain is not None:
        raise UserError("--qmp and --libvirt name a QEMU each: give one of the two")
    from hbitmap_bench.field.diagnose import main as command  # NumPy, SciPy: not for --help

    command.run(
        qmp, domain, pid, seconds,
        watched=watched, json_path=json_path, metrics_path=metrics_path,
    )  # fmt: skip
