"""The contender ``roaring``, which needs the package ``pyroaring``."""

from __future__ import annotations

from typing import ClassVar, Self

from pyroaring import BitMap64

from hbitmap_impl.clusters import check_range, power_of_two
from hbitmap_impl.hbitmap import HBitmap


class Roaring:
    """The denied clusters in a Roaring bitmap: sorted arrays, runs and bitmaps of 2**16 each.

    Idea: a set that is nearly always empty, or a few runs, needs no bitmap of its full size.
    Cost: a binary search a question; memory by what is denied, told as the serialized size. Words
    are not counted. The done bitmap stays an HBitmap.
    Source: https://roaringbitmap.org (Lemire and others), by ``pyroaring``.
    """

    bitmap_type: ClassVar[type[HBitmap]] = HBitmap
    cuts_status: ClassVar[bool] = True
    counts_words: ClassVar[bool] = False

    def __init__(self, size_bytes: int, cluster_bytes: int) -> None:
        self._size = size_bytes
        self._shift = power_of_two(cluster_bytes).bit_length() - 1
        self._denied = BitMap64()

    @classmethod
    def from_copy_bitmap(cls, copy: HBitmap) -> Self:
        """Denied is all that ``copy`` has not set: O(runs)."""
        check = cls(copy.size, 1 << copy.granularity)
        inverse = copy.copy()
        inverse.invert()
        for start, length in inverse.to_runs().tolist():
            check.discard(start, length)
        return check

    def first_inaccessible(self, offset: int, length: int) -> int:
        """The first denied cluster of the range."""
        try:
            denied = self._denied.next_set_bit(offset >> self._shift)
        except ValueError:  # none from there on
            return -1
        found = max(denied << self._shift, offset)
        return found if found < offset + length else -1

    def discard(self, offset: int, length: int) -> None:
        """Put the clusters into the set."""
        check_range(offset, length, self._size)
        last = (offset + length - 1) >> self._shift
        self._denied.add_range(offset >> self._shift, last + 1)

    @property
    def count(self) -> int:
        """Bytes of the denied clusters."""
        return len(self._denied) << self._shift

    @property
    def words_examined(self) -> int:
        """0: the library does not count them."""
        return 0

    def reset_counters(self) -> None:
        """Nothing is counted."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of the set when serialized: the library does not tell those in memory."""
        return len(self._denied.serialize())
