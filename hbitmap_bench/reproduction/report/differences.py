"""How the real rows differ from the published ones, and why: what was measured, or "unknown".

A build-up is queries and words: seconds = queries x cost a query + words x time a word. Both
numbers of work are exact and the same everywhere; both costs follow from two rows. So the costs
are the measurement that carries a difference, and what is behind a cost is told only where it was
measured too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hbitmap_bench.base import wording
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.reproduction.cells import TABLE_SIZES
from hbitmap_bench.reproduction.growth import extra_interval, plain_of
from hbitmap_bench.reproduction.records import CellRecord
from hbitmap_bench.reproduction.report import naming
from hbitmap_bench.reproduction.report.projection import queries_of
from hbitmap_bench.reproduction.report.six_cells import Line
from hbitmap_bench.reproduction.report.span import Span, growth


@dataclass(frozen=True, slots=True)
class Costs:
    """What one access row and its plain row say: seconds a query, seconds a word."""

    queries: int
    words: int
    query_s: float
    word_s: Span

    def seconds(self, query_s: float, word_s: float) -> float:
        """This row's work at other costs."""
        return self.queries * query_s + self.words * word_s


def differences(lines: Sequence[Line], cells: Sequence[CellRecord]) -> list[str]:
    """Each real build with the access bitmap against the published table."""
    access = [line for line in lines if line.cell.setup == "access"]
    published = [line for line in access if line.cell.source == "published"]
    real = [
        line
        for line in access
        if line.cell.source == "qemu" and naming.has_default_slice(line.cell)
    ]
    if not published or not real:
        return ["No real build with the access bitmap was measured at 10T and 11T in this run."]
    found = []
    for line in real:
        found += _ratio_lines(published[0], line, cells) + _growth_lines(published[0], line, cells)
    return found


def costs(row: CellRecord | None, cells: Sequence[CellRecord]) -> Costs | None:
    """The costs of a row; None without a plain row, extra seconds or words."""
    plain = plain_of(row, cells) if row is not None else None
    if row is None or plain is None or not (plain.work_s and row.extra_s and row.words_examined):
        return None
    words, ends = row.words_examined, extra_interval(row, plain)
    return Costs(
        queries=queries_of(row),
        words=words,
        query_s=plain.work_s / queries_of(plain),
        word_s=Span(row.extra_s / words, ends and (ends[0] / words, ends[1] / words)),
    )


def _ratio_lines(theirs: Line, ours: Line, cells: Sequence[CellRecord]) -> list[str]:
    size = TABLE_SIZES[0]
    pair = [(line.ratios.get(size), costs(line.rows.get(size), cells)) for line in (theirs, ours)]
    (their_ratio, their_costs), (our_ratio, our_costs) = pair
    if their_ratio is None or our_ratio is None or their_costs is None or our_costs is None:
        return []
    times = their_costs.query_s / our_costs.query_s
    return [
        f"Ratio at {format_size(size)}: {wording.factor(their_ratio.value)} published, "
        f"{_factor(our_ratio)} on {naming.series_source_name(ours.cell)}. A query of the plain "
        f"row costs {_us(their_costs.query_s)} of wall time there and {_us(our_costs.query_s)} of "
        f"CPU time here; a word costs {_ns(their_costs.word_s)} there and {_ns(our_costs.word_s)} "
        f"here ({_rate(their_costs)} and {_rate(our_costs)} G words/s). These two costs give both "
        f"ratios. Why a query costs {times:.1f} times as much there, and a word "
        f"{their_costs.word_s.value / our_costs.word_s.value:.1f} times: unknown; of that machine "
        "and build only the table is published."
    ]


def _growth_lines(theirs: Line, ours: Line, cells: Sequence[CellRecord]) -> list[str]:
    pairs = [_both_costs(line, cells) for line in (theirs, ours)]
    if pairs[0] is None or pairs[1] is None or theirs.growth is None or ours.growth is None:
        return []
    (their_small, their_large), (our_small, our_large) = pairs[0], pairs[1]
    return [
        f"Growth for +10% of size: {theirs.growth.value:+.0%} published, {_percent(ours.growth)} "
        f"on {naming.series_source_name(ours.cell)}. Queries grow by "
        f"{wording.change(our_large.queries, our_small.queries)} and words by "
        f"{wording.change(our_large.words, our_small.words)}, exactly; at unchanged costs that is "
        f"{_at_unchanged_costs(their_small, their_large)} there and "
        f"{_at_unchanged_costs(our_small, our_large)} here. The rest is the time a word takes, "
        f"which changes by {_percent(_word_growth(their_small, their_large))} there and by "
        f"{_percent(_word_growth(our_small, our_large))} here. {_why(our_small, our_large)}"
    ]


def _both_costs(line: Line, cells: Sequence[CellRecord]) -> tuple[Costs, Costs] | None:
    small, large = (costs(line.rows.get(size), cells) for size in TABLE_SIZES)
    return (small, large) if small is not None and large is not None else None


def _at_unchanged_costs(small: Costs, large: Costs) -> str:
    costs_s = small.query_s, small.word_s.value
    return wording.change(large.seconds(*costs_s), small.seconds(*costs_s))


def _word_growth(small: Costs, large: Costs) -> Span:
    found = growth(large.word_s, small.word_s)
    assert found is not None  # both are
    return found


def _why(small: Costs, large: Costs) -> str:
    ends = _word_growth(small, large).ends
    if ends is None:
        return "Why it changed: unknown; here there is no range to tell a change from noise."
    if ends[0] <= 0 <= ends[1]:
        return "Here no change stands out of the noise; why it rose there is unknown."
    return (
        "Why it changed is unknown there. Here the scan rate of each bitmap size is in the table "
        'under "Words and the time they take".'
    )


def _factor(span: Span) -> str:
    if span.ends is None:
        return wording.factor(span.value)
    return f"{wording.factor(span.value)} ({wording.factors(*span.ends)})"


def _percent(span: Span) -> str:
    if span.ends is None:
        return f"{span.value:+.0%}"
    return f"{span.value:+.0%} ({span.ends[0]:+.0%}..{span.ends[1]:+.0%})"


def _us(value_s: float) -> str:
    return f"{value_s * 1e6:.0f} us"


def _ns(word_s: Span) -> str:
    return f"{word_s.value * 1e9:.2f} ns"


def _rate(found: Costs) -> str:
    return f"{1e-9 / found.word_s.value:.2f}"
