"""Disks that answer block status: fully allocated, sparse, and a small one that holds bytes.

How far one answer reaches is the image's doing, as in qcow2: one slice of the L2 table, at most
2 GiB - 1, and never past a run of clusters of one kind whose host offsets are contiguous.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

from hbitmap_impl.clusters import align_down, align_up, check_range, power_of_two

DEFAULT_L2_CACHE_BYTES: Final = 32 * 2**20
"""``l2-cache-size`` of qcow2 where it is not given (Linux)."""

SMALL_L2_SLICE_BYTES: Final = 4096
"""The default slice of an image that its L2 cache does not cover."""

MAX_ANSWER_BYTES: Final = 2**31 - 1
"""qcow2 holds the length of a block status in a C int."""


def default_l2_slice(image_bytes: int, cluster_bytes: int, l2_entry_bytes: int = 8) -> int:
    """Bytes of one L2 slice where ``l2-cache-entry-size`` is not given: QEMU's rule. O(1).

    4 KiB once the L2 tables of the image, in whole clusters, outgrow the L2 cache of 32 MiB; else
    one cluster. ``l2_entry_bytes`` is 16 with extended L2 entries.
    """
    n_clusters = align_up(image_bytes, cluster_bytes) // cluster_bytes
    if align_up(n_clusters * l2_entry_bytes, cluster_bytes) <= DEFAULT_L2_CACHE_BYTES:
        return cluster_bytes
    return min(SMALL_L2_SLICE_BYTES, cluster_bytes)


class BlockStatus(NamedTuple):
    """What a node says about the ``length`` bytes from the position that was asked.

    ``allocated`` tells whether this node itself decides the content (``is_allocated``), ``zero``
    whether it is known to read as zeros. NBD's ``base:allocation`` calls what is not allocated a
    hole.
    """

    length: int
    allocated: bool
    zero: bool


class Node(Protocol):
    """What a backup job asks of its source. Ranges outside ``size`` raise ``ValueError``."""

    @property
    def size(self) -> int:
        """Bytes."""

    def block_status(self, offset: int, length: int) -> BlockStatus:
        """The status at ``offset``, valid for the answer's length: 1 to ``length`` bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """The content of a range."""


class Disk(Node, Protocol):
    """A node that can be written. Failing writes raise ``OSError``."""

    @property
    def has_backing(self) -> bool:
        """Whether a backing file shows through where nothing is allocated."""

    def write(self, offset: int, data: bytes) -> None:
        """Replace the content from ``offset``."""

    def write_zeroes(self, offset: int, length: int) -> None:
        """Make a range read as zeros."""

    def discard(self, offset: int, length: int) -> None:
        """Drop the content of the whole clusters in a range; less than a cluster is left alone."""


class NullDisk:
    """Holds no bytes: reads zeros, drops writes, as QEMU's ``null-co`` with ``read-zeroes``."""

    __slots__ = ("size",)
    has_backing = False

    def __init__(self, size: int) -> None:
        self.size = size

    def block_status(self, offset: int, length: int) -> BlockStatus:
        """Zeros, allocated, as far as was asked."""
        check_range(offset, length, self.size)
        return BlockStatus(length, True, True)

    def read(self, offset: int, length: int) -> bytes:
        """Zeros."""
        check_range(offset, length, self.size)
        return bytes(length)

    def write(self, offset: int, data: bytes) -> None:
        """Drop the data."""
        check_range(offset, len(data), self.size)

    def write_zeroes(self, offset: int, length: int) -> None:
        """Change nothing."""
        check_range(offset, length, self.size)

    def discard(self, offset: int, length: int) -> None:
        """Change nothing."""
        check_range(offset, length, self.size)


class FullImage(NullDisk):
    """A fully allocated qcow2 image (``preallocation=metadata``) without its data. O(1) an answer.

    Answers end with the L2 slice and at 2 GiB - 1. Host offsets are taken as contiguous inside a
    slice. ``l2_slice_bytes`` defaults to QEMU's rule; it is a power of two from 512 to the cluster
    size, or ``ValueError``, as is an ``l2_entry_bytes`` that is neither 8 nor 16.
    """

    __slots__ = ("_slice_span", "cluster_bytes", "l2_entry_bytes", "l2_slice_bytes")

    def __init__(
        self,
        size: int,
        cluster_bytes: int = 65536,
        l2_slice_bytes: int | None = None,
        l2_entry_bytes: int = 8,
    ) -> None:
        super().__init__(size)
        if l2_entry_bytes not in (8, 16):
            raise ValueError(f"an L2 entry has 8 bytes, or 16 if extended, not {l2_entry_bytes}")
        self.cluster_bytes = power_of_two(cluster_bytes)
        self.l2_entry_bytes = l2_entry_bytes
        if l2_slice_bytes is None:
            l2_slice_bytes = default_l2_slice(size, cluster_bytes, l2_entry_bytes)
        if not 512 <= power_of_two(l2_slice_bytes) <= cluster_bytes:
            raise ValueError(
                f"an L2 slice has 512 bytes to one cluster ({cluster_bytes}), not {l2_slice_bytes}"
            )
        self.l2_slice_bytes = l2_slice_bytes
        self._slice_span = l2_slice_bytes // l2_entry_bytes * cluster_bytes

    def block_status(self, offset: int, length: int) -> BlockStatus:
        """Data, allocated, up to the end of the L2 slice."""
        check_range(offset, length, self.size)
        return BlockStatus(self._reach(offset, length), True, False)

    def _reach(self, offset: int, length: int) -> int:
        """How far one slice of the L2 table can answer."""
        return min(length, self._slice_span - offset % self._slice_span, MAX_ANSWER_BYTES)


class SparseImage(FullImage):
    """A qcow2 image, without its data, of which only ``runs`` are allocated. O(log n) an answer.

    ``runs`` are (start, length) pairs in bytes, in order, of whole clusters (the last may end with
    the image), else ``ValueError``. Runs that touch are kept apart: an answer ends between them, as
    it does where host offsets stop being contiguous. Other parameters as in ``FullImage``.
    """

    __slots__ = ("_ends", "_starts", "has_backing")

    def __init__(
        self,
        size: int,
        runs: Iterable[tuple[int, int]],
        cluster_bytes: int = 65536,
        l2_slice_bytes: int | None = None,
        l2_entry_bytes: int = 8,
        *,
        has_backing: bool = False,
    ) -> None:
        super().__init__(size, cluster_bytes, l2_slice_bytes, l2_entry_bytes)
        self.has_backing = has_backing
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, length in runs:
            self._add_run(start, start + length)

    def _add_run(self, start: int, end: int) -> None:
        previous = self._ends[-1] if self._ends else 0
        aligned = (start | end) % self.cluster_bytes == 0 or (
            start % self.cluster_bytes == 0 and end == self.size
        )
        if not aligned or not previous <= start < end <= self.size:
            raise ValueError(
                f"runs are whole clusters of {self.cluster_bytes} bytes, in order and inside "
                f"{self.size} bytes, not [{start}, {end}) after {previous}"
            )
        self._starts.append(start)
        self._ends.append(end)

    def block_status(self, offset: int, length: int) -> BlockStatus:
        """Data or nothing, up to the end of the run or hole, or of the L2 slice."""
        check_range(offset, length, self.size)
        after = bisect_right(self._starts, offset)
        allocated = after > 0 and offset < self._ends[after - 1]
        if allocated:
            end = self._ends[after - 1]
        else:
            end = self._starts[after] if after < len(self._starts) else self.size
        reach = self._reach(offset, min(length, end - offset))
        return BlockStatus(reach, allocated, not allocated and not self.has_backing)


_UNALLOCATED, _ZERO, _DATA = range(3)


class MemoryImage:
    """A small image that holds its bytes, allocated by cluster as in qcow2 (version 3).

    A cluster is unallocated (``backing`` shows through, or zeros), zero, or data. All costs are
    linear in the bytes touched; a status reads one byte a cluster of the run that it finds. Its
    tables are taken to fit one slice. Raises ``ValueError`` if ``backing`` has another size.
    """

    def __init__(
        self, size: int, cluster_bytes: int = 65536, backing: MemoryImage | None = None
    ) -> None:
        if backing is not None and backing.size != size:
            raise ValueError(f"a backing file has the image's {size} bytes, not {backing.size}")
        self.size: int = size
        self.cluster_bytes: int = power_of_two(cluster_bytes)
        self.backing = backing
        self._data = bytearray(size)
        self._kinds = bytearray(align_up(size, cluster_bytes) // cluster_bytes)

    @property
    def has_backing(self) -> bool:
        """Whether a backing file shows through where nothing is allocated."""
        return self.backing is not None

    def block_status(self, offset: int, length: int) -> BlockStatus:
        """The kind of the cluster at ``offset``, up to the next cluster of another kind."""
        check_range(offset, length, self.size)
        first = offset // self.cluster_bytes
        kind = self._kinds[first]
        end = first
        while end < len(self._kinds) and self._kinds[end] == kind:
            end += 1
        reach = min(length, end * self.cluster_bytes - offset)
        zero = kind == _ZERO or (kind == _UNALLOCATED and not self.has_backing)
        return BlockStatus(reach, kind != _UNALLOCATED, zero)

    def read(self, offset: int, length: int) -> bytes:
        """The content of a range, that of the backing file where nothing is allocated."""
        check_range(offset, length, self.size)
        pieces = []
        while length:
            run, allocated, _ = self.block_status(offset, length)
            if allocated or self.backing is None:
                pieces.append(bytes(self._data[offset : offset + run]))
            else:
                pieces.append(self.backing.read(offset, run))
            offset, length = offset + run, length - run
        return b"".join(pieces)

    def write(self, offset: int, data: bytes) -> None:
        """Allocate the clusters touched, filled up from what they read as before, and write."""
        check_range(offset, len(data), self.size)
        for cluster in self._touched(offset, len(data)):
            self._fill(cluster)
        self._data[offset : offset + len(data)] = data

    def write_zeroes(self, offset: int, length: int) -> None:
        """Make whole clusters zero clusters; write zeros as data into parts of clusters."""
        check_range(offset, length, self.size)
        start, end = self._inner(offset, length)
        if start >= end:
            self.write(offset, bytes(length))
            return
        if offset < start:
            self.write(offset, bytes(start - offset))
        if end < offset + length:
            self.write(end, bytes(offset + length - end))
        for cluster in self._touched(start, end - start):
            self._make_zero(cluster)

    def discard(self, offset: int, length: int) -> None:
        """Make the allocated clusters that lie wholly in the range zero clusters."""
        check_range(offset, length, self.size)
        start, end = self._inner(offset, length)
        for cluster in self._touched(start, max(end - start, 0)):
            if self._kinds[cluster] != _UNALLOCATED or self.has_backing:
                self._make_zero(cluster)

    def _touched(self, offset: int, length: int) -> range:
        return range(
            offset // self.cluster_bytes,
            align_up(offset + length, self.cluster_bytes) // self.cluster_bytes,
        )

    def _inner(self, offset: int, length: int) -> tuple[int, int]:
        """Start and end of the whole clusters in a range; a partial last one counts as whole."""
        end = offset + length
        if end != self.size:
            end = align_down(end, self.cluster_bytes)
        return align_up(offset, self.cluster_bytes), end

    def _fill(self, cluster: int) -> None:
        """Make a data cluster of one that is not, without changing what it reads as."""
        if self._kinds[cluster] == _UNALLOCATED and self.backing is not None:
            start = cluster * self.cluster_bytes
            end = min(start + self.cluster_bytes, self.size)
            self._data[start:end] = self.backing.read(start, end - start)
        self._kinds[cluster] = _DATA

    def _make_zero(self, cluster: int) -> None:
        start = cluster * self.cluster_bytes
        end = min(start + self.cluster_bytes, self.size)
        self._data[start:end] = bytes(end - start)
        self._kinds[cluster] = _ZERO
