"""What a build-up asks and reads, counted exactly by one walk over an image's metadata.

The walk is the model's own job, over the image's own tables: only the access check is another one,
which does not search its bitmap but adds up the words that a search would read. So a walk costs as
much as a plain build-up, whatever the access bitmap would cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hbitmap_bench.field.predict.subject import Subject
from hbitmap_bench.qemu.geometry import HBITMAP_LEVELS, WORD_BITS, n_bits
from hbitmap_bench.qemu.graph import COPY_CLUSTER_BYTES
from hbitmap_impl.backup import BackupJob
from hbitmap_impl.clusters import align_up
from hbitmap_impl.copy_before_write import CopyBeforeWrite
from hbitmap_impl.hbitmap import HBitmap
from hbitmap_impl.image import DEFAULT_L2_CACHE_BYTES, BlockStatus, FullImage, NullDisk
from hbitmap_impl.image_file import ImageFile
from hbitmap_impl.qcow2 import Qcow2Image
from hbitmap_impl.snapshot_access import SnapshotAccess


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What one build-up does.

    ``loads`` are L2 slices that are read from the file, ``scanned`` L2 entries that are looked at,
    ``seeks`` questions to the host's file system about holes. ``cache_entries`` is how many slices
    the L2 cache holds: QEMU looks at each to find that a slice is not among them. ``bits`` are
    those of the filter's bitmaps. Words of both checks are exact; 0 without filters.
    """

    queries: int
    loads: int
    scanned: int
    seeks: int
    cache_entries: int
    bits: int
    words_access: int = 0
    words_deny: int = 0


class _Tally:
    """A disk that counts what it is asked, and answers what ``disk`` does."""

    def __init__(self, disk: FullImage | ImageFile, slice_span: int, cluster_bytes: int) -> None:
        self.size, self.has_backing = disk.size, disk.has_backing
        self._disk, self._span, self._cluster = disk, slice_span, cluster_bytes
        self._status = disk.block_status
        self._newest = -1
        self.queries = self.loads = self.scanned = self.allocated = 0

    def block_status(self, offset: int, length: int) -> BlockStatus:
        """The answer of the disk below. A slice is loaded once: the job only moves ahead."""
        answer = self._status(offset, length)
        self.queries += 1
        self.allocated += answer.allocated
        if self._span and (not isinstance(self._disk, Qcow2Image) or self._disk.has_table(offset)):
            self.scanned += -(-(offset % self._cluster + answer.length) // self._cluster)
            if offset // self._span > self._newest:
                self._newest = offset // self._span
                self.loads += 1
        return answer

    # The rest of a disk, which a build-up does not touch.

    def read(self, offset: int, length: int) -> bytes:
        """The content of the disk below."""
        return self._disk.read(offset, length)

    def write(self, offset: int, data: bytes) -> None:
        """What the disk below does."""
        self._disk.write(offset, data)

    def write_zeroes(self, offset: int, length: int) -> None:
        """What the disk below does."""
        self._disk.write_zeroes(offset, length)

    def discard(self, offset: int, length: int) -> None:
        """What the disk below does."""
        self._disk.discard(offset, length)


class _ClosedForm:
    """A check that lets all be read, and adds up what both kinds of bitmap would examine. O(1).

    A full access bitmap is read from the word of the first bit to that of the last; an empty deny
    bitmap one word a level.
    """

    bitmap_type: ClassVar[type[HBitmap]] = HBitmap
    cuts_status: ClassVar[bool] = False
    count = memory_bytes = 0

    def __init__(self, size_bytes: int, cluster_bytes: int) -> None:
        self._word_bytes = cluster_bytes * WORD_BITS
        self.reset_counters()

    @classmethod
    def from_copy_bitmap(cls, copy: HBitmap) -> _ClosedForm:
        raise NotImplementedError("only of a full bitmap are the words known without looking")

    def first_inaccessible(self, offset: int, length: int) -> int:
        last = (offset + length - 1) // self._word_bytes
        self.words_examined += last - offset // self._word_bytes + 1
        self.words_deny += HBITMAP_LEVELS
        return -1

    def discard(self, offset: int, length: int) -> None:
        raise NotImplementedError("only of a full bitmap are the words known without looking")

    def reset_counters(self) -> None:
        self.words_examined = self.words_deny = 0


def count(
    subject: Subject,
    *,
    filtered: bool,
    l2_slice_bytes: int | None = None,
    copy_cluster_bytes: int = COPY_CLUSTER_BYTES,
) -> Counts:
    """Walk the image once, as the job does: plain, or through the filters (both checks at once).

    ``l2_slice_bytes`` is by default QEMU's. ``copy_cluster_bytes`` is that of the user's filter;
    the backup target has 64 KiB clusters or none. Cost: about 3 us a query, plain, and 5 filtered.
    Raises ``UserError`` where the image can't be read, or holds broken tables.
    """
    slice_bytes = l2_slice_bytes or subject.default_slice_bytes
    slice_span = slice_bytes // subject.l2_entry_bytes * subject.cluster_bytes
    with subject.open(slice_bytes, want_zero=filtered) as disk:
        tally = _Tally(disk, slice_span, subject.cluster_bytes)
        check = _walk(tally, copy_cluster_bytes) if filtered else None
        if check is None:
            BackupJob(tally).build_up()
        return Counts(
            queries=tally.queries,
            loads=tally.loads,
            scanned=tally.scanned,
            seeks=tally.allocated if filtered and _looks_into_file(disk) else 0,
            cache_entries=_cache_entries(subject, slice_bytes),
            bits=n_bits(subject.image_bytes, copy_cluster_bytes),
            words_access=check.words_examined if check else 0,
            words_deny=check.words_deny if check else 0,
        )


def _walk(tally: _Tally, copy_cluster_bytes: int) -> _ClosedForm:
    cbw = CopyBeforeWrite(
        tally, NullDisk(tally.size), _ClosedForm, cluster_bytes=copy_cluster_bytes
    )
    BackupJob(SnapshotAccess(cbw)).build_up()
    assert isinstance(cbw.check, _ClosedForm)
    return cbw.check


def _looks_into_file(disk: FullImage | ImageFile) -> bool:
    """Whether zero detection asks the host where data clusters are holes.

    A planned image is taken as one whose metadata is preallocated, as the images made for
    measurements are.
    """
    return not isinstance(disk, Qcow2Image) or disk.preallocated_metadata


def _cache_entries(subject: Subject, slice_bytes: int) -> int:
    """Slices that QEMU's L2 cache has room for: those of the image, up to 32 MiB."""
    if not slice_bytes:
        return 0
    cluster = subject.cluster_bytes
    tables = align_up(-(-subject.image_bytes // cluster) * subject.l2_entry_bytes, cluster)
    return min(tables, DEFAULT_L2_CACHE_BYTES) // slice_bytes
