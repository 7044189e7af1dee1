"""The graph of block nodes under a backup job: the disk, the filters over it, the targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.images import Image

DISK: Final = "disk"
SNAPSHOT: Final = "snapshot"
BACKUP_TARGET: Final = "backup-target"
_CBW: Final = "cbw"
_CBW_TARGET: Final = "cbw-target"

# The copy cluster over a target that has no cluster size.
COPY_CLUSTER_BYTES: Final = 64 * 1024


def add_disk(daemon: Daemon, image: Image, l2_slice_bytes: int | None) -> str:
    """Add the image, read-only, as a node of its format, and return the node's name.

    ``l2_slice_bytes`` is given to it as ``l2-cache-entry-size``; None leaves QEMU's default. A
    shared image may be in use by others, even be written to: no lock is taken.
    """
    slice_option = {} if l2_slice_bytes is None else {"l2_cache_entry_size": l2_slice_bytes}
    sharing = {"locking": "off"} if image.shared else {}
    daemon.execute(
        "blockdev-add",
        driver=image.format,
        node_name=DISK,
        read_only=True,
        file={"driver": "file", "filename": str(image.path), "read-only": True, **sharing},
        **slice_option,
    )
    return DISK


def add_null_disk(daemon: Daemon, name: str, image_bytes: int) -> str:
    """Add a disk that stores nothing and reads as zeroes, and return its name."""
    daemon.execute(
        "blockdev-add", driver="null-co", node_name=name, size=image_bytes, read_zeroes=True
    )
    return name


def add_filters(
    daemon: Daemon,
    image_bytes: int,
    *,
    fleecing: Image | None = None,
    min_cluster_bytes: int | None = None,
    allowed: Mapping[str, str] | None = None,
) -> str:
    """Put a copy-before-write filter over the disk, a snapshot-access filter over that.

    Copies go to a null disk, or to ``fleecing``, whose cluster size then is the copy cluster.
    ``min_cluster_bytes`` is given as ``min-cluster-size`` (``QmpError`` before QEMU 9.2).
    ``allowed`` is a bitmap (its node and name): of what it leaves out the snapshot's user may read
    nothing. Returns the name of the snapshot-access node.
    """
    if fleecing is None:
        target = add_null_disk(daemon, _CBW_TARGET, image_bytes)
    else:
        target = _add_fleecing(daemon, fleecing)
    least = {} if min_cluster_bytes is None else {"min_cluster_size": min_cluster_bytes}
    bitmap = {} if allowed is None else {"bitmap": allowed}
    daemon.execute(
        "blockdev-add",
        driver="copy-before-write",
        node_name=_CBW,
        file=DISK,
        target=target,
        **least,
        **bitmap,
    )
    daemon.execute("blockdev-add", driver="snapshot-access", node_name=SNAPSHOT, file=_CBW)
    return SNAPSHOT


def _add_fleecing(daemon: Daemon, image: Image) -> str:
    file = {"driver": "file", "filename": str(image.path)}
    daemon.execute("blockdev-add", driver="qcow2", node_name=_CBW_TARGET, file=file)
    return _CBW_TARGET


def first_unnamed_count(nodes: Iterable[dict[str, Any]], name: str) -> int | None:
    """The count of a node's first bitmap without a name; None where it has none.

    ``nodes`` is the answer to ``query-named-block-nodes``.
    """
    return next(iter(unnamed_counts(nodes, name)), None)


def unnamed_counts(nodes: Iterable[dict[str, Any]], name: str) -> list[int]:
    """The counts (bytes) of a node's bitmaps without a name, in QEMU's order.

    A copy-before-write filter's are the access or deny bitmap, the done bitmap and, in some
    versions, the copy bitmap.
    """
    for node in nodes:
        if node["node-name"] == name:
            bitmaps = node.get("dirty-bitmaps", [])
            return [int(bitmap["count"]) for bitmap in bitmaps if "name" not in bitmap]
    return []
