"""An examination as JSON for machines."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from hbitmap_bench import __version__
from hbitmap_bench.base.host import host_facts
from hbitmap_bench.doctor.examination import Examination
from hbitmap_bench.doctor.needs import MAIN, NEEDS, Need

SCHEMA: Final = 1


def to_json(found: Examination) -> str:
    """Schema 1: ``found``, ``seen`` and ``noisy`` are null for what is missing or not told.

    ``lost`` is what a command can't do without the part; null if it can't run.
    """
    document = {
        "schema": SCHEMA,
        "kind": "doctor",
        "tool_version": __version__,
        "host": host_facts(),
        "main_job": {"command": MAIN, "can_run": found.can_run(MAIN)},
        "commands": [_command(found, command) for command in NEEDS],
        "parts": [
            {"name": part.name, "found": place, "mend": part.mend}
            for part, place in found.found.items()
        ],
        "noise": [asdict(one) for one in found.noises],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _command(found: Examination, command: str) -> dict[str, Any]:
    return {
        "command": command,
        "can_run": found.can_run(command),
        "needs": [need.part.name for need in NEEDS[command]],
        "lacks": [_lost(need) for need in found.lacks(command)],
    }


def _lost(need: Need) -> dict[str, str | None]:
    return {"part": need.part.name, "lost": need.lost}
