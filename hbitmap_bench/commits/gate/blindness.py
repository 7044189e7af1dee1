"""What may hide in a run: a pass that could not have shown a large rise is none."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Final

from hbitmap_bench.commits.gate.thresholds import BLIND
from hbitmap_bench.commits.gate.verdict import Finding

COUNTED: Final = ("REGRESSED", "IMPROVED", "UNCHANGED")
"""Words of a cell whose instructions say what its time could not."""


def noisy(findings: Sequence[Finding]) -> list[Finding]:
    """Compared times and peaks, less those whose instructions were counted: exact evidence."""
    witnessed = _witnessed(findings)
    compared = [f for f in findings if f.evidence in ("time", "memory") and f not in witnessed]
    return [f for f in compared if f.word != "NOT_MEASURED"]


def notes(findings: Sequence[Finding]) -> Iterator[str]:
    """What a run that passes owes to instructions alone."""
    if times := [f for f in _witnessed(findings) if _may_hide(f)]:
        yield (
            f"a rise of {BLIND.value:.0%} may hide in {len(times)} times, and not in the "
            "instructions that were counted of the same cells"
        )


def doubts(findings: Sequence[Finding]) -> Iterator[str]:
    """Why a run must not pass, for what may hide in it; at the end, what would help."""
    doubts = [*_median_doubt(findings), *_cell_doubt(findings)]
    yield from doubts
    counters = [f for f in findings if f.evidence == "exact" and f.word != "NOT_MEASURED"]
    if doubts and counters and not any(f.word == "REGRESSED" for f in counters):
        yield f"exact counters that did not rise: {len(counters)}; they say nothing about times"
    if doubts:
        are_counted = any(f.evidence == "instructions" for f in findings)
        count = "" if are_counted else ", --instructions, which no noise moves"
        yield f"what would help: a quieter machine, more rounds (a larger --budget){count}"


def hiding(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Cells that a run needs more rounds of; none where it could show what it must."""
    cells = [f for f in noisy(findings) if _may_hide(f)]
    if [*_median_doubt(findings)]:
        cells += [f for f in _times(findings) if _smallest(f) > BLIND.value and f not in cells]
    return tuple(cells)


def _median_doubt(findings: Sequence[Finding]) -> Iterator[str]:
    shown = [_smallest(f) for f in _times(findings)]
    if shown and (median := statistics.median(shown)) > BLIND.value:
        rise = f"{median:.0%}" if math.isfinite(median) else "none at all"
        yield (
            f"the run was blind: the smallest rise that it could have shown is {rise} in the "
            f"median of {len(shown)} times, and must be {BLIND.value:.0%} or less"
        )


def _cell_doubt(findings: Sequence[Finding]) -> Iterator[str]:
    compared = noisy(findings)
    if cells := [f for f in compared if _may_hide(f)]:
        yield (
            f"a rise of {BLIND.value:.0%} may hide in {len(cells)} of {len(compared)} noisy cells, "
            f"the first {cells[0].cell}"
        )


def _may_hide(finding: Finding) -> bool:
    """Whether so large a rise is neither excluded nor told."""
    if finding.word == "REGRESSED" or finding.interval is None:
        return False
    return finding.interval[1] > 1 + BLIND.value


def _smallest(finding: Finding) -> float:
    return math.inf if finding.resolvable is None else finding.resolvable


def _witnessed(findings: Sequence[Finding]) -> list[Finding]:
    """Times of cells whose instructions were counted."""
    counted = {
        (f.benchmark, f.params)
        for f in findings
        if f.evidence == "instructions" and f.word in COUNTED
    }
    return [f for f in findings if f.evidence == "time" and (f.benchmark, f.params) in counted]


def _times(findings: Sequence[Finding]) -> list[Finding]:
    return [f for f in noisy(findings) if f.evidence == "time"]
