"""A diagnosis as JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from hbitmap_bench import __version__
from hbitmap_bench.base.host import host_facts
from hbitmap_bench.field.diagnose.diagnosis import Diagnosis
from hbitmap_bench.field.diagnose.facts import Facts
from hbitmap_bench.field.diagnose.job import Node
from hbitmap_bench.field.diagnose.time_left import Left
from hbitmap_bench.field.diagnose.watch import SCAN, Window

SCHEMA: Final = 1


def to_json(facts: Facts, diagnosis: Diagnosis, *, indent: int | None = 1) -> str:
    """Schema 1: what was seen, and what follows from it; null for what could not be seen.

    ``time_left`` is estimated, the rest was seen. Seconds, bytes, shares of 1. Without an indent it
    is one line.
    """
    view, later = facts.view, facts.job_later or facts.job
    document = {
        "schema": SCHEMA,
        "kind": "diagnose",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "tool_version": __version__,
        "host": host_facts(),
        "diagnosis": diagnosis.kind,
        "reason": diagnosis.reason,
        "job": asdict(later) if later else None,
        "chain": _nodes(view.chain) if view else None,
        "chain_is_known": view.chain_is_known if view else None,
        "fleecing": _nodes(view.fleecing) if view else None,
        "detected": view.detected if view else None,
        "overwritten_share": view.done_part if view and view.filter else None,
        "process": _process(facts.window) if facts.window else None,
        "time_left": _left(diagnosis.left) if diagnosis.left else None,
        "next_time": list(diagnosis.remedies),
        "not_known": list(facts.notes),
    }
    return json.dumps(document, indent=indent, ensure_ascii=True, allow_nan=False) + "\n"


def _nodes(nodes: Iterable[Node]) -> list[dict[str, Any]]:
    return [
        {**asdict(node), "file": None if node.file is None else str(node.file)} for node in nodes
    ]


def _process(window: Window) -> dict[str, Any]:
    scanning, share = window.scanning, window.scan_share
    return {
        "watched_s": window.seconds,
        "state": window.state,
        "cpu_share": window.cpu_share,
        "busy_share": window.busy_share,
        "function": SCAN,
        "function_samples": scanning[0] if scanning else None,
        "thread_samples": scanning[1] if scanning else None,
        "function_share": share.middle if share else None,
        "function_share_interval": [share.low, share.high] if share else None,
        "function_done_share": window.done_share,
    }


def _left(left: Left) -> dict[str, Any]:
    return {
        "estimated_s": left.seconds,
        "interval_s": [end if end < float("inf") else None for end in left.interval],
        "offset_bytes": left.offset,
        "bytes_per_s": left.speed,
        "words_per_s": left.words_s,
    }
