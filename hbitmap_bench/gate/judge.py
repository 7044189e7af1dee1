"""Verdicts, from a stored run alone: nothing is measured here."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from hbitmap_bench.gate import growth, paired
from hbitmap_bench.gate import thresholds as limits
from hbitmap_bench.gate.runs import Manifest, Pair, Run
from hbitmap_bench.gate.suites import Cell
from hbitmap_bench.gate.verdict import Evidence, Finding, Judgement, Outcome
from hbitmap_bench.history.changes import Word

WEIGHT: Final[tuple[Word, ...]] = (
    "REGRESSED", "NOT_MEASURED", "INCONCLUSIVE", "IMPROVED", "UNCHANGED",
)  # fmt: skip

FLOORS: Final = {"time": limits.FLOOR_S.value, "peakmemory": limits.FLOOR_BYTES.value}
EVIDENCE: Final[dict[str, Evidence]] = {"time": "time", "peakmemory": "memory"}
PREFIXES: Final[dict[str, Evidence]] = {"time": "time", "timeraw": "time", "peakmem": "memory"}
"""Of a benchmark's name, by which asv knows its kind; others are counters."""


@dataclass(frozen=True)
class Levels:
    """What the passes reject at, and the band of noise as a log ratio."""

    confirm: float
    log_band: float


def judge(run: Run) -> Judgement:
    """The judgement of a stored run."""
    findings = sorted(
        (*_exact(run), *_noisy(run), *_growth(run), *_instructions(run), *_missing(run)),
        key=lambda f: (WEIGHT.index(f.word), f.evidence != "exact", f.benchmark, str(f.params)),
    )
    outcome, reasons = _outcome(run, findings)
    manifest = run.manifest
    return Judgement(
        outcome=outcome,
        reasons=tuple(reasons),
        run=manifest.facts,
        findings=tuple(findings),
        new=tuple(cell.name for cell in manifest.cells if _is_new(run, cell)),
        band=manifest.band,
        band_source=manifest.band_source,
        thresholds=limits.ALL,
    )


def suspects(run: Run) -> tuple[Cell, ...]:
    """Cells that the first pass suspects, alone or by growth: to be measured again."""
    (first,) = run.passes
    found = {cell for cell, pair in first.items() if _is_slower(run, cell, pair)}
    for group in growth.time_groups(run, first):
        if growth.is_steeper(group, limits.SCREEN_LEVEL.value):
            found.update(group.cells)
    return tuple(sorted(found, key=lambda cell: cell.name))


def n_tests(run: Run) -> int:
    """Noisy tests among which the family level is shared out."""
    first = run.passes[0] if run.passes else {}
    return len(first) + len(growth.time_groups(run, first))


def levels(run: Run) -> Levels:
    """Levels and band of this run."""
    confirm = limits.FAMILY_LEVEL.value / max(n_tests(run), 1) / limits.SCREEN_LEVEL.value
    return Levels(min(confirm, limits.SCREEN_LEVEL.value), math.log1p(run.manifest.band))


def reproduce(manifest: Manifest, regex: str) -> str:
    """The command that measures some cells alone."""
    facts = manifest.facts
    command = ["hbitmap-bench", "gate", "--base", facts.base.commit[:10]]
    command += ["--head", facts.head.commit[:10], "--bench", regex]
    if facts.profile != "quick":
        command += ["--profile", facts.profile]
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
        return "IMPROVED", f"the counter fell from {before:,.10g} to {after:,.10g}"
    rise = f"the counter rose from {before:,.10g} to {after:,.10g}"
    for allowance in manifest.allowances:
        if allowance.allows(cell):
            return "UNCHANGED", f"{rise}, which is allowed: {allowance.reason}"
    return "REGRESSED", f"{rise}; counters repeat, so it is the change's"


# ---------------------------------------------------------------- time and memory


def _noisy(run: Run) -> Iterator[Finding]:
    if not run.passes:
        return
    for cell, pair in run.passes[0].items():
        yield _judge_noisy(run, cell, _complete(pair))


def _judge_noisy(run: Run, cell: Cell, pair: Pair) -> Finding:
    """A cell by its first pass; if that suspects it, by the second."""
    level, is_again = limits.SCREEN_LEVEL.value, False
    first = found = paired.estimate(*pair, level)
    word: Word = "UNCHANGED"
    if _is_slower(run, cell, pair):
        again = run.passes[1].get(cell) if len(run.passes) > 1 else None
        if again is None:
            reason = "suspected, and not measured again"
            return _finding(run, cell, _evidence(run, cell), "NOT_MEASURED", reason)
        pair, level, is_again = _complete(again), levels(run).confirm, True
        found = paired.estimate(*pair, level)
        word = "REGRESSED" if _is_beyond(run, cell, pair, found.low) else "INCONCLUSIVE"
    elif _is_beyond(run, cell, pair[::-1], -found.high):
        word = "IMPROVED"
    elif found.high > math.log1p(limits.TOLERATED.value):
        word = "INCONCLUSIVE"
    before, after = (float(paired.fast_mean(values)) for values in pair)
    kind = run.manifest.benchmarks[cell.benchmark].kind
    return _finding(
        run, cell, EVIDENCE[kind], word, _noisy_reason(word, is_again, run.manifest.band),
        before=before, after=after, ratio=math.exp(found.value),
        interval=(math.exp(found.low), math.exp(found.high)), level=level,
        resolvable=paired.smallest_change(first, run.manifest.band, limits.SCREEN_LEVEL.value),
    )  # fmt: skip


def _noisy_reason(word: Word, is_again: bool, band: float) -> str:
    if word == "REGRESSED":
        return f"the whole interval lies beyond the band of {band:.1%}, in two passes"
    if word == "IMPROVED":
        return f"the whole interval lies beyond the band of {band:.1%}"
    if is_again:
        return "suspected in the first pass; the second did not confirm it"
    if word == "INCONCLUSIVE":
        return f"noise: a rise of more than {limits.TOLERATED.value:.0%} can't be excluded"
    return "no change beyond the band, and no large one hidden by noise"


def _is_slower(run: Run, cell: Cell, pair: Pair) -> bool:
    """Whether the first pass suspects a cell: band and floor, at the screening level."""
    base, head = _complete(pair)
    log_band = levels(run).log_band
    if not len(base) or paired.log_ratio(base, head) <= log_band:
        return False
    p = paired.p_above(base, head, log_band)
    return p <= limits.SCREEN_LEVEL.value and _rise(base, head) >= _floor(run, cell)


def _is_beyond(run: Run, cell: Cell, pair: Pair, low: float) -> bool:
    return low > levels(run).log_band and _rise(*pair) >= _floor(run, cell)


def _rise(base: paired.Floats, head: paired.Floats) -> float:
    return float(paired.fast_mean(head) - paired.fast_mean(base))


def _floor(run: Run, cell: Cell) -> float:
    return FLOORS[run.manifest.benchmarks[cell.benchmark].kind]


def _complete(pair: Pair) -> Pair:
    """The rounds that have both sides."""
    both = np.isfinite(pair[0]) & np.isfinite(pair[1])
    return pair[0][both], pair[1][both]


# ---------------------------------------------------------------- growth, instructions


def _growth(run: Run) -> Iterator[Finding]:
    for words in growth.word_groups(run):
        word, reason = growth.judge_words(words)
        yield _growth_finding(run, words, word, reason, (words.before, words.after), None)
    first = run.passes[0] if run.passes else {}
    again = (
        {g.key: g for g in growth.time_groups(run, run.passes[1])} if len(run.passes) > 1 else {}
    )
    for group in growth.time_groups(run, first):
        judged = growth.judge_time(group, again.get(group.key), levels(run).confirm)
        yield _growth_finding(
            run, group, judged.word, judged.reason, judged.values, judged.interval
        )


def _growth_finding(
    run: Run,
    group: growth.Group,
    word: Word,
    reason: str,
    values: tuple[float, float],
    interval: tuple[float, float] | None,
) -> Finding:
    return Finding(
        benchmark=group.benchmark, params=group.key, evidence="growth", word=word, unit="exponent",
        before=values[0], after=values[1], ratio=None, interval=interval, level=None,
        resolvable=None, reason=reason, command=reproduce(run.manifest, group.regex),
    )  # fmt: skip


def _instructions(run: Run) -> Iterator[Finding]:
    for name, (before, after) in run.manifest.instructions.items():
        change = after / before - 1
        word: Word = "UNCHANGED"
        if abs(change) > limits.INSTRUCTIONS_BAND.value:
            word = "REGRESSED" if change > 0 else "IMPROVED"
        reason = f"{change:+.2%} instructions in the compiled core, counted by callgrind"
        command = f"{reproduce(run.manifest, '^$')} --instructions"
        yield Finding(
            name, (), "instructions", word, "instructions", before, after, after / before,
            None, None, None, reason, command,
        )  # fmt: skip


# ---------------------------------------------------------------- what is missing


def _missing(run: Run) -> Iterator[Finding]:
    """Cells that the base had, or that failed, and that the run has no number of."""
    if run.manifest.same_code or run.manifest.same_package:
        return
    failed = {name: (side, reason) for side, name, reason in run.manifest.failures}
    for cell in dict.fromkeys((*run.manifest.required, *run.manifest.cells)):
        if reason := _why_missing(run, cell, failed):
            yield _finding(run, cell, _evidence(run, cell), "NOT_MEASURED", reason)


def _why_missing(run: Run, cell: Cell, failed: Mapping[str, tuple[str, str]]) -> str | None:
    if cell.name in failed:
        side, reason = failed[cell.name]
        return f"it failed on the {side}: {reason}"
    if cell not in run.manifest.cells:
        return "the base's reviewed list names it, and the head's suites do not have it"
    has_base, has_head = _has_numbers(run, cell)
    if has_base and not has_head:
        return "the base has a number, and the head skips it"
    return None


def _evidence(run: Run, cell: Cell) -> Evidence:
    """What a cell would have been judged by; of a benchmark that is gone, its name tells."""
    if benchmark := run.manifest.benchmarks.get(cell.benchmark):
        return EVIDENCE.get(benchmark.kind, "exact")
    method = cell.benchmark.rsplit(".", 1)[-1]
    return PREFIXES.get(method.split("_", 1)[0], "exact")


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
    if run.manifest.same_code:
        return "SAME_CODE", ["the measured sources of both sides are identical: nothing was timed"]
    doubts = list(_doubts(run, findings))
    regressed = [f for f in findings if f.word == "REGRESSED"]
    if regressed:
        said = f"{len(regressed)} of {len(findings)} verdicts are REGRESSED"
        return "REGRESSED", [said, *doubts]
    if doubts:
        return "NOT_JUDGED", doubts
    return "PASSED", [f"{len(findings)} verdicts, and none is REGRESSED"]


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
        yield f"{len(missing)} cells were NOT_MEASURED, the first: {cell}, {reason}"
    if len(missing) == len(findings):
        yield "nothing was measured"
    noisy = [f for f in findings if f.evidence in ("time", "memory")]
    unclear = sum(f.word == "INCONCLUSIVE" for f in noisy)
    if unclear > limits.MOST_INCONCLUSIVE.value * len(noisy):
        yield f"{unclear} of {len(noisy)} noisy cells are INCONCLUSIVE: the machine is too busy"
    yield from _too_few_rounds(run)


def _too_few_rounds(run: Run) -> Iterator[str]:
    wanted = (limits.SCREEN_LEVEL.value, levels(run).confirm)
    for n_rounds, level in zip(run.manifest.facts.rounds, wanted, strict=False):
        smallest = paired.smallest_p(n_rounds)
        if smallest > level:
            yield (
                f"{n_rounds} rounds give a p of {smallest:.2g} at best, and the corrected level is "
                f"{level:.2g}: no regression could have been seen"
            )


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
