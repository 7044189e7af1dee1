"""The trend of a history on a terminal: what stands, since which commit, and what is in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.text import Text

from hbitmap_bench.base.drawing import Table, encodable, say, show
from hbitmap_bench.base.wording import before_after, times
from hbitmap_bench.commits.changes import fold_words, folded, weight
from hbitmap_bench.commits.front_text import (
    HASH_LENGTH,
    STYLES,
    cell_words,
    machine_words,
    shortened,
)
from hbitmap_bench.commits.project_file import Parameters
from hbitmap_bench.commits.seams_text import seam_words
from hbitmap_bench.commits.series import Benchmark, Params
from hbitmap_bench.commits.trend import CANNOT_JUDGE, CLEAR, STANDS, Found, Trend

SHOWN: Final = 40
"""Rows of a table: a terminal's worth; --json has all."""

WORDS: Final = {STANDS: "REGRESSED", CANNOT_JUDGE: "INCONCLUSIVE", CLEAR: "UNCHANGED"}

_STATES: Final = {"stands": "REGRESSED", "undone": "undone"}

EVIDENCE: Final = {
    "exact": "exact counter",
    "step": "step: two commits apart from two",
    "level": "level of the whole series",
}


def render_trend(found: Trend, console: Console) -> None:
    """Print one history; readable from 80 columns on. Text from data is never read as markup."""
    history, newest = found.history, found.history.commits[-1]
    say(
        console,
        f"{len(history.commits)} commits, {found.n_series} series on "
        f"{machine_words(history.machine)}, {history.environment}",
        "dim",
    )
    say(console, "")
    console.print(
        Text(f" {WORDS[found.exit_code]} ", style=STYLES[WORDS[found.exit_code]]),
        Text(encodable(_claim(found), console.encoding)),
    )
    say(console, f"newest: {newest.hash[:HASH_LENGTH]} {newest.date:%Y-%m-%d} {newest.subject}")
    for reason in found.reasons:
        say(console, f"- {reason}")
    for line in seam_words(history):
        say(console, f"- {line}", "dim")
    for table in (commit_table(found), series_table(found), doubt_table(found)):
        show(console, table)


def commit_table(found: Trend) -> Table:
    """A row for each commit that brought regressions which stand, the largest first."""
    grouped = [list(rows) for _, rows in groupby(found.standing, key=lambda one: one.first_bad)]
    grouped.sort(key=lambda rows: max(map(weight, rows)), reverse=True)
    return Table(
        "First bad commits of what stands",
        ("first bad", "subject", "series", "worst", "last good", "between, not measured"),
        tuple(map(_commit_row, grouped)),
        (
            "Between, not measured: commits after the last good one that changed what is measured. "
            "The first bad one may be any of them.",
        ),
        2,
        grouped=False,
    )


def series_table(found: Trend) -> Table:
    """Regressions, the largest first, with what became of each; slight ones are counted."""
    regressions = [one for one in found.found if one.state != "improved"]
    shown, slight = folded(sorted(regressions, key=weight, reverse=True))
    improvements = len(found.found) - len(regressions)
    notes = []
    if len(shown) > SHOWN:
        notes.append(f"{len(shown) - SHOWN} smaller ones are not listed here: --json has all.")
    if slight:
        words = fold_words(_STATES[one.state] for one in slight)
        notes.append(f"Not listed here, {words}; --json has all.")
    if any(one.evidence == "level" for one in shown):
        notes.append("Of a level the first bad commit may be one or two off.")
    if improvements:
        notes.append(f"Improvements, in --json: {improvements}.")
    return Table(
        "Regressions, the largest first",
        ("first bad,\nlast good", "series, evidence", "before,\nafter", "ratio", "now"),
        tuple(_series_row(one, found.history.declared.parameters) for one in shown[:SHOWN]),
        tuple(notes),
        2,
        grouped=False,
    )


def doubt_table(found: Trend) -> Table:
    """Series that can't be judged."""
    doubts, parameters = found.doubts, found.history.declared.parameters
    rows = tuple(
        (
            doubt.kind,
            _series(doubt.benchmark, doubt.params, parameters),
            doubt.since.hash[:HASH_LENGTH],
            "\n".join(before_after(doubt.before, doubt.after, doubt.benchmark.unit)),
        )
        for doubt in doubts[:SHOWN]
    )
    left_out = len(doubts) - len(rows)
    return Table(
        "Series in doubt",
        ("why", "series", "since", "before,\nafter"),
        rows,
        (f"{left_out} more are not listed here: --json has all.",) if left_out else (),
        3,
        grouped=False,
    )


def _claim(found: Trend) -> str:
    standing = len(found.standing)
    if standing:
        return f"{standing} of {found.n_series} series cost more than they did, and still do"
    if found.exit_code == CANNOT_JUDGE:
        return "no regression is confirmed, but not all can be judged:"
    return "no regression stands at the newest commit"


def _commit_row(rows: Sequence[Found]) -> tuple[str, ...]:
    """Of one first bad commit: series differ in how far back their last measurement lies."""
    worst = max(rows, key=lambda one: one.ratio)
    widest = max(rows, key=lambda one: len(one.between))
    return (
        rows[0].first_bad.hash[:HASH_LENGTH],
        shortened(rows[0].first_bad.subject),
        str(len(rows)),
        times(worst.ratio),
        widest.last_good.hash[:HASH_LENGTH],
        str(len(widest.between)),
    )


def _series_row(one: Found, parameters: Parameters) -> tuple[str, ...]:
    return (
        f"{one.first_bad.hash[:HASH_LENGTH]}\n{one.last_good.hash[:HASH_LENGTH]}",
        f"{_series(one.benchmark, one.params, parameters)}\n{EVIDENCE[one.evidence]}",
        "\n".join(before_after(one.before, one.after, one.benchmark.unit)),
        times(one.ratio),
        _state(one),
    )


def _series(benchmark: Benchmark, params: Params, parameters: Parameters) -> str:
    return f"{benchmark.name}\n{cell_words(benchmark, params, parameters)}"


def _state(one: Found) -> str:
    if one.state == "stands":
        return "stands"
    return f"undone at\n{one.undone.hash[:HASH_LENGTH]}" if one.undone else "gone, in\nno step"
