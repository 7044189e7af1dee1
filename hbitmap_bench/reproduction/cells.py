"""Cells, and the grids of cells that are measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hbitmap_bench.qemu.geometry import Layout, layout
from hbitmap_impl.image import SMALL_L2_SLICE_BYTES

TABLE_SIZES: Final = (10 * 2**40, 11 * 2**40)
"""The image sizes of the published table."""

SWEEP_SIZES: Final = tuple(2**power for power in range(40, 47))
"""1T to 64T."""

SWEEP_CLUSTERS: Final = tuple(2**power for power in range(16, 22))
"""64K to 2M, the largest that qcow2 has."""


def default_layouts(
    *, l2_slice_bytes: int | None = None, copy_cluster_bytes: int = 65536
) -> list[Layout]:
    """The cells of the published table, then both sweeps, each layout once.

    The first sweep has QEMU's default slice, which jumps where the L2 cache no longer covers the
    image; the second pins it at 4 KiB, so that one regime covers all sizes. ``l2_slice_bytes``
    pins it for all instead.
    """
    slices = (l2_slice_bytes,) if l2_slice_bytes else (None, SMALL_L2_SLICE_BYTES)
    table = [(size, 65536) for size in TABLE_SIZES]
    sweep = [(size, cluster) for cluster in SWEEP_CLUSTERS for size in SWEEP_SIZES]
    return unique(
        layout(size, cluster, l2_slice_bytes=pinned, copy_cluster_bytes=copy_cluster_bytes)
        for pinned in slices
        for size, cluster in (*table, *sweep)
    )


def unique(layouts: Iterable[Layout]) -> list[Layout]:
    """The layouts in their order, each once."""
    return list(dict.fromkeys(layouts))
