"""The contender ``access-simd``."""

from __future__ import annotations

from typing import ClassVar

from hbitmap_impl.access_check import AccessBitmap
from hbitmap_impl.contender_bitmaps import WideHBitmap
from hbitmap_impl.hbitmap import HBitmap


class AccessSimd(AccessBitmap):
    """The access bitmap, searched in blocks of 16 words by the processor's vectors.

    Idea: leave the algorithm, and read the words as fast as memory gives them.
    Cost: W words a question, as the access bitmap; fewer instructions a word.
    Source: how ``memchr`` of C libraries searches; QEMU's own ``buffer_is_zero`` does so.
    """

    bitmap_type: ClassVar[type[HBitmap]] = WideHBitmap
