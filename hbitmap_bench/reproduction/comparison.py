"""Two reproductions side by side: which rows pair, and what may be said about a pair.

Rows pair by source, mode, setup, image, clusters and L2 slice. The build of a QEMU row is a column
and no part of the pairing, and neither is its bitmap: an unpatched build against a patched one is
what the comparison is for. Extra seconds, scan rates and growth exponents compare between hosts;
raw seconds only where both hosts look alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.reproduction.contrast import Contrast, Difference, Estimate, interval_of
from hbitmap_bench.reproduction.growth import (
    extra_interval,
    extra_is_resolved,
    growth_of,
    plain_of,
    series_key,
)
from hbitmap_bench.reproduction.records import CellRecord, Reproduction

HOST_FACTS: Final = ("cpu_model", "cores", "memory_bytes", "machine", "os", "kernel")
"""What two hosts must share before raw seconds are laid side by side."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The same row on both sides: extra seconds, scan rate, raw seconds."""

    a: CellRecord
    b: CellRecord
    extra: Contrast
    rate: Contrast
    seconds: Contrast

    @property
    def compares_between_hosts(self) -> bool:
        """Whether both sides have extra seconds."""
        return self.extra.a is not None and self.extra.b is not None


@dataclass(frozen=True, slots=True)
class GrowthPair:
    """The exponents of one series on both sides, fitted over the sizes that both have.

    ``row_a`` and ``row_b`` are the series' first rows.
    """

    row_a: CellRecord
    row_b: CellRecord
    sizes: tuple[int, ...]
    seconds: Difference
    extra: Difference


@dataclass(frozen=True, slots=True)
class Group:
    """What pairs of one source, mode, and build a side. Builds are ``None`` for the model."""

    source: str
    mode: str
    build_a: str | None
    build_b: str | None
    pairs: tuple[Pair, ...]
    growth: tuple[GrowthPair, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """A reproduction, the name of its file, and its rows that found no partner."""

    name: str
    reproduction: Reproduction
    unpaired: tuple[CellRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that pairs of two reproductions; ``host_differs`` names the facts that do."""

    a: Side
    b: Side
    groups: tuple[Group, ...]
    host_differs: tuple[str, ...]

    @property
    def hosts_alike(self) -> bool:
        """Whether raw seconds are compared: the files can't tell one host from its twin."""
        return not self.host_differs


class _Place(NamedTuple):
    """What two rows must share to pair. ``work`` is the setup, of a QEMU row filtered or not."""

    work: str
    image_bytes: int
    cluster_bytes: int
    copy_cluster_bytes: int
    l2_slice_bytes: int
    l2_entry_bytes: int


def compare_files(a: Path, b: Path) -> Comparison:
    """Read two reproductions and pair their rows.

    Raises ``UserError``, naming the file, where one can't be read, and as ``compare`` does.
    """
    with suppress(OSError):
        if a.samefile(b):
            raise UserError(f"a comparison needs two files, not {a} twice: name another run's")
    return compare(str(a), Reproduction.load(a), str(b), Reproduction.load(b))


def compare(name_a: str, a: Reproduction, name_b: str, b: Reproduction) -> Comparison:
    """Pair the rows of two reproductions. O(rows), with a fit for each series.

    Published rows are left out: they are the same on both sides, and of no build. Raises
    ``UserError`` where nothing can be compared, or both are one reproduction.
    """
    if a == b:
        raise UserError(
            f"a comparison needs two reproductions, not one twice: {name_a} and {name_b} hold the "
            "same run; measure again with hbitmap-bench reproduce --json"
        )
    groups = _groups(a, b)
    differs = _host_differs(a, b)
    pairs = [pair for group in groups for pair in group.pairs]
    if not pairs:
        raise UserError(
            f"no row of {name_a} has a partner in {name_b}: the first has {contents(_rows(a))}; "
            f"the second has {contents(_rows(b))}; measure the same sizes on both"
        )
    if differs and not any(pair.compares_between_hosts for pair in pairs):
        raise UserError(
            f"{name_a} and {name_b} share raw seconds alone, and their hosts differ "
            f"({', '.join(differs)}): raw seconds do not compare; measure rows with filters on both"
        )
    return Comparison(
        Side(name_a, a, _unpaired(a, [pair.a for pair in pairs])),
        Side(name_b, b, _unpaired(b, [pair.b for pair in pairs])),
        groups,
        differs,
    )


def build_pairs(
    a: Sequence[str | None], b: Sequence[str | None]
) -> list[tuple[str | None, str | None]]:
    """Which builds are laid side by side: namesakes; those without one with all others without.

    Where a side has none left without a namesake, with all of that side: one unpatched build
    against itself and against a patched one.
    """
    both = [name for name in a if name in b]
    only_a = [name for name in a if name not in b]
    only_b = [name for name in b if name not in a]
    if only_a:
        others = [(one, other) for one in only_a for other in only_b or b]
    else:
        others = [(one, other) for one in a for other in only_b]
    return [*((name, name) for name in both), *others]


def contents(cells: Iterable[CellRecord]) -> str:
    """What rows there are, in a line: ``model sampled: 1T, 2T at 64K clusters``."""
    found: dict[str, tuple[set[int], set[int]]] = {}
    for cell in cells:
        build = f" {cell.build}" if cell.build else ""
        sizes, clusters = found.setdefault(f"{cell.source}{build} {cell.mode}", (set(), set()))
        sizes.add(cell.image_bytes)
        clusters.add(cell.cluster_bytes)
    texts = (f"{n}: {_sizes(s)} at {_sizes(c)} clusters" for n, (s, c) in found.items())
    return "; ".join(texts) or "no measured row"


def _rows(found: Reproduction) -> list[CellRecord]:
    """The rows that can pair: measured or modelled here, with seconds."""
    return [
        cell
        for cell in found.cells
        if cell.source != "published" and cell.work_s is not None and cell.work_s > 0
    ]


def _groups(a: Reproduction, b: Reproduction) -> tuple[Group, ...]:
    """QEMU's first: they are what a build is judged by."""
    streams_a, streams_b = _streams(a), _streams(b)
    groups = []
    for source, mode in sorted({key[:2] for key in streams_a}, reverse=True):
        builds = (
            [k[2] for k in streams if k[:2] == (source, mode)] for streams in (streams_a, streams_b)
        )
        for build_a, build_b in build_pairs(*builds):
            pairs = _pairs(streams_a[source, mode, build_a], a, streams_b[source, mode, build_b], b)
            if pairs:
                groups.append(Group(source, mode, build_a, build_b, pairs, _growth(pairs, a, b)))
    return tuple(groups)


def _streams(found: Reproduction) -> dict[tuple[str, str, str | None], list[CellRecord]]:
    streams: dict[tuple[str, str, str | None], list[CellRecord]] = {}
    for row in _rows(found):
        streams.setdefault((row.source, row.mode, row.build), []).append(row)
    return streams


def _pairs(
    rows_a: Sequence[CellRecord], a: Reproduction, rows_b: Sequence[CellRecord], b: Reproduction
) -> tuple[Pair, ...]:
    """Pairs of two builds in A's order; a row that comes twice counts once."""
    of_a, of_b = ({_place(row): row for row in reversed(rows)} for rows in (rows_a, rows_b))
    order = sorted(of_a.keys() & of_b.keys(), key=lambda place: (place[0] == "plain", place))
    return tuple(_pair(of_a[place], a, of_b[place], b) for place in order)


def _unpaired(side: Reproduction, paired: Iterable[CellRecord]) -> tuple[CellRecord, ...]:
    """A side's rows whose like is in no pair, each once."""

    def key(row: CellRecord) -> tuple[object, ...]:
        return row.source, row.mode, row.build, _place(row)

    found = {key(row) for row in paired}
    rows = {key(row): row for row in reversed(_rows(side)) if key(row) not in found}
    return tuple(reversed(rows.values()))


def _place(cell: CellRecord) -> _Place:
    filtered = cell.source == "qemu" and cell.setup != "plain"
    sizes = (getattr(cell, name) for name in _Place._fields[1:])
    return _Place("filtered" if filtered else cell.setup, *sizes)


def _pair(row_a: CellRecord, a: Reproduction, row_b: CellRecord, b: Reproduction) -> Pair:
    extra_a, extra_b = _extra(row_a, a), _extra(row_b, b)
    return Pair(
        row_a,
        row_b,
        Contrast(extra_a, extra_b),
        Contrast(_rate(row_a, extra_a), _rate(row_b, extra_b)),
        Contrast(_seconds(row_a), _seconds(row_b)),
    )


def _seconds(row: CellRecord) -> Estimate:
    return Estimate(row.work_s or 0.0, row.interval_s, row.interval_kind)


def _extra(row: CellRecord, side: Reproduction) -> Estimate | None:
    """Extra seconds; least and most are those of any two values inside both rows' intervals."""
    plain = plain_of(row, side.cells)
    if row.extra_s is None or plain is None:
        return None
    ends = extra_interval(row, plain)
    interval = interval_of(*ends) if ends else None
    kind = row.interval_kind if ends else None
    return Estimate(row.extra_s, interval, kind, extra_is_resolved(row, plain))


def _rate(row: CellRecord, extra: Estimate | None) -> Estimate | None:
    """Scan rate, with its range: the same words over the most and the least extra seconds."""
    rate = row.scan_rate_words_s
    if rate is None or extra is None or not extra.resolved:
        return None
    if extra.interval is None or extra.interval[0] <= 0:
        return Estimate(rate)
    low, high = (rate * extra.value / seconds for seconds in reversed(extra.interval))
    return Estimate(rate, interval_of(low, high), extra.kind)


def _growth(pairs: Sequence[Pair], a: Reproduction, b: Reproduction) -> tuple[GrowthPair, ...]:
    """Fit each series anew over the sizes that pair: over others, caches alone would bend it."""
    found: dict[object, list[Pair]] = {}
    for pair in pairs:
        found.setdefault((series_key(pair.a), series_key(pair.b)), []).append(pair)
    return tuple(_growth_pair(line, a, b) for line in found.values() if len(line) > 1)


def _growth_pair(line: Sequence[Pair], a: Reproduction, b: Reproduction) -> GrowthPair:
    fit_a = growth_of([pair.a for pair in line], a.cells)
    fit_b = growth_of([pair.b for pair in line], b.cells)
    return GrowthPair(
        line[0].a,
        line[0].b,
        fit_a.sizes,
        Difference(*(_exponent(fit.exponent, fit.interval) for fit in (fit_a, fit_b))),
        Difference(*(_exponent(fit.extra_exponent, fit.extra_interval) for fit in (fit_a, fit_b))),
    )


def _exponent(value: float | None, interval: tuple[float, float] | None) -> Estimate | None:
    return None if value is None else Estimate(value, interval and interval_of(*interval))


def _host_differs(a: Reproduction, b: Reproduction) -> tuple[str, ...]:
    """Facts that differ, or that one side does not tell."""
    facts = ((name, a.host.get(name), b.host.get(name)) for name in HOST_FACTS)
    return tuple(name for name, one, other in facts if one != other or one is None)


def _sizes(values: Iterable[int]) -> str:
    ordered = sorted(values)
    if len(ordered) > _SIZES_NAMED:
        return f"{format_size(ordered[0])}..{format_size(ordered[-1])}"
    return ", ".join(format_size(value) for value in ordered)


_SIZES_NAMED: Final = 3
