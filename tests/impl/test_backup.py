"""The job: its copy bitmap against literal twins, its queries against the closed form."""

import errno
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbitmap_bench.qemu import geometry
from hbitmap_impl.access_check import AccessBitmap, DenyBitmap
from hbitmap_impl.backup import BackupJob, BuildUp
from hbitmap_impl.copy_before_write import CopyBeforeWrite
from hbitmap_impl.hbitmap import HBitmap
from hbitmap_impl.image import MAX_ANSWER_BYTES, FullImage, MemoryImage, NullDisk, SparseImage
from hbitmap_impl.setups import assemble
from hbitmap_impl.snapshot_access import SnapshotAccess

K, M, G, T = 2**10, 2**20, 2**30, 2**40
C = 64 * K
SETUPS = ["plain", "access", "deny"]
FILTERED = pytest.mark.parametrize("kind", [AccessBitmap, DenyBitmap])


def copied_clusters(job):
    return {item // job.cluster_bytes for item in job.copy_bitmap}


def slow_build_up(runs, size, slice_bytes, copy_cluster, all_allocated):
    """The loop told in words, over a list of allocated ranges: (copy clusters, queries)."""

    def answer(offset):
        """How far one answer reaches, and whether it is 'allocated'."""
        edges = [edge for run in runs for edge in run]
        after = [edge for edge in edges if edge > offset] + [size]
        reach = min(*after, offset // slice_bytes * slice_bytes + slice_bytes, size)
        is_run = any(start <= offset < end for start, end in runs)
        return min(reach - offset, MAX_ANSWER_BYTES), is_run or all_allocated

    n_clusters = -(-size // copy_cluster)
    copied, queries, cluster = set(range(n_clusters)), 0, 0
    while cluster < n_clusters:
        offset, unallocated = cluster * copy_cluster, 0
        while True:
            if offset == size:  # an unallocated tail
                covered = -(-unallocated // copy_cluster)
                copied -= set(range(cluster, cluster + covered))
                break
            reach, allocated = answer(offset)
            queries += 1
            if allocated:
                covered = -(-(unallocated + reach) // copy_cluster)
                break
            offset, unallocated = offset + reach, unallocated + reach
            if unallocated >= copy_cluster:
                covered = unallocated // copy_cluster
                copied -= set(range(cluster, cluster + covered))
                break
        cluster += covered
    return copied, queries


@st.composite
def sparse_images(draw):
    """Runs of allocated bytes and the geometry around them, up to some 300 image clusters."""
    cluster = draw(st.sampled_from([512, 4 * K, 64 * K, 2 * M]))
    slice_bytes = draw(st.sampled_from([s for s in (512, 4 * K, 2 * M) if s <= cluster]))
    gaps = draw(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), max_size=8))
    runs, end = [], 0
    for gap, length in gaps:
        runs.append(((end + gap) * cluster, (end + gap + length) * cluster))
        end += gap + length
    n_clusters = end + draw(st.integers(0 if end else 1, 40))
    size = n_clusters * cluster - draw(st.integers(0, cluster - 1))
    return [(start, min(stop, size)) for start, stop in runs], size, cluster, slice_bytes


@settings(max_examples=300)
@given(
    layout=sparse_images(),
    has_backing=st.booleans(),
    setup=st.sampled_from(SETUPS),
    cbw_cluster=st.sampled_from([C, M]),
    target_cluster=st.sampled_from([4 * K, C, M, 4 * M]),
    entry=st.sampled_from([8, 16]),
)
def test_the_copy_bitmap_equals_its_twins(
    layout, has_backing, setup, cbw_cluster, target_cluster, entry
):
    runs, size, cluster, slice_bytes = layout
    image = SparseImage(
        size,
        [(start, end - start) for start, end in runs],
        cluster,
        slice_bytes,
        entry,
        has_backing=has_backing,
    )
    job = assemble(setup, image, cbw_cluster_bytes=cbw_cluster, target_cluster_bytes=target_cluster)
    copy_cluster = max(C, target_cluster)
    all_allocated = setup != "plain" and not has_backing
    done = job.build_up()
    span = slice_bytes // entry * cluster
    copied, queries = slow_build_up(runs, size, span, copy_cluster, all_allocated)
    assert copied_clusters(job) == copied
    assert done == BuildUp(queries, size)
    # What the loop amounts to: a copy cluster is copied if any byte in it is allocated.
    touched = {
        i for start, end in runs for i in range(start // copy_cluster, -(-end // copy_cluster))
    }
    n_clusters = -(-size // copy_cluster)
    assert copied == (set(range(n_clusters)) if all_allocated else touched)


# 64 GiB and 256 GiB with the slice of 10 TiB; ends inside a word, a slice and a cluster.
FULL_SIZES = [64 * G, 256 * G, 64 * G + 40 * C, 64 * G + 40 * C + 1, 3 * C - 7]


@pytest.mark.parametrize("size", FULL_SIZES)
@pytest.mark.parametrize("setup", SETUPS)
def test_queries_and_words_of_a_full_image_are_the_closed_form(setup, size):
    job = assemble(setup, FullImage(size, C, 4 * K))
    bits = -(-size // C)
    words = -(-bits // 64)
    starts = range(0, bits, 512)
    assert job.build_up() == BuildUp(len(starts), size)
    assert len(starts) == geometry.n_queries(size, 32 * M, C)
    assert job.copy_bitmap.count == bits * C
    if setup == "access":
        assert job.check.words_examined == sum(words - x // 64 for x in starts)
        assert job.check.words_examined == geometry.words_access(size, 32 * M, C)
    elif setup == "deny":
        assert job.check.words_examined == 7 * len(starts)
    else:
        assert job.check is None


@pytest.mark.parametrize("setup", ["plain", "deny"])
def test_ten_tib_takes_the_queries_of_the_published_table(setup):
    job = assemble(setup, FullImage(10 * T))
    assert job.build_up() == BuildUp(327_680, 10 * T)
    if job.check is not None:
        assert job.check.words_examined == 7 * 327_680


def test_ten_tib_through_the_access_bitmap_a_few_queries_at_either_end():
    job = assemble("access", FullImage(10 * T))
    assert job.build_up(0, max_queries=2) == BuildUp(2, 64 * M)
    words = 167_772_160 // 64
    assert job.check.words_examined == words + words - 8
    job.check.reset_counters()
    assert job.build_up(10 * T - 64 * M) == BuildUp(2, 10 * T)
    assert job.check.words_examined == 16 + 8


@pytest.mark.parametrize(
    ("cluster", "l2_slice", "entry", "target_cluster"),
    [(2 * M, 2 * M, 8, C), (2 * M, 8 * K, 8, C), (C, C, 16, 2 * M), (C, 4 * K, 8, 64 * M)],
)
@pytest.mark.parametrize("setup", SETUPS)
def test_other_geometries(setup, cluster, l2_slice, entry, target_cluster):
    size = 37 * G + 5
    image = FullImage(size, cluster, l2_slice, entry)
    job = assemble(setup, image, target_cluster_bytes=target_cluster)
    answer = geometry.answer_bytes(cluster, l2_slice, entry, target_cluster)
    assert job.build_up() == BuildUp(geometry.n_queries(size, answer, target_cluster), size)


def test_an_unallocated_answer_of_2_gib_less_one_is_rounded_down():
    job = BackupJob(SparseImage(8 * G, [], 2 * M, 2 * M))
    assert job.build_up(max_queries=1) == BuildUp(1, 2 * G - C)
    assert job.build_up().next_offset == 8 * G
    assert job.copy_bitmap.count == 0


def test_steps_of_any_length_make_up_the_whole():
    runs = [(i * 3 * M, M) for i in range(50)]
    whole = BackupJob(SparseImage(150 * M, runs, has_backing=True))
    pieces = BackupJob(SparseImage(150 * M, runs, has_backing=True))
    queries, offset, rng = 0, 0, random.Random(2)
    while offset < pieces.size:
        step = pieces.build_up(offset, max_queries=rng.randint(1, 9))
        queries, offset = queries + step.queries, step.next_offset
    assert whole.build_up() == BuildUp(queries, offset)
    assert whole.copy_bitmap == pieces.copy_bitmap


@pytest.mark.parametrize("start", [1, -C, 11 * C])
def test_a_build_up_starts_at_a_copy_cluster_of_the_source(start):
    with pytest.raises(ValueError, match=f"not at {start}"):
        BackupJob(FullImage(10 * C)).build_up(start)


def test_a_build_up_from_the_end_asks_nothing():
    assert BackupJob(FullImage(10 * C)).build_up(10 * C) == BuildUp(0, 10 * C)


@FILTERED
def test_a_build_up_fails_at_the_first_denied_cluster(kind):
    cbw = CopyBeforeWrite(FullImage(G), NullDisk(G), kind)
    cbw.snapshot_discard(512 * M, C)
    job = BackupJob(SnapshotAccess(cbw))
    with pytest.raises(PermissionError) as refusal:
        job.build_up()
    assert refusal.value.errno == errno.EACCES
    # What lies behind can still be asked.
    assert job.build_up(512 * M + C).next_offset == G


def random_disk(rng, cluster, *, with_backing):
    size = 40 * C - 77
    backing = None
    if with_backing:
        backing = MemoryImage(size)
        backing.write(0, rng.randbytes(size))
    disk = MemoryImage(size, cluster, backing)
    for _ in range(12):
        offset = rng.randrange(size)
        disk.write(offset, rng.randbytes(min(rng.randrange(1, 3 * C), size - offset)))
    disk.write_zeroes(5 * C, 4 * C)
    return disk


@pytest.mark.parametrize("cluster", [4 * K, C, 4 * C])
@pytest.mark.parametrize("with_backing", [False, True])
@pytest.mark.parametrize("target_cluster", [C, 2 * C])
@FILTERED
def test_a_backup_holds_the_disk_as_it_was(kind, cluster, with_backing, target_cluster):
    rng = random.Random(7)
    disk = random_disk(rng, cluster, with_backing=with_backing)
    size, before = disk.size, disk.read(0, disk.size)
    cbw = CopyBeforeWrite(disk, MemoryImage(size), kind)
    job = BackupJob(SnapshotAccess(cbw), target_cluster)
    # sync=top leaves out what only the backing file has, so the target needs it too.
    target = MemoryImage(size, target_cluster, disk.backing)
    for step in range(4):
        for _ in range(3):
            offset = rng.randrange(size)
            cbw.write(offset, rng.randbytes(min(rng.randrange(1, 2 * C), size - offset)))
        cbw.discard(rng.randrange(30) * C, 2 * C)
        if step == 1:
            assert job.build_up().next_offset == size
    to_copy = job.copy_bitmap.count
    assert to_copy > 0
    assert job.copy_all(target) >= to_copy - target_cluster
    assert job.copy_bitmap.count == 0
    assert target.read(0, size) == before
    assert cbw.read(0, size) != before


def test_a_plain_backup_equals_its_disk():
    disk = random_disk(random.Random(3), C, with_backing=False)
    job = assemble("plain", disk)
    job.build_up()
    target = MemoryImage(disk.size)
    job.copy_all(target)
    assert target.read(0, disk.size) == disk.read(0, disk.size)
    # What was unallocated is not copied.
    assert not all(target.block_status(i, 1).allocated for i in range(0, disk.size, C))


@FILTERED
def test_copying_stops_at_a_denied_cluster_and_keeps_what_it_has(kind):
    disk = MemoryImage(40 * C)
    disk.write(0, b"a" * (40 * C))
    bitmap = HBitmap(40 * C, 16)
    bitmap.set(0, 20 * C)
    cbw = CopyBeforeWrite(disk, NullDisk(40 * C), kind, bitmap=bitmap)
    job = BackupJob(SnapshotAccess(cbw))
    target = MemoryImage(40 * C)
    with pytest.raises(PermissionError):
        job.copy_all(target)
    assert job.copy_bitmap.next_dirty(0) == 16 * C  # pieces of 1 MiB: the second one failed
    assert target.read(0, 16 * C) == b"a" * (16 * C)
