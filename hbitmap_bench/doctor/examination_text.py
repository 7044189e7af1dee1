"""An examination as tables for a terminal."""

from __future__ import annotations

from rich.console import Console

from hbitmap_bench.base.drawing import Table, show
from hbitmap_bench.base.wording import NOTHING
from hbitmap_bench.doctor.examination import Examination
from hbitmap_bench.doctor.needs import NEEDS, Need


def render(found: Examination, console: Console) -> None:
    """Print commands, parts and noise."""
    for table in (_commands(found), _parts(found), _noises(found)):
        show(console, table)


def _commands(found: Examination) -> Table:
    rows = tuple((command, _state(found, command), _lacks(found, command)) for command in NEEDS)
    return Table("Commands", ("command", "runs", "lacks"), rows, (), 3, grouped=False)


def _state(found: Examination, command: str) -> str:
    if not found.can_run(command):
        return "no"
    return "in part" if found.lacks(command) else "yes"


def _lacks(found: Examination, command: str) -> str:
    return "\n".join(map(_lost, found.lacks(command))) or NOTHING


def _lost(need: Need) -> str:
    return need.part.name if need.lost is None else f"{need.part.name}: {need.lost}"


def _parts(found: Examination) -> Table:
    rows = tuple(
        (part.name, place or "missing", NOTHING if place else part.mend)
        for part, place in found.found.items()
    )
    notes = ("Packages are Debian's.",)
    return Table("What they use", ("part", "found", "to mend"), rows, notes, 3, grouped=False)


def _noises(found: Examination) -> Table:
    rows = tuple(
        (one.name, one.seen or "not told", one.expect, one.mend)
        if one.noisy
        else (one.name, one.seen or "not told", NOTHING, NOTHING)
        for one in found.noises
    )
    columns = ("source", "here", "expect", "to mend")
    return Table("Noise", columns, rows, (), 4, grouped=False)
