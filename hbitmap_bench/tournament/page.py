"""The tournament's report: tables, figure and data, on a page and on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from hbitmap_bench import __version__
from hbitmap_bench.base.drawing import Table, bullets, escaped, say, show, to_markdown
from hbitmap_bench.base.host import commit_of_sources, host_facts
from hbitmap_bench.base.medians import LEAST
from hbitmap_bench.base.output import in_lines, make_folder, write_atomic
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.base.wording import NOTHING, factor, factors, factors_above_1, host_fact, number
from hbitmap_bench.reproduction.disturbance import EXCESS_SHARE
from hbitmap_bench.reproduction.report.naming import DISTURBED
from hbitmap_bench.tournament.cell import Cell
from hbitmap_bench.tournament.contenders import Contender
from hbitmap_bench.tournament.figure import draw
from hbitmap_bench.tournament.scale import fleet_table, scale_table
from hbitmap_bench.tournament.standings import Ratio, Standing, standings, words_growth
from hbitmap_bench.tournament.workloads import Workload

STEM: Final = "tournament"
SCHEMA: Final = 2

STEEP: Final = 1.5
"""Between linear (1) and quadratic (2): above, a contender is called a slow path."""

ALIKE: Final = "~"
"""Marks the ratio of one that is not told apart from the fastest."""

_READING: Final = (
    "All seconds are measured: CPU time of this package's own filter and job, in process. A "
    "question costs 1 to 5 us there, of which most is Python. Contenders that read a few words are "
    "hardly told apart from each other by time; words tell them apart.",
    "A ratio is the median over rounds of a contender's CPU time over that of the fastest in the "
    "same round; its range is the 95% interval of that median, from order statistics. best: the "
    f"fastest. {ALIKE}: not told apart from it by these rounds, whatever the median; more rounds "
    "may tell.",
    "A game is disturbed whose wall seconds exceed its CPU seconds by more than "
    f"{EXCESS_SHARE:.0%}, or beside which a fixed loop ran far slower than usual. It does not "
    "count; all contenders play there again, at most as many rounds as before. "
    f"{DISTURBED} marks where too few games are left: there is no ratio. Words are counted, and no "
    "host disturbs them.",
    "Words are those that searches of the access check and of the done bitmap examine, exactly. "
    "They are given for one question on average.",
    "Set-up is the CPU time that the filter takes to be made, with its bitmap argument where the "
    "workload has one. Memory is what the access check has allocated, touched or not. Of roaring "
    "it is the size of the serialized set: its library does not tell what it has allocated.",
    "Not measured here: what a question costs QEMU besides, reads of L2 tables, locks, threads.",
)


@dataclass(frozen=True, slots=True)
class Tournament:
    """Who played what, and how it went; ``created`` is ISO 8601 in UTC.

    ``rounds`` are those asked for; what was disturbed was played oftener. ``command`` is the
    command line that was given, with the defaults in it.
    """

    contenders: tuple[Contender, ...]
    workloads: tuple[Workload, ...]
    cells: tuple[Cell, ...]
    rounds: int
    command: str
    created: str

    @property
    def largest(self) -> int:
        """The largest image size, in bytes."""
        return max(cell.image_bytes for cell in self.cells)

    def at_largest(self) -> list[Standing]:
        """The standings at the largest size, one a workload."""
        return [one for one in standings(self.cells) if one.place[1] == self.largest]


def write(found: Tournament, out_dir: Path) -> tuple[Path, ...]:
    """Write the page, its data and its figure to a folder; return the files. ``UserError``."""
    make_folder(out_dir)
    page, data, figure = (out_dir / f"{STEM}.{kind}" for kind in ("md", "json", "png"))
    write_atomic(data, in_lines(as_json(found)).encode())
    write_atomic(figure, draw(found.at_largest()))
    write_atomic(page, render_markdown(found).encode())
    return page, data, figure


def render_markdown(found: Tournament) -> str:
    """The page, in GitHub's Markdown."""
    at_largest = found.at_largest()
    facts = {key: value for key, value in host_facts().items() if value is not None}
    commit = commit_of_sources() or "not known"
    caption = f"CPU time over that of the fastest, at {format_size(found.largest)}."
    parts = [
        "# Tournament of access checks",
        bullets(conclusions(found)),
        f"![{caption}]({STEM}.png)\n\n*{caption}*",
        to_markdown(winners_table(at_largest)),
        to_markdown(ratio_table(found, with_ranges=True)),
        to_markdown(growth_table(found)),
        to_markdown(words_table(found)),
        to_markdown(cost_table(found)),
        "## Scale",
        to_markdown(scale_table()),
        to_markdown(fleet_table()),
        "## The contenders",
        bullets(f"{one.name}: {one.idea}" for one in found.contenders),
        "## The workloads",
        bullets(f"{one.name}: {one.what}" for one in found.workloads),
        "## How to read it",
        bullets(_READING),
        "## Host",
        bullets(": ".join(host_fact(key, value)) for key, value in facts.items()),
        escaped(f"Made by hbitmap-bench {__version__} (commit {commit}) at {found.created}."),
        "## How to reproduce it",
        f"    {found.command}\n\nThe data: [{STEM}.json]({STEM}.json).",
    ]
    return "\n\n".join(parts) + "\n"


def render_terminal(found: Tournament, console: Console) -> None:
    """The tables, and last who wins; readable from 80 columns on."""
    for table in (words_table(found), growth_table(found), cost_table(found)):
        show(console, table)
    show(console, ratio_table(found, with_ranges=False))
    show(console, winners_table(found.at_largest()))
    say(console, "\nWhat was found", "bold")
    for line in conclusions(found):
        say(console, f"- {line}")


def as_json(found: Tournament) -> dict[str, Any]:
    """All that was measured, and who wins where."""
    return {
        "schema": SCHEMA,
        "created": found.created,
        "tool_version": __version__,
        "commit": commit_of_sources(),
        "host": host_facts(),
        "contenders": {one.name: one.idea for one in found.contenders},
        "workloads": {one.name: one.what for one in found.workloads},
        "command": found.command,
        "rounds": found.rounds,
        "cells": [_cell_json(cell) for cell in found.cells],
        "standings": [_standing_json(one) for one in standings(found.cells)],
    }


_TOLD: Final = (
    *("wall_s", "cpu_s", "waited_s", "read_bytes", "steal_s", "loop_words_s", "disturbed"),
)
"""Of a run: what its judgement rests on. There are thousands."""


def _cell_json(cell: Cell) -> dict[str, Any]:
    """As it is; of a run what the host tells."""
    runs = [{key: getattr(run, key) for key in _TOLD} for run in cell.runs]
    told = [{key: value for key, value in run.items() if value is not None} for run in runs]
    return asdict(cell) | {"runs": told}


def _standing_json(standing: Standing) -> dict[str, Any]:
    workload, size = standing.place
    ratios = {
        one.cell.contender: {
            "rounds": one.rounds,
            "median": one.median,
            "interval": one.interval,
            "told_apart": one.is_told_apart,
            "disturbed": one.disturbed,
        }
        for one in standing.ratios
    }
    best = [one.cell.contender for one in standing.best]
    fastest = standing.fastest.contender if standing.fastest is not None else None
    place = {"workload": workload, "image_bytes": size}
    return place | {"fastest": fastest, "best": best, "ratios": ratios}


# ---------------------------------------------------------------- tables


def winners_table(at_largest: Sequence[Standing]) -> Table:
    """A row for each workload: the best, who comes next, and by how much."""
    rows = [(one.place[0], _best(one), *_next(one.next)) for one in at_largest]
    size = format_size(at_largest[0].place[1])
    columns = ("workload", f"best, and {ALIKE} not told apart from it", "next", "over the best")
    title = f"Who wins, at {size} (measured)"
    return Table(title, columns, tuple(rows), _reasons(at_largest), n_labels=3, grouped=False)


def _best(standing: Standing) -> str:
    """The best, then those of which nothing is said: one of them may be better."""
    if not standing.best:
        return f"{DISTURBED} all"
    names = [f"{ratio.cell.contender}{_behind(standing, ratio)}" for ratio in standing.best]
    lost = ", ".join(ratio.cell.contender for ratio in standing.disturbed)
    return ", ".join(names) + (f"; {DISTURBED} {lost}" if lost else "")


def _behind(standing: Standing, ratio: Ratio) -> str:
    """The median over the fastest, of one that is not it."""
    if ratio.median is None or ratio.cell is standing.fastest:
        return ""
    return f" {_median(ratio.median, ratio)}"


def _median(median: float, ratio: Ratio) -> str:
    """With its mark, where rounds enough were played to tell and they don't."""
    alike = ratio.interval is not None and not ratio.is_told_apart
    return f"{ALIKE if alike else ''}{factor(median)}"


_REASONS_NAMED: Final = 3
"""On a busy host many are disturbed, for reasons much alike; the data has them all."""


def _reasons(at_largest: Sequence[Standing]) -> tuple[str, ...]:
    """Notes on what is disturbed."""
    found = [
        f"{DISTURBED} disturbed, and nothing is made of it: {ratio.cell.contender} in "
        f"{one.place[0]}: {ratio.disturbed}"
        for one in at_largest
        for ratio in one.disturbed
    ]
    hidden = len(found) - _REASONS_NAMED
    more = (f"{DISTURBED} and {hidden} more",) if hidden > 0 else ()
    return (*found[:_REASONS_NAMED], *more)


def _next(ratio: Ratio | None) -> tuple[str, str]:
    if ratio is None or ratio.interval is None:
        return NOTHING, NOTHING
    return ratio.cell.contender, factors_above_1(*ratio.interval)


def ratio_table(found: Tournament, *, with_ranges: bool) -> Table:
    """CPU time over that of the fastest: workloads by contenders."""

    def shown(standing: Standing, name: str) -> str:
        ratio = standing.of(name)
        if ratio is None:
            return NOTHING
        if ratio.median is None:
            return DISTURBED
        if ratio.cell is standing.fastest and ratio.interval is not None:
            return "best"
        return _median(ratio.median, ratio) + (_ends(ratio) if with_ranges else "")

    title = f"CPU time over that of the fastest, at {format_size(found.largest)} (measured)"
    return _matrix(found, title, shown)


def _ends(ratio: Ratio) -> str:
    """Its interval on a line of its own."""
    if ratio.interval is None:
        return ""
    return f"\n{(factors_above_1 if ratio.is_told_apart else factors)(*ratio.interval)}"


def growth_table(found: Tournament) -> Table:
    """The exponent of words over image sizes: workloads by contenders."""

    def shown(standing: Standing, name: str) -> str:
        slope = words_growth(found.cells, name, standing.place[0])
        return NOTHING if slope is None else f"{slope:.2f}"

    sizes = ", ".join(map(format_size, dict.fromkeys(cell.image_bytes for cell in found.cells)))
    return _matrix(found, f"Growth exponents of words over {sizes} (counted)", shown)


def words_table(found: Tournament) -> Table:
    """Words examined for one question: workloads by contenders."""

    def shown(standing: Standing, name: str) -> str:
        ratio = standing.of(name)
        if ratio is None or ratio.cell.words is None:
            return NOTHING
        return number(ratio.cell.words / ratio.cell.questions)

    title = f"Words examined a question, at {format_size(found.largest)} (counted)"
    return _matrix(found, title, shown)


def _matrix(found: Tournament, title: str, shown: Callable[[Standing, str], str]) -> Table:
    names = [one.name for one in found.contenders]
    columns = ("workload", *(name.replace("-", "-\n") for name in names))
    rows = tuple(
        (standing.place[0], *(shown(standing, name) for name in names))
        for standing in found.at_largest()
    )
    return Table(title, columns, rows, n_labels=1, grouped=False)


_OF_ROARING: Final = "memory: of roaring, the size of its serialized set."


def cost_table(found: Tournament) -> Table:
    """What each contender costs besides its questions, at the largest size, the most of any."""
    rows = []
    for one in found.contenders:
        cells = [
            cell
            for cell in found.cells
            if cell.contender == one.name and cell.image_bytes == found.largest
        ]
        memory = max(cell.memory_bytes for cell in cells)
        rows.append((one.name, *_dearest_setup(cells), f"{memory / 1024:,.0f}"))
    columns = ("contender", "set-up, ms\n(least of its runs)", "in", "memory, KiB")
    title = f"What each costs besides, at {format_size(found.largest)}, in its dearest workload"
    notes = (_OF_ROARING,) if any(one.name == "roaring" for one in found.contenders) else ()
    return Table(title, columns, tuple(rows), notes, n_labels=1, grouped=False)


def _dearest_setup(cells: Sequence[Cell]) -> tuple[str, str]:
    """Milliseconds of the set-up that takes longest, of undisturbed games, and its workload."""
    told = [(seconds, cell) for cell in cells if (seconds := cell.least_setup_s) is not None]
    if not told:
        return DISTURBED, NOTHING
    seconds, cell = max(told, key=lambda one: one[0])
    return f"{seconds * 1e3:.2f}", cell.workload


# ---------------------------------------------------------------- sentences


def conclusions(found: Tournament) -> list[str]:
    """Who is how often the best, who has a slow path and where, in sentences made of the cells."""
    lines = [_winners(found), _games(found)]
    lines += [_slow_paths(found, one.name) for one in found.contenders]
    return [line for line in lines if line]


def _winners(found: Tournament) -> str:
    """How often each is among the best, of the workloads that it was not disturbed in."""
    if found.rounds < LEAST:
        return f"Nobody wins: fewer than {LEAST} rounds have no interval."
    at_largest = found.at_largest()
    wins = Counter(ratio.cell.contender for one in at_largest for ratio in one.best)
    lost = Counter(ratio.cell.contender for one in at_largest for ratio in one.disturbed)
    told = [
        f"{name} in {n} of {len(at_largest) - lost[name]}{_at_most(at_largest, name)}"
        for name, n in wins.most_common()
    ]
    if not told:
        return "Nobody wins: a busy host has disturbed too many games. Try when it is quiet."
    where = f"at {format_size(found.largest)}"
    return f"Best, or not told apart from the best, {where}: {'; '.join(told)}."


def _at_most(at_largest: Sequence[Standing], name: str) -> str:
    """The largest of its medians where it is among the best but not the fastest."""
    medians = [
        ratio.median
        for one in at_largest
        for ratio in one.best
        if ratio.cell.contender == name and ratio.median is not None
    ]
    most = max(medians, default=1.0)
    return f" (medians up to {factor(most)})" if most > 1 else ""


def _games(found: Tournament) -> str:
    """How much of what was played does not count; nothing where all does."""
    played = sum(len(cell.runs) for cell in found.cells)
    spoilt = sum(len(cell.reasons) for cell in found.cells)
    if not spoilt:
        return ""
    lost = [ratio for one in standings(found.cells) for ratio in one.disturbed]
    places = (
        f"{len(lost)} of {len(found.cells)} cells (contender, workload, size) have too few left"
    )
    return f"A busy host disturbed {spoilt:,} of {played:,} games, which do not count: {places}."


def _slow_paths(found: Tournament, name: str) -> str:
    """Where a contender's words grow faster than the image."""
    slopes = {one.name: words_growth(found.cells, name, one.name) for one in found.workloads}
    told = {workload: slope for workload, slope in slopes.items() if slope is not None}
    steep = [f"{workload} ({slope:.2f})" for workload, slope in told.items() if slope > STEEP]
    if not told:
        return ""
    where = f"in {', '.join(steep)}" if steep else "in no workload"
    return f"{name}: the words that it reads grow with an exponent over {STEEP} {where}."
