"""The report's figures. Every title states a finding that is computed from the records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hbitmap_bench.base import wording
from hbitmap_bench.base.plotting import Picture, literal, png
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.base.slopes import loglog_slope
from hbitmap_bench.qemu.filters import LONG_NAMES, SETUPS, Setup
from hbitmap_bench.reproduction.growth import growth_of, series
from hbitmap_bench.reproduction.records import CellRecord
from hbitmap_bench.reproduction.report import naming
from hbitmap_bench.reproduction.report.heatmap import slowdown_picture
from hbitmap_bench.reproduction.report.lines import (
    BUILD_MARKERS,
    COLOURS,
    MARKERS,
    REMEDY_COLOUR,
    SHORTEST_DRAWN,
    Series,
    bars,
    is_cut,
    line,
    size_axes,
)
from hbitmap_bench.reproduction.report.model_against_qemu import match_picture, matches
from hbitmap_bench.reproduction.report.projection import REFERENCE_CLUSTER_BYTES, QueryCost
from hbitmap_bench.reproduction.report.six_cells import six_cells
from hbitmap_bench.reproduction.report.six_cells_figure import six_cells_picture
from hbitmap_bench.reproduction.report.span import ratio_to_plain, seconds


def pictures(cells: Sequence[CellRecord], cost: QueryCost) -> tuple[Picture, ...]:
    """All figures of a report, in reading order. Costs a few seconds."""
    return (
        six_cells_picture(six_cells(cells, cost), cost),
        time_picture(cells),
        slice_break_picture(cells),
        slowdown_picture(cells, cost),
        deny_picture(cells, cost),
        words_picture(cells),
        match_picture(matches(cells)),
    )


def time_picture(cells: Sequence[CellRecord]) -> Picture:
    """Seconds against image size on log axes, a line for each series, exponents in the legend."""
    name, shown = "time", _reference(cells)
    if not any(len(rows) > 1 for rows in shown):
        return Picture(name, "", None, "no setup was measured at two image sizes")
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    axes = figure.subplots()
    for rows in shown:
        _draw_times(axes, rows)
    _draw_disturbed(axes, cells)
    size_axes(axes, {row.image_bytes for rows in shown for row in rows})
    axes.set_ylabel("build-up, CPU seconds (published: wall)")
    axes.set_title(literal(_time_title(shown)), loc="left", fontsize=11)
    axes.legend(
        title="exponent of seconds over image size [95% interval]", fontsize=8, title_fontsize=8,
        loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False,
    )  # fmt: skip
    cluster = format_size(REFERENCE_CLUSTER_BYTES)
    caption = f"Build-up seconds against image size at {cluster} clusters."
    if _has_model(shown):
        caption += (
            " The model runs in process, without QEMU's own cost a query, so its plain and deny "
            "lines lie far below QEMU's; slopes compare, heights of plain and deny do not."
        )
    if any(is_cut(row) for rows in shown for row in rows):
        caption += (
            f" A bar that ends in an arrowhead goes on to 0 or near it: it is cut at "
            f"{SHORTEST_DRAWN:g} of its value."
        )
    return Picture(name, caption, png(figure))


def slice_break_picture(cells: Sequence[CellRecord]) -> Picture:
    """The largest cluster size that crosses the slice rule's break: default against pinned."""
    name, found = "slice-break", _across_the_break(cells)
    if not found:
        return Picture(name, "", None, "no cluster size was measured on both sides of a break")
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for rows, colour in zip(found, (COLOURS["access"], REMEDY_COLOUR), strict=False):
        slice_name = format_size(rows[0].l2_slice_bytes)
        label = f"slice {slice_name}: {_exponent(rows)}"
        line(axes, rows, [row.work_s or 0 for row in rows], label, colour)
    last = max(row.image_bytes for row in found[1] if naming.has_default_slice(row))
    first = min(row.image_bytes for row in found[0] if naming.has_default_slice(row))
    axes.axvspan(last, first, color="#dddddd", zorder=0)
    axes.annotate(
        "QEMU's default slice drops", (math.sqrt(last * first), 0.02), rotation=90,
        xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8,
    )  # fmt: skip
    size_axes(axes, {row.image_bytes for rows in found for row in rows})
    axes.set_ylabel("build-up in process, CPU seconds")
    times = _times_apart(found)
    cluster = format_size(found[0][0].cluster_bytes)
    axes.set_title(
        f"{cluster} clusters, access bitmap: the 4K slice takes {times} the time of a whole one",
        loc="left", fontsize=11,
    )  # fmt: skip
    axes.legend(fontsize=8, frameon=False)
    caption = (
        f"The break of the slice rule at {cluster} clusters. By default an image on the left of "
        f"the grey band has slices of {format_size(found[1][0].l2_slice_bytes)}, one on its right "
        f"of {format_size(found[0][0].l2_slice_bytes)}; exponents are fitted on one line at a time."
    )
    return Picture(name, caption, png(figure))


def deny_picture(cells: Sequence[CellRecord], cost: QueryCost) -> Picture:
    """Build-up with the access and with the deny bitmap, and how many times the plain row it is.

    Each line is of one source and build: an unpatched and a patched build have a line each.
    """
    name, lines = "deny", _filtered(cells)
    if not {"access", "deny"} <= {rows[0].setup for rows in lines}:
        return Picture(name, "", None, "access and deny were not both measured at two sizes")
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    builds = list(dict.fromkeys(rows[0].build for rows in lines if rows[0].source == "qemu"))
    for rows in lines:
        label = f"{naming.series_source_name(rows[0])}: {rows[0].setup}"
        colour = COLOURS[rows[0].setup]
        real = rows[0].source == "qemu"
        marker = BUILD_MARKERS[builds.index(rows[0].build) % len(BUILD_MARKERS)] if real else ""
        line(left, rows, [_user_seconds(row, cost) for row in rows], label, colour, marker)
        ratios = [span.value for row in rows if (span := ratio_to_plain(row, cells, cost))]
        if len(ratios) == len(rows):
            line(right, rows, ratios, label, colour, marker)
    for axes in (left, right):
        size_axes(axes, {row.image_bytes for rows in lines for row in rows})
    left.legend(fontsize=8, frameon=False)
    left.set_ylabel("build-up, CPU seconds (published: wall; model: projected)")
    right.set_ylabel("times the plain row of the same build")
    figure.suptitle(literal(_deny_title(lines, cells, cost)), fontsize=11)
    caption = (
        "Access and deny over image size. Left: seconds. Right: over the plain row of the same "
        "source and build."
    )
    if _has_model(lines):
        caption += f" The model's rows are projected with {cost}."
    return Picture(name, caption, png(figure))


def words_picture(cells: Sequence[CellRecord]) -> Picture:
    """Words that access checks examine in a build-up: exact, whatever disturbed its seconds."""
    name = "words"
    found = [
        [row for row in rows if row.words_examined]
        for rows in _reference(cells, "words_examined")
        if rows[0].source == "model" and rows[0].setup != "plain"
    ]
    found = [rows for rows in found if len(rows) > 1]
    if not found:
        return Picture(name, "", None, "no two sizes of the model have words examined")
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for rows in found:
        words = [float(row.words_examined or 0) for row in rows]
        how = ", ".join(sorted({(row.words_source or "").replace("_", " ") for row in rows}))
        slope = loglog_slope([row.image_bytes for row in rows], words).exponent
        label = f"{LONG_NAMES[rows[0].setup]}: exponent {slope:.2f} ({how})"
        line(axes, rows, words, label, COLOURS[rows[0].setup])
    size_axes(axes, {row.image_bytes for rows in found for row in rows})
    axes.set_ylabel("words examined in one build-up")
    axes.set_title(_words_title(found), loc="left", fontsize=11)
    axes.legend(fontsize=8, frameon=False)
    caption = (
        f"Words examined, at {format_size(REFERENCE_CLUSTER_BYTES)} clusters: exact numbers, which "
        "no machine changes. The legend says whether they were counted or come from the closed "
        "form."
    )
    return Picture(name, caption, png(figure))


# ---------------------------------------------------------------- choosing rows


def _reference(cells: Iterable[CellRecord], quantity: str = "work_s") -> list[Series]:
    """The series at the reference cluster size, published first, as the tables have them."""
    order = list(MARKERS)
    all_rows = series(cells, quantity).items()
    found = [rows for key, rows in all_rows if key.cluster_bytes == REFERENCE_CLUSTER_BYTES]
    return sorted(found, key=lambda rows: order.index(rows[0].source))


def _across_the_break(cells: Iterable[CellRecord]) -> list[Series]:
    """The 4K line and the whole-cluster line of the largest cluster that has a default on both."""
    found: dict[int, dict[int, Series]] = {}
    for key, rows in series(cells).items():
        has_default = any(naming.has_default_slice(row) for row in rows)
        if (key.source, key.setup) == ("model", "access") and has_default:
            found.setdefault(key.cluster_bytes, {})[key.l2_slice_bytes] = rows
    crossed = [cluster for cluster, lines in found.items() if len(lines) == 2]
    if not crossed:
        return []
    lines = found[max(crossed)]
    return [lines[slice_bytes] for slice_bytes in sorted(lines)]


def _filtered(cells: Iterable[CellRecord]) -> list[Series]:
    """Access and deny rows at the default slice, two sizes or more, for each source and build."""
    found = []
    for rows in _reference(cells):
        shown = [
            row
            for row in rows
            if naming.has_default_slice(row) and (row.source != "model" or row.extra_s is not None)
        ]
        if len(shown) > 1 and shown[0].setup != "plain":
            found.append(shown)
    return found


def _user_seconds(cell: CellRecord, cost: QueryCost) -> float:
    """Measured or published seconds as they are; the model's projected."""
    span = seconds(cell, cost)
    return span.value if span is not None else math.nan


def _has_model(lines: Sequence[Series]) -> bool:
    """Whether a line is the model's: where all its rows are disturbed, there is none."""
    return any(rows[0].source == "model" for rows in lines)


# ---------------------------------------------------------------- drawing


def _draw_times(axes: Axes, rows: Series) -> None:
    first = rows[0]
    is_remedy = first.setup == "access" and not naming.has_default_slice(first)
    colour = REMEDY_COLOUR if is_remedy else COLOURS[first.setup]
    label = f"{naming.series_source_name(first)}: {naming.setup_name(first)}: {_exponent(rows)}"
    times = [row.work_s or 0.0 for row in rows]
    line(axes, rows, times, label, colour)
    bars(axes, rows, colour)


def _exponent(rows: Series) -> str:
    if len(rows) < 2:
        return "one size"
    record = growth_of(rows)
    if record.exponent is None:
        return "no exponent"
    return wording.exponent(record.exponent, record.interval).replace("\n", " ")


def _draw_disturbed(axes: Axes, cells: Sequence[CellRecord]) -> None:
    """Crosses that belong to no line, where a row was disturbed."""
    rows = [
        cell
        for cell in cells
        if cell.disturbed is not None and cell.cluster_bytes == REFERENCE_CLUSTER_BYTES
    ]
    if rows:
        axes.plot(
            [row.image_bytes for row in rows],
            [row.elapsed_s or math.nan for row in rows],
            "x", color="#777777", markersize=8, label="disturbed (wall seconds): in no line",
        )  # fmt: skip


# ---------------------------------------------------------------- titles


def _time_title(shown: list[Series]) -> str:
    """The exponents of the setups, from the source that has the most sizes."""
    source = max(shown, key=len)[0]
    parts = []
    for setup in SETUPS:
        for rows in shown:
            same = (rows[0].source, rows[0].build) == (source.source, source.build)
            exponent = growth_of(rows).exponent if len(rows) > 1 else None
            if same and rows[0].setup == setup and exponent is not None:
                parts.append(f"{setup} {exponent:.2f}")
                break
    if not parts:
        return "Build-up seconds against image size: no exponent can be told"
    return f"Seconds grow as a power of the image size: {', '.join(parts)}\n({_name(source)})"


def _name(cell: CellRecord) -> str:
    return f"{naming.series_source_name(cell)}, {format_size(cell.cluster_bytes)} clusters"


def _times_apart(found: list[Series]) -> str:
    whole = {row.image_bytes: row.work_s for row in found[1]}
    ratios = [
        (row.work_s or 0.0) / (whole[row.image_bytes] or 1.0)
        for row in found[0]
        if row.image_bytes in whole
    ]
    if not ratios:
        return "more than"
    low, high = (wording.factor(value) for value in (min(ratios), max(ratios)))
    return low if low == high else f"{low} to {high}"


def _deny_title(lines: Sequence[Series], cells: Sequence[CellRecord], cost: QueryCost) -> str:
    """At the largest size that a source, a real one if there is one, has both bitmaps at."""
    real = [rows for rows in lines if rows[0].source == "qemu"]
    both = {"access", "deny"} <= {rows[0].setup for rows in real}
    found: dict[Setup, dict[int, CellRecord]] = {}
    for rows in real if both else lines:
        for row in rows:
            found.setdefault(row.setup, {})[row.image_bytes] = row
    sizes = found.get("access", {}).keys() & found.get("deny", {}).keys()
    if not sizes:
        return "Access and deny: no size has both"
    access, deny = (found[setup][max(sizes)] for setup in _BOTH)
    ratios = [ratio_to_plain(row, cells, cost) for row in (deny, access)]
    times = [wording.factor(ratio.value) if ratio else "unknown" for ratio in ratios]
    return (
        f"{format_size(max(sizes))}, times the plain row: {times[0]} with the deny bitmap "
        f"({naming.series_source_name(deny)}), {times[1]} with the access bitmap "
        f"({naming.series_source_name(access)})"
    )


_BOTH: Final[tuple[Setup, Setup]] = ("access", "deny")


def _words_title(found: list[Series]) -> str:
    words = {rows[0].setup: {row.image_bytes: row.words_examined for row in rows} for rows in found}
    access, deny = words.get("access", {}), words.get("deny", {})
    shared = sorted(access.keys() & deny.keys())
    if not shared:
        return "Words examined in one build-up"
    times = (access[shared[-1]] or 0) / (deny[shared[-1]] or 1)
    return (
        f"At {format_size(shared[-1])} the access bitmap has {times:,.0f} times the words examined"
    )
