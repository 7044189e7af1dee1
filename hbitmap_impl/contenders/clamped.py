"""The contender ``clamped``."""

from __future__ import annotations

from typing import ClassVar

from hbitmap_impl.access_check import AccessBitmap
from hbitmap_impl.copy_before_write import CopyBeforeWrite
from hbitmap_impl.image import BlockStatus


class DiskFirstFilter(CopyBeforeWrite):
    """A copy-before-write filter that asks the disk before its own bitmaps."""

    def snapshot_block_status(self, offset: int, length: int) -> BlockStatus:
        """As ``CopyBeforeWrite``, for no more than the disk's answer.

        Something denied behind that answer makes no question fail. Costs one status of the disk
        besides, where the start is done.
        """
        if self.snapshot_error is not None:
            raise self._no_access(offset, length)
        below = self.disk.block_status(offset, length)
        if self.check.first_inaccessible(offset, below.length) != -1:
            raise self._no_access(offset, below.length)
        done, run = self.done_bitmap.status(offset, below.length)
        if done:
            return self.target.block_status(offset, run)
        return BlockStatus(run, below.allocated, below.zero)


class Clamped(AccessBitmap):
    """The access bitmap, checked for no more than the disk has answered.

    Idea: a slice of the L2 table ends the answer anyway, so look no further than that.
    Cost: the words of one answer, 8 for 512 clusters, for the done bitmap too. Where the start is
    done the disk is asked in vain. A disk that answers for everything leaves W words a question.
    Source: a question to the patches' author that suggests itself: why check what is not answered?
    """

    filter_type: ClassVar[type[CopyBeforeWrite]] = DiskFirstFilter
