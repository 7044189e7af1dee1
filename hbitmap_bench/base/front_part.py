"""What a project adds to the front page of its history."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Final

from hbitmap_bench.base.drawing import Table
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.plugins import guarded, registered

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
    parts = (_part(point, repo) for point in registered(GROUP).values())
    return next((part for part in parts if part is not None), None)


def _part(point: EntryPoint, repo: Path) -> FrontPart | None:
    """What an entry point gives. Raises ``UserError`` where it fails or gives something else."""
    what = "the part of the front page"
    part = guarded(point, what, lambda: point.load()(repo))
    if part is not None and not isinstance(part, FrontPart):
        raise UserError(
            f"{what} {point.name} ({point.value}) gives a FrontPart or None, not "
            f"{type(part).__name__}: mend its package, or uninstall it"
        )
    return part
