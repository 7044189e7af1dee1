"""The workloads: disks, what is denied or done on them, and who asks what.

Each is seeded, so that all contenders get the same. Images are qcow2 with 64K clusters and a slice
of 4 KiB, QEMU's default for large ones; an answer of a full image is for 512 clusters.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from hbitmap_impl.access_check import AccessCheck
from hbitmap_impl.backup import BackupJob
from hbitmap_impl.clusters import empty_bitmap, full_bitmap
from hbitmap_impl.copy_before_write import CopyBeforeWrite
from hbitmap_impl.hbitmap import HBitmap
from hbitmap_impl.image import SMALL_L2_SLICE_BYTES, FullImage, SparseImage
from hbitmap_impl.setups import filtered
from hbitmap_impl.snapshot_access import SnapshotAccess

CLUSTER: Final = 65536
ANSWER: Final = 512 * CLUSTER
PIECE: Final = 2**20
"""What is overwritten or discarded at once."""

SEED: Final = 1

Play = Callable[[], int]
"""Asks all questions of a workload, and returns how many they were."""


@dataclass(frozen=True, slots=True)
class Game:
    """A filter, ready to be asked, and what asks it."""

    cbw: CopyBeforeWrite
    play: Play

    def words(self) -> int:
        """Words that searches of the access check and of the done bitmap have examined."""
        return self.cbw.check.words_examined + self.cbw.done_bitmap.words_examined


@dataclass(frozen=True, slots=True)
class Workload:
    """A name, the workload in words, and what sets it up for a contender and an image size."""

    name: str
    what: str
    start: Callable[[type[AccessCheck], int], Game]


@cache
def _full(size: int) -> FullImage:
    return FullImage(size, CLUSTER, SMALL_L2_SLICE_BYTES)


@cache
def _sparse(size: int) -> SparseImage:
    """A hundredth is allocated, in runs of 1 to 64 clusters, over a backing file."""
    runs = _runs(size, random.Random(SEED), 64, 0.01)
    return SparseImage(size, runs, CLUSTER, SMALL_L2_SLICE_BYTES, has_backing=True)


@cache
def _fragmented(size: int) -> SparseImage:
    """All is allocated, and host offsets are contiguous within 128 clusters."""
    piece = 128 * CLUSTER
    runs = ((start, min(piece, size - start)) for start in range(0, size, piece))
    return SparseImage(size, runs, CLUSTER, SMALL_L2_SLICE_BYTES)


def _build_up(cbw: CopyBeforeWrite, copy_cluster: int = CLUSTER) -> Game:
    job = BackupJob(SnapshotAccess(cbw), copy_cluster)
    return Game(cbw, lambda: job.build_up().queries)


def _over_full(check: type[AccessCheck], size: int) -> Game:
    return _build_up(filtered(check, _full(size)))


def _over_sparse(check: type[AccessCheck], size: int) -> Game:
    return _build_up(filtered(check, _sparse(size)))


def _over_fragments(check: type[AccessCheck], size: int) -> Game:
    return _build_up(filtered(check, _fragmented(size)))


def _large_copy_clusters(check: type[AccessCheck], size: int) -> Game:
    copy_cluster = 4 * 2**20
    return _build_up(filtered(check, _full(size), cluster_bytes=copy_cluster), copy_cluster)


def _done(share: int) -> Callable[[type[AccessCheck], int], Game]:
    """The guest has overwritten the first of so many parts; a target like the disk answers."""

    def start(check: type[AccessCheck], size: int) -> Game:
        cbw = filtered(check, _full(size), target=_full(size))
        cbw.assume_done(0, size // share)
        return _build_up(cbw)

    return start


def _guest_writes(check: type[AccessCheck], size: int) -> Game:
    cbw = filtered(check, _full(size), target=_full(size))
    rng = random.Random(SEED)

    def play() -> int:
        offset = questions = 0
        while offset < size:
            offset += cbw.snapshot_block_status(offset, size - offset).length
            cbw.assume_done(rng.randrange(size // PIECE) * PIECE, PIECE)
            questions += 1
        return questions

    return Game(cbw, play)


def _partly_denied(percent: int) -> Callable[[type[AccessCheck], int], Game]:
    def start(check: type[AccessCheck], size: int) -> Game:
        return _read_areas(check, size, _accessible(size, percent))

    return start


def _merged(check: type[AccessCheck], size: int) -> Game:
    return _read_areas(check, size, *_bitmaps_of_a_fortnight(size))


def _read_areas(check: type[AccessCheck], size: int, *bitmaps: HBitmap) -> Game:
    """Status of every area that is dirty in a bitmap, as an incremental backup is pulled."""
    union = empty_bitmap(size, CLUSTER)
    for bitmap in bitmaps:
        union.merge(bitmap)
    cbw = filtered(check, _full(size), bitmap=union)

    def play() -> int:
        areas = union.to_runs().tolist()
        return sum(_ask(cbw, start, start + length) for start, length in areas)

    return Game(cbw, play)


def _discards(check: type[AccessCheck], size: int) -> Game:
    """A reader that gives up what it has read, from the start to the end."""
    cbw = filtered(check, _full(size))

    def play() -> int:
        offset = questions = 0
        while offset < size:
            length = cbw.snapshot_block_status(offset, size - offset).length
            cbw.snapshot_discard(offset, length)
            offset += length
            questions += 1
        return questions

    return Game(cbw, play)


def _random_discards(check: type[AccessCheck], size: int) -> Game:
    """A reader that takes pieces of 32M in any order, and gives up each."""
    cbw = filtered(check, _full(size))
    pieces = _in_any_order(size)

    def play() -> int:
        for start in pieces:
            length = min(ANSWER, size - start)
            cbw.snapshot_block_status(start, length)
            cbw.snapshot_discard(start, length)
        return len(pieces)

    return Game(cbw, play)


def _discards_beside(check: type[AccessCheck], size: int) -> Game:
    """A build-up, while somebody else gives up pieces that it has passed.

    A piece ahead of it would make the job fail, whatever the check is.
    """
    cbw = filtered(check, _full(size))
    job = BackupJob(SnapshotAccess(cbw))
    pieces = _behind(size)

    def play() -> int:
        offset = questions = 0
        for piece in pieces:
            asked, offset = job.build_up(offset, 1)
            cbw.snapshot_discard(piece, PIECE)
            questions += asked
        return questions

    return Game(cbw, play)


def _readers(check: type[AccessCheck], size: int) -> Game:
    """Four readers in turn, each of a quarter, who ask about all the rest of the disk."""
    cbw = filtered(check, _full(size))
    quarter = size // 4
    return Game(cbw, lambda: _in_turn(cbw, [(i * quarter, quarter, size) for i in range(4)]))


def _readers_apart(check: type[AccessCheck], size: int) -> Game:
    """Two readers in turn, with one denied cluster between their halves."""
    cbw = filtered(check, _full(size))
    half = size // 2
    cbw.snapshot_discard(half, CLUSTER)
    low, high = (0, half, half), (half + ANSWER, half - ANSWER, size)
    return Game(cbw, lambda: _in_turn(cbw, [low, high]))


def _pulled(most: int) -> Callable[[type[AccessCheck], int], Game]:
    """An NBD client whose requests are for so many bytes at most, or for the rest."""

    def start(check: type[AccessCheck], size: int) -> Game:
        cbw = filtered(check, _full(size))
        requests = [(offset, min(offset + most, size)) for offset in range(0, size, most)]
        return Game(cbw, lambda: sum(_ask(cbw, start, end) for start, end in requests))

    return start


def _ask(cbw: CopyBeforeWrite, offset: int, end: int) -> int:
    """Ask again and again about what is left of a range; how often."""
    questions = 0
    while offset < end:
        offset += cbw.snapshot_block_status(offset, end - offset).length
        questions += 1
    return questions


def _in_turn(cbw: CopyBeforeWrite, readers: Sequence[tuple[int, int, int]]) -> int:
    """Readers of ``length`` bytes at ``start``, who ask up to ``end``, one answer each in turn."""
    questions = 0
    for moved in range(0, max(length for _, length, _ in readers), ANSWER):
        for start, length, end in readers:
            if moved < length:
                cbw.snapshot_block_status(start + moved, end - start - moved)
                questions += 1
    return questions


# ---------------------------------------------------------------- what is drawn at random


@cache
def _in_any_order(size: int) -> list[int]:
    """Where the disk's pieces of 32M start, shuffled."""
    return random.Random(SEED).sample(range(0, size, ANSWER), len(range(0, size, ANSWER)))


@cache
def _behind(size: int) -> list[int]:
    """Where pieces start: after each answer one, anywhere in what has been answered by then."""
    rng = random.Random(SEED)
    return [rng.randrange(end // PIECE) * PIECE for end in range(ANSWER, size + 1, ANSWER)]


@cache
def _accessible(size: int, denied_percent: int) -> HBitmap:
    """What is not denied: denied clusters lie in runs of 1 to 4096."""
    bitmap = full_bitmap(size, CLUSTER)
    for run in _runs(size, random.Random(SEED + denied_percent), 4096, denied_percent / 100):
        bitmap.reset(*run)
    return bitmap


@cache
def _bitmaps_of_a_fortnight(size: int) -> tuple[HBitmap, ...]:
    """Fourteen bitmaps, a twentieth of the disk in each, in runs of 1 to 64 clusters."""
    found = []
    for day in range(14):
        bitmap = empty_bitmap(size, CLUSTER)
        for run in _runs(size, random.Random(SEED + day), 64, 0.05):
            bitmap.set(*run)
        found.append(bitmap)
    return tuple(found)


def _runs(size: int, rng: random.Random, longest: int, share: float) -> Iterator[tuple[int, int]]:
    """Runs of 1 to ``longest`` clusters that take a share of the disk, with gaps between them."""
    position = 0
    while True:
        position += max(round(rng.randint(1, longest) * (1 - share) / share), 1) * CLUSTER
        length = rng.randint(1, longest) * CLUSTER
        if position + length > size:
            return
        yield position, length
        position += length


WORKLOADS: Final = (
    Workload("full", "build-up over a fully allocated image", _over_full),
    Workload("sparse", "build-up, 1% allocated in runs of 1 to 64 clusters", _over_sparse),
    Workload("fragmented", "build-up, an answer for each 128 clusters", _over_fragments),
    Workload("copy-4M", "build-up with copy clusters of 4M", _large_copy_clusters),
    Workload("done-full", "build-up after the guest has overwritten all", _done(1)),
    Workload("done-half", "build-up after the guest has overwritten half", _done(2)),
    Workload("guest-writes", "the guest overwrites 1M anywhere after each answer", _guest_writes),
    Workload("denied-1", "status of what a bitmap leaves, 1% denied", _partly_denied(1)),
    Workload("denied-50", "status of what a bitmap leaves, 50% denied", _partly_denied(50)),
    Workload("denied-99", "status of what a bitmap leaves, 99% denied", _partly_denied(99)),
    Workload("merged", "status of what 14 merged bitmaps hold", _merged),
    Workload("discards", "the reader discards each answer, in order", _discards),
    Workload("random-discards", "the reader discards pieces of 32M in any order", _random_discards),
    Workload(
        "discards-beside", "build-up, 1M behind it discarded after each answer", _discards_beside
    ),
    Workload("readers", "four readers in turn, a quarter each", _readers),
    Workload("readers-apart", "two readers, one denied cluster between them", _readers_apart),
    Workload("pulled-32", "an NBD client with requests of up to 4G", _pulled(2**32 - CLUSTER)),
    Workload("pulled-64", "an NBD client that asks for all the rest", _pulled(2**63 - 1)),
)
