"""A judgement as GitHub's workflow commands: annotations of a pull request's check.

``::error title=T::M`` in a step's output. Whatever others wrote can neither end a command nor
start another: line breaks, per cents, and in a title colons and commas, are encoded as the runner
decodes them.
"""

from __future__ import annotations

from typing import Final, Literal

from hbitmap_bench.base.printable import printable
from hbitmap_bench.commits.changes import Word
from hbitmap_bench.commits.gate import verdict_words as words
from hbitmap_bench.commits.gate.verdict import Judgement
from hbitmap_bench.commits.gate.verdict_entries import Entry, entries

Level = Literal["error", "warning", "notice"]

LEVELS: Final[dict[Word, Level]] = {
    "REGRESSED": "error",
    "NOT_MEASURED": "error",
    "INCONCLUSIVE": "warning",
    "IMPROVED": "notice",
}

MOST: Final = 10
"""Of each level: GitHub shows no more of a step, and drops the others without a word."""


def to_github(judgement: Judgement) -> str:
    """The outcome, then what is not UNCHANGED, the weightiest first; a line for each entry.

    At most ``MOST`` of a level: where there are more, the last one says how many are left out.
    """
    lines = [_outcome(judgement)]
    entered = entries(judgement.findings)
    for level in ("error", "warning", "notice"):
        found = [entry for entry in entered if _level_of(entry) == level]
        room = MOST - (_level(judgement) == level)
        shown = found if len(found) <= room else found[: room - 1]
        columns = judgement.run.columns
        lines += [_command(level, words.title(entry), _message(entry, columns)) for entry in shown]
        if shown != found:
            left_out = f"{len(found) - len(shown)} more: see the summary, or --format json"
            lines.append(_command(level, "hbitmap-bench gate", left_out))
    return "\n".join(lines) + "\n"


def _outcome(judgement: Judgement) -> str:
    title = f"{judgement.outcome}: {words.headline(judgement)}"
    facts = [f"{name}: {value}" for name, value in words.compared(judgement.run)]
    lines = [*map(words.shortened, judgement.reasons), *facts, *words.resolution_lines(judgement)]
    return _command(_level(judgement), title, lines)


def _level(judgement: Judgement) -> Level:
    """Of the outcome."""
    return "error" if judgement.exit_code else "notice"


def _level_of(entry: Entry) -> Level | None:
    return "warning" if entry.clearest.allowed else LEVELS.get(entry.word)


def _message(entry: Entry, columns: words.Columns) -> list[str]:
    return [*words.entry_lines(entry, columns), entry.clearest.command]


def _command(level: str, title: str, message: str | list[str]) -> str:
    lines = [message] if isinstance(message, str) else message
    encoded = "%0A".join(_encoded(printable(line)) for line in lines)
    return f"::{level} title={_property(printable(title))}::{encoded}"


def _encoded(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _encoded(text).replace(":", "%3A").replace(",", "%2C")
