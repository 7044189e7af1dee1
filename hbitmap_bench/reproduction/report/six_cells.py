"""The published table's six cells, and the same six of each real build and of the model.

10T and 11T at 64K clusters, plain, access and deny: one line for each source and setup, with the
ratio to the plain row and the growth from 10T to 11T. The report opens with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hbitmap_bench.base import wording
from hbitmap_bench.base.drawing import Table
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.qemu.filters import SETUPS
from hbitmap_bench.reproduction.cells import TABLE_SIZES
from hbitmap_bench.reproduction.growth import series_key
from hbitmap_bench.reproduction.records import CellRecord, Source
from hbitmap_bench.reproduction.report import naming
from hbitmap_bench.reproduction.report.projection import REFERENCE_CLUSTER_BYTES, QueryCost
from hbitmap_bench.reproduction.report.span import Span, growth, ratio_to_plain, seconds

_SOURCES: Final[tuple[Source, ...]] = ("published", "qemu", "model")


@dataclass(frozen=True, slots=True)
class Line:
    """One setup of one source: its rows by image size, and what is derived from them.

    A row that was disturbed has seconds and nothing derived. ``growth`` is from 10T to 11T.
    """

    rows: Mapping[int, CellRecord]
    seconds: Mapping[int, Span]
    ratios: Mapping[int, Span]
    growth: Span | None

    @property
    def cell(self) -> CellRecord:
        """Any row: all are of one source, build and setup."""
        return next(iter(self.rows.values()))


def six_cells(cells: Sequence[CellRecord], cost: QueryCost) -> list[Line]:
    """The lines, published first, then the real builds, then the model.

    The larger L2 slice has a line where it is filtered; its ratio is to the plain row at the
    default slice, which is what a user without the option has.
    """
    found: dict[object, dict[int, CellRecord]] = {}
    for cell in filter(_is_shown, cells):
        found.setdefault(series_key(cell), {}).setdefault(cell.image_bytes, cell)
    lines = [_line(rows, cells, cost) for rows in found.values()]
    builds = list(dict.fromkeys(line.cell.build for line in lines))
    return sorted(lines, key=lambda line: _order(line.cell, builds))


def six_cells_table(lines: Sequence[Line]) -> Table:
    """The lines as a table; its notes say what the marks mean, and what is missing."""
    parts = ("CPU s", "wall s", "ratio")
    columns = [f"{format_size(size)}\n{part}" for size in TABLE_SIZES for part in parts]
    return Table(
        "The six cells: build-up of the copy bitmap, 64K clusters",
        ("source", "setup", *columns, "growth\nfor +10%"),
        tuple(_text(line) for line in lines),
        tuple(_notes(lines)),
    )


def _is_shown(cell: CellRecord) -> bool:
    default = naming.has_default_slice(cell)
    remedy = cell.source == "qemu" and cell.setup != "plain"
    return (
        cell.image_bytes in TABLE_SIZES
        and cell.cluster_bytes == cell.copy_cluster_bytes == REFERENCE_CLUSTER_BYTES
        and cell.elapsed_s is not None
        and (default or remedy)
    )


def _line(rows: Mapping[int, CellRecord], cells: Sequence[CellRecord], cost: QueryCost) -> Line:
    found = _known((size, seconds(row, cost)) for size, row in rows.items())
    small, large = (found.get(size) for size in TABLE_SIZES)
    return Line(
        rows=rows,
        seconds=found,
        ratios=_known((size, ratio_to_plain(row, cells, cost)) for size, row in rows.items()),
        growth=growth(large, small),
    )


def _known(pairs: Iterable[tuple[int, Span | None]]) -> dict[int, Span]:
    return {size: span for size, span in pairs if span is not None}


def _order(cell: CellRecord, builds: Sequence[str | None]) -> tuple[object, ...]:
    return (
        _SOURCES.index(cell.source),
        builds.index(cell.build),
        cell.l2_slice_bytes,
        SETUPS.index(cell.setup),
    )


def _text(line: Line) -> tuple[str, ...]:
    figures = [text for size in TABLE_SIZES for text in _figures(line, size)]
    return (_source(line), naming.setup_name(line.cell), *figures, _growth(line.growth))


def _source(line: Line) -> str:
    """The source without its number of runs, which differs between setups: see the notes."""
    cell = line.cell
    if cell.source == "model":
        return f"model ({cell.mode}), projected"
    return naming.series_source_name(cell) + (", measured" if cell.source == "qemu" else "")


def _figures(line: Line, size: int) -> tuple[str, str, str]:
    row, ratio = line.rows.get(size), line.ratios.get(size)
    if row is None:
        return wording.NOTHING, wording.NOTHING, wording.NOTHING
    if row.source == "model":
        own = line.seconds.get(size)
        cpu = wording.number(own.value) if own else wording.NOTHING
        return cpu, wording.NOTHING + naming.mark(row), _ratio(ratio)
    once = "\nn=1" if row.source == "qemu" and row.n_runs == 1 else ""
    return naming.seconds(row, row.cpu_s) + once, naming.wall_seconds(row), _ratio(ratio)


def _ratio(ratio: Span | None) -> str:
    if ratio is None:
        return wording.NOTHING
    ends = f"\n{wording.factors(*ratio.ends)}" if ratio.ends and ratio.value != 1 else ""
    return wording.factor(ratio.value) + ends


def _growth(found: Span | None) -> str:
    if found is None:
        return wording.NOTHING
    ends = f"\n{found.ends[0]:+.0%}..{found.ends[1]:+.0%}" if found.ends else ""
    return f"{found.value:+.0%}{ends}"


def _notes(lines: Sequence[Line]) -> Iterable[str]:
    yield (
        "Ratio to plain, and growth from 10T to 11T, with their ranges: of CPU seconds; of wall "
        "seconds where published. The model is projected with QEMU's own cost a query."
    )
    yield from _numbers_of_runs(lines)
    for line in lines:
        for row in line.rows.values():
            if row.disturbed is not None:
                yield naming.disturbed_note(row)
    sources = {line.cell.source for line in lines}
    if "qemu" not in sources:
        yield (
            "No real build was measured at 10T and 11T: reproduce --qemu-size 10T --qemu-size 11T "
            "measures them (3.4 GB of disk, ten minutes and more)."
        )
    elif not any(_is_real_deny(line) for line in lines):
        yield "The deny row on real QEMU needs a patched build: --qemu NAME=PATH."


def _is_real_deny(line: Line) -> bool:
    return (line.cell.source, line.cell.setup) == ("qemu", "deny")


def _numbers_of_runs(lines: Sequence[Line]) -> Iterable[str]:
    """How many runs the measured rows have: the least by setup."""
    counts: dict[str, list[int]] = {}
    for line in lines:
        if line.cell.source == "qemu":
            found = counts.setdefault(line.cell.setup, [])
            found += [row.n_runs for row in line.rows.values()]
    if counts:
        texts = ", ".join(f"{setup} {min(found)}" for setup, found in counts.items())
        yield f"Runs of each measured row, at least: {texts}."
