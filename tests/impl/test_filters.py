"""The two filters, case by case: denials, errors of the target, frozen reads, discards."""

import errno

import pytest

from hbitmap_impl.access_check import AccessBitmap, DenyBitmap
from hbitmap_impl.copy_before_write import CopyBeforeWrite
from hbitmap_impl.hbitmap import HBitmap
from hbitmap_impl.image import BlockStatus, MemoryImage, NullDisk, SparseImage
from hbitmap_impl.snapshot_access import SnapshotAccess

C = 65536
SIZE = 6 * C + 100
BOTH = pytest.mark.parametrize("kind", [AccessBitmap, DenyBitmap])


class FailingImage(MemoryImage):
    """Fails writes that reach past a position, as a full disk does."""

    good_bytes = SIZE

    def write(self, offset, data):
        if offset + len(data) > self.good_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(offset, data)


def pattern(size=SIZE):
    """Bytes that differ from cluster to cluster."""
    return b"".join(bytes([65 + i]) * min(C, size - i * C) for i in range(-(-size // C)))


def make_filter(kind, **options):
    disk = MemoryImage(SIZE)
    disk.write(0, pattern())
    return CopyBeforeWrite(disk, FailingImage(SIZE), kind, **options)


@BOTH
def test_a_guest_write_is_widened_copied_once_and_marked_done(kind):
    cbw = make_filter(kind)
    cbw.write(2 * C - 1, b"xx")
    assert cbw.read(2 * C - 1, 2) == b"xx"
    assert cbw.target.read(C, 2 * C) == pattern()[C : 3 * C]
    assert cbw.done_bitmap.to_runs().tolist() == [[C, 2 * C]]
    assert cbw.copy_bitmap.to_runs().tolist()[0] == [0, C]
    cbw.target.good_bytes = 0  # a second copy of the same clusters would fail
    cbw.write(C, b"yy")
    assert cbw.snapshot_read(0, SIZE) == pattern()


@BOTH
@pytest.mark.parametrize("change", ["write", "write_zeroes", "discard"])
def test_every_kind_of_guest_change_copies_first(kind, change):
    cbw = make_filter(kind)
    if change == "write":
        cbw.write(C, b"z" * C)
    else:
        getattr(cbw, change)(C, C)
        assert cbw.read(C, C) == bytes(C)
    assert cbw.snapshot_read(C, C) == b"B" * C


@BOTH
def test_the_partial_last_cluster_is_copied(kind):
    cbw = make_filter(kind)
    cbw.write(SIZE - 1, b"x")
    assert cbw.snapshot_read(6 * C, 100) == b"G" * 100
    assert cbw.snapshot_block_status(6 * C, 100) == BlockStatus(100, allocated=True, zero=False)


@BOTH
def test_a_read_loops_over_done_and_not_done_runs(kind):
    cbw = make_filter(kind)
    cbw.write(C, b"x")
    cbw.write(3 * C, b"x")
    assert cbw.snapshot_read(7, SIZE - 7) == pattern()[7:]
    assert cbw.begin_snapshot_read(7, SIZE - 7).length == C - 7


def test_old_status_over_a_denied_part_fails_and_new_is_cut_there():
    old, new = make_filter(AccessBitmap), make_filter(DenyBitmap)
    for cbw in (old, new):
        cbw.snapshot_discard(3 * C, C)
    with pytest.raises(PermissionError):
        old.snapshot_block_status(C, 4 * C)
    assert old.snapshot_block_status(C, 2 * C).length == 2 * C
    # The length is that of the accessible part before the denial, not of what follows it.
    assert new.snapshot_block_status(C + 1, 5 * C - 1).length == 2 * C - 1


@BOTH
def test_status_that_starts_denied_and_reads_with_any_denied_part_fail(kind):
    cbw = make_filter(kind)
    cbw.snapshot_discard(3 * C, C)
    with pytest.raises(PermissionError, match="denied clusters") as refusal:
        cbw.snapshot_block_status(3 * C + 5, 2 * C)
    assert refusal.value.errno == errno.EACCES
    for offset, length in [(3 * C, 1), (0, SIZE), (4 * C - 1, 1), (2 * C, C + 1)]:
        with pytest.raises(PermissionError):
            cbw.snapshot_read(offset, length)
    assert cbw.snapshot_read(0, 3 * C) == pattern()[: 3 * C]
    assert cbw.snapshot_read(4 * C, C) == b"E" * C


@BOTH
def test_a_snapshot_discard_is_rounded_inwards(kind):
    cbw = make_filter(kind)
    cbw.write(C, b"x")
    cbw.snapshot_discard(C - 1, C)  # less than a cluster
    assert cbw.snapshot_read(0, SIZE) == pattern()
    cbw.snapshot_discard(C - 1, 2 * C)  # cluster 1 alone
    assert cbw.check.first_inaccessible(0, SIZE) == C
    assert cbw.check.first_inaccessible(2 * C, SIZE - 2 * C) == -1
    assert cbw.target.read(C, C) == bytes(C)
    cbw.snapshot_discard(5 * C, C + 100)  # the partial last cluster is no whole one
    assert cbw.snapshot_read(6 * C, 100) == b"G" * 100


@BOTH
def test_what_is_discarded_is_not_copied_any_more(kind):
    cbw = make_filter(kind)
    cbw.snapshot_discard(C, C)
    cbw.target.good_bytes = 0
    cbw.write(C, b"x")
    assert cbw.read(C, 1) == b"x"
    assert not cbw.target.block_status(C, 1).allocated


@BOTH
def test_break_guest_write(kind):
    cbw = make_filter(kind)
    cbw.target.good_bytes = 3 * C
    with pytest.raises(OSError, match="No space"):
        cbw.write(2 * C, b"x" * (2 * C))
    assert cbw.read(0, SIZE) == pattern()
    assert cbw.snapshot_read(0, SIZE) == pattern()
    assert cbw.done_bitmap.count == 0
    cbw.target.good_bytes = SIZE
    cbw.write(2 * C, b"x" * (2 * C))
    assert cbw.snapshot_read(0, SIZE) == pattern()


@BOTH
def test_what_was_copied_before_a_failure_is_not_copied_again(kind):
    cbw = make_filter(kind)
    cbw.write(C, b"x")  # so that the clusters beside it are two areas
    cbw.target.good_bytes = 2 * C
    with pytest.raises(OSError, match="No space"):
        cbw.write(0, b"y" * (3 * C))
    cbw.target.good_bytes = 0
    cbw.write(0, b"z")
    assert cbw.read(0, 1) == b"z"
    assert cbw.snapshot_read(0, SIZE) == pattern()


@BOTH
def test_break_snapshot(kind):
    cbw = make_filter(kind, on_cbw_error="break-snapshot")
    cbw.target.good_bytes = 0
    cbw.write(C, b"x")
    assert cbw.read(C, 1) == b"x"
    for access in (cbw.snapshot_block_status, cbw.snapshot_read):
        with pytest.raises(PermissionError, match="No space") as refusal:
            access(4 * C, 1)
        assert refusal.value.errno == errno.EACCES
    cbw.target.good_bytes = SIZE
    cbw.write(0, b"x")
    assert not cbw.target.block_status(0, 1).allocated  # nothing is copied for a broken snapshot


@BOTH
def test_a_guest_write_waits_for_a_frozen_read(kind):
    cbw = make_filter(kind)
    read = cbw.begin_snapshot_read(C, 2 * C)
    cbw.write(2 * C - 1, b"xx")
    assert cbw.n_waiting == 1
    assert cbw.read(0, SIZE) == pattern()
    assert cbw.snapshot_read(0, SIZE) == pattern()  # another read goes to the target meanwhile
    cbw.write(4 * C, b"x")  # one that does not overlap goes on
    assert cbw.n_waiting == 1
    assert read.finish() == pattern()[C : 3 * C]
    assert cbw.n_waiting == 0
    assert cbw.read(2 * C - 1, 2) == b"xx"


@BOTH
def test_a_read_freezes_all_that_was_asked_for(kind):
    cbw = make_filter(kind)
    cbw.write(C, b"x")
    read = cbw.begin_snapshot_read(0, 3 * C)
    assert read.length == C
    cbw.discard(2 * C, C)  # behind the piece that is read, inside the request
    assert cbw.n_waiting == 1
    read.finish()
    assert cbw.read(2 * C, C) == bytes(C)


@BOTH
def test_a_write_waits_for_the_last_of_the_reads(kind):
    cbw = make_filter(kind)
    reads = [cbw.begin_snapshot_read(C, C), cbw.begin_snapshot_read(C, 5)]
    cbw.write(C, b"x")
    assert reads[0].finish() == b"B" * C
    assert cbw.n_waiting == 1
    assert reads[1].finish() == b"B" * 5
    assert cbw.n_waiting == 0
    assert cbw.read(C, 1) == b"x"


@BOTH
def test_reads_of_done_areas_freeze_nothing(kind):
    cbw = make_filter(kind)
    cbw.write(C, b"x")
    read = cbw.begin_snapshot_read(C, C)
    cbw.write(C, b"y")
    assert cbw.n_waiting == 0
    assert read.finish() == b"B" * C


@BOTH
def test_a_write_waits_though_it_breaks_the_snapshot(kind):
    cbw = make_filter(kind, on_cbw_error="break-snapshot")
    read = cbw.begin_snapshot_read(C, C)
    cbw.target.good_bytes = 0
    cbw.write(C, b"x")
    cbw.write(C + 1, b"x")
    assert cbw.n_waiting == 2
    assert read.finish() == b"B" * C
    assert cbw.read(C, 3) == b"xxB"


@BOTH
def test_a_bitmap_limits_the_snapshot_and_widens_to_copy_clusters(kind):
    bitmap = HBitmap(SIZE, 9)
    bitmap.set(2 * C + 512, 512)
    cbw = make_filter(kind, bitmap=bitmap)
    assert cbw.copy_bitmap.to_runs().tolist() == [[2 * C, C]]
    assert cbw.snapshot_read(2 * C, C) == b"C" * C
    with pytest.raises(PermissionError):
        cbw.snapshot_read(0, 1)
    cbw.write(0, b"x")
    assert not cbw.target.block_status(0, 1).allocated


@pytest.mark.parametrize(
    ("kind", "full", "empty"), [(AccessBitmap, 2**26, 0), (DenyBitmap, 0, 2**26)]
)
def test_counts_over_a_64_mib_disk_as_a_real_build_reports_them(kind, full, empty):
    disk, target = NullDisk(2**26), NullDisk(2**26)
    assert CopyBeforeWrite(disk, target, kind).check.count == full
    assert CopyBeforeWrite(disk, target, kind, bitmap=HBitmap(2**26, 16)).check.count == empty


@BOTH
def test_done_areas_are_asked_of_the_target(kind):
    cbw = make_filter(kind)
    cbw.write(C, b"x")
    cbw.disk.discard(C, C)  # below the filter, so that disk and target answer differently
    assert cbw.snapshot_block_status(C, C) == BlockStatus(C, allocated=True, zero=False)
    assert cbw.snapshot_block_status(0, SIZE) == BlockStatus(C, allocated=True, zero=False)


@BOTH
def test_a_status_does_not_reach_over_from_not_done_to_done(kind):
    cbw = make_filter(kind)
    cbw.disk.write_zeroes(0, C)
    cbw.write_zeroes(C, C)  # the disk now answers zero for both, the snapshot does not
    assert cbw.disk.block_status(0, SIZE).length == 2 * C
    assert cbw.snapshot_block_status(0, SIZE) == BlockStatus(C, allocated=True, zero=True)


@pytest.mark.parametrize("has_backing", [False, True])
@BOTH
def test_snapshot_access_calls_zeros_allocated(kind, has_backing):
    disk = SparseImage(10 * C, [(C, C)], has_backing=has_backing)
    node = SnapshotAccess(CopyBeforeWrite(disk, NullDisk(10 * C), kind))
    zero = not has_backing
    assert disk.block_status(0, 10 * C) == BlockStatus(C, allocated=False, zero=zero)
    assert node.block_status(0, 10 * C) == BlockStatus(C, allocated=zero, zero=zero)
    assert node.block_status(C, 9 * C) == BlockStatus(C, allocated=True, zero=False)


@BOTH
def test_snapshot_access_reads_and_discards_the_snapshot(kind):
    cbw = make_filter(kind)
    node = SnapshotAccess(cbw)
    cbw.write(0, b"x")
    assert node.size == SIZE
    assert node.read(0, SIZE) == pattern()
    node.discard(0, C)
    with pytest.raises(PermissionError):
        node.read(0, 1)
    assert node.check.first_inaccessible(0, SIZE) == 0


@BOTH
def test_the_guest_sees_the_disk(kind):
    cbw = make_filter(kind)
    assert cbw.size == SIZE
    assert not cbw.has_backing
    assert cbw.block_status(5, SIZE - 5) == cbw.disk.block_status(5, SIZE - 5)


@BOTH
@pytest.mark.parametrize(("offset", "length"), [(-1, 2), (0, 0), (0, SIZE + 1), (SIZE, 1)])
def test_requests_outside_the_disk_are_refused(kind, offset, length):
    cbw = make_filter(kind)
    requests = [cbw.snapshot_block_status, cbw.snapshot_read, cbw.snapshot_discard]
    for request in [*requests, cbw.write_zeroes, cbw.discard, cbw.begin_snapshot_read]:
        with pytest.raises(ValueError, match=r"\d"):
            request(offset, length)
    assert cbw.done_bitmap.count == 0


def test_impossible_filters_are_refused():
    with pytest.raises(ValueError, match="not 99"):
        CopyBeforeWrite(NullDisk(100), NullDisk(99), DenyBitmap)
    with pytest.raises(ValueError, match="not 'ignore'"):
        CopyBeforeWrite(NullDisk(100), NullDisk(100), DenyBitmap, on_cbw_error="ignore")
    with pytest.raises(ValueError, match="power of two"):
        CopyBeforeWrite(NullDisk(100), NullDisk(100), DenyBitmap, cluster_bytes=65535)
    with pytest.raises(ValueError, match="99"):
        CopyBeforeWrite(NullDisk(100), NullDisk(100), DenyBitmap, bitmap=HBitmap(99))


@BOTH
def test_a_waiting_write_that_fails_does_not_hold_up_the_others(kind):
    cbw = make_filter(kind)
    read = cbw.begin_snapshot_read(0, 2 * C)
    cbw.write(0, b"first")
    cbw.write(C, b"second")
    before, cbw.disk.write = cbw.disk.write, failing_at_zero(cbw.disk.write)
    with pytest.raises(OSError, match="Input/output"):
        read.finish()
    cbw.disk.write = before
    assert cbw.n_waiting == 0
    assert cbw.read(0, 5) == pattern()[:5]
    assert cbw.read(C, 6) == b"second"


def failing_at_zero(write):
    def fail_or_write(offset, data):
        if offset == 0:
            raise OSError(errno.EIO, "Input/output error")
        write(offset, data)

    return fail_or_write
