"""A judgement as JSON, for machines: all of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from hbitmap_bench.commits.changes import Word
from hbitmap_bench.commits.gate import verdict_words as words
from hbitmap_bench.commits.gate.verdict import Finding, Judgement, RunFacts

SCHEMA: Final = 1


def to_json(judgement: Judgement) -> str:
    """Schema 1: the fields of ``Judgement``, with what follows from them.

    That is ``exit_code``, ``counts`` in all and by kind of evidence, each finding's ``cell``, and
    ``resolution``. Numbers are finite: an infinite one, such as an open end of an interval, is
    null. ASCII alone, so that no encoding of the output can fail.
    """
    document = {
        "schema": SCHEMA,
        "kind": "gate",
        "outcome": judgement.outcome,
        "exit_code": judgement.exit_code,
        "reasons": judgement.reasons,
        "run": _run(judgement.run),
        "counts": _counts(judgement.counts),
        "counts_by_evidence": {
            kind: _counts(counts) for kind, counts in words.counts_by_evidence(judgement).items()
        },
        "resolution": {kind: _resolution(judgement, kind) for kind in ("time", "memory")},
        "band": judgement.band,
        "band_source": judgement.band_source,
        "findings": [_finding(finding) for finding in judgement.findings],
        "new": judgement.new,
        "overrides": [asdict(override) for override in judgement.overrides],
        "attached": [asdict(attached) for attached in judgement.attached],
        "not_counted": dict(judgement.not_counted),
        "thresholds": [asdict(threshold) for threshold in judgement.thresholds],
    }
    return json.dumps(_finite(document), indent=1, allow_nan=False) + "\n"


def _run(run: RunFacts) -> dict[str, Any]:
    """Its fields; environments where the project has several, or two are compared."""
    found = {**asdict(run), "machine": dict(run.machine)}
    for told in (found, found["base"], found["head"]):
        if not told["environment"]:
            del told["environment"]
    return found


def _counts(counts: Mapping[Word, int]) -> dict[str, int]:
    return {word: counts.get(word, 0) for word in words.WORDS}


def _resolution(judgement: Judgement, kind: Any) -> dict[str, Any] | None:  # noqa: ANN401 - a literal
    found = words.resolution(judgement, kind)
    return asdict(found) if found else None


def _finding(finding: Finding) -> dict[str, Any]:
    return {"cell": finding.cell, **asdict(finding)}


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """The same with null for numbers that JSON has not."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
