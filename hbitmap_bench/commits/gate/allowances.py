"""Counters that may rise in this change: the project's reviewed file says which, and why.

``hbitmap-bench.toml`` of the head::

    [[counters.allowed]]
    benchmark = "buildup.Words.track_words_examined"
    params = ["deny", 16, 64]        # left out: all of them
    reason = "An eighth level, for bitmaps beyond 2^41 bits."

An entry counts in the change that brings it: those that the base has already are spent, so that
none stays behind as a hole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.project_file import FILE, Allowance, ProjectFile
from hbitmap_bench.commits.series import Benchmark


def new_allowances(base: ProjectFile, head: ProjectFile) -> tuple[Allowance, ...]:
    """Entries of the head's file that the base's has not."""
    spent = base.counters.allowed
    return tuple(entry for entry in head.counters.allowed if entry not in spent)


def check_allowances(allowances: Iterable[Allowance], benchmarks: Mapping[str, Benchmark]) -> None:
    """Raise ``UserError`` for an entry that no counter of the head has the name of."""
    for entry in allowances:
        found = benchmarks.get(entry.benchmark)
        if found is None or not found.is_exact:
            raise UserError(
                f"{FILE} allows exact counters to rise, and {entry.benchmark!r} is none of the "
                "head's: name a track_ benchmark of its suites"
            )
