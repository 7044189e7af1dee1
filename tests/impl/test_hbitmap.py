"""HBitmap: each rule of its interface, one by one, at the edges of words and levels."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbitmap_impl import HBitmap

EDGES = sorted({base + step for base in (64, 64**2, 64**3) for step in (-1, 0, 1)})


def bitmap_of(size: int, starts: set[int], granularity: int = 0) -> HBitmap:
    bitmap = HBitmap(size, granularity)
    for start in starts:
        bitmap.set(start, 1)
    return bitmap


def slow_next_dirty(bitmap: HBitmap, start: int, count: int) -> int:
    end = min(start + count, bitmap.size)
    return next((item for item in range(start, end) if bitmap.get(item)), -1)


def slow_next_zero(bitmap: HBitmap, start: int, count: int) -> int:
    end = min(start + count, bitmap.size)
    return next((item for item in range(start, end) if not bitmap.get(item)), -1)


@pytest.mark.parametrize("size", EDGES)
def test_a_single_bit_is_found_from_every_edge(size):
    for position in {0, size - 1, *(edge for edge in EDGES if edge < size)}:
        bitmap = bitmap_of(size, {position})
        bitmap._check()
        for start in {0, position, position + 1, size - 1, size, size + 1}:
            assert bitmap.next_dirty(start) == (position if start <= position else -1)


@pytest.mark.parametrize("size", EDGES)
def test_a_single_zero_is_found_from_every_edge(size):
    for position in {0, size - 1, *(edge for edge in EDGES if edge < size)}:
        bitmap = bitmap_of(size, {position})
        bitmap.invert()
        bitmap._check()
        for start in {0, position, position + 1, size - 1, size, size + 1}:
            assert bitmap.next_zero(start) == (position if start <= position else -1)


@given(st.data())
def test_searches_agree_with_their_slow_twins(data):
    size = data.draw(st.integers(1, 400))
    bitmap = bitmap_of(
        size,
        data.draw(st.sets(st.integers(0, size - 1))),
        granularity=data.draw(st.sampled_from([0, 1, 3, 16])),
    )
    start = data.draw(st.integers(0, size + 5))
    count = data.draw(st.integers(0, size + 5))
    assert bitmap.next_dirty(start, count) == slow_next_dirty(bitmap, start, count)
    assert bitmap.next_zero(start, count) == slow_next_zero(bitmap, start, count)


def test_an_empty_bitmap_costs_one_word_of_each_level():
    bitmap = HBitmap(2**30)
    assert bitmap.next_dirty(12345) == -1
    assert bitmap.words_examined == 7


def test_the_worst_search_costs_thirteen_words():
    bitmap = bitmap_of(2**36 + 1, {2**36})  # 8 GiB, of which two pages are ever touched
    assert bitmap.next_dirty(0) == 2**36
    assert bitmap.words_examined == 13


@pytest.mark.parametrize("start", [0, 1, 63, 64, 9_999])
def test_a_search_for_zero_reads_every_word_up_to_the_end(start):
    bitmap = HBitmap(10_000)
    bitmap.set(0, 10_000)
    assert bitmap.next_zero(start) == -1
    assert bitmap.words_examined == -(-10_000 // 64) - start // 64


def test_a_search_for_zero_stops_at_its_count_and_at_what_it_finds():
    bitmap = HBitmap(6_400)
    bitmap.set(0, 6_400)
    bitmap.next_zero(0, 65)
    assert bitmap.words_examined == 2
    bitmap.reset(640, 1)
    bitmap.reset_counters()
    assert bitmap.next_zero(0) == 640
    assert bitmap.words_examined == 11


def test_updates_and_lookups_are_not_counted():
    bitmap = HBitmap(1000)
    bitmap.set(0, 500)
    bitmap.get(3)
    bitmap.invert()
    bitmap.to_runs()
    assert bitmap.words_examined == 0


def test_set_widens_to_whole_groups_and_count_is_in_items():
    bitmap = HBitmap(100, granularity=3)
    bitmap.set(9, 8)
    assert bitmap.to_runs().tolist() == [[8, 16]]
    assert bitmap.count == 16
    bitmap.set(99, 1)
    assert bitmap.to_runs().tolist() == [[8, 16], [96, 4]]
    assert bitmap.count == 24
    assert len(bitmap) == 100


@pytest.mark.parametrize("count", [4, 8])
def test_reset_may_end_at_the_size_as_it_is_or_rounded_up(count):
    bitmap = HBitmap(100, granularity=3)
    bitmap.set(0, 100)
    bitmap.reset(96, count)
    assert bitmap.to_runs().tolist() == [[0, 96]]


@pytest.mark.parametrize("range_", [(1, 8), (8, 7), (0, 99), (8, 95), (96, 5), (104, 8), (96, 16)])
def test_reset_refuses_parts_of_groups_and_what_lies_outside(range_):
    bitmap = HBitmap(100, granularity=3)
    bitmap.set(0, 100)
    before = bitmap.copy()
    with pytest.raises(ValueError, match="whole groups|inside the bitmap"):
        bitmap.reset(*range_)
    assert bitmap == before


@pytest.mark.parametrize("update", ["set", "reset"])
@pytest.mark.parametrize("range_", [(0, 101), (100, 1), (-1, 2), (0, -1), (1, 2**63), (2**70, 1)])
def test_updates_outside_are_refused_and_change_nothing(update, range_):
    bitmap = bitmap_of(100, {1, 99})
    before = bitmap.copy()
    with pytest.raises(ValueError, match=r"must (be 0 or more|lie inside)"):
        getattr(bitmap, update)(*range_)
    assert bitmap == before
    bitmap._check()


@pytest.mark.parametrize("update", ["set", "reset"])
def test_a_count_of_nothing_changes_nothing(update):
    bitmap = bitmap_of(100, {1, 99})
    getattr(bitmap, update)(7, 0)
    assert bitmap.to_array().tolist() == [1, 99]


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((-1,), "0 or more, not -1"),
        ((2**63,), "at most 2\\*\\*63 - 1 items"),
        ((2**41 + 1,), "at most 2\\*\\*41 bits"),
        ((2**42 + 1, 1), "at most 2\\*\\*41 bits"),
        ((10, -1), "within 0..63, not -1"),
        ((10, 64), "within 0..63, not 64"),
        ((10, 2**80), "within 0..63"),
    ],
)
def test_sizes_and_granularities_have_limits(arguments, rule):
    with pytest.raises(ValueError, match=rule):
        HBitmap(*arguments)


def test_the_largest_granularity_and_size():
    bitmap = HBitmap(2**63 - 1, 63)
    bitmap.set(2**62, 2**62 - 1)
    assert bitmap.next_dirty(5) == 5
    assert bitmap.count == 2**63
    assert bitmap.next_zero(0) == -1
    bitmap.reset(0, 2**63 - 1)
    bitmap.set(0, 1)
    bitmap.reset(0, 2**63)
    assert bitmap.count == 0
    bitmap._check()


def test_searches_clip_their_bounds():
    bitmap = bitmap_of(100, {99})
    assert bitmap.next_dirty(0, 2**80) == 99
    assert bitmap.next_dirty(2**80) == -1
    assert bitmap.next_dirty(0, 99) == -1
    assert bitmap.next_dirty(99, 0) == -1
    assert bitmap.next_zero(0, 0) == -1
    assert bitmap.next_zero(100) == -1
    for search in (bitmap.next_dirty, bitmap.next_zero):
        with pytest.raises(ValueError, match="0 or more, not -1"):
            search(-1)
        with pytest.raises(ValueError, match="0 or more, not -2"):
            search(0, -2)


def test_a_bit_that_begins_before_start_gives_start():
    bitmap = HBitmap(100, granularity=4)
    bitmap.set(16, 1)
    assert bitmap.next_dirty(20) == 20
    assert bitmap.next_zero(40, 2) == 40


def test_next_dirty_area_is_cut_on_all_sides():
    bitmap = HBitmap(100, granularity=2)
    bitmap.set(10, 30)
    assert bitmap.next_dirty_area(0, 100, 1000) == (8, 32)
    assert bitmap.next_dirty_area(0, 20, 1000) == (8, 12)
    assert bitmap.next_dirty_area(0, 100, 5) == (8, 5)
    assert bitmap.next_dirty_area(17, 2**70, 2**70) == (17, 23)
    assert bitmap.next_dirty_area(40, 100, 1) is None
    assert bitmap.next_dirty_area(50, 40, 1) is None
    with pytest.raises(ValueError, match="1 or more, not 0"):
        bitmap.next_dirty_area(0, 100, 0)


def test_status_gives_the_first_run():
    bitmap = HBitmap(100)
    bitmap.set(10, 30)
    assert bitmap.status(0, 100) == (False, 10)
    assert bitmap.status(10, 100 - 10) == (True, 30)
    assert bitmap.status(10, 5) == (True, 5)
    assert bitmap.status(40, 60) == (False, 60)
    for range_ in [(0, 0), (0, 101), (100, 1)]:
        with pytest.raises(ValueError, match="1 or more|inside the bitmap"):
            bitmap.status(*range_)


def test_iteration_skips_what_is_reset_ahead():
    bitmap = bitmap_of(300, {1, 64, 65, 299})
    seen = []
    for item in bitmap:
        seen.append(item)
        bitmap.reset(65, 1)
    assert seen == [1, 64, 299]


def test_what_is_set_ahead_is_visited_or_missed_and_nothing_else():
    bitmap = bitmap_of(300, {1, 64, 299})
    seen = []
    for item in bitmap:
        seen.append(item)
        bitmap.set(70, 1)
    assert seen in ([1, 64, 299], [1, 64, 70, 299])


def test_a_walk_examines_a_word_a_bit_and_three_or_more_to_the_next_word():
    bitmap = bitmap_of(64 * 3, range(64 * 3))
    bitmap.reset_counters()
    assert len(list(bitmap)) == 64 * 3
    to_next, to_the_end = 3, 7  # up one level and down again; up all seven
    assert bitmap.words_examined == 64 + 2 * (to_next + 63) + to_the_end


def test_iter_from_begins_at_starts_group():
    bitmap = bitmap_of(100, {8, 50}, granularity=3)
    assert list(bitmap.iter_from(13)) == [8, 48]
    assert list(bitmap.iter_from(16)) == [48]
    assert list(bitmap.iter_from(1000)) == []


@given(st.sets(st.integers(0, 1023), min_size=0), st.sampled_from([0, 3]), st.booleans())
def test_to_array_is_what_iteration_gives_dense_or_sparse(starts, granularity, inverted):
    bitmap = bitmap_of(1024, starts, granularity)
    if inverted:
        bitmap.invert()
    assert bitmap.to_array().tolist() == list(bitmap)


def test_truncate_ends_iterators():
    bitmap = bitmap_of(300, {1, 2})
    walk = iter(bitmap)
    next(walk)
    bitmap.truncate(299)
    with pytest.raises(RuntimeError, match="truncated"):
        next(walk)


def test_truncate_grows_with_zeros_and_keeps_a_partial_group():
    bitmap = HBitmap(100, granularity=3)
    bitmap.set(0, 100)
    bitmap.truncate(1000)
    bitmap._check()
    assert bitmap.to_runs().tolist() == [[0, 104]]
    bitmap.truncate(17)
    bitmap._check()
    assert bitmap.to_runs().tolist() == [[0, 17]]
    assert bitmap.count == 24
    bitmap.truncate(20)  # an equal number of bits
    assert bitmap.to_runs().tolist() == [[0, 20]]
    bitmap.truncate(0)
    bitmap._check()
    assert bitmap.count == 0


def test_truncate_refuses_bad_sizes_and_living_views():
    bitmap = bitmap_of(100, {5})
    for size in (-1, 2**41 + 1, 2**64):
        with pytest.raises(ValueError, match="0 or more|at most"):
            bitmap.truncate(size)
    view = bitmap.words
    with pytest.raises(BufferError, match="drop every view"):
        bitmap.truncate(50)
    assert (bitmap.size, view[0]) == (100, 32)
    del view
    bitmap.truncate(50)
    assert bitmap.size == 50


def test_merge_of_equal_granularity_is_a_union():
    left, right = bitmap_of(300, {1, 64}), bitmap_of(300, {1, 299})
    left.merge(right)
    left._check()
    assert left.to_array().tolist() == [1, 64, 299]
    assert right.to_array().tolist() == [1, 299]


def test_merge_of_another_granularity_widens():
    left, right = HBitmap(100, 4), bitmap_of(100, {3, 90}, granularity=1)
    left.merge(right)
    assert left.to_runs().tolist() == [[0, 16], [80, 16]]


def test_merge_refuses_another_size_and_another_type():
    left = bitmap_of(100, {1})
    with pytest.raises(ValueError, match="equal sizes, not 100 and 101"):
        left.merge(bitmap_of(101, {7}))
    with pytest.raises(TypeError):
        left.merge({7})
    assert left.to_array().tolist() == [1]


@pytest.mark.parametrize("size", [1, *EDGES])
def test_inverting_twice_gives_the_same(size):
    bitmap = bitmap_of(size, {0, size - 1})
    before = bitmap.copy()
    bitmap.invert()
    bitmap._check()
    assert bitmap.count == size - before.count
    bitmap.invert()
    assert bitmap == before


def test_equality_is_of_size_granularity_and_bits():
    bitmap = bitmap_of(100, {5})
    assert bitmap == bitmap_of(100, {5})
    assert bitmap != bitmap_of(101, {5})
    assert bitmap != bitmap_of(100, {6})
    assert bitmap != bitmap_of(100, {5}, granularity=1)
    assert bitmap != {5}
    with pytest.raises(TypeError):
        hash(bitmap)


def test_a_copy_is_independent():
    bitmap = bitmap_of(100, {5})
    twin = bitmap.copy()
    twin.set(6, 1)
    assert bitmap.to_array().tolist() == [5]
    twin._check()


def test_words_is_a_living_read_only_view():
    bitmap = HBitmap(130)
    words = bitmap.words
    bitmap.set(129, 1)
    assert words.tolist() == [0, 0, 2]
    assert words.dtype == np.uint64
    with pytest.raises(ValueError, match="read-only"):
        words[0] = 1


def test_sha256_is_over_at_least_one_word():
    import hashlib

    assert HBitmap(0).sha256() == hashlib.sha256(bytes(8)).hexdigest()
    assert bitmap_of(65, {64}).sha256() == hashlib.sha256(bytes(8) + b"\1" + bytes(7)).hexdigest()


def test_an_empty_bitmap_of_no_items():
    bitmap = HBitmap(0)
    bitmap._check()
    bitmap.invert()
    bitmap._check()
    assert (bitmap.next_dirty(0), bitmap.next_zero(0), list(bitmap)) == (-1, -1, [])
    assert bitmap.to_runs().shape == (0, 2)


def test_memory_is_the_bits_and_a_sixty_third():
    n_bits = 2**24
    assert HBitmap(n_bits).__sizeof__() <= 1.02 * n_bits / 8 * 64 / 63


def test_only_integers_are_taken():
    bitmap = HBitmap(100)
    bitmap.set(np.int64(3), np.int32(2))
    assert bitmap.to_array().tolist() == [3, 4]
    with pytest.raises(TypeError):
        bitmap.set(1.5, 2)
    with pytest.raises(TypeError):
        copy.copy(bitmap).set("1", 2)


def test_the_example_in_the_docstring_is_true():
    import doctest

    from hbitmap_impl import hbitmap

    assert doctest.testmod(hbitmap) == (0, 4)


@pytest.mark.parametrize("granularity", [35, 62, 63])
def test_runs_and_merges_at_the_largest_size(granularity):
    size = 2**63 - 1
    bitmap = HBitmap(size, granularity)
    bitmap.set(size - 1, 1)
    start = (size - 1) >> granularity << granularity
    assert bitmap.to_runs().tolist() == [[start, size - start]]
    other = HBitmap(size, 63)
    other.merge(bitmap)
    assert other.to_runs().tolist() == [[0, size]]
    assert bitmap.words_examined == 0


def test_lengths_past_int64_are_outside_but_for_a_rounded_up_end():
    bitmap = HBitmap(2**63 - 1, 62)
    for count in (2**63, 2**70):
        with pytest.raises(ValueError, match="inside the bitmap"):
            bitmap.set(0, count)
    bitmap.set(0, 1)
    with pytest.raises(ValueError, match="inside the bitmap"):
        bitmap.reset(0, 2**63 + 1)
    bitmap.reset(0, 2**63)
    assert bitmap.count == 0
    smaller = HBitmap(2**63 - 5, 62)
    smaller.set(0, 1)
    smaller.reset(0, 2**63)
    assert smaller.count == 0
    whole = HBitmap(2**63 - 1, 63)
    whole.set(0, 1)
    assert list(whole.iter_from(2**64)) == []


def test_a_truncate_without_memory_changes_nothing():
    import subprocess
    import sys

    script = """
import resource
from hbitmap_impl.hbitmap import HBitmap
bitmap = HBitmap(64)
bitmap.set(3, 2)
before = bitmap.sha256()
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
try:
    bitmap.truncate(2**40)
except MemoryError:
    bitmap._check()
    assert (bitmap.size, bitmap.words.shape, bitmap.sha256()) == (64, (1,), before)
    print("unchanged")
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "unchanged\n"


def test_nobody_gets_a_buffer_to_write_to():
    import io

    bitmap = HBitmap(640)
    with pytest.raises((BufferError, TypeError)):
        io.BytesIO(b"\xff" * 16).readinto(bitmap)
    bitmap._check()


def test_a_copy_starts_counting_anew():
    bitmap = HBitmap(64)
    bitmap.next_dirty(0)
    assert bitmap.copy().words_examined == 0


def test_equal_bits_at_another_granularity_are_not_equal():
    assert HBitmap(8, 0) != HBitmap(8, 1)
    assert HBitmap(4096, 0) != HBitmap(4096, 6)


def test_a_part_is_little_endian_words_of_the_last_level():
    bitmap = bitmap_of(200, {0, 9, 64, 199})
    assert bitmap.serialization_align == 64
    assert bitmap.serialize_part(0, 200) == bitmap.words.astype("<u8").tobytes()
    assert bitmap.serialize_part(64, 64) == b"\1" + bytes(7)
    assert bitmap.serialize_part(192, 8) == b"\x80" + bytes(7)
    assert bitmap.serialize_part(64, 0) == b""
    assert HBitmap(0).serialize_part(0, 0) == b""


def test_parts_are_in_items_and_the_last_one_may_be_rounded_up():
    bitmap = bitmap_of(64 * 8 + 11, {3, 8 * 65}, granularity=3)
    assert bitmap.serialization_align == 512
    for count in (11, 16):
        assert bitmap.serialize_part(512, count) == b"\2" + bytes(7)
    assert HBitmap(5, 63).serialization_align == 2**69


@pytest.mark.parametrize(
    "part", [(1, 64), (64, 63), (0, 65), (63, 1), (128, 73), (192, 64), (256, 1), (-64, 64)]
)
def test_parts_are_whole_words_inside_the_bitmap(part):
    bitmap = bitmap_of(200, {0, 199})
    before = bitmap.copy()
    rule = "0 or more|inside the bitmap|begins at a multiple of 64"
    calls = [
        lambda: bitmap.serialize_part(*part),
        lambda: bitmap.deserialize_part(bytes(8), *part, True),
        lambda: bitmap.deserialize_zeroes(*part, True),
        lambda: bitmap.deserialize_ones(*part, True),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=rule):
            call()
    assert bitmap == before


@pytest.mark.parametrize("n_bytes", [0, 7, 9, 16])
def test_data_of_another_length_is_refused_and_changes_nothing(n_bytes):
    bitmap = bitmap_of(200, {0, 199})
    before = bitmap.copy()
    with pytest.raises(ValueError, match=f"has 8 bytes of data, not {n_bytes}"):
        bitmap.deserialize_part(b"\xff" * n_bytes, 64, 64, True)
    assert bitmap == before


def test_bits_past_the_end_are_dropped():
    for fill in (
        lambda bitmap: bitmap.deserialize_part(b"\xff" * 16, 0, 70, finish=True),
        lambda bitmap: bitmap.deserialize_ones(0, 70, finish=True),
    ):
        bitmap = HBitmap(70)
        fill(bitmap)
        bitmap._check()
        assert bitmap.to_runs().tolist() == [[0, 70]]
        bitmap.truncate(128)
        assert bitmap.count == 70


def test_nothing_is_searched_or_changed_before_the_finish():
    bitmap = bitmap_of(1000, {3, 500})
    other = HBitmap(1000)
    walk = iter(bitmap)
    bitmap.deserialize_part(bytes(8), 448, 64, finish=False)
    calls = [
        *(lambda name=name: getattr(bitmap, name)() for name in NO_ARGUMENTS),
        *(lambda name=name: getattr(bitmap, name)(0, 64) for name in RANGES),
        lambda: bitmap.count,
        lambda: bitmap.words,
        lambda: bitmap.get(0),
        lambda: bitmap.truncate(64),
        lambda: bitmap.next_dirty_area(0, 64, 64),
        lambda: bitmap.merge(other),
        lambda: other.merge(bitmap),
        lambda: bitmap == other,
        lambda: list(bitmap),
        lambda: next(walk),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="deserializ"):
            call()
    assert "unfinished" in repr(bitmap)
    assert (len(bitmap), bitmap.granularity) == (1000, 0)
    bitmap.deserialize_finish()
    bitmap._check()
    assert bitmap.to_array().tolist() == [3]


NO_ARGUMENTS = ["reset_all", "invert", "to_array", "to_runs", "copy", "sha256", "_check"]
RANGES = ["set", "reset", "next_dirty", "next_zero", "status", "serialize_part"]


def test_data_may_be_any_buffer_at_any_address():
    bitmap = HBitmap(128)
    bitmap.deserialize_part(memoryview(b"x" + b"\1" * 16)[1:], 0, 128, finish=True)
    assert bitmap.count == 16
    bitmap.deserialize_part(np.zeros(2, dtype=np.uint64), 0, 128, finish=True)
    assert bitmap.count == 0
    with pytest.raises(TypeError):
        bitmap.deserialize_part([1, 2], 0, 128, finish=True)
