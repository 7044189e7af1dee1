"""How the figures look: colours, markers, axes, and the PNG that they end as.

A white ground, readable on a dark page too. Colours are Okabe and Ito's, which colour-blind readers
can tell apart; sources differ by marker and line as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from hbitmap_bench.cells import format_size
from hbitmap_bench.records import CellRecord, Setup

COLOURS: Final[dict[Setup, str]] = {"plain": "#000000", "access": "#D55E00", "deny": "#0072B2"}
REMEDY_COLOUR: Final = "#CC79A7"
MARKERS: Final = {"published": "*", "model": "o", "qemu": "s"}
LINES: Final = {"published": ":", "model": "-", "qemu": "--"}
DPI: Final = 110

Series = list[CellRecord]


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure as PNG, or the reason why there is none."""

    name: str
    caption: str
    png: bytes | None
    missing: str = ""


def line(axes: Axes, rows: Series, values: Sequence[float], label: str, colour: str) -> None:
    """Draw one value a row against the rows' image sizes, in the look of the rows' source."""
    source = rows[0].source
    under = (source, rows[0].setup) == ("model", "plain")
    axes.plot(
        [row.image_bytes for row in rows],
        values,
        color=colour,
        label=label,
        marker=MARKERS[source],
        markersize=9 if source == "published" else 5,
        markerfacecolor="white" if source == "qemu" else colour,
        linestyle=LINES[source],
        linewidth=3.5 if under else 1.5,  # deny lies upon plain: the wider one shows around it
    )


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


def png(figure: Figure) -> bytes:
    """PNG of a figure, without the Matplotlib version, so that equal figures are equal files."""
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return stream.getvalue()
