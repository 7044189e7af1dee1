"""The sweep as a grid: one setup of the model over image sizes and cluster sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.reproduction.growth import extra_is_resolved, plain_of
from hbitmap_bench.reproduction.records import CellRecord
from hbitmap_bench.reproduction.report.naming import has_default_slice
from hbitmap_impl.image import SMALL_L2_SLICE_BYTES

MIN_SIDE = 2
"""A grid of one row or one column is a line: the other figures show it."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Access rows of the model by (image bytes, cluster bytes), under one slice rule.

    ``unresolved`` are the places whose extra seconds do not stand out of the noise.
    """

    slice_name: str
    sizes: tuple[int, ...]
    clusters: tuple[int, ...]
    cells: dict[tuple[int, int], CellRecord]
    unresolved: frozenset[tuple[int, int]] = frozenset()

    def __bool__(self) -> bool:
        """Whether there are enough sizes and clusters to make a grid of."""
        return bool(self.cells)


def default_slice_grid(cells: Iterable[CellRecord]) -> Grid:
    """The sweep under QEMU's default slice rule."""
    return _grid("default slice rule", [cell for cell in cells if has_default_slice(cell)])


def pinned_slice_grid(cells: Iterable[CellRecord]) -> Grid:
    """The sweep with the slice at 4 KiB everywhere."""
    name = f"slice pinned at {format_size(SMALL_L2_SLICE_BYTES)}"
    return _grid(name, [cell for cell in cells if cell.l2_slice_bytes == SMALL_L2_SLICE_BYTES])


def _grid(slice_name: str, cells: Sequence[CellRecord]) -> Grid:
    """Keep the sizes that more than one cluster size has: 10T and 11T belong to the table.

    Empty where fewer than two such sizes are left.
    """
    found = {
        (cell.image_bytes, cell.cluster_bytes): cell
        for cell in cells
        if (cell.source, cell.setup) == ("model", "access") and cell.extra_s is not None
    }
    clusters_of: dict[int, set[int]] = {}
    for size, cluster in found:
        clusters_of.setdefault(size, set()).add(cluster)
    sizes = sorted(size for size, clusters in clusters_of.items() if len(clusters) >= MIN_SIDE)
    if len(sizes) < MIN_SIDE:
        return Grid(slice_name, (), (), {})
    kept = {place: cell for place, cell in found.items() if place[0] in sizes}
    clusters = sorted({cluster for _, cluster in kept})
    unresolved = frozenset(
        place for place, cell in kept.items() if not extra_is_resolved(cell, plain_of(cell, cells))
    )
    return Grid(slice_name, tuple(sizes), tuple(clusters), kept, unresolved)
