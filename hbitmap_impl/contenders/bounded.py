"""The contender ``bounded``."""

from __future__ import annotations

from typing import ClassVar, Final

from hbitmap_impl.access_check import AccessBitmap
from hbitmap_impl.copy_before_write import CopyBeforeWrite
from hbitmap_impl.image import BlockStatus

BOUND_BYTES: Final = 2**30
"""The longest answer of a qcow2 image with a slice of 4 KiB, QEMU's default for large images: 512
clusters of at most 2 MiB. Images that the L2 cache covers answer for up to 2 GiB."""


class BoundedFilter(CopyBeforeWrite):
    """A copy-before-write filter that takes a question for at most ``BOUND_BYTES``."""

    def snapshot_block_status(self, offset: int, length: int) -> BlockStatus:
        """As ``CopyBeforeWrite``, for the first ``BOUND_BYTES`` of the range."""
        return super().snapshot_block_status(offset, min(length, BOUND_BYTES))


class Bounded(AccessBitmap):
    """The access bitmap, asked about at most 1 GiB at once.

    Idea: no question is for more than one answer of a large image can be.
    Cost: at most 257 words a question with 64K copy clusters, for the done bitmap too. Images that
    answer for more than 1 GiB get more questions.
    Source: ``reports/second-path.md``, where one such line is measured on a real build.
    """

    filter_type: ClassVar[type[CopyBeforeWrite]] = BoundedFilter
