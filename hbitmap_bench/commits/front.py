"""The front page's content: what a reader sees first, in the terminal and in a browser alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hbitmap_bench.base.front_part import FrontPart
from hbitmap_bench.commits.changes import Change, Word, changes
from hbitmap_bench.commits.derived import Exponents, exponents
from hbitmap_bench.commits.gate.thresholds import BLIND, EXACT_MARGIN
from hbitmap_bench.commits.series import Benchmark, Commit, History, Params

SHOWN_REASONS = 5
"""More of a kind are counted, not listed: the list of changes has them all."""


@dataclass(frozen=True)
class Verdict:
    """What the newest commit is, against the one measured before it.

    ``counts`` has how many cells of that commit are each word; they add up to all cells that either
    commit has. ``reasons`` are sentences, the weightiest first.
    """

    word: Word
    commit: Commit
    before: Commit | None
    counts: Mapping[Word, int]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class FrontPage:
    """All that the front page shows. ``changes`` are the weightiest first."""

    history: History
    verdict: Verdict
    exponents: tuple[Exponents, ...]
    changes: tuple[Change, ...]
    part: FrontPart | None


def front_page(history: History, part: FrontPart | None) -> FrontPage:
    """Put the page together."""
    found = changes(history)
    fitted = exponents(history.unchained())
    return FrontPage(history, verdict(history, found, fitted), fitted, found, part)


def verdict(history: History, found: tuple[Change, ...], fitted: tuple[Exponents, ...]) -> Verdict:
    """The newest commit's verdict: the worst of its cells, with reasons."""
    newest = history.commits[-1]
    before = history.commits[-2] if len(history.commits) > 1 else None
    here = [change for change in found if change.commit == newest]
    lost, hidden = history.lost(), _hidden(history, here)
    counts: Counter[Word] = Counter(change.word for change in here)
    counts["NOT_MEASURED"] = len(lost)
    counts["UNCHANGED"] = _n_measured(history) - len(here) - len(hidden) if before else 0
    counts["INCONCLUSIVE"] += len(hidden)
    too_steep = _too_steep(fitted)
    word = _worst(counts, bool(too_steep), before)
    reasons = [*too_steep, *_reasons(here), *_lost_reasons(lost)]
    if hidden:
        reasons.append(
            f"{len(hidden)} cells can't be compared: the seam to the session before may hide a "
            f"rise of {BLIND.value:.0%} in each."
        )
    if before is None:
        reasons.append("It is the first commit measured here: there is nothing to compare it with.")
    elif not reasons:
        reasons.append(f"{counts['UNCHANGED']} cells are as they were at {before.hash[:10]}.")
    return Verdict(word, newest, before, dict(counts), tuple(reasons))


def _worst(counts: Mapping[Word, int], too_steep: bool, before: Commit | None) -> Word:
    """REGRESSED before what is missing, and that before what is unclear; never a pass by lack."""
    if too_steep or counts["REGRESSED"]:
        return "REGRESSED"
    if counts["NOT_MEASURED"] or (before is not None and not sum(counts.values())):
        return "NOT_MEASURED"
    if counts["INCONCLUSIVE"] or before is None:
        return "INCONCLUSIVE"
    return "IMPROVED" if counts["IMPROVED"] else "UNCHANGED"


def _n_measured(history: History) -> int:
    """Cells that the newest commit has measured."""
    return sum(int(np.isfinite(m.value[-1]).sum()) for m in history.measured.values())


def _too_steep(fitted: tuple[Exponents, ...]) -> list[str]:
    """Counters that grow faster at the newest commit than the project promises."""
    return [
        f"{line.quantity.capitalize()} of {line.series} grow with exponent {line.value[-1]:.3f}"
        f"{line.at}: its limit is {line.limit:g}."
        for line in fitted
        if line.exact and _is_too_steep(line)
    ]


def _is_too_steep(line: Exponents) -> bool:
    margin = EXACT_MARGIN.value if line.growth.margin is None else line.growth.margin
    return bool(line.value[-1] > line.limit + margin)


def linear(page: FrontPage) -> str:
    """Whether costs are still linear at the newest commit, by counters: yes, no, or not known.

    Of what promises to be linear the steepest counts. Seconds would add noise to the answer.
    """
    at = page.history.commits[-1].hash[:10]
    steepest = max(
        (x for x in page.exponents if x.exact and x.limit == 1 and x.n_sizes[-1] > 1),
        key=lambda line: float(line.value[-1]),
        default=None,
    )
    if steepest is None:
        return f"Not known: at {at} no counter that should be linear has two sizes."
    answer = "No" if _is_too_steep(steepest) else "Yes"
    return (
        f"{answer}: at {at} {steepest.quantity} of {steepest.series} grow with exponent "
        f"{steepest.value[-1]:.3f}{steepest.at}."
    )


def _hidden(history: History, here: list[Change]) -> list[tuple[Benchmark, Params]]:
    """Cells whose seam may hide much, and shows nothing."""
    seen = {(change.benchmark.name, change.params) for change in here}
    hidden = history.hidden(-1, BLIND.value)
    return [cell for cell in hidden if (cell[0].name, cell[1]) not in seen]


def _reasons(here: list[Change]) -> list[str]:
    """A sentence a kind of change, naming the benchmarks that have it."""
    sentences: list[tuple[Word, str]] = [
        ("REGRESSED", "cost more"),
        ("INCONCLUSIVE", "lie off their level, at this commit alone: measure another to know"),
        ("IMPROVED", "cost less"),
    ]
    reasons = []
    for word, does in sentences:
        cells = Counter(change.benchmark.name for change in here if change.word == word)
        if cells:
            reasons.append(f"{cells.total()} cells {does}: {_listed(cells)}.")
    return reasons


def _lost_reasons(lost: list[tuple[Benchmark, Params]]) -> list[str]:
    if not lost:
        return []
    cells = Counter(benchmark.name for benchmark, _ in lost)
    return [f"{len(lost)} cells were not measured, which the commit before has: {_listed(cells)}."]


def _listed(cells: Counter[str]) -> str:
    """Benchmarks with their number of cells, the most frequent first."""
    named = [f"{name} ({n})" for name, n in cells.most_common(SHOWN_REASONS)]
    more = len(cells) - SHOWN_REASONS
    return ", ".join(named) + (f" and {more} more benchmarks" if more > 0 else "")
