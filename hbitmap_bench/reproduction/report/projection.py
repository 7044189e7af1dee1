"""What a user would see: the modelled scan on top of a cost a query that QEMU really has.

In process, a plain query costs a fraction of a microsecond; in QEMU it costs tens of them, in parts
that the model leaves out (coroutines, the L2 cache, the job). The raw in-process ratio of access
to plain is therefore far above what a user sees. So a slowdown is always

    (queries * cost a query + extra seconds) / (queries * cost a query),

with a cost a query from a plain row of a real build in the same run, or else the published 159 us.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hbitmap_bench.base import wording
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.qemu.geometry import answer_bytes, n_queries
from hbitmap_bench.reproduction import published
from hbitmap_bench.reproduction.records import CellRecord
from hbitmap_impl.image import SMALL_L2_SLICE_BYTES

REFERENCE_CLUSTER_BYTES = 64 * 1024
"""QEMU's default cluster size, and that of the published table."""


@dataclass(frozen=True, slots=True)
class QueryCost:
    """Seconds that QEMU itself spends on one block-status query, and where they come from."""

    seconds: float
    origin: str

    def __str__(self) -> str:
        """``32.0 us a query (origin)``."""
        return f"{wording.number(self.seconds * 1e6)} us a query ({self.origin})"


def queries_of(cell: CellRecord) -> int:
    """The row's queries: as recorded, else in closed form."""
    if cell.queries is not None:
        return cell.queries
    answer = answer_bytes(
        cell.cluster_bytes, cell.l2_slice_bytes, cell.l2_entry_bytes, cell.copy_cluster_bytes
    )
    return n_queries(cell.image_bytes, answer, cell.copy_cluster_bytes)


def pick_query_cost(cells: Iterable[CellRecord]) -> QueryCost:
    """The cost a query that projections of these rows use.

    From the largest plain QEMU row at 64 KiB clusters and a 4 KiB slice, the first build where two
    are alike; without one, from the published table.
    """
    rows = [cell for cell in _plain_qemu(cells) if cell.l2_slice_bytes == SMALL_L2_SLICE_BYTES]
    if not rows:
        return QueryCost(
            published.QUERY_S, "published: 52 s / 327,680 queries; not measured on this host"
        )
    return _cost_of(max(rows, key=lambda cell: cell.image_bytes))


def query_costs_measured(cells: Iterable[CellRecord]) -> tuple[QueryCost, ...]:
    """The cost a query of every plain QEMU row at 64 KiB clusters, whatever its slice."""
    return tuple(_cost_of(cell) for cell in _plain_qemu(cells))


def projected_s(cell: CellRecord, cost: QueryCost) -> float | None:
    """Seconds of build-up that a user would see: queries x cost, and the row's extra seconds.

    ``None`` for a filtered row without extra seconds.
    """
    if cell.setup != "plain" and cell.extra_s is None:
        return None
    return queries_of(cell) * cost.seconds + (cell.extra_s or 0.0)


def slowdown(cell: CellRecord, cost: QueryCost) -> float | None:
    """Projected build-up over that of the plain row: 1 where the filter costs nothing."""
    seconds = projected_s(cell, cost)
    return None if seconds is None else seconds / (queries_of(cell) * cost.seconds)


def at_its_ends(cell: CellRecord) -> tuple[CellRecord, CellRecord] | None:
    """The row with the least and the most extra seconds that its interval allows.

    These are the interval's ends less the plain row's seconds, and not below 0. ``None`` without
    extra seconds or an interval. Everything projected from the two is a range; the plain row and
    the cost a query are taken as they are, without a range of their own.
    """
    if cell.extra_s is None or cell.work_s is None or cell.interval_s is None:
        return None
    plain_s = cell.work_s - cell.extra_s
    least, most = (max(end - plain_s, 0.0) for end in cell.interval_s)
    return replace(cell, extra_s=least), replace(cell, extra_s=most)


def projected_text(cell: CellRecord, cost: QueryCost) -> str:
    """Projected build-up, with its range where the row has an interval."""
    ends = [wording.duration(projected_s(end, cost) or 0.0) for end in at_its_ends(cell) or ()]
    text = wording.duration(projected_s(cell, cost) or 0.0)
    return f"{text} {wording.between(*ends)}" if len(set(ends)) > 1 else text


def slowdown_text(cell: CellRecord, cost: QueryCost) -> str:
    """Projected slowdown, with its range where the row has an interval."""
    ends = [wording.factor(slowdown(end, cost) or 0.0) for end in at_its_ends(cell) or ()]
    text = wording.factor(slowdown(cell, cost) or 0.0)
    return f"{text} {wording.between(*ends)}" if len(set(ends)) > 1 else text


def size_reaching(rows: Sequence[CellRecord], cost: QueryCost, limit_s: float) -> float | None:
    """Image size in bytes at which the projected build-up of one series passes ``limit_s``.

    ``rows`` are in ascending size. On a straight line in logarithms between the two sizes around
    it; ``None`` where no two rows have the limit between them.
    """
    points = [(row.image_bytes, projected_s(row, cost)) for row in rows]
    for (size_a, a), (size_b, b) in pairwise(points):
        if a is not None and b is not None and 0 < a <= limit_s < b:
            share = math.log(limit_s / a) / math.log(b / a)
            return float(size_a * (size_b / size_a) ** share)
    return None


def projected_at(rows: Sequence[CellRecord], cost: QueryCost, image_bytes: float) -> float | None:
    """Projected build-up of one series at a size between two of its rows; ``None`` outside."""
    points = [(row.image_bytes, projected_s(row, cost)) for row in rows]
    for (size_a, a), (size_b, b) in pairwise(points):
        if a and b and min(a, b) > 0 and size_a <= image_bytes <= size_b:
            share = math.log(image_bytes / size_a) / math.log(size_b / size_a)
            return float(a * (b / a) ** share)
    return None


def _plain_qemu(cells: Iterable[CellRecord]) -> list[CellRecord]:
    return [
        cell
        for cell in cells
        if (cell.source, cell.setup) == ("qemu", "plain")
        and cell.work_s is not None
        and cell.cluster_bytes == REFERENCE_CLUSTER_BYTES
    ]


def _cost_of(cell: CellRecord) -> QueryCost:
    cluster, slice_size = format_size(cell.cluster_bytes), format_size(cell.l2_slice_bytes)
    return QueryCost(
        (cell.work_s or 0.0) / queries_of(cell),
        f"measured in this run on qemu {cell.build}: plain, {format_size(cell.image_bytes)}, "
        f"{cluster} clusters, {slice_size} slice",
    )
