"""Sessions of ``bench``: which one measured what, and the anchor that links it to those before.

The same code takes 3 to 10% more or less time in another session, and under load far more. So each
session measures an anchor again: the newest commit that the history has. Beside results stands
``<session>-<environment>.session``, with the anchor as it stood and as it was measured again. A
side record names the sessions of its result; what none names is of the first one, ``""``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from asv import util

from hbitmap_bench.base.output import write_atomic
from hbitmap_bench.base.reading import read_json
from hbitmap_bench.base.shape import checked

SCHEMA: Final = 1
SUFFIX: Final = ".session"
"""Not ``.json``: asv takes every JSON file in the folder for a result."""

FIRST: Final = ""
"""The session of all that is older than sessions are."""

STORED: Final = ("result", "params", "version", "stats_ci_99_a", "stats_ci_99_b")
"""What is kept of the anchor as it stood."""

Cells = Mapping[str, Sequence[int]]
"""Benchmark to places of cells in a result file."""

Sessions = Mapping[str, Cells | None]
"""Session to the cells of a result that it measured, None for all of them."""


@dataclass(frozen=True)
class Anchor:
    """A commit that two sessions measured, in one environment.

    ``before`` and ``after`` are ``results`` of asv, their rows as mappings; ``owners`` are the
    sessions of what is in ``before``.
    """

    session: str
    environment: str
    commit: str
    before: Mapping[str, Mapping[str, Any]]
    after: Mapping[str, Mapping[str, Any]]
    owners: Sessions
    imported: Sequence[Mapping[str, str]] = ()
    installed: Sequence[Mapping[str, str]] = ()


def anchor_paths(results_dir: Path) -> Iterator[Path]:
    """The records of sessions' anchors, those of all machines."""
    yield from sorted(results_dir.glob(f"*/*{SUFFIX}"))


def new_session() -> str:
    """A name for a session that is stored now. Names sort by time."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def rows_of(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of a result file; asv leaves out the last columns of one where they are null."""
    columns = document["result_columns"]
    found = document["results"]
    return {name: dict(zip(columns, row, strict=False)) for name, row in found.items()}


def owners(sessions: Sessions, name: str, n_cells: int) -> list[str]:
    """The session of each cell of a benchmark."""
    found = [FIRST] * n_cells
    for session, cells in sessions.items():
        for place in range(n_cells) if cells is None else cells.get(name, ()):
            found[place] = session
    return found


def measured_again(
    session: str, sessions: Sessions, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Sessions:
    """The sessions of a result that a session has changed: cells that differ are its own."""
    before, after = rows_of(old), rows_of(new)
    merged: dict[str, dict[str, list[int]]] = {}
    for name, row in after.items():
        n_cells = len(row.get("result") or ())
        same = before.get(name, {}).get("params") == row.get("params")
        known = owners(sessions, name, n_cells) if same else [session] * n_cells
        for place in range(n_cells):
            own = not same or _cell(before[name], place) != _cell(row, place)
            merged.setdefault(session if own else known[place], {}).setdefault(name, []).append(
                place
            )
    if set(merged) <= {session}:
        return {session: None}
    return {owner: cells for owner, cells in merged.items() if owner != FIRST}


def _cell(row: Mapping[str, Any], place: int) -> list[Any]:
    """What is stored of a cell, for comparing: ``repr``, as NaN is not equal to itself."""
    return [repr((row.get(column) or {place: None})[place]) for column in ("result", "samples")]


def write_anchor(
    folder: Path,
    session: str,
    old: Path,
    new: Path,
    known: Sessions,
    kind: str,
    files: Iterable[Mapping[str, str]],
) -> None:
    """Store the anchor of a session: ``old`` and ``new`` are asv's files of one commit.

    ``files`` are what it was measured on, of a kind as in side records.
    """
    stood, again = util.load_json(str(old)), util.load_json(str(new))
    before, after = rows_of(stood), rows_of(again)
    content = {
        "schema": SCHEMA,
        "session": session,
        "environment": again["env_name"],
        "commit": again["commit_hash"],
        "owners": known,
        "before": {
            name: {column: before[name].get(column) for column in STORED}
            for name in after
            if name in before
        },
        "after": after,
        kind: [dict(sorted(found.items())) for found in files],
    }
    record = {**content, "sha256": _digest(content)}
    path = folder / f"{session}-{new.stem.split('-', 1)[1]}{SUFFIX}"
    write_atomic(path, (json.dumps(record) + "\n").encode())


def read_anchor(path: Path) -> Anchor:
    """Raises ``ValueError`` or ``OSError`` for a file that is not as ``write_anchor`` left it."""
    try:
        record = read_json(path)
        given = record.pop("sha256")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no session's record ({error})") from None
    if given != _digest(record):
        raise ValueError("changed since it was measured and checked")
    if record.pop("schema", None) != SCHEMA:
        raise ValueError(f"it is not of schema {SCHEMA}")
    try:
        found = checked(Anchor(**record))
    except (TypeError, ValueError) as error:
        raise ValueError(f"it is no session's record ({error})") from None
    if not is_commit(found.commit):
        raise ValueError(f"its commit is {found.commit!r}")
    return found


def is_commit(found: object) -> bool:
    """Whether decoded JSON is a commit's whole name."""
    return isinstance(found, str) and re.fullmatch("[0-9a-f]{40}", found) is not None


def are_sessions(found: object) -> bool:
    """Whether decoded JSON has the form of ``Sessions``."""
    return isinstance(found, dict) and all(
        cells is None
        or (isinstance(cells, dict) and all(isinstance(p, list) for p in cells.values()))
        for cells in found.values()
    )


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
