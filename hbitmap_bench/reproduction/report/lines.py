"""How rows of the reproduction look in a figure: colours, markers, lines, bars and axes.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; sources differ by marker and
line as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from hbitmap_bench.base.plotting import literal
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.qemu.filters import Setup
from hbitmap_bench.reproduction.records import CellRecord
from hbitmap_bench.reproduction.report.naming import has_default_slice

COLOURS: Final[dict[Setup, str]] = {"plain": "#000000", "access": "#D55E00", "deny": "#0072B2"}
REMEDY_COLOUR: Final = "#CC79A7"
MARKERS: Final = {"published": "*", "model": "o", "qemu": "s"}
REMEDY_MARKER: Final = "D"
LINES: Final = {"published": ":", "model": "-", "qemu": "--"}
SHORTEST_DRAWN: Final = 0.1
"""Lower ends of bars below this share of their value are cut: a log axis has no 0 to reach."""
BUILD_MARKERS: Final = "sD^vP"
"""Of real builds that one plot shows in one colour, in turn."""

Series = list[CellRecord]


def line(
    axes: Axes, rows: Series, values: Sequence[float], label: str, colour: str, marker: str = ""
) -> None:
    """Draw one value a row against the rows' image sizes, in the look of the rows' source.

    ``marker`` tells builds apart that are drawn into one plot.
    """
    source = rows[0].source
    remedy = source == "qemu" and not has_default_slice(rows[0])
    under = (source, rows[0].setup) == ("model", "plain")
    axes.plot(
        [row.image_bytes for row in rows],
        values,
        color=colour,
        label=literal(label),
        marker=marker or (REMEDY_MARKER if remedy else MARKERS[source]),
        markersize=9 if source == "published" else 5,
        markerfacecolor="white" if source == "qemu" else colour,
        linestyle=LINES[source],
        linewidth=3.5 if under else 1.5,  # deny lies upon plain: the wider one shows around it
    )


def bars(axes: Axes, rows: Series, colour: str) -> None:
    """Draw the rows' intervals; an arrowhead ends a bar that is cut (see ``is_cut``)."""
    barred = [row for row in rows if row.interval_s is not None]
    sizes = np.array([row.image_bytes for row in barred], float)
    middle = np.array([row.work_s for row in barred], float)
    ends = np.array([row.interval_s for row in barred], float).reshape(-1, 2)
    cut = np.array([is_cut(row) for row in barred], bool)
    below = np.where(cut, 0, middle - ends[:, 0])
    axes.errorbar(
        sizes, middle, fmt="none", ecolor=colour, capsize=3,
        yerr=np.maximum([below, ends[:, 1] - middle], 0),
    )  # fmt: skip
    lowest = SHORTEST_DRAWN * middle[cut]
    axes.vlines(sizes[cut], lowest, middle[cut], color=colour)
    axes.plot(
        sizes[cut], lowest, color=colour, marker="v", markersize=7, linestyle="none", zorder=4
    )


def is_cut(row: CellRecord) -> bool:
    """Whether a row's interval reaches so near to 0 that its bar is cut."""
    if row.interval_s is None or row.work_s is None:
        return False
    return row.interval_s[0] < SHORTEST_DRAWN * row.work_s


def size_axes(axes: Axes, sizes: set[int]) -> None:
    """Log axes, with image sizes named below; of sizes too close to name both, the smaller."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    apart = [size for size in sorted(sizes) if not any(s < size < 1.2 * s for s in sizes)]
    axes.xaxis.set_major_locator(FixedLocator(apart))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([format_size(size) for size in apart], fontsize=8)
    axes.set_xlabel("image size")
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
