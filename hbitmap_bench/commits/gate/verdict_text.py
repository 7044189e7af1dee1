"""A judgement on a terminal: 80 columns and more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.text import Text

from hbitmap_bench.base.drawing import Table, encodable, to_rich
from hbitmap_bench.base.printable import printable
from hbitmap_bench.commits.front_text import STYLES
from hbitmap_bench.commits.gate import verdict_words as words
from hbitmap_bench.commits.gate.verdict import Attached, Judgement, Outcome
from hbitmap_bench.commits.gate.verdict_entries import Entry, attached_to, entries, has_more

OUTCOMES: Final[dict[Outcome, str]] = {
    "PASSED": STYLES["UNCHANGED"],
    "SAME_CODE": STYLES["UNCHANGED"],
    "REGRESSED": STYLES["REGRESSED"],
    "NOT_JUDGED": STYLES["INCONCLUSIVE"],
}

SHOWN_NEW: Final = 20
LABEL: Final = 10
INDENT: Final = 4


def print_text(judgement: Judgement, console: Console) -> None:
    """Print it. Text from data is never read as markup, and steers no terminal."""
    page = _Page(console)
    page.outcome(judgement)
    for reason in judgement.reasons:
        page.say(f"- {words.shortened(reason)}", hang=len("- "))
    page.say()
    for name, value in words.facts(judgement.run):
        page.say(f"{name:<{LABEL}}{value}", hang=LABEL)
    if judgement.outcome == "SAME_CODE":
        return
    found = entries(judgement.findings)
    for entry in found:
        if entry.word in words.IN_FULL:
            page.entry(entry, judgement.run.columns)
            for attached in attached_to(entry, judgement.attached):
                page.attached(attached)
    page.table(improved_table(found, judgement.run.columns))
    if has_more(found):
        page.say()
        page.say(words.EVERY_CELL)
    page.table(words.counts_table(judgement))
    page.items("New, with nothing to compare with", _new(judgement))
    page.items("What this run could show", words.resolution_lines(judgement))
    page.items("Thresholds", _thresholds(judgement))
    page.say()
    page.outcome(judgement)  # again: a terminal shows the end


class _Page:
    """A console that takes text as it is."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str = "", style: str = "", *, indent: int = 0, hang: int = 0) -> None:
        """A paragraph, ``indent`` columns from the left, its further lines ``hang`` more."""
        self._paragraph(self._text(text, style), indent, hang)

    def outcome(self, judgement: Judgement) -> None:
        """The verdict, what it means and the exit code, on a line."""
        tag = Text(f" {judgement.outcome} ", OUTCOMES[judgement.outcome])
        self._paragraph(tag + self._text(f" {words.headline(judgement)}", "bold"), 0, 0)

    def entry(self, entry: Entry, columns: words.Columns) -> None:
        """A paragraph: what, numbers, why, and the command, on one line that can be copied."""
        self.say()
        title = words.title(entry).removeprefix(entry.word).removeprefix(":")
        style = STYLES["INCONCLUSIVE" if entry.clearest.allowed else entry.word]
        tag = Text(f" {entry.word} ", style)
        self._paragraph(tag + self._text(title, "bold"), 0, INDENT)
        for line in words.entry_lines(entry, columns):
            self.say(line, indent=INDENT)
        command = self._text(" " * INDENT + entry.clearest.command, "dim")
        self._console.print(command, soft_wrap=True)

    def attached(self, attached: Attached) -> None:
        """What the project has to say, line for line, below its title."""
        self.say(words.attached_title(attached), "bold", indent=INDENT)
        for line in words.attached_lines(attached):
            self._console.print(self._text(" " * INDENT + line), soft_wrap=True)

    def table(self, table: Table) -> None:
        """A table, if it has rows."""
        if table.rows:
            drawn = to_rich(table, width=self._console.width, encoding=self._console.encoding)
            self._console.print(drawn)

    def items(self, title: str, lines: Iterable[str]) -> None:
        """A titled list, if it has lines."""
        for number, line in enumerate(lines):
            if not number:
                self.say()
                self.say(title, "bold")
            self.say(f"- {line}", hang=len("- "))

    def _paragraph(self, text: Text, indent: int, hang: int) -> None:
        width = max(1, self._console.width - indent - hang)
        for number, line in enumerate(text.wrap(self._console, width) or [Text()]):
            line.rstrip()
            self._console.print(Text(" " * (indent + (hang if number else 0))) + line)

    def _text(self, text: str, style: str = "") -> Text:
        return Text(encodable(printable(text), self._console.encoding), style)


def improved_table(found: Iterable[Entry], numbers: words.Columns) -> Table:
    """What became cheaper, a row for each benchmark and kind of evidence."""
    rows = []
    for part in (part for entry in found if entry.word == "IMPROVED" for part in entry.parts):
        finding = part.clearest
        shown = words.shown(finding)
        change = "\n".join(filter(None, (shown.change, shown.interval)))
        cells = "\n".join(filter(None, (printable(finding.cell), words.others_words(part))))
        kind = words.EVIDENCE[finding.evidence]
        rows.append((cells, kind, shown.before, shown.after, change))
    columns = ("benchmark", "evidence", *numbers, "change")
    return Table("IMPROVED", columns, tuple(rows), n_labels=2, grouped=False)


def _new(judgement: Judgement) -> list[str]:
    """Names of cells that only the head has, as many as a terminal can show."""
    left_out = len(judgement.new) - SHOWN_NEW
    more = [f"and {left_out} more: --format json has them all"] if left_out > 0 else []
    return [*judgement.new[:SHOWN_NEW], *more]


def _thresholds(judgement: Judgement) -> list[str]:
    return [
        f"{name} {value} ({unit}): {reason}"
        for name, value, unit, reason in words.threshold_rows(judgement)
    ]
