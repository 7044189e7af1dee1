"""A history: what one machine measured in one environment, commit after commit."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hbitmap_bench.commits.project_file import DEFAULTS, ProjectFile

Param = int | float | str | bool | None
Params = tuple[Param, ...]
"""One value for each of ``Benchmark.param_names``, in their order."""

Kind = Literal["time", "track", "memory", "peakmemory"]
"""asv's: seconds with samples; an exact cost; bytes of an object, exact; of a process, noisy."""


class Opaque(str):
    """A parameter's ``repr`` where it is no literal: asv tells no more of it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def cell_name(benchmark: str, params: Params) -> str:
    """A cell as asv names it: ``suite.Class.method('deny', 16, 64)``, ``suite.function``."""
    return f"{benchmark}({', '.join(map(repr, params))})" if params else benchmark


@dataclass(frozen=True)
class Benchmark:
    """What a series belongs to: results of another version are another series."""

    name: str
    kind: Kind
    unit: str
    version: str
    param_names: tuple[str, ...]
    param_values: tuple[tuple[Param, ...], ...]
    noisy: bool = False
    """A counter that does not repeat, as the project says."""

    @property
    def suite(self) -> str:
        """The module of the suite, such as ``buildup``."""
        return self.name.split(".", 1)[0]

    @property
    def is_exact(self) -> bool:
        """A counter: the same on every run and every machine."""
        return self.kind in ("track", "memory") and not self.noisy

    @cached_property
    def cells(self) -> tuple[Params, ...]:
        """All cells, the last parameter varying fastest, as asv stores them."""
        return tuple(itertools.product(*self.param_values))

    @cached_property
    def place(self) -> Mapping[Params, int]:
        """The column of each cell."""
        return {params: i for i, params in enumerate(self.cells)}


@dataclass(frozen=True)
class Commit:
    """A measured commit. ``date`` is the committer's, in UTC; ``subject`` is text, never markup."""

    hash: str
    date: datetime
    subject: str


class Measured(NamedTuple):
    """One benchmark over the commits: arrays of float64, commits x cells; NaN is not measured.

    ``low`` and ``high`` are the interval of the median that asv stores (99%), and equal ``value``
    for exact counters. They are NaN where asv has stored none.
    """

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class Seam:
    """Where a history goes from one session to another: before ``place`` in its commits.

    ``resolves`` and ``worst`` say what an anchor's noise hides, of a series in the middle and of
    the worst: 0.05 for a step of 5%. They are 0 where no series is linked. ``n_unlinked`` series
    have no common scale on both sides: no step across the seam shows in them.
    """

    place: int
    n_linked: int
    n_unlinked: int
    resolves: float
    worst: float


@dataclass(frozen=True)
class History:
    """All series of one machine and one environment.

    ``commits`` are the measured ones, oldest first, by their order in the repository. ``machine``
    holds asv's fields: machine, cpu, arch, num_cpu, os, ram. ``refused`` says, a line each, which
    stored results were not taken, and why. ``declared`` is what the project says of its benchmarks,
    ``calls`` how many calls a sample of each cell timed.

    Seconds of several sessions are chained (``chain``). ``spreads`` then has, of each timed
    benchmark, commits x cells: the square of the half-width of the logarithm of the ratio between
    a commit's session and that of the measurement before; 0 within a session. ``raw`` has what was
    measured.
    """

    machine: Mapping[str, str]
    environment: str
    benchmarks: Mapping[str, Benchmark]
    commits: tuple[Commit, ...]
    measured: Mapping[str, Measured]
    refused: tuple[str, ...] = ()
    declared: ProjectFile = DEFAULTS
    calls: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    seams: tuple[Seam, ...] = ()
    spreads: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    raw: Mapping[str, Measured] = field(default_factory=dict)

    def calls_of(self, benchmark: Benchmark, cell: int) -> float:
        """Calls that a sample of a cell timed, the fewest of all commits; 1 where none is known."""
        calls = self.calls.get(benchmark.name)
        return float(calls[cell]) if calls is not None and calls[cell] >= 1 else 1.0

    def unchained(self) -> History:
        """The history as measured: what is compared within each commit alone needs no chain."""
        if not self.seams:
            return self
        return replace(self, measured={**self.measured, **self.raw}, seams=(), spreads={}, raw={})

    def hidden(self, place: int, change: float) -> list[tuple[Benchmark, Params]]:
        """Cells in which a seam before the commit at ``place`` may hide so large a change.

        ``change`` is relative: 0.5 for half as much again. Where no anchor links the sessions, the
        seam hides any change.
        """
        limit = np.square(np.log1p(change))
        return [
            (self.benchmarks[name], self.benchmarks[name].cells[cell])
            for name, rows in self.spreads.items()
            for cell in np.flatnonzero(rows[place] >= limit).tolist()
        ]

    def lost(self) -> list[tuple[Benchmark, Params]]:
        """Cells that the commit before the newest has measured, and the newest has not."""
        if len(self.commits) < 2:
            return []
        found = []
        for name, measured in self.measured.items():
            have = np.isfinite(measured.value)
            benchmark = self.benchmarks[name]
            places = np.flatnonzero(have[-2] & ~have[-1]).tolist()
            found += [(benchmark, benchmark.cells[place]) for place in places]
        return found
