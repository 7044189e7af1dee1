"""Setups: the same parts, put together in three ways."""

import pytest

from hbitmap_impl.access_check import AccessBitmap, DenyBitmap
from hbitmap_impl.image import FullImage, MemoryImage
from hbitmap_impl.setups import assemble, overwrite
from hbitmap_impl.snapshot_access import SnapshotAccess

C = 65536


def test_plain_asks_the_disk_itself():
    disk = FullImage(2**30)
    job = assemble("plain", disk)
    assert job.source is disk
    assert job.check is None


@pytest.mark.parametrize(("setup", "kind"), [("access", AccessBitmap), ("deny", DenyBitmap)])
def test_the_filtered_setups_differ_in_the_check(setup, kind):
    job = assemble(setup, FullImage(2**30))
    assert isinstance(job.source, SnapshotAccess)
    assert isinstance(job.check, kind)


def test_another_setup_is_refused():
    with pytest.raises(ValueError, match="not 'dirty'"):
        assemble("dirty", FullImage(2**30))


@pytest.mark.parametrize(("cbw", "target"), [(C, C), (2**20, C), (C, 2**20)])
def test_the_two_copy_clusters_are_separate(cbw, target):
    job = assemble("access", FullImage(2**30), cbw_cluster_bytes=cbw, target_cluster_bytes=target)
    assert job.cluster_bytes == target
    job.check.discard(0, cbw)
    assert job.check.count == 2**30 - cbw
    assert job.copy_bitmap.granularity == target.bit_length() - 1


def test_the_given_target_takes_what_the_guest_overwrites():
    disk, target = MemoryImage(2 * C), MemoryImage(2 * C)
    disk.write(0, b"a" * C)
    job = assemble("deny", disk, target=target)
    job.source.filter.write(0, b"b")
    assert target.read(0, C) == b"a" * C
    assert job.source.read(0, C) == b"a" * C


def test_what_is_overwritten_is_asked_of_the_target_and_copied_no_more():
    disk, target = MemoryImage(4 * C), MemoryImage(4 * C)
    target.write(0, b"t" * 4 * C)
    job = assemble("deny", disk, target=target)
    assert overwrite(job, C + 1).to_runs().tolist() == [[0, 2 * C]]
    job.source.filter.write(0, b"guest")
    assert job.source.read(0, 4 * C) == b"t" * 2 * C + bytes(2 * C)
    assert job.source.filter.copy_bitmap.to_runs().tolist() == [[2 * C, 2 * C]]
    overwrite(job, 3 * C)
    assert job.source.filter.copy_bitmap.to_runs().tolist() == [[3 * C, C]]


def test_nothing_can_be_overwritten_without_a_filter():
    with pytest.raises(ValueError, match="plain"):
        overwrite(assemble("plain", FullImage(2**30)), C)
