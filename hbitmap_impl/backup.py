"""The backup job (``blockdev-backup``, ``sync=top``): its build-up, and the copying after it."""

from __future__ import annotations

import sys
from typing import Final, NamedTuple

from hbitmap_impl.access_check import AccessCheck
from hbitmap_impl.clusters import align_down, align_up, copy_cluster_size, full_bitmap
from hbitmap_impl.hbitmap import HBitmap
from hbitmap_impl.image import Disk, Node
from hbitmap_impl.snapshot_access import SnapshotAccess

MAX_COPY_BYTES: Final = 2**20
"""The longest piece that is copied at once, unless one copy cluster is longer."""


class BuildUp(NamedTuple):
    """What a call of ``build_up`` did: block-status queries asked, and where the next one starts.

    ``next_offset`` is the source's size when all is asked.
    """

    queries: int
    next_offset: int


class BackupJob:
    """A backup of ``source``: a disk, or a ``SnapshotAccess`` node.

    ``target_cluster_bytes`` is the cluster size of the backup's target, from which the copy cluster
    follows (``ValueError`` if that is no power of two). ``check`` is the access check that the
    source's answers pass, ``None`` for a disk.
    """

    __slots__ = ("_copy_bitmap", "check", "cluster_bytes", "size", "source")

    def __init__(self, source: Node, target_cluster_bytes: int = 65536) -> None:
        self.source = source
        self.size = source.size
        self.cluster_bytes = copy_cluster_size(target_cluster_bytes)
        self.check: AccessCheck | None = None
        if isinstance(source, SnapshotAccess):
            self.check = source.check
        self._copy_bitmap: HBitmap | None = None

    @property
    def copy_bitmap(self) -> HBitmap:
        """Clusters that are to be copied; counts in bytes. All of them before the build-up.

        Made when it is first needed: at 64 TiB it is 128 MiB of ones.
        """
        if self._copy_bitmap is None:
            self._copy_bitmap = full_bitmap(self.size, self.cluster_bytes)
        return self._copy_bitmap

    def build_up(self, start: int = 0, max_queries: int | None = None) -> BuildUp:
        """Ask for block status from ``start`` on, and reset in the copy bitmap what is unallocated.

        Each query is for all the rest of the source. An allocated run, with unallocated ones before
        it that are shorter than a copy cluster, is rounded up to copy clusters. Unallocated runs
        are added up until they cover a copy cluster, then rounded down; what is cut off is asked
        again. At the end of the source they are rounded up.

        Stops at the source's end, or at the first copy cluster where ``max_queries`` are reached.
        ``ValueError`` unless ``start`` is a multiple of the copy cluster inside the source, or its
        size.
        """
        if not 0 <= start <= self.size or (start % self.cluster_bytes and start != self.size):
            raise ValueError(
                f"a build-up starts at a multiple of {self.cluster_bytes} bytes inside the "
                f"{self.size} of the source, not at {start}"
            )
        size, cluster_bytes, block_status = self.size, self.cluster_bytes, self.source.block_status
        limit = sys.maxsize if max_queries is None else max_queries
        queries = 0
        position = start  # all before it is settled
        while position < size and queries < limit:
            end = position
            allocated = False
            while not allocated and end < size and end - position < cluster_bytes:
                length, allocated, _ = block_status(end, size - end)
                end += length
                queries += 1
            if allocated or end - position < cluster_bytes:
                end = min(align_up(end, cluster_bytes), size)
            else:
                end = align_down(end, cluster_bytes)
            if not allocated:
                self.copy_bitmap.reset(position, end - position)
            position = end
        return BuildUp(queries, position)

    def copy_all(self, target: Disk) -> int:
        """Copy what the copy bitmap says to ``target``, and reset it there; return the bytes.

        Raises what reading and writing do: ``PermissionError`` for a denied part of the source.
        What is copied before stays copied. A disk that its guest writes to meanwhile needs a
        ``SnapshotAccess`` source: the filter that the job itself would put there is left out.
        """
        copied = 0
        piece = max(self.cluster_bytes, MAX_COPY_BYTES)
        while area := self.copy_bitmap.next_dirty_area(0, self.size, piece):
            target.write(area[0], self.source.read(*area))
            self.copy_bitmap.reset(*area)
            copied += area[1]
        return copied
