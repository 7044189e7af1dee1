"""The snapshot-access filter: the snapshot of a copy-before-write filter, as a node to read."""

from __future__ import annotations

from hbitmap_impl.access_check import AccessCheck
from hbitmap_impl.copy_before_write import CopyBeforeWrite
from hbitmap_impl.image import BlockStatus


class SnapshotAccess:
    """The disk under ``filter`` as it was when that filter was made. A ``Node`` without writes.

    ``PermissionError`` (EACCES) comes from denied clusters and from a broken snapshot; over NBD
    QEMU makes EINVAL of it.
    """

    __slots__ = ("_status", "filter", "size")

    def __init__(self, cbw: CopyBeforeWrite) -> None:
        self.filter = cbw
        self._status = cbw.snapshot_block_status
        self.size = cbw.size

    @property
    def check(self) -> AccessCheck:
        """The access check that every question passes."""
        return self.filter.check

    def block_status(self, offset: int, length: int) -> BlockStatus:
        """The filter's answer; but what reads as zeros counts as allocated here.

        QEMU says so of any node that answers zero by itself. So, of an image without a backing
        file, nothing is unallocated in its snapshot.
        """
        status = self._status(offset, length)
        if status.allocated or not status.zero:
            return status
        return BlockStatus(status.length, True, True)

    def read(self, offset: int, length: int) -> bytes:
        """The content of the snapshot."""
        return self.filter.snapshot_read(offset, length)

    def discard(self, offset: int, length: int) -> None:
        """Give up the whole copy clusters inside a range: they cannot be read any more."""
        self.filter.snapshot_discard(offset, length)
