"""What a project adds to the front page of its history."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from hbitmap_bench.base.drawing import Table

GROUP: Final = "hbitmap_bench.front_parts"
"""Entry points of this group take a repository's folder, and give its part, or None."""


@dataclass(frozen=True)
class Figure:
    """A committed figure and its caption."""

    path: Path
    caption: str


@dataclass(frozen=True)
class FrontPart:
    """Something measured once, on a host of its own; the first table opens the page.

    ``drawing`` explains it, and stands before the table. ``documents`` are texts in Markdown, which
    get pages of their own. ``created`` is ISO 8601 in UTC; ``commit`` is None where it is not
    known.
    """

    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    created: str
    processor: str
    commit: str | None
    drawing: Figure | None = None
    documents: tuple[Path, ...] = ()


def added_part(repo: Path) -> FrontPart | None:
    """What the project of a repository adds, None if nothing. Raises ``UserError`` if broken."""
    parts = (point.load()(repo) for point in entry_points(group=GROUP))
    return next((part for part in parts if part is not None), None)
