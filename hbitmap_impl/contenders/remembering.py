"""The contender ``remembering``."""

from __future__ import annotations

from typing import ClassVar

from hbitmap_impl.access_check import AccessBitmap
from hbitmap_impl.contender_bitmaps import RememberingHBitmap
from hbitmap_impl.hbitmap import HBitmap


class Remembering(AccessBitmap):
    """The access bitmap, which remembers the run of set bits that a search has seen.

    Idea: a build-up asks the same again and again; its questions begin one behind the other, and
    bits are cleared far more seldom than they are searched.
    Cost: W words for all questions of a build-up together, 8 a question of 512 clusters, for the
    done bitmap too. Readers in two long runs, of which one is remembered, pay a run a question.
    Source: this project; ``reports/second-path.md`` has it measured in QEMU's own HBitmap.
    """

    bitmap_type: ClassVar[type[HBitmap]] = RememberingHBitmap
