"""The closed forms against the published figures and against literal slow twins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbitmap_bench.qemu.geometry import (
    answer_bytes,
    n_bits,
    n_queries,
    words_access,
    words_deny,
    words_done,
)
from hbitmap_impl.image import FullImage
from hbitmap_impl.setups import assemble, overwrite

K, M, G, T = 2**10, 2**20, 2**30, 2**40


def test_ten_and_eleven_tib_have_the_known_counts():
    answer = answer_bytes(64 * K, 4 * K, 8, 64 * K)
    assert answer == 32 * M
    assert n_bits(10 * T, 64 * K) == 167_772_160
    assert n_queries(10 * T, answer, 64 * K) == 327_680
    assert words_access(10 * T, answer, 64 * K) == 429_498_040_320
    assert words_access(11 * T, answer, 64 * K) == 519_692_484_608
    assert words_deny(10 * T, answer, 64 * K) == 7 * 327_680


@pytest.mark.parametrize(
    ("cluster", "l2_slice", "entry", "copy_cluster", "expected"),
    [
        (64 * K, 64 * K, 8, 64 * K, 512 * M),
        (64 * K, 4 * K, 16, 64 * K, 16 * M),
        (2 * M, 4 * K, 8, 64 * K, G),
        (2 * M, 8 * K, 8, 64 * K, 2 * G),  # cut at 2 GiB - 1, rounded up again by the job
        (2 * M, 2 * M, 8, 2 * M, 2 * G),
        (512, 512, 8, 64 * K, 64 * K),  # an answer shorter than a copy cluster is rounded up to one
        (64 * K, 4 * K, 8, 128 * M, 128 * M),
    ],
)
def test_answer(cluster, l2_slice, entry, copy_cluster, expected):
    assert answer_bytes(cluster, l2_slice, entry, copy_cluster) == expected


@given(
    bits=st.integers(1, 20_000),
    answer_bits=st.integers(1, 300),
    cut=st.integers(0, 64 * K - 1),
)
def test_words_equal_the_literal_sum(bits, answer_bits, cut):
    image, answer = bits * 64 * K - cut, answer_bits * 64 * K
    words = -(-bits // 64)
    starts = range(0, bits, answer_bits)
    assert n_queries(image, answer, 64 * K) == len(starts)
    assert words_access(image, answer, 64 * K) == sum(words - x // 64 for x in starts)


@pytest.mark.parametrize("answers", [1, 3, 64, 200])
@pytest.mark.parametrize("done_answers", [1, 2, 64, 199])
@pytest.mark.parametrize("cut", [0, 1, 64 * K])
def test_words_of_a_done_bitmap_are_those_of_the_model(answers, done_answers, cut):
    image, answer = answers * 32 * M - cut, 32 * M
    done = min(done_answers * answer, image)
    disk = FullImage(image, l2_slice_bytes=4 * K)
    job = assemble("deny", disk, target=disk)
    bitmap = overwrite(job, done)
    assert job.build_up().queries == n_queries(image, answer, 64 * K)
    assert bitmap.words_examined == words_done(image, answer, 64 * K, done)


def test_a_full_done_bitmap_costs_what_the_access_bitmap_does():
    """And one word a query more, which tells that the first cluster is done."""
    full = words_done(10 * T, 32 * M, 64 * K, 10 * T)
    assert full - 327_680 == words_access(10 * T, 32 * M, 64 * K)
    with pytest.raises(ValueError, match="whole answers"):
        words_done(10 * T, 32 * M, 64 * K, 32 * M + 1)
