"""What a reproduction has found, in sentences: every number in them comes from its records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from scipy.optimize import brentq

from hbitmap_bench.base import wording
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.base.slopes import loglog_slope
from hbitmap_bench.qemu.filters import Setup
from hbitmap_bench.reproduction import published
from hbitmap_bench.reproduction.growth import extra_is_resolved, growth_of, plain_of, series
from hbitmap_bench.reproduction.records import CellRecord, GrowthRecord
from hbitmap_bench.reproduction.report import naming
from hbitmap_bench.reproduction.report.projection import (
    REFERENCE_CLUSTER_BYTES,
    QueryCost,
    at_its_ends,
    projected_at,
    projected_s,
    projected_text,
    query_costs_measured,
    size_reaching,
    slowdown,
    slowdown_text,
)
from hbitmap_bench.reproduction.report.span import measured
from hbitmap_bench.reproduction.rows import LEAST_RUNS

_TIB: Final = 2**40
_ENDS: Final = (0, 1)
_LIMITS_S: Final = {60: "a minute", 600: "ten minutes", 3600: "an hour"}


def headline(cells: Sequence[CellRecord], cost: QueryCost) -> list[str]:
    """What was found: published, modelled, on real builds, and how it grows."""
    found = [*_published_lines(cells), *_model_lines(cells, cost), *_qemu_lines(cells)]
    return [*found, *_growth_lines(cells)]


def the_hour(cells: Sequence[CellRecord], cost: QueryCost) -> list[str]:
    """Where the build-up with the access bitmap passes an hour: reported, and found."""
    reported = published.REPORTED_HOUR_BYTES
    seconds = published.extrapolated_s(reported)
    hour = brentq(
        lambda size: published.extrapolated_s(int(size)) - 3600, _TIB, 2**10 * _TIB, xtol=2**30
    )
    lines = [
        f"The report said: over an hour without progress at {reported / 10**12:.0f} TB "
        f"({_tib(reported)}) and more.",
        "The published table carried on (closed-form words at the scan rate of its 11T row, 159 us "
        f"a query) gives {wording.duration(seconds)} at 30 TB, and the hour at {_tib(hour)}.",
    ]
    rows = _model_series(cells).get("access", [])
    if not rows:
        return [*lines, "The model has no series of image sizes in this run to find its hour in."]
    return [*lines, _model_hour(rows, cost)]


def query_cost_lines(cells: Sequence[CellRecord], cost: QueryCost) -> list[str]:
    """The cost a query in use, and what it was measured to be at other sizes and slices."""
    others = [str(other) for other in query_costs_measured(cells) if other != cost]
    lines = [f"Cost a query in use: {cost}."]
    return [*lines, "Not in use: " + "; ".join(others) + "."] if others else lines


def scan_rates(cells: Sequence[CellRecord]) -> list[str]:
    """Whether the time a word takes is the same at all sizes, for each source and build."""
    lines = []
    for rows in _reference_access(cells):
        rates = {row.image_bytes: row.scan_rate_words_s for row in rows if row.scan_rate_words_s}
        if len(rates) > 1:
            low, high = min(rates.values()), max(rates.values())
            first, last = format_size(min(rates)), format_size(max(rates))
            lines.append(
                f"{naming.series_source_name(rows[0])}: {low / 1e9:.2f} to {high / 1e9:.2f} "
                f"G words/s from {first} to {last}: the time a word takes differs by "
                f"{high / low - 1:.0%} at most."
            )
    return lines + _words_against_time(cells)


def not_measured(cells: Sequence[CellRecord]) -> list[str]:
    """What this run leaves open, and what would close it."""
    qemu = [cell for cell in cells if cell.source == "qemu"]
    if not qemu:
        return [
            *_disturbed_lines(cells),
            "Real QEMU: this run found no qemu-storage-daemon, or was told --no-qemu. On Debian, "
            "apt install qemu-system-common qemu-utils brings qemu-storage-daemon and qemu-img; "
            "other builds are named with --qemu PATH.",
        ]
    lines = [
        f"{naming.source_name(cell)}, {naming.setup_name(cell)} at "
        f"{format_size(cell.image_bytes)}: {naming.why_not_measured(cell)}."
        for cell in qemu
        if cell.elapsed_s is None
    ]
    if not any(cell.detected == "deny" and cell.elapsed_s is not None for cell in qemu):
        lines.append(
            "The deny row on real QEMU waits for a patched build: no distribution ships one, and "
            "none was given with --qemu PATH."
        )
    lines += [*_few_runs(qemu), *_disturbed_lines(cells)]
    unknown = sorted({cell.build or "" for cell in qemu if cell.detected == "unknown"})
    lines += [f"qemu {build}: neither bitmap was recognised in this build." for build in unknown]
    return lines


def _few_runs(qemu: Sequence[CellRecord]) -> list[str]:
    """Which rows have fewer undisturbed runs than a spread is worth."""
    found: dict[int, list[str]] = {}
    for cell in qemu:
        if cell.work_s is not None and cell.n_runs < LEAST_RUNS:
            place = f"{naming.series_source_name(cell)} {naming.setup_name(cell)}"
            found.setdefault(cell.n_runs, []).append(f"{place} {format_size(cell.image_bytes)}")
    return [
        f"n={n}, fewer than {LEAST_RUNS} undisturbed runs{' and no range' if n == 1 else ''}: "
        f"{'; '.join(rows)}."
        for n, rows in sorted(found.items())
    ]


def _disturbed_lines(cells: Sequence[CellRecord]) -> list[str]:
    """How many rows have no seconds of their own; the tables mark them and say why."""
    rows = [cell for cell in cells if cell.disturbed is not None]
    if not rows:
        return []
    sources = sorted({naming.series_source_name(cell) for cell in rows})
    one = len(rows) == 1
    return [
        f"{'1 row was' if one else f'{len(rows)} rows were'} disturbed by this host "
        f"({', '.join(sources)}): {'it is' if one else 'they are'} marked {naming.DISTURBED}, and "
        f"no ratio, growth or sentence is made of {'it' if one else 'them'}. Measure again on a "
        "quiet host, or with a larger --budget."
    ]


# ---------------------------------------------------------------- the headline's lines


def _published_lines(cells: Sequence[CellRecord]) -> list[str]:
    found = {(cell.setup, cell.image_bytes): cell for cell in cells if cell.source == "published"}
    lines = []
    for size in sorted({size for _, size in found}):
        plain, access = found.get(("plain", size)), found.get(("access", size))
        deny = found.get(("deny", size))
        if plain and access and deny and plain.elapsed_s and access.elapsed_s:
            lines.append(
                f"Published, {_place(access)}: the access bitmap costs +{access.extra_s:g} s over "
                f"{plain.elapsed_s:g} s without a filter "
                f"({wording.factor(access.elapsed_s / plain.elapsed_s)}), the deny bitmap "
                f"+{deny.extra_s:g} s."
            )
    return [*lines, *_reported_growth(found)]


def _reported_growth(found: dict[tuple[Setup, int], CellRecord]) -> list[str]:
    rows = [found[key] for key in sorted(found) if key[0] == "access"]
    if len(rows) < 2 or not rows[0].elapsed_s or not rows[1].elapsed_s:
        return []
    table = wording.change(rows[1].elapsed_s, rows[0].elapsed_s)
    return [
        f"The report said +{published.REPORTED_SIZE_GROWTH:.0%} size results in "
        f"+{published.REPORTED_TIME_GROWTH:.0%} time; its own table gives {table} "
        f"({rows[1].elapsed_s:g} s / {rows[0].elapsed_s:g} s)."
    ]


def _model_lines(cells: Sequence[CellRecord], cost: QueryCost) -> list[str]:
    access = _headline_cell(cells)
    if access is None:
        return []
    own = [cell for cell in cells if _same_place(cell, access) and cell.source == "model"]
    deny = next((cell for cell in own if cell.setup == "deny"), None)
    seconds, times = projected_s(access, cost) or 0.0, slowdown(access, cost) or 0.0
    line = (
        f"{naming.source_name(access)} on this host, {_place(access)}: the access bitmap costs "
        f"{_extra(access, cells)}. Projected build-up {projected_text(access, cost)} instead of "
        f"{wording.duration(seconds / times)}: {slowdown_text(access, cost)}"
    )
    if deny is not None and deny.extra_s is not None:
        line += f"; the deny bitmap costs {_extra(deny, cells)}: {slowdown_text(deny, cost)}"
    return [f"{line}. {_ranges(access)}With {cost}."]


def _qemu_lines(cells: Sequence[CellRecord]) -> list[str]:
    """Each build at the largest size where both its filtered and its plain row have seconds."""
    largest: dict[tuple[object, ...], tuple[CellRecord, CellRecord]] = {}
    for cell in sorted(cells, key=lambda cell: cell.image_bytes):
        plain = plain_of(cell, cells)
        filtered = cell.source == "qemu" and cell.setup != "plain" and cell.work_s is not None
        if filtered and plain is not None and naming.has_default_slice(cell):
            largest[cell.build, cell.setup] = (cell, plain)
    return [_qemu_line(cell, plain, cells) for cell, plain in largest.values()]


def _qemu_line(cell: CellRecord, plain: CellRecord, cells: Sequence[CellRecord]) -> str:
    elapsed, base = cell.work_s or 0.0, plain.work_s or 1.0
    line = (
        f"{naming.source_name(cell)}, {_place(cell)}: {wording.duration(elapsed)} of CPU with "
        f"{naming.setup_name(cell)}, {wording.duration(base)} without a filter "
        f"({_times_plain(cell, plain)})"
    )
    for other in cells:
        same = (other.source, other.build, other.setup) == ("qemu", cell.build, cell.setup)
        same = same and _same_image(other, cell) and not naming.has_default_slice(other)
        if same and other.work_s is not None:
            slice_name = format_size(other.l2_slice_bytes)
            seconds = wording.duration(other.work_s)
            line += f"; with l2-cache-entry-size={slice_name} {seconds}"
    return f"{line}."


def _times_plain(cell: CellRecord, plain: CellRecord) -> str:
    """The ratio with its range, and whether it stands out of the noise."""
    own, base = measured(cell), measured(plain)
    assert own is not None and base is not None  # noqa: PT018 - both have seconds
    ratio = own.over(base)
    text = wording.factor(ratio.value)
    if ratio.ends is None:
        return f"{text}; no range, since one of the two ran once"
    resolved = "" if extra_is_resolved(cell, plain) else ", not resolved from noise"
    return f"{text}, {wording.factors(*ratio.ends)}{resolved}"


def _growth_lines(cells: Sequence[CellRecord]) -> list[str]:
    lines = []
    for rows in series(cells).values():
        reference = rows[0].cluster_bytes == REFERENCE_CLUSTER_BYTES
        default = all(naming.has_default_slice(row) for row in rows)
        if reference and default and len(rows) > 2 and rows[0].setup != "plain":
            record = growth_of(rows)
            lines += [_growth_line(rows, record)] if record.exponent is not None else []
    return lines


def _growth_line(rows: Sequence[CellRecord], record: GrowthRecord) -> str:
    """Exponents of words and seconds, and what becomes of the time that a word takes."""
    exponent = wording.exponent(record.exponent, record.interval).replace("\n", " ")
    sizes = f"{format_size(rows[0].image_bytes)} to {format_size(rows[-1].image_bytes)}"
    line = f"{naming.series_source_name(rows[0])}, {naming.setup_name(rows[0])}, {sizes}: "
    words = [float(row.words_examined) for row in rows if row.words_examined]
    if len(words) < len(rows):
        return f"{line}seconds grow with exponent {exponent}."
    slope = loglog_slope([row.image_bytes for row in rows], words).exponent
    line += f"seconds grow with exponent {exponent}, the words examined with exponent {slope:.2f}"
    above = record.interval is not None and record.interval[0] > slope
    return f"{line}{_time_a_word(rows, above=above)}."


def _time_a_word(rows: Sequence[CellRecord], *, above: bool) -> str:
    """The drift of the scan rate; it is called the rest only where seconds outgrow the words."""
    rated = [row for row in rows if row.scan_rate_words_s]
    if len(rated) < 2:
        return ""
    first, last = rated[0], rated[-1]
    times = [1e9 / (row.scan_rate_words_s or 1.0) for row in (first, last)]
    bitmaps = [naming.bitmap_size(row.image_bytes, row.copy_cluster_bytes) for row in (first, last)]
    if not (above and round(times[1], 2) > round(times[0], 2)):
        return (
            f". A word takes {times[0]:.2f} ns with a bitmap of {bitmaps[0]}, {times[1]:.2f} ns "
            f"with one of {bitmaps[1]}"
        )
    return (
        f"; the rest is the time a word takes, which rises from {times[0]:.2f} to {times[1]:.2f} "
        f"ns as the bitmap grows from {bitmaps[0]} to {bitmaps[1]}. This is what is seen: it is "
        "consistent with a bitmap that outgrows the processor's caches, and does not prove it"
    )


# ---------------------------------------------------------------- parts of sentences


def _model_hour(rows: Sequence[CellRecord], cost: QueryCost) -> str:
    passed = [f"{name} {_passed(rows, cost, limit)}" for limit, name in _LIMITS_S.items()]
    line = (
        f"On this host the {naming.source_name(rows[0])} at {format_size(rows[0].cluster_bytes)} "
        f"clusters, {format_size(rows[0].l2_slice_bytes)} slice, passes {', '.join(passed)}"
    )
    at_30 = projected_at(rows, cost, published.REPORTED_HOUR_BYTES)
    if at_30 is not None:
        line += f"; 30 TB takes {wording.duration(at_30)}{_range_at_30(rows, cost)}"
    return f"{line}. {_ranges(rows[0])}With {cost}."


def _passed(rows: Sequence[CellRecord], cost: QueryCost, limit_s: float) -> str:
    """Where a limit is passed, between where the most and the least extra seconds pass it."""
    passed = _passed_at(rows, cost, limit_s)
    ends = _series_at_its_ends(rows)
    if not ends:
        return passed
    late, early = (_passed_at(end, cost, limit_s).removeprefix("at ") for end in ends)
    return passed if early == late else f"{passed} {wording.between(early, late)}"


def _passed_at(rows: Sequence[CellRecord], cost: QueryCost, limit_s: float) -> str:
    size = size_reaching(rows, cost, limit_s)
    if size is not None:
        return f"at {_tib(size)}"
    first, last = format_size(rows[0].image_bytes), format_size(rows[-1].image_bytes)
    below = (projected_s(rows[-1], cost) or 0.0) <= limit_s
    return f"not up to {last}" if below else f"below {first}"


def _range_at_30(rows: Sequence[CellRecord], cost: QueryCost) -> str:
    ends = [projected_at(r, cost, published.REPORTED_HOUR_BYTES) for r in _series_at_its_ends(rows)]
    found = [wording.duration(seconds) for seconds in ends if seconds is not None]
    return f" {wording.between(*found)}" if len(found) == len(_ENDS) else ""


def _series_at_its_ends(rows: Sequence[CellRecord]) -> list[list[CellRecord]]:
    """A series with the least and with the most extra seconds; empty if a row has no interval."""
    ends = [at_its_ends(row) for row in rows]
    whole = [end for end in ends if end is not None]
    return [[end[i] for end in whole] for i in _ENDS] if len(whole) == len(rows) else []


def _words_against_time(cells: Sequence[CellRecord]) -> list[str]:
    """From 10T to 11T: a pure count of words would grow the extra seconds as much as the words."""
    parts, words = [], ""
    for rows in _reference_access(cells):
        at = {row.image_bytes: row for row in rows if row.extra_s and row.words_examined}
        ten, eleven = at.get(10 * _TIB), at.get(11 * _TIB)
        if ten and eleven and ten.extra_s and eleven.extra_s and ten.words_examined:
            words = wording.change(eleven.words_examined or 0, ten.words_examined)
            change = wording.change(eleven.extra_s, ten.extra_s)
            parts.append(f"{naming.series_source_name(rows[0])} {change}")
    if not parts:
        return []
    return [f"From 10T to 11T words grow by {words}, extra seconds by: {', '.join(parts)}."]


def _headline_cell(cells: Sequence[CellRecord]) -> CellRecord | None:
    """The model's access row beside the first published one, else the largest there is."""
    rows = [
        c for c in cells if (c.source, c.setup) == ("model", "access") and c.extra_s is not None
    ]
    beside = [cell for cell in cells if (cell.source, cell.setup) == ("published", "access")]
    for other in beside:
        for row in rows:
            if _same_place(row, other):
                return row
    order = (
        (row.cluster_bytes == REFERENCE_CLUSTER_BYTES, naming.has_default_slice(row), row)
        for row in rows
    )
    best = max(order, key=lambda found: (*found[:2], found[2].image_bytes), default=None)
    return best[2] if best else None


def _model_series(cells: Iterable[CellRecord]) -> dict[Setup, list[CellRecord]]:
    """The model's series at the reference cluster size and QEMU's default slice."""
    return {
        rows[0].setup: rows
        for rows in series(cells).values()
        if rows[0].source == "model"
        and rows[0].cluster_bytes == REFERENCE_CLUSTER_BYTES
        and all(naming.has_default_slice(row) for row in rows)
        and len(rows) > 1
    }


def _reference_access(cells: Iterable[CellRecord]) -> list[list[CellRecord]]:
    return [
        rows
        for rows in series(cells).values()
        if rows[0].setup == "access"
        and rows[0].cluster_bytes == REFERENCE_CLUSTER_BYTES
        and naming.has_default_slice(rows[0])
    ]


def _same_image(one: CellRecord, other: CellRecord) -> bool:
    return (one.image_bytes, one.cluster_bytes, one.copy_cluster_bytes) == (
        other.image_bytes, other.cluster_bytes, other.copy_cluster_bytes,
    )  # fmt: skip


def _same_place(one: CellRecord, other: CellRecord) -> bool:
    return _same_image(one, other) and one.l2_slice_bytes == other.l2_slice_bytes


def _place(cell: CellRecord) -> str:
    return f"{format_size(cell.image_bytes)} at {format_size(cell.cluster_bytes)} clusters"


def _extra(cell: CellRecord, cells: Sequence[CellRecord]) -> str:
    """Extra seconds with their sign: +172 s; +<0.001 s would read badly."""
    if not extra_is_resolved(cell, plain_of(cell, cells)):
        return "nothing that is resolved from noise"
    text = naming.seconds(cell, cell.extra_s)
    return f"{text} s" if text[0] == "<" else f"+{text} s"


def _ranges(cell: CellRecord) -> str:
    if cell.interval_kind is None:
        return ""
    kind = naming.INTERVAL_NAMES[cell.interval_kind]
    return f"Ranges: the {kind} interval of the access seconds, less the plain seconds. "


def _tib(n_bytes: float) -> str:
    return f"{n_bytes / _TIB:.1f}T"
