"""The reproduction report: ``reproduction.md`` with its figures and data, and its terminal form.

All of it is made from a ``Reproduction`` and nothing else, so that stored JSON gives the same page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from hbitmap_bench.base import wording
from hbitmap_bench.base.drawing import Table, bullets, escaped, say, show, to_markdown
from hbitmap_bench.base.output import make_folder, write_atomic
from hbitmap_bench.base.plotting import Picture
from hbitmap_bench.reproduction import published
from hbitmap_bench.reproduction.records import GrowthRecord, Reproduction
from hbitmap_bench.reproduction.report import findings, naming, tables
from hbitmap_bench.reproduction.report.differences import differences
from hbitmap_bench.reproduction.report.figures import pictures
from hbitmap_bench.reproduction.report.grid import default_slice_grid, pinned_slice_grid
from hbitmap_bench.reproduction.report.model_against_qemu import match_lines, match_table, matches
from hbitmap_bench.reproduction.report.projection import (
    REFERENCE_CLUSTER_BYTES,
    QueryCost,
    pick_query_cost,
)
from hbitmap_bench.reproduction.report.six_cells import six_cells, six_cells_table

STEM: Final = "reproduction"

_READING: Final = f"""\
- **published** rows are those of {published.SOURCE}. Of their machine only these numbers are known.
- **model** rows come from this package's own implementation, in process: *exact* ones are whole
  build-ups, *sampled* ones are blocks of queries scaled to the whole. Where a real build is
  measured at the same size, its runs and the model's samples take turns.
- **qemu** rows are build-ups on a real `qemu-storage-daemon`: the median of n runs, the image's
  metadata in the page cache. The daemon is kept to one core: its two threads take turns, and on two
  cores each turn wakes a sleeping core, which can double the cost of a query. *detected* is the
  algorithm that the build was found to have, whatever its name.
- **A build-up is the processor's work: ratios, extra seconds, scan rates and growth are made of CPU
  seconds.** Wall seconds stand beside them. Published rows have wall seconds alone.
- A {naming.DISTURBED} marks a row that a busy host has spoilt: its wall seconds exceed its CPU
  seconds by far, a fixed loop beside it ran slower than usual, or its metadata was not in the page
  cache. Nothing is derived from such a row.
- Spread or interval, of CPU seconds: *min..max* of the n runs, or a *95% prediction* interval of
  what one exact run would take. Neither is given for a single run.
- **Extra seconds** are those over the plain row of the same source and build; the **scan rate** is
  words examined over extra seconds. These two compare between machines; raw seconds do not.
- The model's plain row leaves out what a query costs QEMU itself. So a slowdown of the model is
  always *projected* (†): (queries x cost a query + extra seconds) / (queries x cost a query).
- A range of projected or extra seconds (*between*, and the second line of a sweep's cell) comes
  from the row's own interval alone: the plain row and the cost a query are taken as exact. A ~
  marks extra seconds that do not stand out of the noise: the row's interval overlaps with the plain
  row's.
- The range of a ratio or of a growth goes from the lower end of one row's interval over the upper
  end of the other's to the opposite. Growth compares rows of one build and one setup.
- A growth exponent is the slope of log seconds over log image size, fitted in one regime of the
  slice rule: QEMU's default slice drops from a whole cluster to 4K where the image outgrows the L2
  cache.
- The exponent's interval adds what values inside the rows' intervals can give to the 95% t interval
  over image sizes. An exponent whose interval is wider than +-0.5, or whose rows have single runs,
  is not told. The exponent of the extra is left out where extra seconds do not stand out of the
  noise."""

_AGAIN: Final = """\
    hbitmap-bench reproduce                      # the defaults, with real QEMU if it is found
    hbitmap-bench reproduce --no-qemu            # in process only
    hbitmap-bench reproduce --qemu new=PATH      # another build of qemu-storage-daemon beside it

On Debian, `qemu-system-common` has `qemu-storage-daemon` and `qemu-utils` has `qemu-img`."""


def write_report(reproduction: Reproduction, out_dir: Path) -> tuple[Path, ...]:
    """Write the page, its figures and its data to a folder, made if missing; return the files.

    Each file is written whole or not at all, the page last. A figure of an earlier report that this
    one has no data for is removed. Raises ``UserError`` where the folder can't be written to.
    """
    make_folder(out_dir)
    cost = pick_query_cost(reproduction.cells)
    drawn = pictures(reproduction.cells, cost)
    files = [_write_picture(picture, out_dir) for picture in drawn]
    data, page = out_dir / f"{STEM}.json", out_dir / f"{STEM}.md"
    reproduction.save(data)
    write_atomic(page, render_markdown(reproduction, drawn).encode())
    return (page, data, *(file for file in files if file is not None))


def render_markdown(reproduction: Reproduction, drawn: Sequence[Picture]) -> str:
    """The page, in GitHub's Markdown, with relative links to its figures and data."""
    cells, picture = reproduction.cells, {found.name: found for found in drawn}
    cost = pick_query_cost(cells)
    six, found = six_cells(cells, cost), matches(cells)
    compared = [*_tables([match_table(found)]), bullets(match_lines(found))]
    sections: list[tuple[str, list[str]]] = [
        ("What differs from the published table, and why", [bullets(differences(six, cells))]),
        ("What was found", [bullets(findings.headline(cells, cost))]),
        ("Host", [host_lines(reproduction)]),
        ("The builds", [(reproduction.about_builds or "").strip()]),
        ("How to read it", [_READING]),
        ("Published and here, side by side", _tables(tables.side_by_side(cells, cost))),
        (
            "Growth",
            [_figure(picture["time"]), *_growth(reproduction), _figure(picture["slice-break"])],
        ),
        ("Sweep", [*_sweep(reproduction, cost), _figure(picture["slowdown"])]),
        ("The hour", [bullets(findings.the_hour(cells, cost))]),
        ("Deny against access", [_figure(picture["deny"])]),
        ("Words and the time they take", [*_scan(reproduction), _figure(picture["words"])]),
        ("Model against QEMU", [*compared, _figure(picture["model-against-qemu"])]),
        ("What is not measured", [bullets(findings.not_measured(cells))]),
        (
            "How to reproduce it",
            [*_used(reproduction), _AGAIN, f"The data of this page: [{STEM}.json]({STEM}.json)."],
        ),
        ("Every row", [_folded(tables.every_row(cells, cost))]),
    ]
    parts = [
        "# Backup build-up: access bitmap and deny bitmap",
        to_markdown(six_cells_table(six)),
        _figure(picture["six-cells"]),
        origin(reproduction),
    ]
    for title, body in sections:
        texts = [text for text in body if text]
        parts += [f"## {title}", *texts] if texts else []
    return "\n\n".join(parts) + "\n"


def render_terminal(reproduction: Reproduction, console: Console) -> None:
    """The findings and main tables on a terminal; readable from 80 columns on.

    The six cells come last: what has scrolled by is not read.
    """
    cells = reproduction.cells
    cost = pick_query_cost(cells)
    six, found = six_cells(cells, cost), matches(cells)
    shown = [
        *tables.side_by_side(cells, cost),
        tables.growth_table(_main_growth(reproduction), cells),
        tables.sweep_table(default_slice_grid(cells), cost),
        tables.scan_rate_table(cells),
        match_table(found),
    ]
    for table in shown:
        show(console, table)
    _print_lines(console, "What was found", findings.headline(cells, cost))
    _print_lines(console, "The hour", findings.the_hour(cells, cost))
    _print_lines(console, "What is not measured", findings.not_measured(cells))
    _print_lines(console, "What differs from the published table, and why", differences(six, cells))
    show(console, six_cells_table(six))


def _print_lines(console: Console, title: str, lines: Iterable[str]) -> None:
    lines = list(lines)
    if lines:
        say(console, f"\n{title}", "bold")
    for line in lines:
        say(console, f"- {line}")


def _write_picture(picture: Picture, out_dir: Path) -> Path | None:
    path = out_dir / _file_name(picture)
    if picture.png is None:
        path.unlink(missing_ok=True)
        return None
    write_atomic(path, picture.png)
    return path


def _file_name(picture: Picture) -> str:
    return f"{STEM}-{picture.name}.png"


def origin(reproduction: Reproduction) -> str:
    """By what, of which commit and when the numbers were made."""
    commit = f"commit {reproduction.commit}" if reproduction.commit else "no commit known"
    return escaped(
        f"Made by hbitmap-bench {reproduction.tool_version} ({commit}) at {reproduction.created}."
    )


def host_lines(reproduction: Reproduction) -> str:
    """The facts of the host, as a list."""
    facts = {key: value for key, value in reproduction.host.items() if value is not None}
    return bullets(": ".join(wording.host_fact(key, value)) for key, value in facts.items())


def _growth(reproduction: Reproduction) -> list[str]:
    table = tables.growth_table(reproduction.growth, reproduction.cells)
    return _tables([table]) or ["No setup was measured at two image sizes of one regime."]


def _main_growth(reproduction: Reproduction) -> list[GrowthRecord]:
    """For the narrow terminal: all but the model's other cluster sizes, where it has the main."""
    main = [g for g in reproduction.growth if g.cluster_bytes == REFERENCE_CLUSTER_BYTES]
    return main or list(reproduction.growth)


def _sweep(reproduction: Reproduction, cost: QueryCost) -> list[str]:
    grids = (default_slice_grid(reproduction.cells), pinned_slice_grid(reproduction.cells))
    found = [tables.sweep_table(grid, cost) for grid in grids if grid]
    if not found:
        return ["This run has no sweep of image sizes and cluster sizes."]
    return [*_tables(found), bullets(findings.query_cost_lines(reproduction.cells, cost))]


def _scan(reproduction: Reproduction) -> list[str]:
    table = tables.scan_rate_table(reproduction.cells)
    return [*_tables([table]), bullets(findings.scan_rates(reproduction.cells))]


def _used(reproduction: Reproduction) -> list[str]:
    """The command line of this report, where its data tells it."""
    if reproduction.command is None:
        return []
    return [f"This report, with PATH for each path:\n\n    {reproduction.command}", "Others:"]


def _figure(picture: Picture) -> str:
    if picture.png is None:
        return f"*No figure here: {escaped(picture.missing)}.*"
    alt = escaped(picture.caption)
    return f"![{alt}]({_file_name(picture)})\n\n*{alt}*"


def _tables(found: Iterable[Table]) -> list[str]:
    return [to_markdown(table) for table in found if table.rows]


def _folded(table: Table) -> str:
    summary = f"<summary>{len(table.rows)} rows</summary>"
    return f"<details>{summary}\n\n{to_markdown(table)}\n\n</details>"
