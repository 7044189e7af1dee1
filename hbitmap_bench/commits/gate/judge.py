"""Verdicts, from a stored run alone: nothing is measured here."""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from hbitmap_bench.commits.changes import Word
from hbitmap_bench.commits.gate import LOCAL, blindness, noisy, paired, steepness
from hbitmap_bench.commits.gate import thresholds as limits
from hbitmap_bench.commits.gate.environments import SIDES
from hbitmap_bench.commits.gate.noisy import Levels
from hbitmap_bench.commits.gate.runs import Manifest, Pair, Run
from hbitmap_bench.commits.gate.suites import Cell
from hbitmap_bench.commits.gate.verdict import NOISY_EVIDENCE, Evidence, Finding, Judgement, Outcome

WEIGHT: Final[tuple[Word, ...]] = (
    "REGRESSED", "NOT_MEASURED", "INCONCLUSIVE", "IMPROVED", "UNCHANGED",
)  # fmt: skip

PREFIXES: Final[dict[str, Evidence]] = {"time": "time", "timeraw": "time", "peakmem": "memory"}
"""Of a benchmark's name, by which asv knows its kind; others are counters."""


def judge(run: Run) -> Judgement:
    """The judgement of a stored run."""
    limit, missing = levels(run), _missing(run)
    found = [*_exact(run), *_noisy(run, limit, missing), *_growth(run, limit)]
    found += _instructions(run, {f.cell for f in found if _is_faster(f)})
    found += [
        _finding(run, cell, _evidence(run, cell), "NOT_MEASURED", reason)
        for cell, reason in missing.items()
    ]
    findings = sorted(
        (_with_override(run, finding) for finding in found),
        key=lambda f: (WEIGHT.index(f.word), f.evidence != "exact", f.benchmark, str(f.params)),
    )
    outcome, reasons = _outcome(run, findings)
    manifest = run.manifest
    return Judgement(
        outcome=outcome,
        reasons=tuple(reasons),
        run=manifest.facts,
        findings=tuple(findings),
        new=tuple(c.name for c in manifest.cells if c not in missing and _is_new(run, c)),
        band=manifest.band,
        band_source=manifest.band_source,
        thresholds=steepness.thresholds(manifest.declared),
        overrides=run.manifest.overrides,
        not_counted=_not_counted(run),
        attached=manifest.attached,
    )


def suspects(run: Run) -> tuple[Cell, ...]:
    """Cells that the first pass suspects, either way or by growth: to be measured again."""
    (first,) = run.passes
    limit = levels(run)
    found = {c for c, pair in first.items() if noisy.suspicion(pair, limit, _floor(run, c))}
    for group in steepness.time_groups(run, first):
        if steepness.is_steeper(group, limit.screen, limit.log_band):
            found.update(group.cells)
    return tuple(sorted(found, key=lambda cell: cell.name))


def hiding(run: Run) -> tuple[Cell, ...]:
    """Cells that the first pass needs more rounds of, since a large rise may hide in them."""
    findings = blindness.hiding(judge(run).findings)
    return tuple(Cell(finding.benchmark, finding.params) for finding in findings)


def n_tests(run: Run) -> int:
    """Noisy tests among which the family level is shared out.

    An exponent is held against its limit, and against the base's.
    """
    first = run.passes[0] if run.passes else {}
    return len(first) + 2 * len(steepness.time_groups(run, first))


def levels(run: Run) -> Levels:
    """Levels and band of this run."""
    screen = limits.SCREEN_LEVEL.value
    confirm = limits.FAMILY_LEVEL.value / max(n_tests(run), 1) / screen
    return Levels(min(confirm, screen), math.log1p(run.manifest.band))


def reproduce(manifest: Manifest, regex: str) -> str:
    """The command that measures some cells alone."""
    facts = manifest.facts
    command = ["hbitmap-bench", "gate"]
    command += [] if facts.base.environment else ["--base", facts.base.commit[:10]]
    command += ["--head", facts.head.commit[:10]]
    for side, option in ((facts.base, "--env-a"), (facts.head, "--env-b")):
        for value in side.environment.options if side.environment else ():
            command += [option, value]
    command += ["--bench", regex]
    if facts.profile != "quick":
        command += ["--profile", facts.profile]
    if facts.machine["machine"] != LOCAL:
        command += ["--machine", facts.machine["machine"]]
    return shlex.join(command)


# ---------------------------------------------------------------- exact counters


def _exact(run: Run) -> Iterator[Finding]:
    for cell, (before, after) in run.counters.items():
        if math.isfinite(before) and math.isfinite(after):
            word, reason = _exact_word(run.manifest, cell, before, after)
            yield _finding(run, cell, "exact", word, reason, before=before, after=after)


def _exact_word(manifest: Manifest, cell: Cell, before: float, after: float) -> tuple[Word, str]:
    if after == before:
        return "UNCHANGED", "the counter is the same"
    if after < before:
        return "IMPROVED", f"the counter fell from {before:,.15g} to {after:,.15g}"
    rise = f"the counter rose from {before:,.15g} to {after:,.15g}"
    for allowance in manifest.allowances:
        if allowance.allows(cell.benchmark, cell.params):
            return "UNCHANGED", f"{rise}, which is allowed: {allowance.reason}"
    whose = "environment's" if manifest.facts.base.environment else "change's"
    return "REGRESSED", f"{rise}; counters repeat, so it is the {whose}"


# ---------------------------------------------------------------- time, memory, growth


def _noisy(run: Run, limit: Levels, missing: Mapping[Cell, str]) -> Iterator[Finding]:
    """Cells that both sides have; one that is missing anyway is not told to be so again."""
    first, again = _two_passes(run)
    for cell, pair in first.items():
        if all(np.isfinite(side).any() for side in pair):
            judged = noisy.judge(pair, again.get(cell), limit, _floor(run, cell))
            if judged.word != "NOT_MEASURED" or cell not in missing:
                yield _noisy_finding(run, cell, judged)


def _noisy_finding(run: Run, cell: Cell, judged: noisy.Judged) -> Finding:
    evidence, found = _evidence(run, cell), judged.found
    if found is None:
        return _finding(run, cell, evidence, judged.word, judged.reason)
    before, after = (float(paired.fast_mean(values)) for values in judged.pair)
    return _finding(
        run, cell, evidence, judged.word, judged.reason,
        before=before, after=after, ratio=math.exp(found.value),
        interval=(math.exp(found.low), math.exp(found.high)), level=judged.level,
        resolvable=judged.resolvable,
    )  # fmt: skip


def _floor(run: Run, cell: Cell) -> float:
    """Of a call: what a sample must differ by is shared out among its calls."""
    return noisy.FLOORS[run.manifest.benchmarks[cell.benchmark].kind] / run.calls.get(cell, 1.0)


def _two_passes(run: Run) -> tuple[Mapping[Cell, Pair], Mapping[Cell, Pair]]:
    """Both passes; nothing stands for one that was not measured."""
    first, again = (*run.passes, {}, {})[:2]
    return first, again


def _growth(run: Run, limit: Levels) -> Iterator[Finding]:
    before, _ = run.manifest.facts.columns
    for words in steepness.word_groups(run):
        word, reason = steepness.judge_words(words, run.manifest.allowances, before)
        yield _growth_finding(run, words, word, reason, (words.before, words.after))
    first, again = (steepness.time_groups(run, one) for one in _two_passes(run))
    confirming = {(group.benchmark, group.key): group for group in again}
    for group in first:
        again_group = confirming.get((group.benchmark, group.key))
        judged = steepness.judge_time(group, again_group, limit, before)
        yield _growth_finding(run, group, *judged)


def _growth_finding(
    run: Run,
    group: steepness.Group,
    word: Word,
    reason: str,
    values: tuple[float, float],
    interval: tuple[float, float] | None = None,
    level: float | None = None,
) -> Finding:
    return Finding(
        benchmark=group.benchmark.name, params=group.key, evidence="growth", word=word,
        unit="exponent",
        before=values[0], after=values[1], ratio=None, interval=interval, level=level,
        resolvable=None, reason=reason, command=reproduce(run.manifest, group.regex),
    )  # fmt: skip


def _is_faster(finding: Finding) -> bool:
    return finding.evidence == "time" and finding.word == "IMPROVED"


def _instructions(run: Run, faster: Collection[str]) -> Iterator[Finding]:
    """Cells whose counts repeat. In those that are ``faster``, more instructions are no harm."""
    for cell, (base, also, head) in run.manifest.instructions.counted.items():
        if _difference(base, also) > limits.INSTRUCTIONS_REPEAT.value:
            continue
        change = head / base - 1
        word: Word = "UNCHANGED"
        reason = f"{change:+.2%} instructions a call, counted by callgrind"
        if abs(change) > limits.INSTRUCTIONS_BAND.value:
            word = "REGRESSED" if change > 0 else "IMPROVED"
        if word == "REGRESSED" and cell.name in faster:
            word, reason = "UNCHANGED", f"{reason}, in less time"
        yield replace(
            _finding(run, cell, "instructions", word, reason, before=base, after=head),
            unit="instructions",
            command=f"{reproduce(run.manifest, cell.regex)} --instructions",
        )


def _difference(base: float, also: float) -> float:
    return abs(also / base - 1) if base > 0 else math.inf


def _not_counted(run: Run) -> dict[str, str]:
    """Cells that instructions tell nothing of, and why."""
    counts = run.manifest.instructions
    base, _ = run.manifest.facts.sides
    differing = {
        cell.name: f"two counts of {base} differ by {difference:.2%}: threads, clocks, I/O or "
        "randomness"
        for cell, (one, also, _) in counts.counted.items()
        if (difference := _difference(one, also)) > limits.INSTRUCTIONS_REPEAT.value
    }
    return {**{cell.name: why for cell, why in counts.left_out.items()}, **differing}


# ---------------------------------------------------------------- what is missing


def _missing(run: Run) -> dict[Cell, str]:
    """Cells that the base had, or that failed, and that the run has no number of; and why."""
    if run.manifest.same_package:
        return {}
    if run.manifest.same_code:
        return _unlisted(run)
    called = dict(zip(SIDES, run.manifest.facts.sides, strict=True))
    failed = {
        name: f"it failed on {called[side]}: {reason}"
        for side, name, reason in run.manifest.failures
    }
    required, cells = set(run.manifest.required), set(run.manifest.cells)
    reasons = {
        cell: failed.get(cell.name)
        or (_why_missing(run, cell, cell in required) if cell in cells else _gone(run))
        for cell in (*run.manifest.cells, *run.manifest.required)
    }
    return {cell: reason for cell, reason in reasons.items() if reason}


def _unlisted(run: Run) -> dict[Cell, str]:
    """Cells of one code that the base's list names and the head's suites would not measure."""
    cells = set(run.manifest.cells)
    reasons = {
        cell: _new_version(run, cell) if cell in cells else _gone(run)
        for cell in run.manifest.required
    }
    return {cell: reason for cell, reason in reasons.items() if reason}


def _gone(run: Run) -> str:
    base, head = run.manifest.facts.sides
    return f"{base}'s reviewed list names it, and {head}'s suites do not have it, or skip it"


def _why_missing(run: Run, cell: Cell, is_required: bool) -> str | None:
    base, head = run.manifest.facts.sides
    has_base, has_head = _has_numbers(run, cell)
    if has_base and not has_head:
        return f"{base} has a number, and {head} skips it"
    if is_required and not has_base:
        return f"{base}'s reviewed list names it, and {head}'s suites skip it there"
    return _new_version(run, cell) if is_required else None


def _new_version(run: Run, cell: Cell) -> str | None:
    before = run.manifest.versions.get(cell.benchmark)
    after = run.manifest.benchmarks[cell.benchmark].version
    if before == after:
        return None
    base, head = run.manifest.facts.sides
    return (
        f"{head}'s suites have version {after} of it, which measures something else than "
        f"{base}'s version {before}"
    )


def _has_numbers(run: Run, cell: Cell) -> tuple[bool, bool]:
    found: list[tuple[object, object]] = [run.counters.get(cell, (math.nan, math.nan))]
    found += [one[cell] for one in run.passes[:1] if cell in one]
    base, head = zip(*found, strict=True)
    return _any_number(base), _any_number(head)


def _any_number(values: Iterable[object]) -> bool:
    return any(np.isfinite(np.asarray(found, float)).any() for found in values)


def _is_new(run: Run, cell: Cell) -> bool:
    has_base, has_head = _has_numbers(run, cell)
    return has_head and not has_base


# ---------------------------------------------------------------- the whole


def _outcome(run: Run, findings: list[Finding]) -> tuple[Outcome, list[str]]:
    """The outcome, and why."""
    if run.manifest.same_code and not findings:
        return "SAME_CODE", ["the measured sources of both sides are identical: nothing was timed"]
    doubts = list(_doubts(run, findings))
    notes = [*_overrides(run, findings), *blindness.notes(findings)]
    regressed = [f for f in findings if f.word == "REGRESSED"]
    said = f"verdicts: {len(findings)}, of which REGRESSED: {len(regressed)}"
    if not all(f.allowed for f in regressed):
        return "REGRESSED", [said, *notes, *doubts]
    if doubts:
        return "NOT_JUDGED", [*doubts, *notes]
    if regressed:
        return "PASSED", [f"{said}, each of them allowed by name", *notes]
    return "PASSED", [f"verdicts: {len(findings)}, none of them REGRESSED", *notes]


def _with_override(run: Run, finding: Finding) -> Finding:
    """A finding with what allows it, if anything does."""
    found = [override for override in run.manifest.overrides if override.allows(finding)]
    return replace(finding, allowed=str(found[0])) if found else finding


def _overrides(run: Run, findings: list[Finding]) -> Iterator[str]:
    """What the change declares, and whether it was needed."""
    for override in run.manifest.overrides:
        n = sum(map(override.allows, findings))
        yield f"allowed to regress: {override.name} (verdicts that are: {n}): {override}"


def _doubts(run: Run, findings: list[Finding]) -> Iterator[str]:
    """What keeps the run from passing anything."""
    if run.manifest.same_package:
        yield (
            "the sources differ, but the packages that were built from them are identical: "
            "the build did not take the change"
        )
        return
    missing = [f for f in findings if f.word == "NOT_MEASURED"]
    if missing:
        cell, reason = missing[0].cell, missing[0].reason
        yield f"NOT_MEASURED: {len(missing)} of {len(findings)}, the first {cell}: {reason}"
    if len(missing) == len(findings):
        yield "nothing was measured"
    words = [f.word for f in blindness.noisy(findings)]
    unclear = words.count("INCONCLUSIVE")
    if unclear > limits.MOST_INCONCLUSIVE.value * len(words):
        yield f"{unclear} of {len(words)} noisy cells are INCONCLUSIVE: the machine is too busy"
    yield from _too_few_rounds(run)
    yield from blindness.doubts(findings)


def _too_few_rounds(run: Run) -> Iterator[str]:
    limit = levels(run)
    for n_rounds, level in zip(
        run.manifest.facts.rounds, (limit.screen, limit.confirm), strict=False
    ):
        if reason := noisy.too_few(n_rounds, level):
            yield reason


def _evidence(run: Run, cell: Cell) -> Evidence:
    """What a cell would have been judged by; of a benchmark that is gone, its name tells."""
    if benchmark := run.manifest.benchmarks.get(cell.benchmark):
        return "exact" if benchmark.is_exact else NOISY_EVIDENCE[benchmark.kind]
    method = cell.benchmark.rsplit(".", 1)[-1]
    return PREFIXES.get(method.split("_", 1)[0], "exact")


def _finding(
    run: Run, cell: Cell, evidence: Evidence, word: Word, reason: str, *,
    before: float | None = None, after: float | None = None, ratio: float | None = None,
    interval: tuple[float, float] | None = None, level: float | None = None,
    resolvable: float | None = None,
) -> Finding:  # fmt: skip
    if ratio is None and before and after is not None:
        ratio = after / before
    benchmark = run.manifest.benchmarks.get(cell.benchmark)
    return Finding(
        benchmark=cell.benchmark, params=cell.params, evidence=evidence, word=word,
        unit=benchmark.unit if benchmark else "", before=before, after=after, ratio=ratio,
        interval=interval, level=level, resolvable=resolvable, reason=reason,
        command=reproduce(run.manifest, cell.regex),
    )  # fmt: skip
