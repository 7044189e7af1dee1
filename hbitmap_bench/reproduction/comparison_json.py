"""Two reproductions side by side, as JSON for machines."""

from __future__ import annotations

import json
from typing import Any, Final

from hbitmap_bench.reproduction.comparison import Comparison, Group, GrowthPair, Pair, Side
from hbitmap_bench.reproduction.contrast import DRIFT, Contrast, Difference, Estimate
from hbitmap_bench.reproduction.records import CellRecord

SCHEMA: Final = 1

_PLACE: Final = (
    "image_bytes", "cluster_bytes", "copy_cluster_bytes", "l2_slice_bytes", "l2_entry_bytes"
)  # fmt: skip


def to_json(comparison: Comparison) -> str:
    """Schema 1: both sides, every pair with its three quantities, every pair of exponents.

    ``elapsed_s`` is null where hosts differ. A value that a side lacks is null, and so is a range,
    a ratio or a finding that it would take; the upper end of a ratio is null where A may be 0.
    """
    groups = comparison.groups
    document = {
        "schema": SCHEMA,
        "kind": "comparison",
        "a": _side(comparison.a),
        "b": _side(comparison.b),
        "hosts_alike": comparison.hosts_alike,
        "host_differs": comparison.host_differs,
        "drift": DRIFT,
        "pairs": [_pair(g, pair, comparison.hosts_alike) for g in groups for pair in g.pairs],
        "growth": [_growth(g, pair) for g in groups for pair in g.growth],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _side(side: Side) -> dict[str, Any]:
    found = side.reproduction
    return {
        "file": side.name,
        "created": found.created,
        "commit": found.commit,
        "tool_version": found.tool_version,
        "host": dict(found.host),
        "unpaired": [{**_labels(row), **_place(row)} for row in side.unpaired],
    }


def _pair(group: Group, pair: Pair, hosts_alike: bool) -> dict[str, Any]:
    return {
        **_group(group),
        **_setups(pair.a, pair.b),
        **_place(pair.a),
        "words_examined_a": pair.a.words_examined,
        "words_examined_b": pair.b.words_examined,
        "extra_s": _contrast(pair.extra),
        "scan_rate_words_s": _contrast(pair.rate),
        "elapsed_s": _contrast(pair.seconds) if hosts_alike else None,
    }


def _growth(group: Group, pair: GrowthPair) -> dict[str, Any]:
    place = _place(pair.row_a)
    del place["image_bytes"]
    return {
        **_group(group),
        **_setups(pair.row_a, pair.row_b),
        **place,
        "sizes": pair.sizes,
        "exponent": _difference(pair.seconds),
        "extra_exponent": _difference(pair.extra),
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "source": group.source,
        "mode": group.mode,
        "build_a": group.build_a,
        "build_b": group.build_b,
    }


def _setups(a: CellRecord, b: CellRecord) -> dict[str, Any]:
    return {
        "setup_a": a.setup,
        "setup_b": b.setup,
        "detected_a": a.detected,
        "detected_b": b.detected,
    }


def _labels(row: CellRecord) -> dict[str, Any]:
    return {"source": row.source, "mode": row.mode, "build": row.build, "setup": row.setup}


def _place(row: CellRecord) -> dict[str, int]:
    return {name: getattr(row, name) for name in _PLACE}


def _contrast(found: Contrast) -> dict[str, Any]:
    return {
        "a": _estimate(found.a),
        "b": _estimate(found.b),
        "ratio": found.ratio,
        "ratio_interval": found.ratio_interval,
        "finding": found.finding,
    }


def _difference(found: Difference) -> dict[str, Any]:
    return {
        "a": _estimate(found.a),
        "b": _estimate(found.b),
        "difference": found.value,
        "difference_interval": found.interval,
        "finding": found.finding,
    }


def _estimate(found: Estimate | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "value": found.value,
        "interval": found.interval,
        "interval_kind": found.kind,
        "resolved": found.resolved,
    }
