"""The check that a snapshot access must pass: the old access bitmap and the new deny bitmap.

Both answer the same question, where the first byte of a range lies that the snapshot's user may not
read. They differ in what a set bit means, and so in how far they must look.
"""

from __future__ import annotations

import sys
from typing import ClassVar, Protocol, Self

from hbitmap_impl.clusters import empty_bitmap, full_bitmap
from hbitmap_impl.hbitmap import HBitmap


class AccessCheck(Protocol):
    """What a copy-before-write filter asks of its check. Positions and lengths in bytes.

    ``AccessCheck(size_bytes, cluster_bytes)`` lets everything be read.

    Two more class attributes may be there. ``filter_type``, a subclass of ``CopyBeforeWrite``, is
    the filter that the check needs; without it, that is ``CopyBeforeWrite``. ``counts_words`` is
    False where the searches are not counted, and ``words_examined`` is always 0; without it, True.
    """

    bitmap_type: ClassVar[type[HBitmap]]
    """The kind of the filter's own bitmaps."""

    cuts_status: ClassVar[bool]
    """Is a block status cut at the first denied cluster (else it fails as a whole)?"""

    def __init__(self, size_bytes: int, cluster_bytes: int) -> None: ...

    @classmethod
    def from_copy_bitmap(cls, copy: HBitmap) -> Self:
        """A check that lets those clusters be read that are set in ``copy``: O(N / 64) words.

        ``copy`` is of the kind ``bitmap_type``.
        """

    def first_inaccessible(self, offset: int, length: int) -> int:
        """First position in [offset, offset + length) that may not be read, or -1."""

    def discard(self, offset: int, length: int) -> None:
        """Let a range of whole clusters not be read any more. ``ValueError`` outside the size."""

    @property
    def count(self) -> int:
        """Bytes of the set bits, as QEMU counts a dirty bitmap."""

    @property
    def words_examined(self) -> int:
        """Words of any level that searches have read since the counters were reset."""

    def reset_counters(self) -> None:
        """Let ``words_examined`` start from 0 again."""

    @property
    def memory_bytes(self) -> int:
        """Bytes that the check has allocated, whether they are touched or not.

        What comes nearest, where a library does not tell them: say in the docstring what it is.
        """


class _Counted:
    """What both checks share: the numbers of their bitmap."""

    bitmap_type: ClassVar[type[HBitmap]] = HBitmap

    _bitmap: HBitmap

    @property
    def count(self) -> int:
        """Bytes of the set bits."""
        return self._bitmap.count

    @property
    def words_examined(self) -> int:
        """Words that searches have read."""
        return self._bitmap.words_examined

    @property
    def memory_bytes(self) -> int:
        """Bytes that the bitmap has, whether they are touched or not."""
        return sys.getsizeof(self._bitmap)

    def reset_counters(self) -> None:
        """Start counting words from 0 again."""
        self._bitmap.reset_counters()


class AccessBitmap(_Counted):
    """Old: a set bit means *may be read*, so every word of the range must be seen to be full.

    Cost: one word a 64 clusters, up to the first that is denied or to the end of the range.
    """

    cuts_status: ClassVar[bool] = False

    def __init__(self, size_bytes: int, cluster_bytes: int) -> None:
        self._bitmap = full_bitmap(size_bytes, cluster_bytes, self.bitmap_type)

    @classmethod
    def from_copy_bitmap(cls, copy: HBitmap) -> Self:
        """May be read what is to be copied: the same bits."""
        check = cls.__new__(cls)
        check._bitmap = copy.copy()
        return check

    def first_inaccessible(self, offset: int, length: int) -> int:
        """The first clear bit. Reads every word on the way to it."""
        return self._bitmap.next_zero(offset, length)

    def discard(self, offset: int, length: int) -> None:
        """Take the permission away."""
        self._bitmap.reset(offset, length)


class DenyBitmap(_Counted):
    """New: a set bit means *may not be read*, so the upper levels of the bitmap find the first.

    Cost: at most 13 words, whatever the range; one a level (7) while nothing is denied.
    """

    cuts_status: ClassVar[bool] = True

    def __init__(self, size_bytes: int, cluster_bytes: int) -> None:
        self._bitmap = empty_bitmap(size_bytes, cluster_bytes, self.bitmap_type)

    @classmethod
    def from_copy_bitmap(cls, copy: HBitmap) -> Self:
        """May not be read what is not to be copied: the inverse bits."""
        check = cls.__new__(cls)
        check._bitmap = copy.copy()
        check._bitmap.invert()
        return check

    def first_inaccessible(self, offset: int, length: int) -> int:
        """The first set bit. Reads a few words of each level on the way to it."""
        return self._bitmap.next_dirty(offset, length)

    def discard(self, offset: int, length: int) -> None:
        """Put the denial there."""
        self._bitmap.set(offset, length)
