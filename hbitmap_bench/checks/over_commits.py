"""A cell over commits, drawn: what asv's pages show, as a picture that can be kept and mailed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hbitmap_bench.base.plotting import literal, png
from hbitmap_bench.commits.front_text import cell_words
from hbitmap_bench.commits.series import Benchmark, History, Params
from hbitmap_bench.qemu.filters import SETUPS
from hbitmap_bench.reproduction.report.lines import COLOURS

SHADE: Final = "#F0E442"
LOG_FROM: Final = 5.0
"""A cell that varies by more than this is drawn on a log axis: else its low part is a flat line."""

Cell = tuple[Benchmark, Params]


def cell_picture(
    history: History, cells: Sequence[Cell], labels: Sequence[str], shaded: range, title: str
) -> bytes:
    """PNG of cells over the commits of a history, one below the other.

    Each is drawn beside the same cell of the other implementations, as far as its own scale shows
    them, with asv's 99% interval of the median as bars. ``labels`` names the commits; those of
    ``shaded`` lie on a ground of their own.
    """
    height = 2.8 * len(cells) + 1.8
    figure = Figure(figsize=(0.55 * len(labels) + 3.5, height), layout="constrained")
    plots = figure.subplots(len(cells), squeeze=False, sharex=True)[:, 0]
    for axes, (benchmark, params) in zip(plots, cells, strict=True):
        axes.axvspan(shaded.start - 0.5, shaded.stop - 0.5, color=SHADE, alpha=0.4, linewidth=0)
        _draw(axes, history, benchmark, params)
    plots[-1].set_xticks(range(len(labels)), labels, rotation=45, ha="right", fontsize=8)
    figure.suptitle(literal(title), x=0.01, ha="left", fontsize=11)
    return png(figure)


def _draw(axes: Axes, history: History, benchmark: Benchmark, params: Params) -> None:
    """One cell in bold, and the other implementations' cells of the same parameters."""
    for setup in SETUPS:
        place = benchmark.place.get((setup, *params[1:]))
        if place is None:
            continue
        value, low, high = (ends[:, place] for ends in history.measured[benchmark.name])
        if not np.isfinite(value).any():
            continue
        bold = setup == params[0]
        if bold:
            _scale(axes, value)
        axes.errorbar(
            range(len(value)), value, yerr=[value - low, high - value], label=setup, capsize=3,
            color=COLOURS[setup], marker="o", markersize=6 if bold else 4,
            linewidth=2.2 if bold else 1, alpha=1 if bold else 0.6,
        )  # fmt: skip
    axes.set_ylabel(benchmark.unit)
    declared = history.declared
    words = declared.benchmark_words(benchmark.name).title
    cell = cell_words(benchmark, params, declared.parameters)
    axes.set_title(literal(f"{words}: {cell}"), loc="left", fontsize=9)
    axes.grid(visible=True, axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _scale(axes: Axes, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    """A log axis where the bold values need one; else one from 0, so that a step of 20% is seen."""
    low, high = np.nanmin(values), np.nanmax(values)
    if low > 0 and high > LOG_FROM * low:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.3 * high if high > 0 else 1)
