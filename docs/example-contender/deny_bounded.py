"""A contender in a package of its own: install it, and ``hbitmap-bench tournament`` has it."""

from typing import ClassVar

from hbitmap_impl.access_check import DenyBitmap
from hbitmap_impl.contenders.bounded import BoundedFilter
from hbitmap_impl.copy_before_write import CopyBeforeWrite


class DenyBounded(DenyBitmap):
    """The deny bitmap, asked about at most 1 GiB at once: the done bitmap is bounded as well.

    Idea: the patches, and one line for the path that they leave.
    Cost: a few words a question, and at most 257 of the done bitmap.
    Source: ``reports/second-path.md``.
    """

    # Not needed where CopyBeforeWrite will do: see AccessCheck.
    filter_type: ClassVar[type[CopyBeforeWrite]] = BoundedFilter
