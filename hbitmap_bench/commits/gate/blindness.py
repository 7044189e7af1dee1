"""What may hide in a run: a pass that could not have shown a large rise is none."""

from __future__ import annotations

import math
import statistics
from collections.abc import Container, Iterator, Sequence
from typing import Final

from hbitmap_bench.commits.gate.thresholds import BLIND
from hbitmap_bench.commits.gate.verdict import Finding
from hbitmap_bench.commits.series import Params

Key = tuple[str, Params]
"""A benchmark and its parameters: a cell."""

COUNTED: Final = ("REGRESSED", "IMPROVED", "UNCHANGED")
"""Words of a cell whose instructions say what its time could not."""


def noisy(findings: Sequence[Finding]) -> list[Finding]:
    """Compared times and peaks, less those whose instructions were counted: exact evidence."""
    counted = _counted(findings)
    compared = [f for f in findings if f.evidence in ("time", "memory")]
    return [f for f in compared if f.word != "NOT_MEASURED" and not _is_witnessed(f, counted)]


def notes(findings: Sequence[Finding]) -> Iterator[str]:
    """What a run that passes owes to instructions alone."""
    counted = _counted(findings)
    if times := [f for f in findings if _is_witnessed(f, counted) and _may_hide(f)]:
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
    if _median(_times(findings)) > BLIND.value:
        unseen = [f for f in _times(findings) if _smallest(f) > BLIND.value]
        cells += [f for f in unseen if not _may_hide(f)]
    return tuple(cells)


def _median_doubt(findings: Sequence[Finding]) -> Iterator[str]:
    times = _times(findings)
    if (median := _median(times)) > BLIND.value:
        rise = f"{median:.0%}" if math.isfinite(median) else "none at all"
        yield (
            f"the run was blind: the smallest rise that it could have shown is {rise} in the "
            f"median of {len(times)} times, and must be {BLIND.value:.0%} or less"
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


def _median(times: Sequence[Finding]) -> float:
    """The smallest rise that a run could have shown, in the median time; 0 without any."""
    return statistics.median(map(_smallest, times)) if times else 0.0


def _smallest(finding: Finding) -> float:
    return math.inf if finding.resolvable is None else finding.resolvable


def _counted(findings: Sequence[Finding]) -> set[Key]:
    """Cells whose instructions were counted."""
    counts = [f for f in findings if f.evidence == "instructions" and f.word in COUNTED]
    return {(f.benchmark, f.params) for f in counts}


def _is_witnessed(finding: Finding, counted: Container[Key]) -> bool:
    return finding.evidence == "time" and (finding.benchmark, finding.params) in counted


def _times(findings: Sequence[Finding]) -> list[Finding]:
    return [f for f in noisy(findings) if f.evidence == "time"]
