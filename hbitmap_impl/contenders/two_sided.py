"""The contender ``two-sided``."""

from __future__ import annotations

from typing import ClassVar

from hbitmap_impl.access_check import AccessBitmap
from hbitmap_impl.contender_bitmaps import TwoSidedHBitmap
from hbitmap_impl.hbitmap import HBitmap


class TwoSided(AccessBitmap):
    """The access bitmap, with upper levels that tell of clear bits as well.

    Idea: let a bitmap answer both searches by levels, so that no user has to turn its meaning.
    Cost: at most 13 words a question, for the done bitmap too. 1/63 more memory; an update touches
    the upper levels of both sides.
    Source: HBitmap's own levels, mirrored.
    """

    bitmap_type: ClassVar[type[HBitmap]] = TwoSidedHBitmap
