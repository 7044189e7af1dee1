"""The seams of a history in words: where seconds are chained, and what can't be seen there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from hbitmap_bench.commits.series import History, Seam

SHOWN: Final = 3
"""Seams that are told one by one, the newest; each night adds one."""


def seam_words(history: History) -> tuple[str, ...]:
    """A sentence or two a seam, the newest first; nothing for a history of one session."""
    return tuple(_words(history)) if history.seams else ()


def _words(history: History) -> Iterator[str]:
    for seam in history.seams[: -SHOWN - 1 : -1]:
        yield f"Seam before {history.commits[seam.place].hash[:10]}: {_one(seam)}"
    if len(history.seams) > 1:
        yield (
            f"{len(history.seams)} seams in all. Their errors add up: from the first commit to the "
            f"newest they hide {_total(history):.0%} in a series in the middle."
        )


def _one(seam: Seam) -> str:
    """What one seam hides."""
    said = []
    if seam.n_linked:
        said.append(
            f"seconds of {seam.n_linked} series are chained by an anchor that both sessions "
            f"measured. A step across it hides below {seam.resolves:.0%} in a series in the "
            f"middle, {seam.worst:.0%} in the worst one, besides the commits' own noise."
        )
    if seam.n_unlinked:
        said.append(
            f"{seam.n_unlinked} series have no anchor: their seconds on both sides can't be "
            "compared, and no step across it shows."
        )
    return " ".join(said)


def _total(history: History) -> float:
    """What all linked seams of a series hide together, as a share: the median of series."""
    found = [np.where(np.isinf(rows), 0, rows).sum(axis=0) for rows in history.spreads.values()]
    totals = np.concatenate(found)
    return float(np.expm1(np.sqrt(np.median(totals[totals > 0])))) if totals.any() else 0.0
