"""Regressions that a change declares: named in a line of a commit's message, with a reason.

::

    Allow-slower: buildup.BuildUp.time_queries: each query now reads the done bitmap too

The name is a benchmark's, or a cell's as reports write it. What is named may regress by any
evidence, and is told as REGRESSED all the same; the line is part of the verdict in every format.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.gate.verdict import Override
from hbitmap_bench.commits.project import git

LINE: Final = re.compile(r"^Allow-slower:[ \t]*(.*)$", re.MULTILINE)
ENTRY: Final = re.compile(r"(?P<name>\S.*?):[ \t]+(?P<reason>\S.*)")


def read_overrides(repo: Path, base: str, head: str) -> tuple[Override, ...]:
    """Those in messages of commits that the head has and the base has not, the oldest first.

    Raises ``UserError`` where a line has no name or no reason.
    """
    told = git(repo, "log", "--reverse", "--format=%H%x00%B%x00", f"{base}..{head}").split("\0")
    return tuple(
        _override(commit.strip(), line.strip())
        for commit, message in zip(told[::2], told[1::2], strict=False)
        for line in LINE.findall(message)
    )


def _override(commit: str, line: str) -> Override:
    found = ENTRY.fullmatch(line)
    if found is None:
        raise UserError(
            f"a line Allow-slower has a benchmark's name and a reason, and commit {commit[:10]} "
            f"has {line!r}: write Allow-slower: NAME: REASON"
        )
    return Override(found["name"], found["reason"], commit)
