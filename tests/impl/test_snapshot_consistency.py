"""Whatever happens in whatever order, the snapshot shows the disk as it was at the start.

A hypothesis state machine drives the filter with the access bitmap, the one with the deny bitmap
and one of their rivals side by side: guest writes, write-zeroes and discards, snapshot reads
(whole, or held in flight), statuses and discards, and a target that fails. Its model is plain: the
bytes at the start, the guest's bytes now, and the set of denied copy clusters.
"""

import errno
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hbitmap_impl.access_check import AccessBitmap, DenyBitmap
from hbitmap_impl.clusters import empty_bitmap
from hbitmap_impl.contenders.access_simd import AccessSimd
from hbitmap_impl.contenders.bounded import Bounded
from hbitmap_impl.contenders.clamped import Clamped
from hbitmap_impl.contenders.remembering import Remembering
from hbitmap_impl.contenders.roaring import Roaring
from hbitmap_impl.contenders.two_sided import TwoSided
from hbitmap_impl.copy_before_write import SnapshotRead
from hbitmap_impl.image import MemoryImage
from hbitmap_impl.setups import filtered
from hbitmap_impl.snapshot_access import SnapshotAccess

COPY_CLUSTER = 16
GOOD_BYTES = st.sampled_from([None, None, 0, COPY_CLUSTER, 3 * COPY_CLUSTER])


class FailingImage(MemoryImage):
    """Fails writes that reach past ``good_bytes``."""

    def __init__(self, size, cluster_bytes):
        super().__init__(size, cluster_bytes)
        self.good_bytes = size

    def write(self, offset, data):
        if offset + len(data) > self.good_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(offset, data)


class InFlight(NamedTuple):
    """A read that all filters have begun, and what the model thinks of it."""

    offset: int
    end: int  # of all that was asked for
    pieces: tuple[SnapshotRead, ...]
    frozen: bool


class GuestWrite(NamedTuple):
    offset: int
    data: bytes


class SnapshotConsistency(RuleBasedStateMachine):
    @initialize(
        data=st.data(),
        n_clusters=st.integers(2, 9),
        cut=st.integers(0, COPY_CLUSTER - 1),
        image_cluster=st.sampled_from([4, 16, 64]),
        target_cluster=st.sampled_from([4, 16]),
        has_backing=st.booleans(),
        with_bitmap=st.sampled_from([False, False, True]),
        on_cbw_error=st.sampled_from(["break-guest-write", "break-snapshot"]),
        good=GOOD_BYTES,
        rival=st.sampled_from([AccessSimd, Bounded, Clamped, Remembering, Roaring, TwoSided]),
    )
    def start(
        self,
        data,
        n_clusters,
        cut,
        image_cluster,
        target_cluster,
        has_backing,
        with_bitmap,
        on_cbw_error,
        good,
        rival,
    ):
        self.size = n_clusters * COPY_CLUSTER - cut
        content = data.draw(st.binary(min_size=self.size, max_size=self.size))
        layout = data.draw(st.lists(st.tuples(st.integers(0, self.size - 1), st.booleans())))
        bitmap = None
        self.denied: set[int] = set()
        if with_bitmap:
            dirty = data.draw(st.sets(st.integers(0, n_clusters - 1), min_size=n_clusters // 2))
            self.denied = set(range(n_clusters)) - dirty
            bitmap = empty_bitmap(self.size, COPY_CLUSTER)
            for cluster in dirty:
                bitmap.set(cluster * COPY_CLUSTER, 1)
        self.filters = []
        for kind in (AccessBitmap, DenyBitmap, rival):
            backing = None
            if has_backing:
                backing = MemoryImage(self.size, image_cluster)
                backing.write(0, content[::-1])
            disk = MemoryImage(self.size, image_cluster, backing)
            for offset, zero in layout:
                if zero:
                    disk.write_zeroes(offset, min(70, self.size - offset))
                else:
                    disk.write(offset, content[offset : offset + 5])
            target = FailingImage(self.size, target_cluster)
            self.filters.append(
                filtered(
                    kind,
                    disk,
                    target=target,
                    bitmap=bitmap,
                    on_cbw_error=on_cbw_error,
                    cluster_bytes=COPY_CLUSTER,
                )
            )
        disk = self.filters[0].disk
        self.at_start = disk.read(0, self.size)
        self.allocated_at_start = [disk.block_status(i, 1).allocated for i in range(self.size)]
        self.has_backing = has_backing
        self.image_cluster = image_cluster
        self.on_cbw_error = on_cbw_error
        self.now = bytearray(self.at_start)
        self.reads: list[InFlight] = []
        self.waiting: list[GuestWrite] = []
        self.broken = False
        self.let_the_target_fail(good)

    # The model's own small rules.

    def clusters(self, offset, end):
        return set(range(offset // COPY_CLUSTER, -(-end // COPY_CLUSTER)))

    def is_frozen(self, write):
        touched = self.clusters(write.offset, write.offset + len(write.data))
        return any(
            read.frozen and {b // COPY_CLUSTER for b in range(read.offset, read.end)} & touched
            for read in self.reads
        )

    def is_denied(self, offset, end):
        return bool(self.clusters(offset, end) & self.denied)

    def draw_range(self, data):
        offset = data.draw(st.integers(0, self.size - 1))
        length = data.draw(st.integers(1, self.size - offset))
        if data.draw(st.booleans()):
            # Whole clusters: chance alone seldom makes runs that begin and end together.
            end = min(-(-(offset + length) // COPY_CLUSTER) * COPY_CLUSTER, self.size)
            offset -= offset % COPY_CLUSTER
            length = end - offset
        return offset, length

    # The guest.

    def guest(self, change, offset, new):
        """Let all filters do a change of the guest, which makes ``new`` of the disk's bytes."""
        outcomes = []
        for cbw in self.filters:
            try:
                change(cbw)
                outcomes.append(None)
            except OSError as error:
                outcomes.append(error.errno)
        assert len(set(outcomes)) == 1
        broke = self.filters[0].snapshot_error is not None
        assert all(broke == (cbw.snapshot_error is not None) for cbw in self.filters)
        assert not broke or self.on_cbw_error == "break-snapshot"
        self.broken = broke
        if outcomes[0] is not None:
            assert outcomes[0] == errno.ENOSPC
            assert self.on_cbw_error == "break-guest-write"
            return
        write = GuestWrite(offset, new)
        if self.is_frozen(write):
            self.waiting.append(write)
        else:
            self.now[offset : offset + len(new)] = new

    @rule(data=st.data(), fill=st.integers(1, 255))
    def write(self, data, fill):
        offset, length = self.draw_range(data)
        new = bytes([fill]) * length
        self.guest(lambda cbw: cbw.write(offset, new), offset, new)

    @rule(data=st.data())
    def write_zeroes(self, data):
        offset, length = self.draw_range(data)
        self.guest(lambda cbw: cbw.write_zeroes(offset, length), offset, bytes(length))

    @rule(data=st.data())
    def discard_by_guest(self, data):
        # Whole image clusters, so that the model knows what they read as afterwards: zeros.
        offset = data.draw(st.integers(0, self.size - 1)) // self.image_cluster
        offset *= self.image_cluster
        end = data.draw(st.integers(offset, self.size)) // self.image_cluster * self.image_cluster
        length = (end if end > offset else min(offset + self.image_cluster, self.size)) - offset
        self.guest(lambda cbw: cbw.discard(offset, length), offset, bytes(length))

    @rule(good=GOOD_BYTES)
    def change_when_the_target_fails(self, good):
        self.let_the_target_fail(good)

    def let_the_target_fail(self, good):
        for cbw in self.filters:
            cbw.target.good_bytes = self.size if good is None else good

    # The snapshot's user.

    @rule(data=st.data())
    def read(self, data):
        offset, length = self.draw_range(data)
        shown = [result_of(SnapshotAccess(cbw).read, offset, length) for cbw in self.filters]
        if self.broken or self.is_denied(offset, offset + length):
            assert shown == [PermissionError] * len(self.filters)
        else:
            assert shown == [self.at_start[offset : offset + length]] * len(self.filters)

    @rule(data=st.data())
    def begin_read(self, data):
        offset, length = self.draw_range(data)
        pieces = [result_of(cbw.begin_snapshot_read, offset, length) for cbw in self.filters]
        if self.broken or self.is_denied(offset, offset + length):
            assert pieces == [PermissionError] * len(self.filters)
            return
        from_disk = {
            piece.node is cbw.disk for piece, cbw in zip(pieces, self.filters, strict=True)
        }
        assert len(from_disk) == 1
        (frozen,) = from_disk
        self.reads.append(InFlight(offset, offset + length, tuple(pieces), frozen))

    @precondition(lambda self: self.reads)
    @rule(data=st.data())
    def finish_read(self, data):
        read = self.reads.pop(data.draw(st.integers(0, len(self.reads) - 1)))
        end = read.offset + read.pieces[0].length
        shown = [piece.finish() for piece in read.pieces]
        # Only a snapshot discard under a read of the target may change what that read gives.
        if read.frozen or not self.is_denied(read.offset, end):
            assert shown == [self.at_start[read.offset : end]] * len(self.filters)
        still_waiting = []
        for write in self.waiting:
            if self.is_frozen(write):
                still_waiting.append(write)
            else:
                self.now[write.offset : write.offset + len(write.data)] = write.data
        self.waiting = still_waiting

    @rule(data=st.data())
    def status(self, data):
        offset, length = self.draw_range(data)
        end = offset + length
        shown = [result_of(SnapshotAccess(f).block_status, offset, length) for f in self.filters]
        old, new, rival = shown
        if self.broken or self.is_denied(offset, offset + 1):
            assert shown == [PermissionError] * len(self.filters)
            return
        while self.is_denied(offset, end):
            end -= 1
        assert (old is PermissionError) == (end < offset + length)
        assert old in (PermissionError, new)
        if rival is PermissionError:  # one that fails as a whole may do so where the old one does
            assert end < offset + length
            assert not self.filters[2].check.cuts_status
        else:  # it may look less far
            assert rival == new._replace(length=rival.length)
            assert 1 <= rival.length <= new.length
        assert 1 <= new.length <= end - offset
        if new.zero:
            assert not any(self.at_start[offset : offset + new.length])
        if not new.allocated:
            assert self.has_backing
            assert not any(self.allocated_at_start[offset : offset + new.length])

    @rule(data=st.data())
    def discard_by_snapshot_user(self, data):
        offset, length = self.draw_range(data)
        for cbw in self.filters:
            SnapshotAccess(cbw).discard(offset, length)
        self.denied |= set(range(-(-offset // COPY_CLUSTER), (offset + length) // COPY_CLUSTER))

    @invariant()
    def the_guest_sees_its_own_writes(self):
        for cbw in self.filters:
            assert cbw.n_waiting == len(self.waiting)
            assert cbw.read(0, self.size) == self.now

    @invariant()
    def done_clusters_of_the_snapshot_are_allocated_in_the_target(self):
        for cbw in self.filters:
            for item in cbw.done_bitmap:
                if item // COPY_CLUSTER not in self.denied:
                    assert cbw.target.block_status(item, 1).allocated

    @invariant()
    def denials_are_those_of_the_model(self):
        n_clusters = -(-self.size // COPY_CLUSTER)
        for cbw in self.filters:
            denied = len(self.denied)
            n_set = denied if cbw.check.cuts_status else n_clusters - denied
            assert cbw.check.count == n_set * COPY_CLUSTER

    def teardown(self):
        for read in getattr(self, "reads", []):
            for piece in read.pieces:
                piece.finish()
        for cbw in getattr(self, "filters", []):
            assert cbw.n_waiting == 0


def result_of(function, *arguments):
    """What a call returns, or ``PermissionError``."""
    try:
        return function(*arguments)
    except PermissionError:
        return PermissionError


SnapshotConsistency.TestCase.settings = settings(max_examples=400, stateful_step_count=40)
TestSnapshotConsistency = SnapshotConsistency.TestCase
