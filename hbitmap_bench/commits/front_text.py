"""The front page on a terminal: what ``hbitmap-bench show`` prints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from hbitmap_bench.base.drawing import Table, encodable, say, show
from hbitmap_bench.base.wording import before_after, times
from hbitmap_bench.commits.changes import Change, fold_words, folded
from hbitmap_bench.commits.derived import Exponents
from hbitmap_bench.commits.front import FrontPage, linear
from hbitmap_bench.commits.project_file import Parameters
from hbitmap_bench.commits.seams_text import seam_words
from hbitmap_bench.commits.series import Benchmark, Params

HASH_LENGTH: Final = 10
SUBJECT_LENGTH: Final = 48

SHOWN_COMMITS: Final = 12
SHOWN_CHANGES: Final = 40
"""A terminal's worth; the pages have all."""

STYLES: Final = {
    "REGRESSED": "bold white on red",
    "IMPROVED": "bold black on green",
    "UNCHANGED": "bold black on green",
    "INCONCLUSIVE": "bold black on yellow",
    "NOT_MEASURED": "bold black on yellow",
}

EVIDENCE: Final = {
    "exact": "exact counter",
    "step": "step in time",
    "single": "one commit alone, unconfirmed",
}


def render_front(page: FrontPage, console: Console) -> None:
    """Print the page; readable from 80 columns on. Text from data is never read as markup."""
    history, verdict = page.history, page.verdict
    machine = f"{machine_words(history.machine)}, {history.environment}"
    say(console, f"{len(history.commits)} commits on {machine}", "dim")
    say(console, "")
    console.print(
        Text(f" {verdict.word} ", style=STYLES[verdict.word]),
        Text(encodable(_newest(page), console.encoding)),
    )
    for reason in verdict.reasons:
        say(console, f"- {reason}")
    for line in seam_words(history):
        say(console, f"- {line}", "dim")
    opening = page.part.tables[:1] if page.part else ()
    growth = [exponent_table(page)] if history.declared.growth else []
    for table in (change_table(page), *growth, *opening):
        show(console, table)
        for note in () if table.rows else table.notes:
            say(console, note, "dim")
    for line in history.refused:
        say(console, f"Refused, not used: {line}", "yellow")


def exponent_table(page: FrontPage) -> Table:
    """Growth exponents, a row for each of the newest commits: newest first."""
    parameters = page.history.declared.parameters
    lines, words = page.exponents, page.history.declared.front.growth
    commits = list(enumerate(page.history.commits))[::-1][:SHOWN_COMMITS]
    rows = tuple(
        (commit.hash[:HASH_LENGTH], shortened(commit.subject), *(_exponent(x, i) for x in lines))
        for i, commit in commits
    )
    notes = [
        f"{words.question} {linear(page)}",
        *([words.note] if words.note else []),
        *([f"The newest {SHOWN_COMMITS} commits; the pages have all."] if len(rows) < len(
            page.history.commits) else []),
    ]  # fmt: skip
    return Table(
        title=words.table,
        columns=("commit", "subject", *(_line_name(line, lines, parameters) for line in lines)),
        rows=rows if lines else (),
        notes=tuple(notes) if lines else ("No growth exponent: fewer than two sizes measured.",),
        grouped=False,
    )


def change_table(page: FrontPage) -> Table:
    """Regressions and improvements, the largest first; slight ones are counted."""
    weighty, slight = folded(page.changes)
    shown = weighty[:SHOWN_CHANGES]
    left_out = len(weighty) - len(shown)
    notes = []
    if not page.changes:
        notes.append("No regressions and no improvements in this history.")
    if left_out:
        notes.append(f"{left_out} smaller ones are not listed here; the pages have all.")
    if slight:
        words = fold_words(change.word for change in slight)
        notes.append(f"Not listed here, {words}; the pages have all.")
    return Table(
        title="Regressions and improvements",
        columns=("commit", "verdict", "benchmark", "before", "after", "ratio"),
        rows=tuple(_change_row(change, page.history.declared.parameters) for change in shown),
        notes=tuple(notes),
        n_labels=3,
        grouped=False,
    )


def cell_words(benchmark: Benchmark, params: Params, declared: Parameters) -> str:
    """A cell's parameters with the suffixes that the project declares: ``deny 16T 64K start``."""
    return declared.told(benchmark.param_names, params)


def machine_words(machine: Mapping[str, str]) -> str:
    """A machine's name and what it has: ``bench (2 cores, EPYC, 24 GiB)``."""
    facts = [f"{machine.get('num_cpu', '?')} cores", machine.get("cpu", ""), machine.get("ram", "")]
    return f"{machine['machine']} ({', '.join(fact for fact in facts if fact)})"


def _change_row(change: Change, declared: Parameters) -> tuple[str, ...]:
    benchmark = change.benchmark
    return (
        change.commit.hash[:HASH_LENGTH],
        f"{change.word}\n{EVIDENCE[change.evidence]}",
        f"{benchmark.name}\n{cell_words(benchmark, change.params, declared)}",
        *before_after(change.before, change.after, benchmark.unit),
        times(change.ratio),
    )


def _exponent(line: Exponents, commit: int) -> str:
    value, low, high = (float(a[commit]) for a in (line.value, line.low, line.high))
    if not math.isfinite(value):
        return "not measured"
    if line.exact or not math.isfinite(low):
        return f"{value:.3f}"
    return f"{value:.2f}\n{low:.2f}..{high:.2f}"


def _line_name(line: Exponents, among: Sequence[Exponents], declared: Parameters) -> str:
    """``access seconds``, with the group where there is more than one."""
    several = len({other.group for other in among}) > 1
    group = declared.told(line.growth.by, line.group)
    return f"{line.series} {line.quantity}" + (f" {group}" if several else "")


def _newest(page: FrontPage) -> str:
    newest = page.verdict.commit
    return f"{newest.hash[:HASH_LENGTH]} {newest.date:%Y-%m-%d} {newest.subject}"


def shortened(subject: str) -> str:
    """A commit's subject, cut to what a table has room for."""
    return subject if len(subject) <= SUBJECT_LENGTH else f"{subject[: SUBJECT_LENGTH - 3]}..."
