"""The report's tables, built from records; ``drawing`` puts them on a terminal or a page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from hbitmap_bench.base import wording
from hbitmap_bench.base.drawing import Table
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.qemu.filters import LONG_NAMES, SETUPS
from hbitmap_bench.reproduction.growth import extra_is_resolved, plain_of, series, series_key
from hbitmap_bench.reproduction.records import CellRecord, GrowthRecord
from hbitmap_bench.reproduction.report import naming
from hbitmap_bench.reproduction.report.grid import Grid, default_slice_grid, pinned_slice_grid
from hbitmap_bench.reproduction.report.projection import (
    QueryCost,
    at_its_ends,
    projected_s,
    slowdown,
)
from hbitmap_bench.reproduction.report.span import base_of, growth, measured, ratio_to_plain

PROJECTED: Final = "†"
OTHER_SLICE: Final = "‡"
UNRESOLVED: Final = "~"
NEAR_SIZES: Final = 1.5
"""Growth is told in percent between sizes up to this ratio apart; beyond, by the exponents."""

WHOLE_CLUSTER: Final = "§"

_SOURCES: Final = ("published", "model", "qemu")


def side_by_side(cells: Sequence[CellRecord], cost: QueryCost) -> tuple[Table, ...]:
    """Published, modelled and QEMU rows, one table for each image size and cluster size.

    Of the model's sweep it shows the cells that have a published or a QEMU row beside them; the
    sweep tables show the others.
    """
    outside = {_place(cell) for cell in cells if cell.source != "model"}
    swept = {*default_slice_grid(cells).cells, *pinned_slice_grid(cells).cells}
    shown = [cell for cell in cells if _place(cell) in outside or _place(cell)[:2] not in swept]
    by_place = groupby(sorted(_once(shown), key=_reading_order), key=_place)
    return tuple(_place_table(place, list(rows), cells, cost) for place, rows in by_place)


def every_row(cells: Sequence[CellRecord], cost: QueryCost) -> Table:
    """All rows with all their columns, each series together, sizes ascending."""
    columns = ("source", "setup", "image", "cluster", "copy cluster", "L2 slice", *_FIGURES)
    rows = sorted(_once(cells), key=lambda cell: (_SOURCES.index(cell.source), *_by_series(cell)))
    return Table(
        "Every row",
        columns,
        tuple((*_labels(row), *_sizes(row), *_figures(row, cells, cost)) for row in rows),
        _notes(rows, cells, cost),
    )


def growth_table(growth: Sequence[GrowthRecord], cells: Sequence[CellRecord]) -> Table:
    """The fitted exponents, a row for each series within one regime of the slice rule."""
    by_key = {_growth_key(rows[0]): rows for rows in series(cells).values()}
    rows = []
    for record in sorted(growth, key=_growth_order):
        found = by_key.get(_growth_key(record), [])
        members = [cell for cell in found if cell.image_bytes in record.sizes]
        rows.append(_growth_row(record, members))
    columns = (
        "source",
        "setup",
        "cluster",
        "L2 slice",
        "sizes",
        "exponent\nor growth",
        "of the extra",
    )
    return Table("Growth exponents, with intervals", columns, tuple(rows), (), 5)


def sweep_table(grid: Grid, cost: QueryCost) -> Table:
    """Slowdown and projected build-up of the access bitmap, image size across, cluster down."""
    columns = ("cluster", *(format_size(size) for size in grid.sizes))
    rows = tuple(
        (
            format_size(cluster),
            *(_sweep_cell(grid, (size, cluster), cost) for size in grid.sizes),
        )
        for cluster in grid.clusters
    )
    marked = {mark for row in rows for text in row for mark in _SWEEP_NOTES if mark in text}
    notes = (f"{mark} {note}" for mark, note in _SWEEP_NOTES.items() if mark in marked)
    return Table(
        f"Access bitmap, {grid.slice_name}: slowdown and projected build-up",
        columns,
        rows,
        (f"With {cost}.", *notes),
        1,
        grouped=False,
    )


_SWEEP_NOTES: Final = {
    "..": "between two ratios: the ends of the row's 95% prediction interval",
    UNRESOLVED: "the extra seconds are not resolved from noise: the ratio may as well be 1",
    WHOLE_CLUSTER: (
        "the slice is a whole cluster here: fewer queries. Each costs QEMU more than assumed, so "
        "that the slowdown is overstated"
    ),
}


def scan_rate_table(cells: Sequence[CellRecord]) -> Table:
    """Scan rates of the access rows at one size, and what an exact quadratic law would keep equal.

    One column for each source and build, at 64 KiB clusters and the default slice.
    """
    found = [rows for rows in series(cells).values() if _is_reference_access(rows[0])]
    rates = [{row.image_bytes: row.scan_rate_words_s for row in rows} for rows in found]
    sizes = sorted({size for column in rates for size in column})
    rows = tuple(
        (
            format_size(size),
            naming.bitmap_size(size, found[0][0].copy_cluster_bytes),
            *(_rate(column.get(size)) for column in rates),
        )
        for size in sizes
    )
    names = [naming.series_source_name(column[0]) for column in found]
    return Table(
        "Scan rate of the access bitmap, G words/s",
        ("image", "bitmap", *names),
        rows,
        n_labels=1,
        grouped=False,
    )


_FIGURES: Final = (
    "CPU\ns", "spread or\ninterval", "wall\ns", "ratio\nto\nplain", "growth\ntime\n/ size",
    "extra\ns", "G\nwords\n/s",
)  # fmt: skip


def _place_table(
    place: tuple[int, int, int],
    rows: list[CellRecord],
    cells: Sequence[CellRecord],
    cost: QueryCost,
) -> Table:
    image, cluster, copy_cluster = place
    copy = "" if copy_cluster == 2**16 else f", {format_size(copy_cluster)} copy clusters"
    return Table(
        f"{format_size(image)} image, {format_size(cluster)} clusters{copy}",
        ("source", "setup", *_FIGURES),
        tuple((*_labels(row), *_figures(row, cells, cost)) for row in rows),
        _notes(rows, cells, cost),
    )


def _labels(cell: CellRecord) -> tuple[str, str]:
    name = naming.setup_name(cell)
    if cell.elapsed_s is None:
        name += f": not measured, {naming.why_not_measured(cell)}"
    return naming.source_name(cell), name


def _sizes(cell: CellRecord) -> tuple[str, ...]:
    values = (cell.image_bytes, cell.cluster_bytes, cell.copy_cluster_bytes, cell.l2_slice_bytes)
    return tuple(format_size(value) for value in values)


def _figures(cell: CellRecord, cells: Sequence[CellRecord], cost: QueryCost) -> tuple[str, ...]:
    if cell.elapsed_s is None:
        return (wording.NOTHING,) * len(_FIGURES)
    return (
        naming.seconds(cell, cell.cpu_s),
        naming.spread(cell),
        naming.wall_seconds(cell),
        _ratio(cell, cells, cost),
        _growth(cell, cells),
        _extra(cell, cells),
        _rate(cell.scan_rate_words_s),
    )


def _extra(cell: CellRecord, cells: Sequence[CellRecord]) -> str:
    """Extra seconds; marked where noise may have made them, words where it has made them 0."""
    if cell.extra_s is None or cell.source == "published":
        return naming.seconds(cell, cell.extra_s)
    if cell.extra_s <= 0:
        return "not\nresolved"
    resolved = extra_is_resolved(cell, plain_of(cell, cells))
    return naming.seconds(cell, cell.extra_s) + ("" if resolved else f" {UNRESOLVED}")


def _rate(words_s: float | None) -> str:
    return wording.NOTHING if words_s is None else f"{words_s / 1e9:.2f}"


def _ratio(cell: CellRecord, cells: Sequence[CellRecord], cost: QueryCost) -> str:
    """Measured where both rows are one build's; projected for the model."""
    ratio = ratio_to_plain(cell, cells, cost)
    if ratio is None:
        return wording.NOTHING
    if cell.source == "model":
        return f"{wording.factor(ratio.value)} {PROJECTED}"
    plain = base_of(cell, cells)
    same = plain is not None and plain.l2_slice_bytes == cell.l2_slice_bytes
    return wording.factor(ratio.value) + ("" if same else f" {OTHER_SLICE}")


def _growth(cell: CellRecord, cells: Sequence[CellRecord]) -> str:
    """Change of seconds from a size of the same series that is a little smaller."""
    rows = series(cells).get(series_key(cell), [])
    near = [row for row in rows if 1 < cell.image_bytes / row.image_bytes <= NEAR_SIZES]
    if not near or cell.work_s is None:
        return wording.NOTHING
    before = near[-1]
    return f"{_change(cell, before)}\nfrom {format_size(before.image_bytes)}"


def _change(after: CellRecord, before: CellRecord) -> str:
    """Growth of seconds with its range, over that of the size: +27%, [+25%, +29%], / +10%."""
    found = growth(measured(after), measured(before))
    if found is None:
        return wording.NOTHING
    ends = f"\n[{found.ends[0]:+.0%}, {found.ends[1]:+.0%}]" if found.ends else ""
    return f"{found.value:+.0%}{ends}\n/ {wording.change(after.image_bytes, before.image_bytes)}"


def _notes(
    rows: Sequence[CellRecord], cells: Sequence[CellRecord], cost: QueryCost
) -> tuple[str, ...]:
    measured = [row for row in rows if row.elapsed_s is not None]
    marked = [_ratio(row, cells, cost) for row in measured]
    marked += [_extra(row, cells) for row in measured]
    marked += [naming.wall_seconds(row) for row in measured]
    notes = {
        PROJECTED: f"{PROJECTED} projected: modelled extra seconds on top of {cost}",
        OTHER_SLICE: f"{OTHER_SLICE} over the plain row at the default slice",
        UNRESOLVED: f"{UNRESOLVED} not resolved from the noise of this row and its plain row",
    }
    shown = [note for mark, note in notes.items() if any(mark in text for text in marked)]
    reasons = [naming.disturbed_note(row) for row in rows if row.disturbed is not None]
    return (*shown, *_first(reasons))


_REASONS_NAMED: Final = 6
"""On a busy host all rows of a sweep are disturbed, for reasons much alike."""


def _first(reasons: list[str]) -> list[str]:
    hidden = len(reasons) - _REASONS_NAMED
    more = [f"{naming.DISTURBED} and {hidden} more row{'s' * (hidden > 1)}"] if hidden > 0 else []
    return reasons[:_REASONS_NAMED] + more


def _sweep_cell(grid: Grid, place: tuple[int, int], cost: QueryCost) -> str:
    """Slowdown with its marks, the range that its interval gives, and the projected build-up."""
    cell = grid.cells.get(place)
    seconds, ratio = (projected_s(cell, cost), slowdown(cell, cost)) if cell else (None, None)
    if cell is None or seconds is None or ratio is None:
        return wording.NOTHING
    marks = UNRESOLVED if place in grid.unresolved else ""
    marks += WHOLE_CLUSTER if cell.l2_slice_bytes == cell.cluster_bytes else ""
    ends = [slowdown(end, cost) or 0.0 for end in at_its_ends(cell) or ()]
    lines = [
        f"{wording.factor(ratio)} {marks}".rstrip(),
        *([wording.factors(*ends)] if ends else []),
    ]
    return "\n".join([*lines, wording.duration(seconds)])


def _growth_row(record: GrowthRecord, members: list[CellRecord]) -> tuple[str, ...]:
    source: str = record.source
    name = LONG_NAMES[record.setup]
    if members:
        source = naming.series_source_name(members[0])
        name = naming.setup_base_name(members[0])
    if len(record.sizes) > 2:
        sizes = f"{format_size(record.sizes[0])}..{format_size(record.sizes[-1])}"
        sizes += f"\n({len(record.sizes)} sizes)"
    else:
        sizes = ", ".join(format_size(size) for size in record.sizes)
    return (
        source,
        name,
        format_size(record.cluster_bytes),
        _regime(record, members),
        sizes,
        _growth_text(record, members),
        wording.exponent(record.extra_exponent, record.extra_interval),
    )


def _growth_text(record: GrowthRecord, members: list[CellRecord]) -> str:
    """The exponent; where none may be told, the growth in percent, if the sizes are near."""
    first, last = record.sizes[0], record.sizes[-1]
    if record.exponent is None and len(members) > 1 and last / first <= NEAR_SIZES:
        return _change(members[-1], members[0])
    return wording.exponent(record.exponent, record.interval)


def _regime(record: GrowthRecord, members: list[CellRecord]) -> str:
    """The slice, and where QEMU's default has it: the break of the slice rule, marked."""
    slice_name = format_size(record.l2_slice_bytes)
    default = [cell.image_bytes for cell in members if naming.has_default_slice(cell)]
    if len(default) == len(members):
        return f"{slice_name}\n(default)"
    if not default:
        return f"{slice_name}\n(set)"
    return f"{slice_name} (default\nfrom {format_size(default[0])},\nset below)"


def _growth_key(row: GrowthRecord | CellRecord) -> tuple[object, ...]:
    return row.source, row.build, row.setup, row.cluster_bytes, row.l2_slice_bytes


def _growth_order(record: GrowthRecord) -> tuple[object, ...]:
    setup = SETUPS.index(record.setup)
    place = (record.cluster_bytes, record.l2_slice_bytes)
    return _SOURCES.index(record.source), record.build or "", *place, setup


def _is_reference_access(cell: CellRecord) -> bool:
    reference = cell.cluster_bytes == 2**16 and naming.has_default_slice(cell)
    return cell.setup == "access" and reference


def _place(cell: CellRecord) -> tuple[int, int, int]:
    return cell.image_bytes, cell.cluster_bytes, cell.copy_cluster_bytes


def _reading_order(cell: CellRecord) -> tuple[object, ...]:
    return (*_place(cell), _SOURCES.index(cell.source), *_by_series(cell))


def _by_series(cell: CellRecord) -> tuple[object, ...]:
    setup = SETUPS.index(cell.setup)
    return cell.build or "", cell.cluster_bytes, cell.l2_slice_bytes, setup, cell.image_bytes


def _once(cells: Sequence[CellRecord]) -> list[CellRecord]:
    """Each row once: the two sweeps share cells where the default slice is the pinned one."""
    return list({(series_key(cell), cell.image_bytes): cell for cell in reversed(cells)}.values())
