"""Seconds of several sessions, chained into one series by the anchors that two sessions measured.

A session's seconds are multiplied by the ratio of its anchor: as it stood over as it was measured
again. So each series stays in the seconds of its first session. The interval of that ratio takes
both 99% intervals at their worst ends. Between two commits of one session it has no part, as both
have the same ratio; between those of two sessions it widens what counts as noise. Ratios of several
seams are independent, so the squares of their half-widths, in logarithms, add up.

Counters are the same in every session. Bytes of a peak do not depend on the machine's load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hbitmap_bench.commits.series import History, Measured, Seam
from hbitmap_bench.commits.sessions import FIRST

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

NONE = -1
"""No session."""


class Link(NamedTuple):
    """What joins a session to others, cell by cell: ``parent`` is NONE where nothing does.

    ``ratio`` scales the session's seconds to its parent's; ``spread`` is the square of the
    half-width of the ratio's logarithm.
    """

    parent: Places
    ratio: Floats
    spread: Floats


def link(before: Sequence[Floats], after: Sequence[Floats], owner: Places, session: int) -> Link:
    """The link by an anchor: value, low and high as it stood, and as it was measured again."""
    (old, old_low, old_high), (new, new_low, new_high) = before, after
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = old / new
        half = np.maximum(np.log(old_high / new_low / ratio), np.log(ratio / (old_low / new_high)))
    usable = np.isfinite(ratio) & (ratio > 0) & (owner < session)
    spread = np.where(np.isfinite(half), np.square(half), np.inf)  # no interval resolves nothing
    return Link(np.where(usable, owner, NONE), ratio, spread)


class Chain:
    """The sessions of one benchmark; ``links`` has one for each session, in the order of time."""

    def __init__(self, links: Sequence[Link | None], n_cells: int) -> None:
        """Put each cell's sessions into the scale of their first one."""
        n = len(links)
        self._parent = np.full((n, n_cells), NONE)
        self._spread = np.full((n, n_cells), np.inf)
        self._factor = np.ones((n, n_cells))
        for session, found in enumerate(links):
            if found is not None:
                cells = np.flatnonzero(found.parent != NONE)
                parent = found.parent[cells]
                self._parent[session, cells] = parent
                self._spread[session, cells] = found.spread[cells]
                self._factor[session, cells] = self._factor[parent, cells] * found.ratio[cells]

    def chained(self, measured: Measured, session: Places) -> Measured:
        """Seconds in the scale of the first session; ``session`` is commits x cells."""
        factor = self._factor[session, np.arange(session.shape[1])]
        return Measured(*(ends * factor for ends in measured))

    def seams(self, measured: Measured, session: Places) -> Floats:
        """Commits x cells: the spread between a commit and the one before that measured the cell.

        0 in one session, infinite where no anchor links the two.
        """
        found = np.zeros(session.shape)
        last = np.full(session.shape[1], NONE)
        for commit, have in enumerate(np.isfinite(measured.value)):
            joined = np.flatnonzero(have & (last != NONE) & (last != session[commit]))
            found[commit, joined] = self._between(joined, last[joined], session[commit, joined])
            last = np.where(have, session[commit], last)
        return found

    def _between(self, cells: Places, one: Places, other: Places) -> Floats:
        """The spread between two sessions: over both ways to the last that both stem from."""
        one, other = one.copy(), other.copy()
        found = np.zeros(len(cells))
        while (apart := np.flatnonzero(one != other)).size:
            later = np.maximum(one, other)[apart]
            parent = self._parent[later, cells[apart]]
            found[apart] += self._spread[later, cells[apart]]
            np.copyto(one, np.minimum(one, other))
            other[apart] = parent
            lost = apart[parent == NONE]
            found[lost], other[lost] = np.inf, one[lost]
        return found


class Joint(NamedTuple):
    """A session's anchor: rows of timed benchmarks as they stood, and as measured again."""

    session: str
    environment: str
    before: Mapping[str, Sequence[Floats]]
    after: Mapping[str, Sequence[Floats]]
    owners: Mapping[str, Sequence[str]]


Owners = Mapping[str, Mapping[str, Sequence[str]]]
"""Commit to timed benchmark to the session of each cell."""


def chained(history: History, owners: Owners, joints: Sequence[Joint]) -> History:
    """A history in the scale of its first session, with its seams; itself where there is one."""
    if not any(owners.values()):
        return history
    names = {FIRST, *(name for rows in owners.values() for row in rows.values() for name in row)}
    order = {name: i for i, name in enumerate(sorted(names))}
    by_session = {joint.session: joint for joint in joints}
    measured, spreads, raw = dict(history.measured), {}, {}
    for name, benchmark in history.benchmarks.items():
        if benchmark.kind != "time":
            continue
        first = [FIRST] * len(benchmark.cells)
        rows = [owners[commit.hash].get(name, first) for commit in history.commits]
        session = np.array([[order[owner] for owner in row] for row in rows], dtype=np.intp)
        links = [_link(by_session.get(owner), name, order) for owner in sorted(order)]
        chain = Chain(links, len(benchmark.cells))
        raw[name] = history.measured[name]
        measured[name] = chain.chained(raw[name], session)
        spreads[name] = chain.seams(raw[name], session)
    seams = tuple(_seams(spreads, len(history.commits)))
    if not seams:
        return history
    return replace(history, measured=measured, seams=seams, spreads=spreads, raw=raw)


def _link(joint: Joint | None, name: str, order: Mapping[str, int]) -> Link | None:
    if joint is None or name not in joint.before:
        return None
    owner = np.array([order.get(o, NONE) for o in joint.owners[name]], dtype=np.intp)
    return link(joint.before[name], joint.after[name], owner, order[joint.session])


def _seams(spreads: Mapping[str, Floats], n_commits: int) -> Iterator[Seam]:
    """The places where any series goes over to another session."""
    for place in range(n_commits):
        found = np.concatenate([rows[place] for rows in spreads.values()])
        hidden = np.expm1(np.sqrt(found[np.isfinite(found) & (found > 0)]))
        unlinked = int(np.isinf(found).sum())
        if hidden.size or unlinked:
            ends = (float(np.median(hidden)), float(hidden.max())) if hidden.size else (0.0, 0.0)
            yield Seam(place, hidden.size, unlinked, *ends)
