"""The copy-before-write filter: what the guest overwrites is copied to the target first.

The guest reads and writes through ``read``, ``write``, ``write_zeroes`` and ``discard``; the
snapshot's user through the same names with ``snapshot_`` before them.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from hbitmap_impl.access_check import AccessCheck
from hbitmap_impl.clusters import (
    align_down,
    align_up,
    check_range,
    copy_cluster_size,
    empty_bitmap,
    widen,
)
from hbitmap_impl.hbitmap import HBitmap
from hbitmap_impl.image import BlockStatus, Disk

OnCbwError = Literal["break-guest-write", "break-snapshot"]

ON_CBW_ERRORS: Final = ("break-guest-write", "break-snapshot")


class SnapshotRead:
    """A lower read in flight: of ``length`` bytes at ``offset``, from ``node``.

    While it is not finished, guest writes wait that overlap the frozen range: all that was asked
    for, though one piece of it is read. A read of the target freezes nothing.
    """

    __slots__ = ("_filter", "frozen_end", "length", "node", "offset")

    def __init__(
        self, cbw: CopyBeforeWrite, node: Disk, offset: int, length: int, frozen_end: int
    ) -> None:
        self._filter = cbw
        self.node = node
        self.offset = offset
        self.length = length
        self.frozen_end = frozen_end

    def overlaps(self, start: int, end: int) -> bool:
        """Whether the frozen range and [start, end) have a byte in common."""
        return self.offset < end and start < self.frozen_end

    def finish(self) -> bytes:
        """Do the read; then let the guest writes go on that waited for this read alone.

        To be called once. Raises the ``OSError`` of the first of those writes that fails on the
        disk, after the others: in one thread there is nobody else to tell.
        """
        try:
            return self.node.read(self.offset, self.length)
        finally:
            self._filter._thaw(self)


class _WaitingWrite(NamedTuple):
    """A guest write whose old data is safe, but which a frozen read holds up."""

    start: int
    end: int
    perform: Callable[[], None]


class CopyBeforeWrite:
    """A filter over ``disk`` that keeps the content of this moment readable as a snapshot.

    ``check`` is the kind of access check, such as ``AccessBitmap`` or ``DenyBitmap``; the filter's
    own bitmaps are of its ``bitmap_type``. With ``bitmap`` (of the disk's size, any granularity)
    only the clusters it touches belong to the snapshot; without, all do. ``cluster_bytes`` is the
    copy cluster. ``on_cbw_error`` tells who suffers if the target cannot be written: the guest,
    whose write then fails, or the snapshot, of which every later status and read then fails.

    Raises ``ValueError`` if the target is smaller than the disk, ``bitmap`` of another size, the
    cluster size no power of two, or ``on_cbw_error`` unknown.
    """

    def __init__(
        self,
        disk: Disk,
        target: Disk,
        check: type[AccessCheck],
        *,
        bitmap: HBitmap | None = None,
        on_cbw_error: OnCbwError = "break-guest-write",
        cluster_bytes: int = copy_cluster_size(),
    ) -> None:
        if on_cbw_error not in ON_CBW_ERRORS:
            raise ValueError(f"on_cbw_error is one of {ON_CBW_ERRORS}, not {on_cbw_error!r}")
        if target.size < disk.size:
            raise ValueError(f"a target has the disk's {disk.size} bytes, not {target.size}")
        self.disk = disk
        self.target = target
        self.size = disk.size
        self.cluster_bytes = cluster_bytes
        self.done_bitmap = empty_bitmap(self.size, cluster_bytes, check.bitmap_type)
        self.snapshot_error: OSError | None = None
        self._on_cbw_error = on_cbw_error
        self._frozen: list[SnapshotRead] = []
        self._waiting: list[_WaitingWrite] = []
        self._copy_bitmap: HBitmap | None = None
        if bitmap is None:
            self.check = check(self.size, cluster_bytes)
        else:
            self._copy_bitmap = empty_bitmap(self.size, cluster_bytes, check.bitmap_type)
            self._copy_bitmap.merge(bitmap)
            self.check = check.from_copy_bitmap(self._copy_bitmap)

    @property
    def copy_bitmap(self) -> HBitmap:
        """Clusters of the snapshot that a guest write would copy; counts in bytes.

        Made when it is first needed: a build-up does not, and at 64 TiB it is 128 MiB of ones.
        """
        if self._copy_bitmap is None:  # all but what is done
            self._copy_bitmap = self.done_bitmap.copy()
            self._copy_bitmap.invert()
        return self._copy_bitmap

    # The guest's side.

    @property
    def has_backing(self) -> bool:
        """As the disk."""
        return self.disk.has_backing

    def block_status(self, offset: int, length: int) -> BlockStatus:
        """What the disk answers."""
        return self.disk.block_status(offset, length)

    def read(self, offset: int, length: int) -> bytes:
        """What the disk holds now."""
        return self.disk.read(offset, length)

    def write(self, offset: int, data: bytes) -> None:
        """Write to the disk, when the old data is copied and no frozen read needs it.

        Raises ``OSError`` if the copying does and the guest's write is to break; then nothing is
        written.
        """
        self._write(offset, len(data), lambda: self.disk.write(offset, data))

    def write_zeroes(self, offset: int, length: int) -> None:
        """Write zeros, as ``write``."""
        self._write(offset, length, lambda: self.disk.write_zeroes(offset, length))

    def discard(self, offset: int, length: int) -> None:
        """Discard on the disk, as ``write``."""
        self._write(offset, length, lambda: self.disk.discard(offset, length))

    @property
    def n_waiting(self) -> int:
        """Guest writes that wait for frozen reads to finish."""
        return len(self._waiting)

    def _write(self, offset: int, length: int, perform: Callable[[], None]) -> None:
        check_range(offset, length, self.size)
        start, end = widen(offset, length, self.cluster_bytes, self.size)
        if self.snapshot_error is None:
            self._save(start, end)
        # QEMU does not wait once the snapshot is broken; a read in flight may then see new data.
        if self._is_frozen(start, end):
            self._waiting.append(_WaitingWrite(start, end, perform))
        else:
            perform()

    def _save(self, start: int, end: int) -> None:
        """Copy what is still to be copied of whole clusters, and mark them all done."""
        try:
            self._copy(start, end)
        except OSError as error:
            if self._on_cbw_error == "break-guest-write":
                raise
            self.snapshot_error = error
        else:
            self.done_bitmap.set(start, end - start)

    def _copy(self, start: int, end: int) -> None:
        """Copy area by area: what is copied when one fails need not be copied again."""
        copy_bitmap = self.copy_bitmap
        while (area := copy_bitmap.next_dirty_area(start, end, end - start)) is not None:
            self.target.write(area[0], self.disk.read(*area))
            copy_bitmap.reset(*area)

    def assume_done(self, offset: int, length: int) -> None:
        """Go on as if the guest had overwritten a range whose old content the target holds.

        Nothing is copied or written, so that terabytes take one pass over the bitmap's words.
        """
        check_range(offset, length, self.size)
        start, end = widen(offset, length, self.cluster_bytes, self.size)
        if self._copy_bitmap is not None:
            self._copy_bitmap.reset(start, end - start)
        self.done_bitmap.set(start, end - start)

    def _is_frozen(self, start: int, end: int) -> bool:
        return any(read.overlaps(start, end) for read in self._frozen)

    def _thaw(self, read: SnapshotRead) -> None:
        if read not in self._frozen:
            return
        self._frozen.remove(read)
        waiting, self._waiting = self._waiting, []
        failures = []
        for write in waiting:
            if self._is_frozen(write.start, write.end):
                self._waiting.append(write)
                continue
            try:
                write.perform()
            except OSError as error:
                failures.append(error)  # it is that write's own, and no other waits for it
        if failures:
            raise failures[0]

    # The side of the snapshot's user. Whatever is denied raises PermissionError (EACCES).

    def snapshot_block_status(self, offset: int, length: int) -> BlockStatus:
        """The status of the snapshot's content at ``offset``, from the disk or the target.

        Over an access bitmap, anything denied in the range raises ``PermissionError``; over a deny
        bitmap the answer ends there, and only a denied start raises. So does a broken snapshot.
        Costs one access check of the range, one ``status`` of the done bitmap and one status below.
        """
        if self.snapshot_error is not None:
            raise self._no_access(offset, length)
        denied = self.check.first_inaccessible(offset, length)
        if denied != -1:
            if denied == offset or not self.check.cuts_status:
                raise self._no_access(offset, length)
            length = denied - offset
        # QEMU freezes the range for a status too. Nothing can come between in one thread.
        done, run = self.done_bitmap.status(offset, length)
        return (self.target if done else self.disk).block_status(offset, run)

    def begin_snapshot_read(self, offset: int, length: int) -> SnapshotRead:
        """Start to read the first piece of a range: as much as lies in one place.

        The caller finishes the piece. Raises ``PermissionError`` if any part of the range is
        denied, or the snapshot broken.
        """
        check_range(offset, length, self.size)
        if self.snapshot_error is not None or self.check.first_inaccessible(offset, length) != -1:
            raise self._no_access(offset, length)
        done, run = self.done_bitmap.status(offset, length)
        if done:
            return SnapshotRead(self, self.target, offset, run, frozen_end=offset)
        read = SnapshotRead(self, self.disk, offset, run, frozen_end=offset + length)
        self._frozen.append(read)
        return read

    def snapshot_read(self, offset: int, length: int) -> bytes:
        """The snapshot's content, piece by piece, with the checks made again for each.

        Raises as ``begin_snapshot_read``.
        """
        check_range(offset, length, self.size)
        pieces = []
        while length:
            piece = self.begin_snapshot_read(offset, length)
            pieces.append(piece.finish())
            offset, length = offset + piece.length, length - piece.length
        return b"".join(pieces)

    def snapshot_discard(self, offset: int, length: int) -> None:
        """Give up the whole copy clusters inside a range: deny, copy no more, free the target.

        A partial last cluster is no whole one, as in QEMU.
        """
        check_range(offset, length, self.size)
        start = align_up(offset, self.cluster_bytes)
        count = align_down(offset + length, self.cluster_bytes) - start
        if count > 0:
            self.check.discard(start, count)
            self.copy_bitmap.reset(start, count)
            self.target.discard(start, count)

    def _no_access(self, offset: int, length: int) -> PermissionError:
        reason = "holds denied clusters"
        if self.snapshot_error is not None:
            reason = f"is of a snapshot broken by: {self.snapshot_error}"
        message = f"Permission denied: [{offset}, {offset + length}) {reason}"
        return PermissionError(errno.EACCES, message)
