"""Two reproductions side by side, on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console

from hbitmap_bench.base import wording
from hbitmap_bench.base.drawing import Table, say, show
from hbitmap_bench.base.printable import printable
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.reproduction.comparison import Comparison, Group, GrowthPair, Pair, contents
from hbitmap_bench.reproduction.contrast import (
    DRIFT,
    Contrast,
    Difference,
    Estimate,
    Finding,
    chance_apart,
)
from hbitmap_bench.reproduction.records import CellRecord, HostFacts
from hbitmap_bench.reproduction.report import naming
from hbitmap_bench.reproduction.report.grid import default_slice_grid
from hbitmap_bench.reproduction.report.projection import REFERENCE_CLUSTER_BYTES

FINDINGS: Final[dict[Finding | None, str]] = {
    "overlap": "overlap",
    "within_drift": "within\ndrift",
    "lower": "B lower",
    "higher": "B higher",
    "no_interval": "no\ninterval",
    None: wording.NOTHING,
}
_UNRESOLVED: Final = "~"
_HASH: Final = 12

_READING: Final = (
    "Extra seconds are those over the plain row of the same file and build; the scan rate is words "
    "examined over extra seconds. Ranges: all that the rows' own intervals allow.",
    "overlap: the ranges do, so that no difference is claimed. within drift: they lie apart, but "
    f"the ratio may be within {DRIFT:.0%} of 1, as two sessions of one machine are anyway. no "
    "interval: a side ran once, or has two sizes.",
)


def render_comparison(comparison: Comparison, console: Console) -> None:
    """Print header, tables and notes; readable from 80 columns on."""
    growth = map(_growth_table, comparison.groups)
    for table in (header_table(comparison), *pair_tables(comparison), *growth):
        show(console, table)
    say(console, "\nHow to read it", "bold")
    for line in (*_READING, *_by_chance(comparison), *_left_out(comparison)):
        say(console, f"- {line}")


def header_table(comparison: Comparison) -> Table:
    """What each side is: file, time, commit, builds, host."""
    sides = (comparison.a, comparison.b)
    rows = [
        ("file", *(printable(side.name) for side in sides)),
        ("created", *(side.reproduction.created for side in sides)),
        ("commit", *(_commit(side.reproduction.commit) for side in sides)),
        ("version", *(side.reproduction.tool_version for side in sides)),
        ("qemu builds", *(_builds(side.reproduction.cells) for side in sides)),
        *_host_rows(comparison.a.reproduction.host, comparison.b.reproduction.host),
    ]
    return Table("Two reproductions", ("", "A", "B"), tuple(rows), (_hosts(comparison),), 3, False)


def pair_tables(comparison: Comparison) -> tuple[Table, ...]:
    """A table for each group; for the model's other cluster sizes a grid of ratios behind it."""
    found = []
    for group in comparison.groups:
        found.append(_group_table(group, comparison.hosts_alike))
        if group.source == "model":
            found.append(_grid_table(group))
    return tuple(found)


def _commit(commit: str | None) -> str:
    if commit is None:
        return "not known"
    short = commit.removesuffix("-dirty")[:_HASH]
    return f"{short}, with changes not committed" if commit.endswith("-dirty") else short


def _builds(cells: Sequence[CellRecord]) -> str:
    """``7.2.22 (access), patched (deny)``: each with the bitmap that it was found to have."""
    found = {
        cell.build or "of unknown version": cell.detected or "not probed"
        for cell in cells
        if cell.source == "qemu"
    }
    return ", ".join(f"{name} ({bitmap})" for name, bitmap in found.items()) or wording.NOTHING


def _host_rows(a: HostFacts, b: HostFacts) -> list[tuple[str, str, str]]:
    rows = []
    for key in dict.fromkeys((*a, *b)):
        name, one = wording.host_fact(key, a.get(key))
        rows.append((name, one, wording.host_fact(key, b.get(key))[1]))
    return rows


def _hosts(comparison: Comparison) -> str:
    if comparison.hosts_alike:
        return (
            "The hosts look alike, so that raw seconds are shown, too. Whether they are one "
            "machine, the files can't tell."
        )
    names = ", ".join(wording.host_fact(name, None)[0] for name in comparison.host_differs)
    return f"The hosts differ ({names}): raw seconds do not compare, and are left out."


def _group_table(group: Group, hosts_alike: bool) -> Table:
    pairs = [pair for pair in group.pairs if _is_main(pair.a)] or list(group.pairs)
    rows = [row for pair in pairs for row in _pair_rows(pair, hosts_alike)]
    hidden = len(group.pairs) - len(pairs)
    notes = []
    if any(_UNRESOLVED in cell for row in rows for cell in row):
        notes.append(f"{_UNRESOLVED} not resolved from the noise of its row and its plain row")
    if any(pair.a.setup != pair.b.setup for pair in pairs):
        notes.append(_words_note([pair for pair in pairs if pair.a.setup != pair.b.setup]))
    if hidden:
        notes.append(f"{hidden} more pairs, at other cluster sizes: --json has them all")
    return Table(
        _title(group),
        ("setup", "image,\ncluster,\nslice", "quantity", "A", "B", "B / A", "finding"),
        tuple(rows),
        tuple(notes),
        3,
    )


def _title(group: Group) -> str:
    if group.source == "model":
        return f"model ({group.mode}), in process"
    a, b = (build or "of unknown version" for build in (group.build_a, group.build_b))
    return f"qemu ({group.mode}): A is {a}, B is {b}"


def _setup(a: CellRecord, b: CellRecord) -> str:
    one, other = naming.setup_base_name(a), naming.setup_base_name(b)
    if one == other:
        return one
    one, other = (name.partition(" (")[2].rstrip(")") or name for name in (one, other))
    return f"cbw + snap: A {one}, B {other}"


def _pair_rows(pair: Pair, hosts_alike: bool) -> list[tuple[str, ...]]:
    quantities: list[tuple[str, Contrast, float]] = []
    if pair.compares_between_hosts:
        quantities.append(("extra s", pair.extra, 1.0))
    if pair.rate.a or pair.rate.b:
        quantities.append(("G words/s", pair.rate, 1e9))
    if hosts_alike:
        quantities.append(("seconds", pair.seconds, 1.0))
    setup, place = _setup(pair.a, pair.b), _place(pair.a)
    return [
        (setup, "" if index else place, name, *_contrast(contrast, unit))
        for index, (name, contrast, unit) in enumerate(quantities)
    ]


def _place(cell: CellRecord) -> str:
    copy = cell.copy_cluster_bytes
    extra = "" if copy == 2**16 else f"\n{format_size(copy)} copies"
    sizes = f"{format_size(cell.cluster_bytes)}, {format_size(cell.l2_slice_bytes)}"
    return f"{format_size(cell.image_bytes)}\n{sizes}{extra}"


def _contrast(contrast: Contrast, unit: float) -> tuple[str, str, str, str]:
    a, b = (_estimate(side, unit) for side in (contrast.a, contrast.b))
    return a, b, _ratio(contrast), FINDINGS[contrast.finding]


def _estimate(estimate: Estimate | None, unit: float) -> str:
    if estimate is None:
        return wording.NOTHING
    value = wording.number(estimate.value / unit) if estimate.value > 0 else "none"
    text = value if estimate.resolved else f"{value} {_UNRESOLVED}"
    if estimate.interval is None:
        return text
    low, high = estimate.interval
    return f"{text}\n{_end(low / unit)}..{_end(high / unit)}"


def _ratio(contrast: Contrast) -> str:
    ratio, ends = contrast.ratio, contrast.ratio_interval
    mark = "" if contrast.b is None or contrast.b.resolved else f" {_UNRESOLVED}"
    lines = [] if ratio is None else [f"{wording.number(ratio)}x{mark}"]
    if ends is not None and ends[1] is not None:
        lines.append(f"{_end(ends[0])}..{_end(ends[1])}x")
    elif ends is not None and ends[0] > 0:
        lines.append(f"from {_end(ends[0])}x")
    return "\n".join(lines) or wording.NOTHING


def _end(value: float) -> str:
    return wording.number(value) if value > 0 else "0"


def _words_note(pairs: Sequence[Pair]) -> str:
    """The work of two algorithms, at the largest size: what the scan rate can't compare."""
    last = max(pairs, key=lambda pair: pair.a.image_bytes)
    a, b = (
        wording.NOTHING if cell.words_examined is None else f"{cell.words_examined:,}"
        for cell in (last.a, last.b)
    )
    size = format_size(last.a.image_bytes)
    return f"Two algorithms: at {size}, A examines {a} words and B {b} (closed form)."


def _grid_table(group: Group) -> Table:
    """Scan rate of the access bitmap, B over A, over image size and cluster size."""
    grid = default_slice_grid(pair.a for pair in group.pairs)
    of = {id(pair.a): pair for pair in group.pairs}
    rows = [
        (
            format_size(cluster),
            *(_grid_cell(of.get(id(grid.cells.get((size, cluster))))) for size in grid.sizes),
        )
        for cluster in grid.clusters
    ]
    return Table(
        f"Scan rate of the access bitmap, B / A, model ({group.mode}), {grid.slice_name}",
        ("cluster", *(format_size(size) for size in grid.sizes)),
        tuple(rows),
        n_labels=1,
        grouped=False,
    )


def _grid_cell(pair: Pair | None) -> str:
    ratio = pair.rate.ratio if pair else None
    if pair is None or ratio is None:
        return wording.NOTHING
    return f"{wording.factor(ratio)}\n{FINDINGS[pair.rate.finding]}"


def _growth_table(group: Group) -> Table:
    found = [pair for pair in group.growth if _is_main(pair.row_a)] or group.growth
    return Table(
        f"Growth exponents over the sizes that both have, {_title(group)}",
        ("setup", "cluster,\nslice", "sizes", "of", "A", "B", "B - A", "finding"),
        tuple(row for pair in found for row in _growth_rows(pair)),
        ("The slope of log seconds over log image size, with its 95% interval.",),
        4,
    )


def _growth_rows(pair: GrowthPair) -> list[tuple[str, ...]]:
    setup, row = _setup(pair.row_a, pair.row_b), pair.row_a
    place = f"{format_size(row.cluster_bytes)},\n{format_size(row.l2_slice_bytes)}"
    first, last = (format_size(size) for size in (pair.sizes[0], pair.sizes[-1]))
    sizes = f"{first}..{last}\n({len(pair.sizes)} sizes)"
    rows: list[tuple[str, ...]] = [(setup, place, sizes, "seconds", *_difference(pair.seconds))]
    if pair.extra.a or pair.extra.b:
        rows.append((setup, "", "", "extra s", *_difference(pair.extra)))
    return rows


def _difference(found: Difference) -> tuple[str, str, str, str]:
    a, b = (
        wording.NOTHING if side is None else wording.exponent(side.value, side.interval)
        for side in (found.a, found.b)
    )
    difference = wording.NOTHING
    if found.value is not None:
        ends = found.interval
        difference = _signed(found.value)
        if ends:
            difference += f"\n{_signed(ends[0])}..{_signed(ends[1])}"
    return a, b, difference, FINDINGS[found.finding]


def _signed(value: float) -> str:
    """With its sign, that of a rounded 0 too: it would else be the rounding's."""
    return f"{round(value, 2) + 0.0:+.2f}"


def _is_main(cell: CellRecord) -> bool:
    """Whether a row is shown: all of real builds, of the model those of QEMU's cluster size."""
    return cell.source != "model" or cell.cluster_bytes == REFERENCE_CLUSTER_BYTES


def _by_chance(comparison: Comparison) -> Iterator[str]:
    """How often ranges of a few runs lie apart with nothing behind it."""
    counts = {
        (pair.a.n_runs, pair.b.n_runs)
        for group in comparison.groups
        for pair in group.pairs
        if pair.a.interval_kind == pair.b.interval_kind == "min_max"
    }
    for n_a, n_b in sorted(counts):
        yield (
            f"Ranges of real builds are min..max of their runs: those of {n_a} and {n_b} runs of "
            f"one build lie apart by chance {chance_apart(n_a, n_b):.0%} of the time."
        )


def _left_out(comparison: Comparison) -> Iterator[str]:
    """What is not compared: published rows always, and rows without a partner."""
    yield "Published rows are the same in both files and of no build: they are left out."
    for name, side in (("A", comparison.a), ("B", comparison.b)):
        if side.unpaired:
            yield f"Without a partner in {name}: {contents(side.unpaired)}."
