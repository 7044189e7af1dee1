"""The trend of histories as JSON for machines."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final

from hbitmap_bench.commits.series import Benchmark, Commit, History, Params, Seam
from hbitmap_bench.commits.trend import Doubt, Found, Trend, worst

SCHEMA: Final = 1


def to_json(trends: Sequence[Trend]) -> str:
    """Schema 1: the exit code, and of each history what was found and why it can't be judged.

    Regressions and improvements have one form: ``commit`` is the first that measured ``after`` (the
    first bad one), ``previous`` the last that measured ``before`` (the last good one), and
    ``between`` the hashes of those between them that were not measured. ``ratio`` is null from 0.
    A history of several sessions has ``seams``: what a step across each must exceed to show.
    """
    document = {
        "schema": SCHEMA,
        "kind": "trend",
        "exit_code": worst([found.exit_code for found in trends]),
        "histories": [_history(found) for found in trends],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _history(found: Trend) -> dict[str, Any]:
    history = found.history
    return {
        "machine": dict(history.machine),
        "environment": history.environment,
        "commits": len(history.commits),
        "newest": _commit(history.commits[-1]),
        "series": found.n_series,
        "exit_code": found.exit_code,
        "not_judged": found.reasons,
        **({"seams": [_seam(history, seam) for seam in history.seams]} if history.seams else {}),
        "regressions": [_found(one) for one in found.found if one.state != "improved"],
        "improvements": [_found(one) for one in found.found if one.state == "improved"],
        "doubts": [_doubt(doubt) for doubt in found.doubts],
    }


def _seam(history: History, seam: Seam) -> dict[str, Any]:
    """Shares that it hides are null where nothing links a series over it."""
    return {
        "before": _commit(history.commits[seam.place]),
        "linked": seam.n_linked,
        "unlinked": seam.n_unlinked,
        "hides": seam.resolves if seam.n_linked else None,
        "hides_at_worst": seam.worst if seam.n_linked else None,
    }


def _found(one: Found) -> dict[str, Any]:
    return {
        **_series(one.benchmark, one.params),
        "state": one.state,
        "evidence": one.evidence,
        "commit": _commit(one.first_bad),
        "previous": _commit(one.last_good),
        "between": one.between,
        "before": one.before,
        "after": one.after,
        "ratio": one.ratio if math.isfinite(one.ratio) else None,
        "now": one.now,
        "undone": _commit(one.undone) if one.undone else None,
    }


def _doubt(doubt: Doubt) -> dict[str, Any]:
    return {
        **_series(doubt.benchmark, doubt.params),
        "why": doubt.kind,
        "since": _commit(doubt.since),
        "before": doubt.before,
        "after": doubt.after,
    }


def _series(benchmark: Benchmark, params: Params) -> dict[str, Any]:
    return {
        "benchmark": benchmark.name,
        "params": dict(zip(benchmark.param_names, params, strict=True)),
        "unit": benchmark.unit,
    }


def _commit(commit: Commit) -> dict[str, str]:
    return {
        "hash": commit.hash,
        "date": commit.date.isoformat(timespec="seconds"),
        "subject": commit.subject,
    }
