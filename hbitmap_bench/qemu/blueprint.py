"""qcow2 images without content, drawn table by table: of any allocation, in a second.

Written from the public format specification. ``qemu-img`` makes fully allocated images quickly,
but half allocated or fragmented ones of terabytes only write by write. These are sound images
(``qemu-img check`` finds nothing), whose data clusters are holes of the file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from hbitmap_impl.qcow2_header import EXTENDED_L2, MAGIC

Clusters = npt.NDArray[np.int64]
"""For each cluster of an L2 table its place among those that the table allocates, or -1."""

Pattern = Callable[[Clusters, np.random.Generator], Clusters]
"""Numbers of consecutive clusters of the disk (those of one L2 table) -> their places."""

_HEADER_BYTES: Final = 104
_BACKING_FORMAT: Final = 0xE2792ACA
_COPIED: Final = 1 << 63
_REFCOUNT_BYTES: Final = 2
_ALL_SUBCLUSTERS: Final = 2**32 - 1


def full(clusters: Clusters, _: np.random.Generator) -> Clusters:
    """All of them, one after the other."""
    return np.arange(len(clusters))


def empty(clusters: Clusters, _: np.random.Generator) -> Clusters:
    """None of them."""
    return np.full(len(clusters), -1)


def alternating(run: int) -> Pattern:
    """Runs of ``run`` clusters, in turn allocated and not."""

    def pattern(clusters: Clusters, _: np.random.Generator) -> Clusters:
        allocated = clusters // run % 2 == 0
        return np.where(allocated, np.cumsum(allocated) - 1, -1)

    return pattern


def fragmented(run: int) -> Pattern:
    """All of them, in pieces of ``run`` that lie in any order."""

    def pattern(clusters: Clusters, rng: np.random.Generator) -> Clusters:
        pieces = rng.permutation(-(-len(clusters) // run))
        places = (pieces[:, None] * run + np.arange(run)).ravel()
        # The piece that the table's end cuts off may lie anywhere: close the gap behind it.
        order: Clusters = np.argsort(np.argsort(places[: len(clusters)]))
        return order

    return pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """An image to draw. Sizes in bytes; ``seed`` decides what ``pattern`` leaves to chance.

    Without a pattern there is not even an L2 table.
    """

    image_bytes: int
    cluster_bytes: int = 65536
    pattern: Pattern | None = full
    extended_l2: bool = False
    backing: Path | None = None
    backing_format: str = "raw"
    seed: int = 1

    @property
    def l2_entry_bytes(self) -> int:
        """Bytes of an L2 entry."""
        return 16 if self.extended_l2 else 8

    def write(self, path: Path) -> None:
        """Draw it: 8 bytes a cluster (16, if extended) and 2 more, written once and in order."""
        with path.open("xb") as file:
            _Drawing(self, file).draw()
            file.flush()
            os.fsync(file.fileno())  # nothing is to be written back while it is measured


class _Drawing:
    """One image on its way into a file: header, refcounts, L1 table, then tables with their data.

    All clusters of the file are in use, so all refcounts are 1, but how many there are is known
    last: refcount blocks are reserved for as many as there can be.
    """

    def __init__(self, plan: Blueprint, file: BinaryIO) -> None:
        self._plan, self._file = plan, file
        self._cluster = cluster = plan.cluster_bytes
        self._n_clusters = -(-plan.image_bytes // cluster)
        self._per_table = cluster // plan.l2_entry_bytes
        self._n_tables = -(-self._n_clusters // self._per_table)
        self._l1_clusters = -(-self._n_tables * 8 // cluster)
        per_block = cluster // _REFCOUNT_BYTES
        most = self._n_clusters + self._n_tables + self._l1_clusters
        self._blocks = most // (per_block - 2) + 2
        self._table_clusters = -(-self._blocks * 8 // cluster)
        self._l1_at = (1 + self._table_clusters + self._blocks) * cluster

    def draw(self) -> None:
        tables_at, end = self._draw_tables()
        self._at(0, self._header())
        used = np.where(tables_at, tables_at | np.uint64(_COPIED), np.uint64(0))
        self._at(self._l1_at, used.astype(">u8").tobytes())
        self._draw_refcounts(end // self._cluster)
        self._file.truncate(end)

    def _draw_tables(self) -> tuple[npt.NDArray[np.uint64], int]:
        """Where each L2 table is, 0 for none, and the end of the last one's data."""
        rng = np.random.default_rng(self._plan.seed)
        tables_at = np.zeros(self._n_tables, np.uint64)
        at = self._l1_at + self._l1_clusters * self._cluster
        pattern = self._plan.pattern
        if pattern is None:
            return tables_at, at
        for number in range(self._n_tables):
            first = number * self._per_table
            clusters = np.arange(first, min(first + self._per_table, self._n_clusters))
            places = pattern(clusters, rng)
            tables_at[number] = at
            self._at(at, self._entries(places, at + self._cluster))
            at += (1 + int(places.max()) + 1) * self._cluster
        return tables_at, at

    def _entries(self, places: Clusters, data_at: int) -> bytes:
        allocated = places >= 0
        offsets = (places * self._cluster + data_at).astype(np.uint64) | np.uint64(_COPIED)
        words = np.where(allocated, offsets, np.uint64(0))
        if self._plan.extended_l2:
            bitmaps = np.where(allocated, np.uint64(_ALL_SUBCLUSTERS), np.uint64(0))
            words = np.column_stack([words, bitmaps]).ravel()
        return words.astype(">u8").tobytes()

    def _draw_refcounts(self, n_used: int) -> None:
        first = (1 + self._table_clusters) * self._cluster
        blocks = first + np.arange(self._blocks, dtype=np.uint64) * np.uint64(self._cluster)
        self._at(self._cluster, blocks.astype(">u8").tobytes())
        self._at(first, np.ones(n_used, ">u2").tobytes())

    def _header(self) -> bytes:
        plan, name = self._plan, os.fsencode(self._plan.backing or "")
        extension = b""
        if plan.backing is not None:
            kind = plan.backing_format.encode()
            extension = (
                struct.pack(">II", _BACKING_FORMAT, len(kind)) + kind + bytes(-len(kind) % 8)
            )
        extension += bytes(8)
        fixed = struct.pack(
            ">4sIQIIQIIQQIIQ",
            MAGIC,
            3,
            _HEADER_BYTES + len(extension) if name else 0,
            len(name),
            self._cluster.bit_length() - 1,
            plan.image_bytes,
            0,
            self._n_tables,
            self._l1_at,
            self._cluster,
            self._table_clusters,
            0,
            0,
        )
        incompatible = EXTENDED_L2 if plan.extended_l2 else 0
        return (
            fixed + struct.pack(">QQQII", incompatible, 0, 0, 4, _HEADER_BYTES) + extension + name
        )

    def _at(self, offset: int, content: bytes) -> None:
        self._file.seek(offset)
        self._file.write(content)
