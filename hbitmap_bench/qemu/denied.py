"""A disk of which a snapshot's user may read every other run of clusters, and a pass over that.

No job goes over such a snapshot: with sync=top it fails at the first denied cluster, and with a
bitmap of its own it does not ask for the disk's block status. A backup that is pulled asks for
those runs alone that it may read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hbitmap_bench.base import scratch
from hbitmap_bench.qemu.builds import QemuBuild
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.graph import add_disk, add_filters, add_null_disk
from hbitmap_bench.qemu.images import Image
from hbitmap_bench.qemu.nbd import connected, range_status
from hbitmap_bench.qemu.pulled import EXPORT, Pass, pass_over

_MARKED: Final = "marked"
_ALLOWED: Final = "allowed"
_EXPORT: Final = "marks"

_WRITE_BYTES: Final = 512
"""Of a write that marks a whole run, since a bit of the bitmap stands for one."""


def pull_allowed(
    build: QemuBuild, image: Image, *, run_bytes: int, filtered: bool, l2_slice_bytes: int
) -> Pass:
    """One pass over every other run of the image, in a daemon of its own, a request a run.

    ``filtered`` puts both filters over the disk, and denies the runs between. ``run_bytes`` is a
    power of two and a multiple of the copy cluster. Costs some 0.1 ms a run.
    """
    starts = range(0, image.image_bytes, 2 * run_bytes)
    runs = [(start, min(start + run_bytes, image.image_bytes)) for start in starts]

    def client(path: Path) -> tuple[int, int]:
        with connected(path, EXPORT) as asking:
            found = [range_status(asking, *run) for run in runs]
        return sum(requests for requests, _ in found), sum(extents for _, extents in found)

    with Daemon(build) as daemon:
        daemon.keep_to_one_core()
        node = add_disk(daemon, image, l2_slice_bytes)
        if filtered:
            allowed = allow_every_other(daemon, image.image_bytes, run_bytes)
            node = add_filters(daemon, image.image_bytes, allowed=allowed)
        return pass_over(daemon, node, client)


def allow_every_other(daemon: Daemon, image_bytes: int, run_bytes: int) -> Mapping[str, str]:
    """A bitmap of every other run, the first among them: what a guest wrote to another disk."""
    add_null_disk(daemon, _MARKED, image_bytes)
    daemon.execute("block-dirty-bitmap-add", node=_MARKED, name=_ALLOWED, granularity=run_bytes)
    with scratch.folder() as folder:
        path = folder / "nbd"
        daemon.execute("nbd-server-start", addr={"type": "unix", "data": {"path": str(path)}})
        daemon.execute(
            "block-export-add", type="nbd", id=_EXPORT, node_name=_MARKED, name=_EXPORT,
            writable=True,
        )  # fmt: skip
        with connected(path, _EXPORT) as guest:
            guest.write_zeroes((s, _WRITE_BYTES) for s in range(0, image_bytes, 2 * run_bytes))
        daemon.execute("nbd-server-stop")
    return {"node": _MARKED, "name": _ALLOWED}
