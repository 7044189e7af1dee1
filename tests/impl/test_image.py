"""Disks: how far one answer reaches, and what a small one holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbitmap_impl.image import (
    MAX_ANSWER_BYTES,
    BlockStatus,
    FullImage,
    MemoryImage,
    NullDisk,
    SparseImage,
    default_l2_slice,
)

K, M, G, T = 2**10, 2**20, 2**30, 2**40


@pytest.mark.parametrize(
    ("cluster", "covered"),
    [(64 * K, 256 * G), (256 * K, T), (512 * K, 2 * T), (M, 4 * T), (2 * M, 8 * T)],
)
def test_the_default_slice_is_small_just_above_what_the_cache_covers(cluster, covered):
    assert default_l2_slice(covered, cluster) == cluster
    assert default_l2_slice(covered + 1, cluster) == 4 * K
    assert default_l2_slice(covered // 2, cluster, 16) == cluster
    assert default_l2_slice(covered // 2 + 1, cluster, 16) == 4 * K


def test_a_slice_is_never_larger_than_a_cluster():
    assert default_l2_slice(T, 512) == 512


@pytest.mark.parametrize(
    ("image", "offset", "length", "expected"),
    [
        (FullImage(10 * T), 0, 10 * T, 32 * M),  # 4 KiB / 8 bytes = 512 clusters
        (FullImage(10 * T), 32 * M - 1, T, 1),
        (FullImage(10 * T), 32 * M, T, 32 * M),
        (FullImage(10 * T), 0, 5, 5),
        (FullImage(10 * T, l2_entry_bytes=16), 0, T, 16 * M),
        (FullImage(10 * T, l2_slice_bytes=64 * K), 0, T, 512 * M),
        (FullImage(256 * G), 0, G, 512 * M),  # a small image: a whole cluster at a time
        (FullImage(10 * T + 5), 10 * T, 5, 5),
        (FullImage(8 * T, 2 * M), 0, T, MAX_ANSWER_BYTES),
        (FullImage(8 * T, 2 * M), MAX_ANSWER_BYTES, T, MAX_ANSWER_BYTES),
    ],
)
def test_an_answer_of_a_full_image(image, offset, length, expected):
    assert image.block_status(offset, length) == BlockStatus(expected, allocated=True, zero=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"l2_entry_bytes": 12}, "not 12"),
        ({"cluster_bytes": 3}, "power of two, not 3"),
        ({"l2_slice_bytes": 256}, "not 256"),
        ({"l2_slice_bytes": 128 * K}, "not 131072"),
        ({"l2_slice_bytes": 5000}, "power of two, not 5000"),
    ],
)
def test_impossible_geometry_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FullImage(T, **options)


@pytest.mark.parametrize(
    "runs",
    [[(1, 64 * K)], [(0, 100)], [(64 * K, 64 * K), (0, 64 * K)], [(0, 2 * M)], [(0, 0)]],
)
def test_impossible_runs_are_refused(runs):
    with pytest.raises(ValueError, match="runs are whole clusters"):
        SparseImage(M, runs)


@st.composite
def sparse_layouts(draw):
    """Kinds of the clusters of an image, with its cluster and slice size and its last bytes."""
    cluster = draw(st.sampled_from([512, 4 * K, 64 * K]))
    kinds = draw(st.lists(st.integers(0, 2), min_size=1, max_size=200))
    cut = draw(st.integers(0, cluster - 1))
    return cluster, kinds, len(kinds) * cluster - cut


def runs_of(kinds, cluster, size):
    """Runs of like clusters, of which 0 means unallocated; 1 and 2 break host contiguity."""
    runs, start = [], 0
    for i in range(1, len(kinds) + 1):
        if i == len(kinds) or kinds[i] != kinds[start]:
            if kinds[start]:
                runs.append((start * cluster, min(i * cluster, size) - start * cluster))
            start = i
    return runs


@given(layout=sparse_layouts(), has_backing=st.booleans(), data=st.data())
def test_an_answer_of_a_sparse_image_cluster_by_cluster(layout, has_backing, data):
    cluster, kinds, size = layout
    image = SparseImage(size, runs_of(kinds, cluster, size), cluster, 512, has_backing=has_backing)
    offset = data.draw(st.integers(0, size - 1))
    length = data.draw(st.integers(1, size - offset))
    first = last = offset // cluster
    while last + 1 < len(kinds) and kinds[last + 1] == kinds[first] and (last + 1) % 64:
        last += 1
    reach = min(length, (last + 1) * cluster - offset)
    allocated = kinds[first] != 0
    zero = not allocated and not has_backing
    assert image.block_status(offset, length) == BlockStatus(reach, allocated, zero)


ALL_DISKS = [NullDisk(100), FullImage(100, 512), SparseImage(100, [], 512), MemoryImage(100, 16)]


@pytest.mark.parametrize("disk", ALL_DISKS, ids=lambda disk: type(disk).__name__)
@pytest.mark.parametrize(("offset", "length"), [(-1, 2), (0, 0), (0, 101), (100, 1), (5, -1)])
def test_requests_outside_the_disk_are_refused(disk, offset, length):
    for request in (disk.block_status, disk.read, disk.write_zeroes, disk.discard):
        with pytest.raises(ValueError, match="inside the 100 bytes"):
            request(offset, length)


def test_a_null_disk_reads_zeros_whatever_is_written():
    disk = NullDisk(100)
    disk.write(0, b"x" * 100)
    assert disk.read(10, 20) == bytes(20)
    assert disk.block_status(10, 20) == BlockStatus(20, allocated=True, zero=True)


REQUESTS = st.tuples(
    st.sampled_from(["write", "write_zeroes", "discard"]),
    st.integers(0, 99),
    st.integers(1, 100),
    st.integers(1, 255),
)


@given(requests=st.lists(REQUESTS, max_size=12), with_backing=st.booleans())
def test_a_memory_image_holds_what_a_byte_array_holds(requests, with_backing):
    size, cluster = 100, 16
    backing = None
    if with_backing:
        backing = MemoryImage(size, cluster)
        backing.write(0, bytes(range(100, 200)))
    image = MemoryImage(size, cluster, backing)
    model = bytearray(image.read(0, size))
    allocated: set[int] = set()
    for kind, offset, length, fill in requests:
        end = min(offset + length, size)
        touched = set(range(offset // cluster, -(-end // cluster)))
        whole = {c for c in touched if offset <= c * cluster and min(c * cluster + 16, size) <= end}
        if kind == "write":
            image.write(offset, bytes([fill]) * (end - offset))
            model[offset:end] = bytes([fill]) * (end - offset)
            allocated |= touched
        elif kind == "write_zeroes":
            image.write_zeroes(offset, end - offset)
            model[offset:end] = bytes(end - offset)
            allocated |= touched
        else:
            image.discard(offset, end - offset)
            for c in whole:
                model[c * cluster : c * cluster + 16] = bytes(len(model[c * cluster :][:16]))
            allocated |= whole if with_backing else set()
        assert image.read(0, size) == model
    if with_backing:
        assert backing.read(0, size) == bytes(range(100, 200))
    for offset in range(size):
        length, is_allocated, zero = image.block_status(offset, size - offset)
        assert is_allocated == (offset // cluster in allocated)
        assert not zero or not any(model[offset : offset + length])


def test_zero_clusters_are_told():
    image = MemoryImage(100, 16)
    image.write(0, b"x" * 100)
    image.write_zeroes(10, 30)
    assert image.block_status(0, 100) == BlockStatus(16, allocated=True, zero=False)
    assert image.block_status(16, 84) == BlockStatus(16, allocated=True, zero=True)
    assert image.block_status(32, 68) == BlockStatus(68, allocated=True, zero=False)


def test_a_backing_file_has_the_same_size():
    with pytest.raises(ValueError, match="not 99"):
        MemoryImage(100, 16, MemoryImage(99, 16))
