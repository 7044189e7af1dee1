"""What changes from one QEMU release to the next: as a page with its data, and on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from rich.console import Console

from hbitmap_bench.base.drawing import Table, bullets, escaped, say, show, to_markdown
from hbitmap_bench.base.medians import LEAST
from hbitmap_bench.base.output import make_folder, write_atomic
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.base.wording import NOTHING, number
from hbitmap_bench.reproduction.records import CellRecord, Reproduction
from hbitmap_bench.reproduction.releases import Change, changes
from hbitmap_bench.reproduction.report import naming
from hbitmap_bench.reproduction.report.document import host_lines, origin

STEM: Final = "releases"
FAILED: Final = "failed"

_COMMAND: Final = "hbitmap-bench releases OLD=PATH NEW=PATH..."

_READING: Final = (
    "All numbers are measured: CPU seconds of build-ups on a real qemu-storage-daemon, 64K "
    "clusters, the image's metadata in the page cache. Every round measures all builds, one after "
    "the other.",
    "The plain path is the row without the filter. The check is what cbw + snap adds to the plain "
    "row of its round: the filter's bitmap, and a second walk of each query through the graph.",
    "In each round, the old build's seconds are subtracted from the new one's. A change is the "
    "median of these differences, in percent of the old build's row; for the check, of its row "
    "with the filter. Below it is its 95% interval, from order statistics. A build is called "
    "slower or faster only if the whole interval lies above or below 0. By chance, this is wrong "
    "for up to one in twenty comparisons of equal builds.",
    "A row in which a build has failed is not measured again, and nothing is derived from it.",
    "Builds differ in compiler and flags too. What is found here holds for these builds; it holds "
    "for the releases only where their builds were made alike.",
)


def write(found: Reproduction, out_dir: Path) -> tuple[Path, ...]:
    """Write the page and its data to a folder; return the files. Raises ``UserError``."""
    make_folder(out_dir)
    page, data = out_dir / f"{STEM}.md", out_dir / f"{STEM}.json"
    found.save(data)
    write_atomic(page, render_markdown(found).encode())
    return page, data


def render_markdown(found: Reproduction) -> str:
    """The page, in GitHub's Markdown."""
    changed = changes(found.cells)
    parts = [
        "# QEMU releases side by side",
        bullets(conclusions(changed)),
        to_markdown(change_table(changed)),
        to_markdown(seconds_table(found.cells)),
        *(["\n\n".join(map(escaped, notes))] if (notes := _notes(found.cells)) else []),
        origin(found),
        "## How to read it",
        bullets(_READING),
        "## Host",
        host_lines(found),
        "## How to reproduce it",
        f"    {found.command or _COMMAND}\n\nThe data: [{STEM}.json]({STEM}.json).",
    ]
    return "\n\n".join(parts) + "\n"


def render_terminal(found: Reproduction, console: Console) -> None:
    """The tables, and last what they say; readable from 80 columns on."""
    changed = changes(found.cells)
    show(console, seconds_table(found.cells))
    for note in _notes(found.cells):
        say(console, note, "dim")
    show(console, change_table(changed))
    say(console, "\nWhat was found", "bold")
    for line in conclusions(changed):
        say(console, f"- {line}")


def seconds_table(cells: Sequence[CellRecord]) -> Table:
    """CPU seconds of each build, a column for each size and setup."""
    places = list(dict.fromkeys((cell.image_bytes, cell.setup != "plain") for cell in cells))
    columns = [
        f"{format_size(size)}\n{'cbw + snap' if filtered else 'plain'}" for size, filtered in places
    ]
    rows = []
    for build, group in groupby(cells, key=lambda cell: cell.build):
        of_build = {(cell.image_bytes, cell.setup != "plain"): cell for cell in group}
        detected = {cell.detected or NOTHING for cell in of_build.values()}
        seconds = (_seconds(of_build.get(place)) for place in places)
        rows.append((build or NOTHING, ", ".join(sorted(detected)), *seconds))
    title = "CPU seconds of a build-up: median and range (measured)"
    return Table(title, ("build", "detected", *columns), tuple(rows), grouped=False)


def _seconds(cell: CellRecord | None) -> str:
    if cell is not None and cell.failed is not None:
        return FAILED
    if cell is None or cell.cpu_s is None:
        return NOTHING
    ends = "..".join(map(number, cell.interval_s)) if cell.interval_s else f"n={cell.n_runs}"
    return f"{number(cell.cpu_s)}{naming.mark(cell)}\n{ends}"


def _notes(cells: Sequence[CellRecord]) -> list[str]:
    """On rows that have no say: those that a build has failed in, and disturbed ones."""
    disturbed = [naming.disturbed_note(cell) for cell in cells if cell.disturbed is not None]
    return [*failures(cells), *disturbed]


def failures(cells: Iterable[CellRecord]) -> list[str]:
    """A line on each failure: in which rows, after how many runs, and what was said last."""
    found: dict[tuple[bool, str], list[str]] = {}
    for cell in cells:
        if cell.failed is not None:
            where = f"{format_size(cell.image_bytes)} ({len(cell.runs)} runs before)"
            found.setdefault((cell.setup != "plain", cell.failed), []).append(where)
    return [
        f"{FAILED}, {'cbw + snap' if filtered else 'plain'}, {', '.join(places)}: {said}"
        for (filtered, said), places in found.items()
    ]


def change_table(changed: Sequence[Change]) -> Table:
    """From each release to the next: the change with its interval, a column for each size."""
    sizes = list(dict.fromkeys(one.old.image_bytes for one in changed))
    rows = []
    for _, group in groupby(_by_part(changed), key=_step):
        of_size = {one.old.image_bytes: one for one in group}
        any_one = next(iter(of_size.values()))
        shown = (_change(of_size[size]) if size in of_size else NOTHING for size in sizes)
        rows.append((f"{any_one.old.build} to {any_one.new.build}", any_one.part, *shown))
    columns = ("step", "part", *map(format_size, sizes))
    title = "From each release to the next, in percent of the old one's row (measured)"
    return Table(title, columns, tuple(rows), grouped=False)


def _change(change: Change) -> str:
    if change.interval is None:
        return f"{change.verdict}\nn={len(change.differences_s)}"
    return f"{change.share:+.1%}\n{_ends(change)}\n{change.verdict}"


def conclusions(changed: Sequence[Change]) -> list[str]:
    """Has anything become slower, which part of it, and what could not be told: in sentences."""
    if not changed:
        return ["Nothing is compared: no two neighbouring builds have runs at one size."]
    told = [one for one in changed if one.interval is not None]
    found = [_sentence(word, told) for word in ("slower", "faster")]
    lines = [sentence for sentence in found if sentence]
    if told and not any(one.verdict == "slower" for one in told):
        lines.insert(0, "No build is shown to be slower than the one before it.")
    if unclear := [one for one in told if one.verdict == "not told apart"]:
        widest = max(unclear, key=lambda one: (one.interval or (0, 0))[1])
        lines.append(
            f"Not told apart: {len(unclear)} of {len(changed)}, which are undecided. Noise could "
            f"hide a rise of {(widest.interval or (0, 0))[1]:+.1%} there ({_name(widest)})."
        )
    if blind := [one for one in changed if one.interval is None]:
        lines.append(
            f"Not judged, with fewer than {LEAST} undisturbed rounds of both: "
            f"{'; '.join(map(_name, blind))}."
        )
    return lines + _algorithms(changed)


def _sentence(verdict: str, told: Sequence[Change]) -> str:
    found = [one for one in told if one.verdict == verdict]
    each = "; ".join(f"{_name(one)} by {one.share:+.1%} ({_ends(one)})" for one in found)
    return f"{verdict.capitalize()}: {each}." if found else ""


def _algorithms(changed: Sequence[Change]) -> list[str]:
    steps = {(one.old.build, one.new.build): one for one in changed}.values()
    return [
        f"From {one.old.build} to {one.new.build} the detected algorithm changes from "
        f"{one.old.detected} to {one.new.detected}."
        for one in steps
        if one.old.detected and one.new.detected and one.old.detected != one.new.detected
    ]


def _name(change: Change) -> str:
    size = format_size(change.old.image_bytes)
    return f"the {change.part} from {change.old.build} to {change.new.build} at {size}"


def _ends(change: Change) -> str:
    low, high = change.interval or (0.0, 0.0)
    return f"{low:+.1%}..{high:+.1%}"


def _step(change: Change) -> tuple[str | None, str | None, str]:
    return change.old.build, change.new.build, change.part


def _by_part(changed: Sequence[Change]) -> list[Change]:
    """In their order, those of one step and part side by side."""
    order = list(dict.fromkeys(map(_step, changed)))
    return sorted(changed, key=lambda one: order.index(_step(one)))
