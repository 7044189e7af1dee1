"""The tournament's figure: how far each contender is behind the fastest, workload by workload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hbitmap_bench.base.plotting import literal, png
from hbitmap_bench.tournament.standings import Standing

_MARKS: Final = "osD^vP*Xh<>dp8"


def draw(at_largest: Sequence[Standing]) -> bytes:
    """PNG: a row for each workload, a mark for each contender at its ratio, on a log axis.

    What a busy host has disturbed has no ratio: a cross in its colour at the left edge.
    """
    figure = Figure(figsize=(10, 1.2 + 0.42 * len(at_largest)), layout="constrained")
    axes = figure.subplots()
    names = sorted({ratio.cell.contender for one in at_largest for ratio in one.ratios})
    for index, name in enumerate(names):
        _draw(axes, at_largest, name, index, (index - len(names) / 2) * 0.07)
    if any(one.disturbed for one in at_largest):
        axes.plot([], [], "x", color="#777777", label="disturbed: no ratio")
    axes.set_xscale("log")
    axes.set_yticks(range(len(at_largest)), [one.place[0] for one in at_largest])
    axes.invert_yaxis()
    axes.grid(axis="both", alpha=0.3)
    axes.set_xlabel("CPU time over that of the fastest, with 95% intervals")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return png(figure)


def _draw(axes: Axes, at_largest: Sequence[Standing], name: str, index: int, offset: float) -> None:
    """One contender's marks, a little above or below the middle of each row."""
    colour = f"C{index % 10}"
    found = [(one.of(name), row + offset) for row, one in enumerate(at_largest)]
    told = [
        (ratio.median, ratio.interval or (ratio.median, ratio.median), row)
        for ratio, row in found
        if ratio is not None and ratio.median is not None
    ]
    axes.errorbar(
        [median for median, _, _ in told],
        [row for _, _, row in told],
        xerr=[[median - ends[0] for median, ends, _ in told],
              [ends[1] - median for median, ends, _ in told]],
        fmt=_MARKS[index % len(_MARKS)], color=colour, markersize=6, label=literal(name),
    )  # fmt: skip
    crosses = [row for ratio, row in found if ratio is not None and ratio.disturbed is not None]
    axes.plot(
        [0.01] * len(crosses), crosses, "x", color=colour, markersize=6,
        transform=axes.get_yaxis_transform(),
    )  # fmt: skip
