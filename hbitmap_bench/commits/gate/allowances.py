"""Counters that may rise in this change: a reviewed file says which, and why.

``benchmarks/allowed.toml`` of the head::

    [[allowed]]
    benchmark = "buildup.Words.track_words_examined"
    params = ["deny", 16, 64]        # left out: all of them
    reason = "An eighth level, for bitmaps beyond 2^41 bits."

An entry counts in the change that brings it: those that the base has already are spent, so that
none stays behind as a hole.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.gate.sides import content
from hbitmap_bench.commits.gate.suites import REVIEWED, Cell
from hbitmap_bench.commits.series import Benchmark

FILE: Final = "benchmarks/allowed.toml"
KEYS: Final = {"benchmark", "params", "reason"}


@dataclass(frozen=True)
class Allowance:
    """A counter that may rise, by name; ``params`` None stands for all its cells."""

    benchmark: str
    params: Sequence[int | str] | None
    reason: str

    def allows(self, cell: Cell) -> bool:
        """Whether it is for this cell."""
        return cell.benchmark == self.benchmark and (
            self.params is None or tuple(self.params) == cell.params
        )


def new_allowances(repo: Path, base: str, head: str) -> tuple[Allowance, ...]:
    """Entries of the head's file that the base's has not. Raises ``UserError`` if one is wrong."""
    before = _read(repo, base)
    return tuple(entry for entry in _read(repo, head) if entry not in before)


def check_allowances(allowances: Iterable[Allowance], benchmarks: Mapping[str, Benchmark]) -> None:
    """Raise ``UserError`` for an entry that no counter of the head has the name of."""
    for entry in allowances:
        found = benchmarks.get(entry.benchmark)
        if found is None or not found.is_exact:
            raise UserError(
                f"{FILE} allows exact counters to rise, and {entry.benchmark!r} is none of the "
                f"head's: see {REVIEWED} for their names"
            )


def _read(repo: Path, commit: str) -> list[Allowance]:
    text = content(repo, commit, FILE) or b""  # it is there when something is allowed
    try:
        told = tomllib.loads(text.decode())
        if others := set(told) - {"allowed"}:
            raise ValueError(f"it has {', '.join(sorted(others))}")
        return [_entry(found) for found in told.get("allowed", [])]
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{FILE} of commit {commit[:10]} must be a list [[allowed]] of benchmark, reason and "
            f"perhaps params, and is not ({error})"
        ) from None


def _entry(found: dict[str, object]) -> Allowance:
    benchmark, params, reason = (found.get(key) for key in ("benchmark", "params", "reason"))
    if not (isinstance(benchmark, str) and isinstance(reason, str) and reason.strip()):
        raise ValueError("an entry needs a benchmark and a reason")
    if set(found) - KEYS or not (params is None or isinstance(params, list)):
        raise ValueError(f"an entry has {', '.join(sorted(KEYS))} alone")
    return Allowance(benchmark, params, reason)
