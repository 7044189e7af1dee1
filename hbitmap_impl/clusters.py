"""Clusters: rounding to them, bitmaps of them, and the rule for the copy cluster.

Offsets, lengths and sizes are in bytes everywhere in this package's block layer.
"""

from __future__ import annotations

from typing import Final

from hbitmap_impl.hbitmap import HBitmap

MIN_COPY_CLUSTER_BYTES: Final = 64 * 1024
"""QEMU's copy cluster over a target that has no clusters, or smaller ones."""


def copy_cluster_size(target_cluster_bytes: int = 0, min_cluster_bytes: int = 0) -> int:
    """Bytes that one bit of a filter's bitmaps stands for: max(64 KiB, target's, minimum).

    ``target_cluster_bytes`` is the cluster size of that filter's own target, 0 if it has none;
    ``min_cluster_bytes`` is QEMU's ``min-cluster-size`` (9.2 and later). Raises ``ValueError`` if
    the result is no power of two. O(1).
    """
    return power_of_two(max(MIN_COPY_CLUSTER_BYTES, target_cluster_bytes, min_cluster_bytes))


def power_of_two(cluster_bytes: int) -> int:
    """Return ``cluster_bytes``; raise ``ValueError`` unless it is a positive power of two."""
    if cluster_bytes <= 0 or cluster_bytes & (cluster_bytes - 1):
        raise ValueError(f"a cluster size is a power of two, not {cluster_bytes}: try 65536")
    return cluster_bytes


def empty_bitmap(size_bytes: int, cluster_bytes: int, kind: type[HBitmap] = HBitmap) -> HBitmap:
    """A bitmap that counts in bytes, one bit a cluster, none of them set.

    The bit of a partial last cluster stands for the bytes that there are. The memory is zero pages
    until bits are set. Raises ``ValueError`` as ``power_of_two`` and ``HBitmap`` do.
    """
    return kind(size_bytes, power_of_two(cluster_bytes).bit_length() - 1)


def full_bitmap(size_bytes: int, cluster_bytes: int, kind: type[HBitmap] = HBitmap) -> HBitmap:
    """A bitmap that counts in bytes, one bit a cluster, all of them set. Writes N / 8 bytes."""
    bitmap = empty_bitmap(size_bytes, cluster_bytes, kind)
    bitmap.set(0, size_bytes)
    return bitmap


def align_down(offset: int, cluster_bytes: int) -> int:
    """The start of the cluster (a power of two) that holds ``offset``."""
    return offset & -cluster_bytes


def align_up(offset: int, cluster_bytes: int) -> int:
    """The first cluster start (of a power of two) at or after ``offset``."""
    return -(-offset & -cluster_bytes)


def widen(offset: int, length: int, cluster_bytes: int, size_bytes: int) -> tuple[int, int]:
    """Start and end of the whole clusters that a range touches, cut at the size."""
    end = align_up(offset + length, cluster_bytes)
    return align_down(offset, cluster_bytes), min(end, size_bytes)


def check_range(offset: int, length: int, size_bytes: int) -> None:
    """Raise ``ValueError`` unless [offset, offset + length) holds a byte and lies in the size."""
    if offset < 0 or length <= 0 or offset + length > size_bytes:
        raise ValueError(
            f"a request has a positive length and lies inside the {size_bytes} bytes of the node, "
            f"not offset {offset}, length {length}"
        )
