"""One cause is one entry of a report: what a benchmark's cells say, the clearest first."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from hbitmap_bench.commits.changes import Word
from hbitmap_bench.commits.gate.verdict import Attached, Evidence, Finding


@dataclass(frozen=True)
class Part:
    """Findings of one kind of evidence: the clearest, and the others."""

    clearest: Finding
    others: tuple[Finding, ...]


@dataclass(frozen=True)
class Entry:
    """Findings of one benchmark and one word, by kind of evidence, the weightiest kind first.

    What was not measured is one entry for each reason, what is allowed is apart from the rest.
    """

    parts: tuple[Part, ...]

    @property
    def clearest(self) -> Finding:
        """The cell that stands for all."""
        return self.parts[0].clearest

    @property
    def word(self) -> Word:
        """What all of them are."""
        return self.clearest.word


def entries(findings: Iterable[Finding]) -> tuple[Entry, ...]:
    """Findings as entries, in the order in which the first of each comes."""
    found: dict[tuple[str, ...], dict[Evidence, list[Finding]]] = {}
    for one in findings:
        reason = one.reason if one.word == "NOT_MEASURED" else one.allowed or ""
        kinds = found.setdefault((one.word, one.benchmark, reason), {})
        kinds.setdefault(one.evidence, []).append(one)
    return tuple(Entry(tuple(map(_part, kinds.values()))) for kinds in found.values())


def attached_to(entry: Entry, found: Iterable[Attached]) -> list[Attached]:
    """What the project has to say of an entry: of regressions alone, unless they are allowed."""
    one = entry.clearest
    regressed = one.word == "REGRESSED" and not one.allowed
    return [attached for attached in found if regressed and attached.benchmark == one.benchmark]


def has_more(found: Iterable[Entry]) -> bool:
    """Whether a report that names the clearest cells leaves out others, but for the UNCHANGED."""
    return any(part.others for one in found if one.word != "UNCHANGED" for part in one.parts)


def size(finding: Finding) -> float:
    """How large a change is: a ratio, of growth a difference; infinite from 0."""
    if finding.evidence == "growth":
        return (finding.after or 0.0) - (finding.before or 0.0)
    if finding.ratio is None:
        return math.inf if finding.after else 1.0
    return finding.ratio


def _part(findings: list[Finding]) -> Part:
    clearest = max(findings, key=_clearness)
    return Part(clearest, tuple(one for one in findings if one is not clearest))


def _clearness(finding: Finding) -> float:
    """How far from no change a finding is for sure: where it is noisy, by its interval.

    The largest that noise may hide is the clearest of what is INCONCLUSIVE.
    """
    value = size(finding)
    is_ratio = finding.evidence != "growth"  # whose interval is of the head's exponent
    low, high = (is_ratio and finding.interval) or (value, value)
    if finding.word == "IMPROVED":
        return -high
    return high if finding.word == "INCONCLUSIVE" else low
