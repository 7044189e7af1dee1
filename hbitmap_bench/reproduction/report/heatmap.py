"""The heat map: what the access bitmap costs over image sizes and cluster sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from hbitmap_bench.base import wording
from hbitmap_bench.base.plotting import Picture, literal, png
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.reproduction.records import CellRecord
from hbitmap_bench.reproduction.report.grid import Grid, default_slice_grid, pinned_slice_grid
from hbitmap_bench.reproduction.report.projection import QueryCost, projected_s, slowdown

_LINE = Literal[":", "--", "-"]
LIMITS_S: Final[dict[float, tuple[str, _LINE]]] = {
    60.0: ("1 minute", ":"),
    600.0: ("10 minutes", "--"),
    3600.0: ("1 hour", "-"),
}
_LIMIT_COLOUR: Final = "#D55E00"
_HATCH: Final[dict[str, Any]] = {
    "facecolor": "none",
    "edgecolor": "#aaaaaa",
    "hatch": "//",
    "linewidth": 0,
}


def slowdown_picture(cells: Sequence[CellRecord], cost: QueryCost) -> Picture:
    """Slowdown over image size and cluster size, with contours of the projected build-up."""
    name = "slowdown"
    grids = [grid for grid in (default_slice_grid(cells), pinned_slice_grid(cells)) if grid]
    if not grids:
        return Picture(name, "", None, "this run has no sweep of image sizes and cluster sizes")
    values = [_values(grid, lambda cell: slowdown(cell, cost)) for grid in grids]
    norm = LogNorm(1, 1.01 * max(1.0, *(float(np.nanmax(value)) for value in values)))
    figure = Figure(figsize=(6.4 * len(grids), 5.2), layout="constrained")
    panels = figure.subplots(1, len(grids), squeeze=False)[0]
    for axes, grid, value in zip(panels, grids, values, strict=True):
        image = axes.imshow(value, norm=norm, cmap="cividis", origin="lower", aspect="auto")
        _draw_limits(axes, _values(grid, lambda cell: projected_s(cell, cost)))
        _hatch_whole_clusters(axes, grid)
        _write_numbers(axes, grid, value)
        _label_axes(axes, grid)
    figure.colorbar(image, ax=figure.axes, label="access over plain, projected")
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    title = f"{_slowdown_title(grids[-1], values[-1])}\nprojected with {cost}"
    figure.suptitle(literal(title), fontsize=11)
    caption = (
        "Slowdown of the access bitmap (numbers: projected access over projected plain) and where "
        f"its projected build-up passes a minute, ten minutes and an hour (lines). With {cost}."
    )
    if any(grid.unresolved for grid in grids):
        caption += " Numbers with ~ are not resolved from noise; the title leaves them out."
    return Picture(name, caption, png(figure))


def _values(grid: Grid, value: Callable[[CellRecord], float | None]) -> NDArray[np.float64]:
    """A grid's values, shape (clusters, sizes), NaN where there is none."""
    table = np.full((len(grid.clusters), len(grid.sizes)), np.nan)
    for (size, cluster), cell in grid.cells.items():
        found = value(cell)
        table[grid.clusters.index(cluster), grid.sizes.index(size)] = (
            np.nan if found is None else found
        )
    return table


def _label_axes(axes: Axes, grid: Grid) -> None:
    axes.set_xticks(range(len(grid.sizes)), [format_size(size) for size in grid.sizes])
    axes.set_yticks(range(len(grid.clusters)), [format_size(size) for size in grid.clusters])
    axes.set_xlabel("image size")
    axes.set_ylabel("image cluster size")
    axes.set_title(grid.slice_name, fontsize=10)


def _write_numbers(axes: Axes, grid: Grid, values: NDArray[np.float64]) -> None:
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            unresolved = (grid.sizes[column], grid.clusters[row]) in grid.unresolved
            text = wording.factor(float(value)) + (" ~" if unresolved else "")
            axes.text(
                column, row, text, ha="center", va="center", fontsize=8,
                color="white", path_effects=[withStroke(linewidth=2.5, foreground="#222222")],
            )  # fmt: skip


def _hatch_whole_clusters(axes: Axes, grid: Grid) -> None:
    """Mark the far side of the slice rule's break."""
    for (size, cluster), cell in grid.cells.items():
        if cell.l2_slice_bytes == cluster:
            corner = (grid.sizes.index(size) - 0.5, grid.clusters.index(cluster) - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, **_HATCH))


def _draw_limits(axes: Axes, seconds: NDArray[np.float64]) -> None:
    """Contours on the logarithm, which is nearly a straight line between neighbouring cells."""
    logs = np.ma.masked_invalid(np.log10(np.where(seconds > 0, seconds, np.nan)))
    for limit, (_, line) in LIMITS_S.items():
        if logs.min() < np.log10(limit) < logs.max():
            drawn = axes.contour(
                logs, levels=[np.log10(limit)], colors="white", linewidths=2, linestyles=line
            )
            drawn.set_path_effects([withStroke(linewidth=4, foreground=_LIMIT_COLOUR)])


def _legend() -> list[Artist]:
    edge = [withStroke(linewidth=4, foreground=_LIMIT_COLOUR)]
    lines = [
        Line2D([], [], color="white", linewidth=2, linestyle=line, path_effects=edge,
               label=f"build-up passes {name}")
        for name, line in LIMITS_S.values()
    ]  # fmt: skip
    return [*lines, Patch(label="the slice is a whole cluster", **_HATCH)]


def _slowdown_title(grid: Grid, values: NDArray[np.float64]) -> str:
    """Over the cells that stand out of the noise."""
    resolved = values.copy()
    for size, cluster in grid.unresolved:
        resolved[grid.clusters.index(cluster), grid.sizes.index(size)] = np.nan
    if np.isnan(resolved).all():
        return "No slowdown by the access bitmap stands out of the noise"
    low, high = (wording.factor(float(end)) for end in (np.nanmin(resolved), np.nanmax(resolved)))
    first, last = format_size(grid.sizes[0]), format_size(grid.sizes[-1])
    return f"The access bitmap slows the build-up by {low} to {high} from {first} to {last}"
