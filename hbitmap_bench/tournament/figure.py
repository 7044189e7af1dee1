"""The tournament's figure: how far each contender is behind the fastest, workload by workload."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from hbitmap_bench.base.plotting import literal, png
from hbitmap_bench.tournament.standings import Standing


def draw(at_largest: Sequence[Standing]) -> bytes:
    """PNG: a row for each workload, a mark for each contender at its ratio, on a log axis."""
    figure = Figure(figsize=(10, 1.2 + 0.42 * len(at_largest)), layout="constrained")
    axes = figure.subplots()
    names = sorted({ratio.cell.contender for one in at_largest for ratio in one.ratios})
    marks = "osD^vP*Xh<>dp8"
    for index, name in enumerate(names):
        found = [(one.of(name), row) for row, one in enumerate(at_largest)]
        points = [(ratio, row) for ratio, row in found if ratio is not None]
        axes.errorbar(
            [ratio.median for ratio, _ in points],
            [row + (index - len(names) / 2) * 0.07 for _, row in points],
            xerr=[[ratio.median - (ratio.interval or (ratio.median,))[0] for ratio, _ in points],
                  [(ratio.interval or (ratio.median,))[-1] - ratio.median for ratio, _ in points]],
            fmt=marks[index % len(marks)], color=f"C{index % 10}", markersize=6,
            label=literal(name),
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yticks(range(len(at_largest)), [one.place[0] for one in at_largest])
    axes.invert_yaxis()
    axes.grid(axis="both", alpha=0.3)
    axes.set_xlabel("CPU time over that of the fastest, with 95% intervals")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return png(figure)
