"""The six cells as a figure: times the plain row, and growth from 10T to 11T."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from hbitmap_bench.base import wording
from hbitmap_bench.base.plotting import Picture, literal, png
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.reproduction.cells import TABLE_SIZES
from hbitmap_bench.reproduction.report import naming
from hbitmap_bench.reproduction.report.lines import COLOURS, REMEDY_COLOUR
from hbitmap_bench.reproduction.report.projection import QueryCost
from hbitmap_bench.reproduction.report.six_cells import Line
from hbitmap_bench.reproduction.report.span import Span

_BAR: Final = 0.38
_TICKS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def six_cells_picture(lines: Sequence[Line], cost: QueryCost) -> Picture:
    """Ratios to the plain row at both sizes, and growth, a pair of bars for each line."""
    name = "six-cells"
    filtered = [line for line in lines if line.cell.setup != "plain" and line.ratios]
    if not filtered:
        return Picture(name, "", None, "no filtered row was measured at 10T or 11T")
    grown = [line for line in lines if line.growth is not None]
    height = 1.6 + 0.42 * max(len(filtered), len(grown))
    figure = Figure(figsize=(12, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_ratios(left, filtered)
    _draw_growth(right, grown)
    figure.suptitle(literal(_title(filtered)), fontsize=11)
    caption = (
        "The six cells. Left: seconds over those of the plain row of the same source and build, at "
        "10T (pale) and 11T. Right: growth of seconds from 10T to 11T, which has 10% more size. "
        "Published rows are of wall seconds, measured ones of CPU seconds"
        f"{_projection([*filtered, *grown], cost)}.{_left_out(lines)}"
    )
    return Picture(name, caption, png(figure))


def _projection(drawn: Sequence[Line], cost: QueryCost) -> str:
    """How the model's rows came to their seconds, if one is drawn."""
    if all(line.cell.source != "model" for line in drawn):
        return ""
    return f", the model's are projected with {cost}"


def _left_out(lines: Sequence[Line]) -> str:
    """Which rows have no bar, since nothing is made of a disturbed row."""
    rows = [
        f"{naming.series_source_name(row)}, {_setup(line)}, {format_size(size)}"
        for line in lines
        for size, row in line.rows.items()
        if row.disturbed is not None
    ]
    return f" Disturbed, and not drawn: {'; '.join(rows)}." if rows else ""


def _draw_ratios(axes: Axes, lines: Sequence[Line]) -> None:
    for size, offset, alpha in zip(TABLE_SIZES, (_BAR / 2, -_BAR / 2), (0.45, 1.0), strict=True):
        for place, line in enumerate(reversed(lines)):
            if size in line.ratios:
                ratio = line.ratios[size]
                _draw_bar(axes, place + offset, ratio, line, alpha=alpha, left=1.0, height=_BAR)
                _write(axes, place + offset, ratio, wording.factor(ratio.value))
    _name_lines(axes, lines)
    axes.set_xscale("log")
    spans = [span for one in lines for span in one.ratios.values()]
    ends = [end for span in spans for end in (span.value, *(span.ends or ()))]
    least, most = min(0.8, *ends) / 1.2, max(2.0, 1.7 * max(ends))
    axes.set_xlim(least, most)
    axes.set_xticks([tick for tick in _TICKS if least <= tick <= most])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("times the plain row")


def _draw_growth(axes: Axes, lines: Sequence[Line]) -> None:
    for place, line in enumerate(reversed(lines)):
        if line.growth is not None:
            _draw_bar(axes, place, line.growth, line, alpha=1.0, left=0.0, height=2 * _BAR)
            _write(axes, place, line.growth, f"{line.growth.value:+.0%}")
    _name_lines(axes, lines)
    axes.axvline(0.10, color="#555555", linestyle=":", linewidth=1)
    axes.margins(x=0.15)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("growth of seconds from 10T to 11T (dotted: growth of the size)")


def _draw_bar(
    axes: Axes, place: float, span: Span, line: Line, *, alpha: float, left: float, height: float
) -> None:
    colour = COLOURS[line.cell.setup] if naming.has_default_slice(line.cell) else REMEDY_COLOUR
    axes.barh(place, span.value - left, left=left, height=height, color=colour, alpha=alpha)
    if span.ends is not None and span.ends[0] != span.ends[1]:
        axes.errorbar(
            [span.value], [place],
            xerr=[[max(span.value - span.ends[0], 0.0)], [max(span.ends[1] - span.value, 0.0)]],
            fmt="none", ecolor="#333333", capsize=2, linewidth=1,
        )  # fmt: skip


def _write(axes: Axes, place: float, span: Span, text: str) -> None:
    end = max(span.ends[1], span.value) if span.ends else span.value
    axes.annotate(
        text, (end, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8
    )


def _name_lines(axes: Axes, lines: Sequence[Line]) -> None:
    names = [f"{naming.series_source_name(one.cell)}\n{_setup(one)}" for one in reversed(lines)]
    axes.set_yticks(range(len(lines)), [literal(name) for name in names], fontsize=8)
    axes.grid(visible=True, axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _setup(line: Line) -> str:
    if naming.has_default_slice(line.cell):
        return line.cell.setup
    return f"{line.cell.setup}, slice {format_size(line.cell.l2_slice_bytes)}"


def _title(lines: Sequence[Line]) -> str:
    """At the smaller size: what access and deny cost, of the real builds if there are some."""
    real = [line for line in lines if line.cell.source == "qemu"]
    among = real or lines
    size = TABLE_SIZES[0]
    parts = []
    for setup in ("access", "deny"):
        found = [
            line.ratios[size].value
            for line in among
            if line.cell.setup == setup
            and size in line.ratios
            and naming.has_default_slice(line.cell)
        ]
        if found:
            low, high = (wording.factor(value) for value in (min(found), max(found)))
            parts.append(f"{setup} {low if low == high else f'{low} to {high}'}")
    where = "real QEMU" if real else "published and modelled"
    return f"At {format_size(size)}, times the plain row: {', '.join(parts)} ({where})"
