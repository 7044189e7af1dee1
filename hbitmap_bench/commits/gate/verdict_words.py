"""How reports of the gate say things: one place, so that all formats agree.

All of it is plain text, with what others wrote (refs, subjects, reasons) as it came: each format
escapes it for itself.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from hbitmap_bench.base.drawing import Table
from hbitmap_bench.base.wording import NOTHING, amount, duration, in_full
from hbitmap_bench.commits.changes import Word
from hbitmap_bench.commits.front_text import HASH_LENGTH, machine_words
from hbitmap_bench.commits.gate import thresholds as limits
from hbitmap_bench.commits.gate.paired import POWER
from hbitmap_bench.commits.gate.verdict import (
    Attached,
    EnvironmentFacts,
    Evidence,
    Finding,
    Judgement,
    RunFacts,
    SideFacts,
)
from hbitmap_bench.commits.gate.verdict_entries import Entry, Part, size

WORDS: Final[tuple[Word, ...]] = (
    "REGRESSED", "NOT_MEASURED", "INCONCLUSIVE", "IMPROVED", "UNCHANGED",
)  # fmt: skip

Columns = tuple[str, str]
COLUMNS: Final[Columns] = ("before", "after")
"""What is said of a base's and a head's numbers."""

IN_FULL: Final[tuple[Word, ...]] = ("REGRESSED", "NOT_MEASURED", "INCONCLUSIVE")
"""What a reader acts on: told with the command that measures it alone."""

EVIDENCE: Final[dict[Evidence, str]] = {
    "exact": "exact counter",
    "time": "time",
    "memory": "peak memory",
    "counter": "noisy counter",
    "growth": "growth",
    "instructions": "instructions",
}

_FLOORS: Final[dict[Evidence, str]] = {
    "time": f"{amount(limits.FLOOR_S.value, 'seconds')} a call",
    "memory": amount(limits.FLOOR_BYTES.value, "bytes"),
}

EVERY_CELL: Final = "Every cell is in the JSON report, which the run has as verdict.json."

LONGEST: Final = 300
"""Of a text that others wrote, such as a benchmark's last line: JSON has the whole."""


@dataclass(frozen=True)
class Shown:
    """A finding's numbers as text: ``160.6 ms``, ``192.5 ms``, ``1.199x``, ``1.194..1.203x``.

    ``interval`` is empty where the evidence is exact.
    """

    before: str
    after: str
    change: str
    interval: str


@dataclass(frozen=True)
class Resolution:
    """The smallest relative change that cells of one kind of evidence would have shown.

    ``worst`` is infinite where ``n_unresolved`` cells would not have shown any.
    """

    n_cells: int
    n_unresolved: int
    median: float
    worst: float
    worst_cell: str


def headline(judgement: Judgement) -> str:
    """The outcome in words: ``performance has regressed (exit code 1)``."""
    return f"{_outcome(judgement)} (exit code {judgement.exit_code})"


def facts(run: RunFacts) -> list[tuple[str, str]]:
    """What was compared, where, how and when: names and values."""
    cells = f"{run.profile} profile" + (f", those that match {run.bench}" if run.bench else "")
    return [
        *compared(run),
        ("machine", machine_words(run.machine)),
        *([("matrix", run.environment)] if run.environment else []),
        ("cells", cells),
        ("rounds", _rounds(run)),
        ("measured", f"{run.created}, in {duration(run.elapsed_s)}"),
    ]


def compared(run: RunFacts) -> list[tuple[str, str]]:
    """Both sides: names, and what each is. Of two environments, the commit as well."""
    one, two = run.base.environment, run.head.environment
    if one is None or two is None:
        return [("base", _side(run.base)), ("head", _side(run.head))]
    sides = [(one.name, _environment(one, two)), (two.name, _environment(two, one))]
    return [("commit", _side(run.head)), *sides]


def shown(finding: Finding) -> Shown:
    """Numbers of a finding as text, with their unit."""
    before, after = (_value(finding, number) for number in (finding.before, finding.after))
    return Shown(before, after, _change(finding), _interval(finding))


def change_words(finding: Finding, columns: Columns = COLUMNS) -> str:
    """``160.6 ms before, 192.5 ms after: 1.199x (1.194..1.203x, level 0.0056)``, or nothing."""
    if finding.before is None or finding.after is None:
        return ""
    numbers = shown(finding)
    unit = "exponent " if finding.evidence == "growth" else ""
    text = f"{unit}{numbers.before} {columns[0]}, {numbers.after} {columns[1]}: {numbers.change}"
    if not numbers.interval:
        return text
    level = f", level {finding.level:.2g}" if finding.level is not None else ""
    return f"{text} ({numbers.interval}{level})"


def title(entry: Entry) -> str:
    """``REGRESSED by time, growth: buildup.BuildUp.time_queries('deny', 16, 64)``."""
    kinds = ", ".join(EVIDENCE[part.clearest.evidence] for part in entry.parts)
    by = "" if entry.word == "NOT_MEASURED" else f" by {kinds}"
    allowed = " (allowed)" if entry.clearest.allowed else ""
    return f"{entry.word}{by}{allowed}: {entry.clearest.cell}"


def entry_lines(entry: Entry, columns: Columns = COLUMNS) -> list[str]:
    """What an entry says below its title: numbers, how many more, why, other evidence."""
    first, *others = entry.parts
    lines = [change_words(first.clearest, columns), others_words(first), why(first.clearest)]
    return [*filter(None, lines), *(_other_evidence(part, columns) for part in others)]


def attached_title(attached: Attached) -> str:
    """``Profile: buildup.track_cpu_s('deny', 4)``."""
    return f"{attached.title}: {attached.cell}"


def attached_lines(attached: Attached) -> list[str]:
    """What was attached, behind a bar: no line of it is a command to whatever reads a log."""
    return [f"| {line}" for line in attached.text.split("\n")]


def why(finding: Finding) -> str:
    """The reason, and by what a regression is allowed."""
    allowed = f"; allowed: {finding.allowed}" if finding.allowed else ""
    return shortened(finding.reason) + shortened(allowed)


def others_words(part: Part) -> str:
    """``and 21 more cells: 1.020x to 1.043x``, or nothing."""
    n = len(part.others)
    if not n:
        return ""
    said = f"and {n} more cell{'s' if n > 1 else ''}"
    changed = sorted((f for f in part.others if f.after is not None), key=size)
    ends = dict.fromkeys(_change(f) for f in (*changed[:1], *changed[-1:]))
    return f"{said}: {' to '.join(ends)}" if ends else said


def shortened(text: str) -> str:
    """Text of ``LONGEST`` characters at most."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def counts_by_evidence(judgement: Judgement) -> dict[Evidence, Mapping[Word, int]]:
    """How many findings are each word, of each kind of evidence that there is."""
    return {
        kind: Counter(f.word for f in judgement.findings if f.evidence == kind)
        for kind in EVIDENCE
        if any(f.evidence == kind for f in judgement.findings)
    }


def counts_table(judgement: Judgement) -> Table:
    """How many verdicts are what, by kind of evidence and in all; no rows where there is none."""
    rows = [
        (EVIDENCE[kind], *(str(counts[word]) for word in WORDS))
        for kind, counts in counts_by_evidence(judgement).items()
    ]
    total = ("all", *(str(judgement.counts[word]) for word in WORDS))
    return Table(
        title="Verdicts by kind of evidence",
        columns=("evidence", *WORDS),
        rows=(*rows, total) if rows else (),
        n_labels=1,
        grouped=False,
    )


def resolution(judgement: Judgement, evidence: Evidence) -> Resolution | None:
    """What the cells of one kind could resolve; None where none of them is noisy."""
    found = [
        (f.resolvable, f.cell)
        for f in judgement.findings
        if f.evidence == evidence and f.resolvable is not None
    ]
    if not found:
        return None
    worst, worst_cell = max(found)
    changes = [change for change, _ in found]
    n_unresolved = sum(not math.isfinite(change) for change in changes)
    return Resolution(len(found), n_unresolved, statistics.median(changes), worst, worst_cell)


def resolution_lines(judgement: Judgement) -> list[str]:
    """Sentences on the smallest change that this run could show, and the band.

    None of kinds of evidence that nothing was measured of.
    """
    kinds = {f.evidence for f in judgement.findings if f.after is not None}
    lines = [
        _resolved(kind, floor, found)
        for kind, floor in _FLOORS.items()
        if (found := resolution(judgement, kind))
    ]
    if "exact" in kinds:
        lines.append("Exact counters: any rise.")
    if "growth" in kinds:
        lines.append(" ".join(_growth_lines(judgement)))
    if "instructions" in kinds:
        rise = _percent(limits.INSTRUCTIONS_BAND.value)
        lines.append(f"Instructions: a rise of more than {rise}.")
    if judgement.not_counted:
        cell, reason = next(iter(judgement.not_counted.items()))
        n_cells = len(judgement.not_counted)
        lines.append(f"Instructions are not judged in {n_cells} cells, such as {cell}: {reason}.")
    if kinds:
        lines.append(f"Band taken for noise: {_percent(judgement.band)} ({judgement.band_source}).")
    if any(finding.interval for finding in judgement.findings):
        base, head = judgement.run.names
        of_head = judgement.run.sides[1]
        lines.append(
            f"Ranges are of {head} over {base}, of growth of {of_head}'s exponent; chance passes "
            "each end no more often than its level says."
        )
    return lines


def threshold_rows(judgement: Judgement) -> list[tuple[str, str, str, str]]:
    """Name, value in full (``0.00005``, ``1,048,576``), unit and reason of every threshold."""
    return [(t.name, f"{Decimal(str(t.value)):,f}", t.unit, t.reason) for t in judgement.thresholds]


def _outcome(judgement: Judgement) -> str:
    counts = judgement.counts
    if judgement.outcome == "REGRESSED":
        return "performance has regressed"
    if judgement.outcome == "SAME_CODE":
        return "nothing was timed, since both sides are the same code"
    if judgement.outcome == "NOT_JUDGED":
        return "this run can't say whether performance has changed"
    if counts["REGRESSED"]:
        return "performance has regressed, where the change says so"
    if counts["IMPROVED"]:
        return "performance has improved"
    if counts["INCONCLUSIVE"]:
        return "no regression detected"
    return "no change in performance detected"


def _other_evidence(part: Part, columns: Columns) -> str:
    """``growth, ('deny', 64): exponent 1.000 before, 2.010 after: +1.010; and 2 more cells``."""
    one = part.clearest
    arguments = one.cell.removeprefix(one.benchmark)
    said = "; ".join(filter(None, (change_words(one, columns), others_words(part))))
    return f"{EVIDENCE[one.evidence]}, {arguments}: {said}"


def _side(side: SideFacts) -> str:
    dirty = ", with uncommitted work" if side.dirty else ""
    return shortened(f"{side.commit[:HASH_LENGTH]} ({side.ref}{dirty}) {side.subject}")


def _environment(one: EnvironmentFacts, other: EnvironmentFacts) -> str:
    """``numpy=1.26.4: Python 3.11.7, numpy 1.26.4``: what was asked for, and how it differs."""
    names = sorted({*one.packages, *other.packages})
    differing = [
        f"{name} {one.packages[name]}" if name in one.packages else f"no {name}"
        for name in names
        if one.packages.get(name) != other.packages.get(name)
    ]
    options = ", ".join(one.options) or "as configured"
    return shortened(f"{options}: {', '.join([f'Python {one.python}', *differing])}")


def _rounds(run: RunFacts) -> str:
    if not run.rounds:
        return "none: nothing was timed"
    said = f"{run.rounds[0]} of both sides, interleaved"
    if run.more_rounds:
        said += f", {run.more_rounds} more of cells in which much could hide"
    again = f", and {run.rounds[1]} afresh of what those suspected" if len(run.rounds) > 1 else ""
    return said + again


def _value(finding: Finding, number: float | None) -> str:
    if number is None:
        return NOTHING
    if finding.evidence == "growth":
        return f"{number:.3f}"
    if finding.evidence in ("exact", "instructions"):
        return f"{in_full(number)} {finding.unit}".strip()
    return amount(number, finding.unit)


def _change(finding: Finding) -> str:
    if finding.before is None or finding.after is None:
        return NOTHING
    if finding.evidence == "growth":
        return f"{finding.after - finding.before:+.3f}"
    if finding.ratio is None or not math.isfinite(finding.ratio):
        return "from 0" if finding.after else "1.000x"
    rounded = f"{finding.ratio:.3f}"
    is_hidden = float(rounded) == 1 and finding.after != finding.before
    return f"{finding.ratio:.10g}x" if is_hidden else f"{rounded}x"


def _interval(finding: Finding) -> str:
    if finding.interval is None:
        return ""
    low, high = finding.interval
    unit = "" if finding.evidence == "growth" else "x"
    has_low = low > 0 or (finding.evidence == "growth" and math.isfinite(low))
    if has_low and math.isfinite(high):
        return f"{low:.3f}..{high:.3f}{unit}"
    if has_low:
        return f"over {low:.3f}{unit}"
    return f"under {high:.3f}{unit}" if math.isfinite(high) else "no bounds: too few rounds"


def _resolved(kind: Evidence, floor: str, found: Resolution) -> str:
    """A sentence on one kind of noisy cells."""
    name = EVIDENCE[kind].capitalize()
    if not math.isfinite(found.median):
        return (
            f"{name}: this run could show no change at all in {found.n_unresolved} of "
            f"{found.n_cells} cells, for too few rounds or too much noise."
        )
    where = f"in the median of {found.n_cells} cells"
    if found.n_cells == 1:
        where = f"in {found.worst_cell}"
    elif found.n_unresolved:
        where += f"; {found.n_unresolved} could show none, such as {found.worst_cell}"
    else:
        where += f" and {_percent(found.worst)} in the worst, {found.worst_cell}"
    return (
        f"{name}: the smallest rise that this run could show, with a power of {POWER:.0%}, is "
        f"{_percent(found.median)} {where}. Less than {floor} counts nowhere."
    )


def _growth_lines(judgement: Judgement) -> Iterator[str]:
    """A sentence on each margin of growth that the judgement has."""
    for one in judgement.thresholds:
        name = one.name.removesuffix(" exponent margin")
        if name == "time":
            yield (
                f"Growth of time: by more than {limits.GROWTH_BAND.value:g}, or to more than "
                f"{one.value:g} above its limit, clear of noise."
            )
        elif name != one.name:
            yield (
                f"Growth of {name}, which is exact: a rise of the exponent by more than "
                f"{one.value:g}."
            )


def _percent(change: float) -> str:
    """A relative change: 5.7%."""
    return f"{change:.1%}"
