"""A judgement in GitHub's Markdown: the summary of a pull request's check."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from hbitmap_bench.base.drawing import escaped
from hbitmap_bench.base.printable import printable
from hbitmap_bench.commits.gate import verdict_words as words
from hbitmap_bench.commits.gate.verdict import Judgement
from hbitmap_bench.commits.gate.verdict_entries import (
    Entry,
    Part,
    attached_to,
    entries,
    has_more,
)

SHOWN: Final = 200
"""Of entries and of new cells: GitHub refuses a summary of more than 1 MiB as a whole."""

N_LABELS: Final = 3


def to_markdown(judgement: Judgement) -> str:
    """The verdict, what is not UNCHANGED, counts, what this run could show, thresholds.

    What others wrote stands in code spans or is escaped: it makes no markup, no link to a person.
    """
    parts = [
        f"## {judgement.outcome}: {words.headline(judgement)}",
        "\n".join(_list(_text(words.shortened(reason)) for reason in judgement.reasons)),
        _table(("", "compared"), [(n, _code(v)) for n, v in words.facts(judgement.run)], 2),
    ]
    if judgement.outcome != "SAME_CODE":
        parts += [*_findings(judgement), *_counts(judgement), *_new(judgement)]
        parts.append("\n".join(_list(map(_text, words.resolution_lines(judgement)))))
        parts.append(_thresholds(judgement))
    return "\n\n".join(part for part in parts if part) + "\n"


def _findings(judgement: Judgement) -> list[str]:
    """The table of what is not UNCHANGED, and a command for each benchmark."""
    found = [entry for entry in entries(judgement.findings) if entry.word != "UNCHANGED"]
    if not found:
        return []
    shown = found[:SHOWN]
    left_out = len(found) - len(shown)
    rows = [_row(part) for entry in shown for part in entry.parts]
    numbers = (*judgement.run.columns, "change", "interval", "why")
    parts = [_table(("verdict", "benchmark", "evidence", *numbers), rows, N_LABELS)]
    if left_out:
        parts.append(f"{left_out} more benchmarks are not listed here.")
    if left_out or has_more(shown):
        parts.append(words.EVERY_CELL)
    told = [one for entry in shown for one in attached_to(entry, judgement.attached)]
    parts += [
        _details(_html(words.attached_title(one)), _fenced(words.attached_lines(one), ""))
        for one in told
    ]
    if again := [entry for entry in shown if entry.word in words.IN_FULL]:
        parts.append(_details("Commands that measure one of them alone, again", _commands(again)))
    return parts


def _row(part: Part) -> tuple[str, ...]:
    finding = part.clearest
    numbers = words.shown(finding)
    kind = "" if finding.word == "NOT_MEASURED" else words.EVIDENCE[finding.evidence]
    level = f"level {finding.level:.2g}" if finding.level is not None else ""
    interval = "<br>".join(filter(None, (numbers.interval, level)))
    return (
        finding.word,
        "<br>".join(filter(None, (_code(finding.cell), _text(words.others_words(part))))),
        kind,
        *map(_text, (numbers.before, numbers.after, numbers.change)),
        interval,
        _text(words.why(finding)),
    )


def _commands(found: Iterable[Entry]) -> str:
    """A fenced block to copy from, with what each command measures in a comment above it."""
    lines = []
    for entry in found:
        lines += [f"# {words.title(entry)}", entry.clearest.command]
    return _fenced(lines, "sh")


def _fenced(lines: Sequence[str], language: str) -> str:
    """Lines as code, whatever they are."""
    fence = "`" * max(3, 1 + _longest_ticks("\n".join(lines)))
    return "\n".join([f"{fence}{language}", *map(printable, lines), fence])


def _counts(judgement: Judgement) -> list[str]:
    table = words.counts_table(judgement)
    if not table.rows:
        return []
    return [f"### {table.title}", _table(table.columns, table.rows, table.n_labels)]


def _new(judgement: Judgement) -> list[str]:
    if not judgement.new:
        return []
    left_out = len(judgement.new) - SHOWN
    more = [f"{left_out} more: the JSON report has them all"] if left_out > 0 else []
    names = [*map(_code, judgement.new[:SHOWN]), *more]
    said = f"New, with nothing to compare with: {len(judgement.new)} cells"
    return [_details(said, "\n".join(_list(names)))]


def _thresholds(judgement: Judgement) -> str:
    rows = [tuple(map(_text, row)) for row in words.threshold_rows(judgement)]
    return _details("Thresholds", _table(("threshold", "value", "unit", "reason"), rows, 4))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], n_labels: int) -> str:
    """Cells are Markdown already; all but the first ``n_labels`` columns are figures."""
    rule = ["---" if i < n_labels or columns[i] == "why" else "---:" for i in range(len(columns))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows))


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def _list(lines: Iterable[str]) -> list[str]:
    return [f"- {line}" for line in lines]


def _text(text: str) -> str:
    """Text that is shown as it is: no markup, no formula, nobody mentioned."""
    return _unread(escaped(printable(text)).replace("~", "\\~"))


def _html(text: str) -> str:
    """The same where Markdown is not read, such as in a summary."""
    return _unread(escape(printable(text), quote=False))


def _unread(text: str) -> str:
    """Without what GitHub reads in any text."""
    return text.replace("$", "<span>$</span>").replace("@", "<span>@</span>")


def _code(text: str) -> str:
    """Text as code, in a table too: in backticks, more than it has in a row."""
    text = printable(text).replace("|", "\\|")
    if not text:
        return ""
    ticks = "`" * (1 + _longest_ticks(text))
    padding = " " if "`" in text else ""
    return f"{ticks}{padding}{text}{padding}{ticks}"


def _longest_ticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
