"""A table of text, drawn for the terminal (rich) and as Markdown from the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Final

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

_LONGEST_WORD: Final = len("l2-cache-entry-size=64K")
"""Width of the words in a narrow table: this one must not be cut in two."""


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table of text; the first ``n_labels`` columns are words, the others figures.

    Line breaks in a cell are kept. A grouped table's first column names what consecutive rows
    share: the terminal, which is narrow, shows it once above them.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    n_labels: int = 2
    grouped: bool = True


def to_markdown(table: Table) -> str:
    """The table in GitHub's Markdown, its title in bold above and its notes below."""
    rule = ["---"] * table.n_labels + ["---:"] * (len(table.columns) - table.n_labels)
    lines = [f"**{escaped(table.title)}**", "", _row(table.columns), _row(rule, plain=True)]
    lines += [_row(row) for row in table.rows]
    for note in table.notes:
        lines += ["", escaped(note)]
    return "\n".join(lines)


def to_rich(table: Table, *, narrow: bool = True) -> RichTable:
    """The table for a terminal; ``narrow`` folds its words so that it fits 80 columns."""
    drawn = RichTable(
        title=Text(f"\n{table.title}", style="bold"),
        title_justify="left",
        box=box.HORIZONTALS,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    first = 1 if table.grouped else 0
    for index, column in enumerate(table.columns[first:], first):
        folds = table.grouped and index == first
        drawn.add_column(
            Text(column),
            justify="left" if index < table.n_labels else "right",
            width=_LONGEST_WORD if narrow and folds else None,
            no_wrap=not folds,
        )
    for name, rows in groupby(table.rows, key=lambda row: row[0] if table.grouped else ""):
        drawn.add_section()
        if table.grouped:
            drawn.add_row(Text(name, style="bold"))
        for row in rows:
            drawn.add_row(*(Text(text) for text in row[first:]))
    return drawn


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in a table cell too: builds are named by the user."""
    for special in "\\`*_[]|":
        text = text.replace(special, f"\\{special}")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", " ").replace("\n", "<br>")


def _row(cells: tuple[str, ...] | list[str], *, plain: bool = False) -> str:
    return "| " + " | ".join(cell if plain else escaped(cell) for cell in cells) + " |"
