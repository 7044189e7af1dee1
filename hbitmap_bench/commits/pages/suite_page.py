"""A suite's page: its panels, and every cell in a table that needs no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from hbitmap_bench.base.wording import NOTHING, amount, interval
from hbitmap_bench.commits.pages.panel import Panel
from hbitmap_bench.commits.project_file import Words
from hbitmap_bench.commits.series import Commit, Param

HASH_LENGTH = 10


@dataclass(frozen=True)
class CellRow:
    """A cell's line: its parameters, newest and previous value as text, and where its plot is."""

    place: int
    params: tuple[Param, ...]
    href: str
    value: str
    interval: str
    commit: str
    before: str
    change: str


@dataclass(frozen=True)
class CellTable:
    """All cells of a panel."""

    panel: Panel
    rows: tuple[CellRow, ...]

    @property
    def n_measured(self) -> int:
        """Cells that any commit has measured."""
        return sum(row.value != NOTHING for row in self.rows)


@dataclass(frozen=True)
class SuitePage:
    """A suite with its panels, in the order that a reader chooses from."""

    name: str
    words: Words
    panels: tuple[Panel, ...]

    @property
    def file(self) -> str:
        """The page's file name."""
        return page_name(self.name)


def page_name(suite: str) -> str:
    """The file name of a suite's page."""
    return f"{file_stem(suite)}.html"


def file_stem(name: str) -> str:
    """A name as part of a file name: other characters than letters, digits, ``._-`` are replaced.

    Two names that differ in such characters alone would share a file; names of Python modules,
    classes and functions have none.
    """
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)


def cell_address(panel: str, names: Sequence[str], params: Sequence[Param], view: str) -> str:
    """The part of an address behind ``#`` that shows a cell: readable, and stable over commits."""
    picked = {f"p-{name}": value for name, value in zip(names, params, strict=True)}
    return f"{panel}?{urlencode({'view': view, **picked})}"


def cell_table(panel: Panel, commits: Sequence[Commit]) -> CellTable:
    """Newest and previous values of all cells. Costs O(commits x cells)."""
    grid, value = panel.grid, panel.grid.measured.value
    last = _last_measured(value)
    before = _last_measured(value, below=last)
    rows = tuple(
        _row(panel, place, commits, int(last[place]), int(before[place]))
        for place in range(len(grid.cells))
    )
    return CellTable(panel, rows)


def _row(panel: Panel, place: int, commits: Sequence[Commit], last: int, before: int) -> CellRow:
    found, params, unit = panel.grid.measured, panel.grid.cells[place], panel.unit
    now = _at(found.value, last, place)
    then = _at(found.value, before, place)
    return CellRow(
        place=place,
        params=params,
        href=f"#{cell_address(panel.name, panel.grid.param_names, params, 'commits')}",
        value=amount(now, unit),
        interval=interval(_at(found.low, last, place), _at(found.high, last, place), unit),
        commit=commits[last].hash[:HASH_LENGTH] if last >= 0 else "",
        before=amount(then, unit),
        change=_change(now, then),
    )


def _last_measured(
    value: NDArray[np.float64], below: NDArray[np.intp] | None = None
) -> NDArray[np.intp]:
    """The last row of each column that is finite (and above the rows of ``below``); -1 if none."""
    finite = np.isfinite(value)
    if below is not None:
        finite &= np.arange(len(value))[:, None] < below
    if not len(value):
        return np.full(value.shape[1], -1)
    last = len(value) - 1 - np.argmax(finite[::-1], axis=0)
    return np.where(finite.any(axis=0), last, -1)


def _at(values: NDArray[np.float64], row: int, column: int) -> float:
    return float(values[row, column]) if row >= 0 else float("nan")


def _change(now: float, then: float) -> str:
    if now == then:
        return "same"
    return f"{now / then - 1:+.1%}" if then > 0 and now == now else NOTHING
