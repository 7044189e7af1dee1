"""A disk whose guest has overwritten parts of it since the two filters were put over it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hbitmap_bench.base import scratch
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.graph import DISK, SNAPSHOT, add_null_disk
from hbitmap_bench.qemu.nbd import connected

MAX_DISCARD_BYTES: Final = 2**30
"""The length of a discard has 32 bits, and the filter widens it to whole clusters."""

CBW: Final = "cbw"
FLEECING: Final = "fleecing"
_EXPORT: Final = "guest"

_L2_CACHE_BYTES: Final = 2**20
"""Of each image. QEMU's default holds all tables of an image up to 256G: smaller ones would be
asked about without a read. What overwriting leaves in it to be written out stays little, too."""


def add_overwritable(
    daemon: Daemon, image_bytes: int, disk: Path, fleecing: Path | None, l2_slice_bytes: int
) -> str:
    """Put the filters over a qcow2 disk that can be written to, copying to ``fleecing``.

    That is a qcow2 image of the disk's size, or a null disk, which answers as far as it is asked.
    Discards reach the upper filter and not the disk: its file stays as it is. Returns the name of
    the snapshot-access node.
    """
    _add(daemon, DISK, disk, l2_slice_bytes)
    if fleecing is None:
        add_null_disk(daemon, FLEECING, image_bytes)
    else:
        _add(daemon, FLEECING, fleecing, l2_slice_bytes)
    daemon.execute(
        "blockdev-add",
        driver="copy-before-write",
        node_name=CBW,
        file=DISK,
        target=FLEECING,
        discard="unmap",
    )
    daemon.execute("blockdev-add", driver="snapshot-access", node_name=SNAPSHOT, file=CBW)
    return SNAPSHOT


def overwrite(daemon: Daemon, ranges: Iterable[tuple[int, int]]) -> None:
    """Discard ranges (offset, length in bytes) as a guest: the filter copies them and marks them.

    A disk without content is copied as zeros: some 10 us a MiB to a qcow2 image of which all
    clusters are allocated, 0.5 ms to a null disk.
    """
    with scratch.folder() as folder:
        path = folder / "nbd"
        daemon.execute("nbd-server-start", addr={"type": "unix", "data": {"path": str(path)}})
        daemon.execute(
            "block-export-add", type="nbd", id=_EXPORT, node_name=CBW, name=_EXPORT, writable=True
        )
        with connected(path, _EXPORT) as guest:
            guest.discard(ranges)
        daemon.execute("nbd-server-stop")


def _add(daemon: Daemon, name: str, path: Path, l2_slice_bytes: int) -> None:
    daemon.execute(
        "blockdev-add",
        driver="qcow2",
        node_name=name,
        l2_cache_entry_size=l2_slice_bytes,
        l2_cache_size=_L2_CACHE_BYTES,
        file={"driver": "file", "filename": str(path)},
    )
