"""From a range of commits to the first bad one: which were not measured, and a plain bisection.

The driver measures nothing itself: it asks a callable whether a commit is bad.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hbitmap_bench.base.errors import UserError

Outcome = Literal["confirmed", "last good is bad", "first bad is good"]


@dataclass(frozen=True)
class Bisection:
    """What a bisection has found. ``asked`` are the commits in their order, with the answers.

    Unless the outcome is ``confirmed``, the range is as it was given: what was stored of one of its
    ends was not seen again, so that no commit in it can be named.
    """

    outcome: Outcome
    last_good: str
    first_bad: str
    asked: tuple[tuple[str, bool], ...]


def commits_between(
    repo: Path, last_good: str, first_bad: str, paths: Sequence[str]
) -> tuple[str, ...]:
    """Commits after ``last_good`` and before ``first_bad`` that changed ``paths``; all if none.

    Hashes, oldest first. One git process. Raises ``UserError`` where git does not know the two, as
    in a shallow clone.
    """
    git = ["git", "-C", str(repo), "rev-list", "--topo-order", "--reverse"]
    ran = subprocess.run(
        [*git, f"{last_good}..{first_bad}", "--", *paths],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if ran.returncode != 0:
        reason = (ran.stderr.strip().splitlines() or ["no reason given"])[0]
        raise UserError(
            f"commits between {last_good[:10]} and {first_bad[:10]} can't be listed in {repo} "
            f"({reason}): fetch the whole history"
        )
    return tuple(commit for commit in ran.stdout.split() if commit != first_bad)


def bisect(
    last_good: str, between: Sequence[str], first_bad: str, is_bad: Callable[[str], bool]
) -> Bisection:
    """Find the first bad commit of ``(*between, first_bad)``, oldest first, all after a good one.

    Asks for both ends first, since a range is worth nothing if they are not what was stored; then
    halves it: at most 2 + ceil(log2(len(between) + 1)) answers. Assumes that a commit after a bad
    one is bad; where that is not so, one of the commits that turned bad is named. What ``is_bad``
    raises ends it.
    """
    asked: list[tuple[str, bool]] = []

    def ask(commit: str) -> bool:
        asked.append((commit, is_bad(commit)))
        return asked[-1][1]

    if ask(last_good):
        return Bisection("last good is bad", last_good, first_bad, tuple(asked))
    if not ask(first_bad):
        return Bisection("first bad is good", last_good, first_bad, tuple(asked))
    commits = [last_good, *between, first_bad]
    good, bad = 0, len(commits) - 1
    while bad - good > 1:
        middle = (good + bad) // 2
        if ask(commits[middle]):
            bad = middle
        else:
            good = middle
    return Bisection("confirmed", commits[good], commits[bad], tuple(asked))
