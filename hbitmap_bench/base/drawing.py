"""A table of text, drawn for the terminal (rich) and as Markdown from the same rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from hbitmap_bench.base.printable import printable

WIDE_COLUMNS: Final = 110
"""From this width of a terminal on, the words of a table need no folding."""

FULL_COLUMNS: Final = 80
"""From this width of a terminal on, the figures of a table need no folding."""

_LONGEST_WORD: Final = len("l2-cache-entry-size=64K")
"""Width of the words in a narrow table: this one must not be cut in two."""

_ASCII_MARKS: Final = {"†": "*", "‡": "**", "§": "#", "⚠": "!"}


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


def to_rich(table: Table, *, width: int = FULL_COLUMNS, encoding: str = "utf-8") -> RichTable:
    """The table for a terminal of a width in columns: words fold below 110, ranges below 80.

    Nothing is cut off at any width. A table that is not grouped breaks between words, and a name
    that has no room at its dots. No text is read as markup, and all of it is in characters that
    ``encoding`` has (see ``encodable``).
    """
    full = width >= FULL_COLUMNS

    def shown(words: str) -> str:
        return encodable(words if full else words.replace("..", ".. "), encoding)

    def text(words: str, style: str = "") -> Text:
        return Text(shown(words), style=style)

    widths: list[int | None] = [None] * len(table.columns)
    if not table.grouped:
        columns = zip(table.columns, *table.rows, strict=True)
        texts = [list(map(shown, column)) for column in columns]
        widths = [*_widths(texts, table.n_labels, width)]
    drawn = RichTable(
        title=text(f"\n{table.title}", "bold"),
        title_justify="left",
        box=box.HORIZONTALS,
        padding=0,
        pad_edge=False,
        show_edge=False,
    )
    first = 1 if table.grouped else 0
    for index, column in enumerate(table.columns[first:], first):
        folds = table.grouped and index == first and _is_wordy(table, index)
        drawn.add_column(
            text(column),
            justify="left" if index < table.n_labels else "right",
            width=_LONGEST_WORD if folds and full and width < WIDE_COLUMNS else widths[index],
            overflow="fold",
        )
    for name, rows in groupby(table.rows, key=lambda row: row[0] if table.grouped else ""):
        drawn.add_section()
        if table.grouped:
            drawn.add_row(text(name, "bold"))
        for row in rows:
            cells = zip(row[first:], widths[first:], strict=True)
            drawn.add_row(*(Text(_broken(shown(cell), limit)) for cell, limit in cells))
    return drawn


def show(console: Console, table: Table) -> None:
    """Print a table with its notes, if it has rows, in the console's width."""
    if table.rows:
        console.print(to_rich(table, width=console.width, encoding=console.encoding))
        for note in table.notes:
            say(console, note, "dim")


def say(console: Console, text: str, style: str = "") -> None:
    """Print text, which is never read as markup, in characters that the console has."""
    console.print(Text(encodable(text, console.encoding), style=style))


def _widths(columns: Sequence[Sequence[str]], n_labels: int, width: int) -> list[int]:
    """Of columns of text: what their longest line takes, or as much as there is room for.

    No less than the longest word of labels takes, and the longest line of figures; else than that
    of words; where those have no room, the widest column gives way.
    """
    room = width - (len(columns) - 1)
    wanted = [_longest(cells, str.splitlines) for cells in columns]
    words = [_longest(cells, str.split) for cells in columns]
    found = [*words[:n_labels], *wanted[n_labels:]]
    if sum(found) > room:
        found = words
    while sum(found) > room and max(found) > 1:
        found[found.index(max(found))] -= 1
    while sum(found) < min(room, sum(wanted)):
        narrow = [index for index, taken in enumerate(found) if taken < wanted[index]]
        for index in narrow[: room - sum(found)]:
            found[index] += 1
    return found


def _longest(cells: Iterable[str], split: Callable[[str], Iterable[str]]) -> int:
    return max((cell_len(part) for cell in cells for part in split(cell)), default=0)


def _broken(cell: str, width: int | None) -> str:
    """Text with names broken at dots, else underscores, where a word has no room."""
    if width is None:
        return cell
    return "\n".join(
        " ".join(_pieces(word, width) for word in line.split(" ")) for line in cell.split("\n")
    )


def _pieces(word: str, width: int) -> str:
    for parts in (r"\.?[^.]+|\.", r"\.?[^._]+_*|[._]+"):
        lines = [""]
        for part in re.findall(parts, word):
            if lines[-1] and cell_len(lines[-1] + part) > width:
                lines.append("")
            lines[-1] += part
        if all(cell_len(line) <= width for line in lines):
            break
    return "\n".join(lines)


def _is_wordy(table: Table, index: int) -> bool:
    """Whether a column has a line too long for a narrow table."""
    return any(len(line) > _LONGEST_WORD for row in table.rows for line in row[index].split("\n"))


def encodable(text: str, encoding: str) -> str:
    """Text in characters that an encoding has: marks as ASCII ones, others as their numbers.

    Builds are named by the user, and files come from others: a name may hold what the terminal's
    encoding lacks, or what would steer the terminal. Line breaks are kept. Raises ``LookupError``
    for an unknown encoding.
    """
    text = "\n".join(printable(line) for line in text.split("\n"))
    if not _has(encoding, "".join(_ASCII_MARKS)):  # all or none, so that no two marks are alike
        for mark, plain in _ASCII_MARKS.items():
            text = text.replace(mark, plain)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _has(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in a table cell too: builds are named by the user."""
    for special in "\\`*_[]|":
        text = text.replace(special, f"\\{special}")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", " ").replace("\n", "<br>")


def bullets(lines: Iterable[str]) -> str:
    """A list in Markdown."""
    return "\n".join(f"- {escaped(line)}" for line in lines)


def _row(cells: tuple[str, ...] | list[str], *, plain: bool = False) -> str:
    return "| " + " | ".join(cell if plain else escaped(cell) for cell in cells) + " |"
