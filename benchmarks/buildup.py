"""A build-up of the copy bitmap, over image size and cluster size.

``cluster_kib`` is the image's cluster; copy clusters have 64 KiB, as in the published table. The L2
slice is pinned at 4 KiB, QEMU's default for large images, so that one regime covers every cell: an
answer reaches 512 clusters, and a build-up of S TiB with K KiB clusters asks S * 2**21 / K queries.

In ``deny_done`` and ``deny_half`` the guest has overwritten the whole disk or its first half before
the job starts. Questions about that part go to the fleecing target, here an image like the disk,
and each scans the done bitmap to the end of that part.

Memory: the access bitmap has S * 2 MiB, 128 MiB at 64 TiB, and so has a full done bitmap; the deny
bitmap as much address space, of which a build-up reads pages of zeros.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from benchmarks.common import KIB, TIB, Suite, benchmark, provided

if TYPE_CHECKING:
    from hbitmap_impl.backup import BackupJob
    from hbitmap_impl.hbitmap import HBitmap

SIZES_TIB = [1, 2, 4, 8, 10, 11, 16, 32, 64]
CLUSTERS_KIB = [64, 128, 256, 512, 1024, 2048]

WHOLE, BLOCKS = "whole", "blocks"
W, B = WHOLE, BLOCKS
MODES: dict[int, list[str]] = {  # rows: image size in TiB, columns: CLUSTERS_KIB
    1: [B, B, W, W, W, W],  # whole: up to half a second with the access bitmap
    2: [B, B, B, B, W, W],
    4: [B, B, B, B, B, B],
    8: [B, B, B, B, B, B],
    10: [B, B, B, B, B, B],
    11: [B, B, B, B, B, B],
    16: [B, B, B, B, B, B],
    32: [B, B, B, B, B, B],
    64: [B, B, B, B, B, B],
}
"""Is the whole build-up timed, or blocks of its queries? The same for all implementations."""

COPY_CLUSTER_BYTES = 64 * KIB
L2_SLICE_BYTES = 4 * KIB
L2_ENTRY_BYTES = 8

SEED = 1
STRATA = 8
BLOCK_QUERIES = {"plain": 128, "access": 4, "deny": 128, "deny_done": 4, "deny_half": 4}
"""Consecutive queries in a block. Eight blocks of the cheap ones make two milliseconds; an access
bitmap of 64 TiB takes half a second."""

DONE_PARTS = {"deny_done": 1, "deny_half": 2}
"""The guest has overwritten the first of so many parts of the disk."""


def block_starts(n_queries: int, block: int, strata: int = STRATA) -> list[int]:
    """First query of each block: one a stratum, ascending, the upper half mirroring the lower.

    Whatever is linear in the number of the query, as the words of an access check are, has in
    mirrored blocks exactly the mean of the whole build-up. Ascending blocks leave in the caches
    what a running build-up leaves there: the end of the bitmap.
    """
    rng = random.Random(SEED)
    width = n_queries / strata
    lower = [math.floor(i * width + rng.random() * (width - block)) for i in range(strata // 2)]
    return lower + [n_queries - block - start for start in reversed(lower)]


def cell_starts(implementation: str, n_queries: int) -> list[int]:
    """First query of each block of a cell, mirrored in every part of the disk that is alike."""
    parts = DONE_PARTS.get(implementation, 1)
    part = n_queries // parts
    starts = block_starts(part, BLOCK_QUERIES[implementation], STRATA // parts)
    return [i * part + start for i in range(parts) for start in starts]


class Cell:
    """The queries that one cell times: ``run`` asks them and returns how many they were."""

    def __init__(self, implementation: str, image_tib: int, cluster_kib: int) -> None:
        image_bytes, cluster_bytes = image_tib * TIB, cluster_kib * KIB
        image = provided("image", "FullImage")(image_bytes, cluster_bytes, L2_SLICE_BYTES)
        parts = DONE_PARTS.get(implementation)
        overwrite = provided("setups", "overwrite") if parts else None
        self.job: BackupJob = provided("setups", "assemble")(
            implementation.partition("_")[0],
            image,
            cbw_cluster_bytes=COPY_CLUSTER_BYTES,
            target_cluster_bytes=COPY_CLUSTER_BYTES,
            **({"target": image} if parts else {}),
        )
        self.done: HBitmap | None = None
        if overwrite and parts:
            self.done = overwrite(self.job, image_bytes // parts)
        self.block: int | None = None  # to the end
        self.offsets = [0]
        if MODES[image_tib][CLUSTERS_KIB.index(cluster_kib)] == BLOCKS:
            answer_bytes = L2_SLICE_BYTES // L2_ENTRY_BYTES * cluster_bytes
            self.block = BLOCK_QUERIES[implementation]
            starts = cell_starts(implementation, image_bytes // answer_bytes)
            self.offsets = [start * answer_bytes for start in starts]

    def run(self) -> int:
        """Ask all of them, block by block."""
        return sum(self.job.build_up(offset, self.block).queries for offset in self.offsets)

    def words(self) -> tuple[int, int]:
        """Ask all of them: words examined, and queries.

        The words are those of the access checks, and those of the done bitmap where it has bits:
        an empty one costs 7 words a query in all implementations alike.
        """
        searched = [self.job.check] if self.done is None else [self.job.check, self.done]
        for each in searched:
            each.reset_counters()
        queries = self.run()
        return sum(each.words_examined for each in searched), queries


class BuildUp(Suite):
    """Seconds of the cell's queries. Seconds of a whole build-up are seconds a query times queries.

    Nothing is changed by a build-up over a fully allocated image: every call finds the same.
    """

    param_names = ("implementation", "image_tib", "cluster_kib")
    params = (["plain", "access", "deny", *DONE_PARTS], SIZES_TIB, CLUSTERS_KIB)

    def prepare(self, implementation: str, image_tib: int, cluster_kib: int) -> None:
        """Assemble the job; its first run touches all that the timed ones will."""
        self.cell = Cell(implementation, image_tib, cluster_kib)
        self.cell.run()

    @benchmark(version="1", timeout=120)
    def time_queries(self, *_: object) -> None:
        """Ask the cell's block-status queries: of the whole build-up, or blocks of them."""
        self.cell.run()

    @benchmark(version="1", timeout=120, unit="queries")
    def track_queries(self, *_: object) -> int:
        """How many queries ``time_queries`` asks, as counted by the job."""
        return self.cell.run()


class Words(Suite):
    """Words examined by the searches of the same queries: exact, whatever the machine."""

    param_names = BuildUp.param_names
    params = (["access", "deny", *DONE_PARTS], SIZES_TIB, CLUSTERS_KIB)

    def prepare(self, implementation: str, image_tib: int, cluster_kib: int) -> None:
        """Assemble the job."""
        self.cell = Cell(implementation, image_tib, cluster_kib)

    @benchmark(version="1", timeout=120, unit="words")
    def track_words_examined(self, *_: object) -> int:
        """Words of any level that the cell's queries read."""
        return self.cell.words()[0]

    @benchmark(version="1", timeout=120, unit="words/query")
    def track_extra_words_a_query(self, *_: object) -> float:
        """Words a query more than ``plain``, which reads none: exactly those of a whole build-up.

        Also where blocks stand for it, since they are mirrored and the words are linear.
        """
        words, queries = self.cell.words()
        return words / queries
