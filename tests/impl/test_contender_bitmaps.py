"""The kinds of HBitmap of the contenders: what they read and what they have, exactly."""

import sys
import tracemalloc

import pytest

from hbitmap_impl.contender_bitmaps import TwoSidedHBitmap, WideHBitmap


def words_read(n, zero):
    """Of n words, a zero bit in one of them: the first one, whole blocks, then one by one."""
    if zero == 0:
        return 1
    place = 1
    while place + 16 <= n:
        place += 16
        if zero is not None and zero < place:
            return place
    return n if zero is None else zero + 1


@pytest.mark.parametrize("n", [1, 2, 16, 17, 18, 32, 33, 40])
def test_words_that_blocks_read_are_counted_exactly(n):
    bitmap = WideHBitmap(64 * n)
    bitmap.set(0, 64 * n)
    for zero in (None, *range(n)):
        place = -1 if zero is None else 64 * zero + 5
        if zero is not None:
            bitmap.reset(place, 1)
        bitmap.reset_counters()
        assert bitmap.next_zero(0, 64 * n) == place
        assert bitmap.words_examined == words_read(n, zero), zero
        bitmap.set(0, 64 * n)


@pytest.mark.parametrize("size", [64, 2**23, 2**25])
def test_a_two_sided_bitmap_has_the_bytes_that_it_tells_of_after_a_truncate(size):
    tracemalloc.start()
    try:
        bitmap = TwoSidedHBitmap(2**24)
        bitmap.set(0, 2**24)
        bitmap.truncate(size)
        bitmap._check()
        traced, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert traced == pytest.approx(sys.getsizeof(bitmap), abs=4096)
