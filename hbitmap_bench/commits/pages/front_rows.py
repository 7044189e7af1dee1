"""The front page as its template wants it: words for verdicts, links for changes, figures found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from hbitmap_bench.base.wording import before_after, times
from hbitmap_bench.commits.changes import FOLDED_SHARE, Change, Word, fold_words, folded
from hbitmap_bench.commits.derived import Exponents
from hbitmap_bench.commits.front import FrontPage
from hbitmap_bench.commits.pages.suite_page import HASH_LENGTH, cell_address, page_name
from hbitmap_bench.commits.project_file import Growth
from hbitmap_bench.commits.series import Commit, Param

VERDICTS: Final[dict[Word, str]] = {
    "REGRESSED": "costs rose",
    "IMPROVED": "costs fell, and none rose",
    "UNCHANGED": "every cell is as it was",
    "INCONCLUSIVE": "not a pass: some cells can't be judged yet",
    "NOT_MEASURED": "not a pass: some cells were not measured",
}
"""What a word means for a whole commit."""

EVIDENCE: Final = {
    "exact": "exact counter",
    "step": "step in its level",
    "single": "one commit alone, unconfirmed",
}


@dataclass(frozen=True)
class ChangeRow:
    """A change, as text, with links to its cell here and on asv's page."""

    word: Word
    evidence: str
    commit: Commit
    title: str
    benchmark: str
    params: str
    before: str
    after: str
    ratio: str
    href: str
    asv: str


@dataclass(frozen=True)
class ExponentRow:
    """The newest exponent of one series and quantity, as text; ``group`` has a text a parameter."""

    series: str
    group: tuple[str, ...]
    quantity: str
    exponent: str
    interval: str
    n_sizes: int
    limit: float
    commit: str


@dataclass(frozen=True)
class ChangeList:
    """Changes, the largest first: those that are shown, those folded away, and words for these."""

    shown: Sequence[ChangeRow]
    folded: Sequence[ChangeRow]
    fold: str
    share: str = f"{FOLDED_SHARE:.0%}"


def change_list(front: FrontPage) -> ChangeList:
    """All changes, in two parts."""
    shown, slight = folded(front.changes)
    return ChangeList(
        shown=list(_change_rows(front, shown)),
        folded=list(_change_rows(front, slight)),
        fold=fold_words(change.word for change in slight),
    )


def _change_rows(front: FrontPage, found: Iterable[Change]) -> Iterator[ChangeRow]:
    """Changes as text, in their order."""
    declared = front.history.declared
    for change in found:
        benchmark = change.benchmark
        before, after = before_after(change.before, change.after, benchmark.unit)
        yield ChangeRow(
            word=change.word,
            evidence=EVIDENCE[change.evidence],
            commit=change.commit,
            title=declared.benchmark_words(benchmark.name).title,
            benchmark=benchmark.name,
            params=params_text(benchmark.param_names, change.params, declared.parameters.variant),
            before=before,
            after=after,
            ratio=times(change.ratio),
            href=_cell_link(change),
            asv=asv_hash(change, front.history.machine["machine"]),
        )


def params_text(names: Sequence[str], params: Sequence[Param], variant: str | None) -> str:
    """A cell's parameters: ``deny, image_tib 16, cluster_kib 64``; ``variant`` needs no name."""
    named = zip(names, params, strict=True)
    return ", ".join(str(v) if name == variant else f"{name} {v}" for name, v in named)


def _cell_link(change: Change) -> str:
    """The cell over commits, this one marked."""
    benchmark = change.benchmark
    address = cell_address(benchmark.name, benchmark.param_names, change.params, "commits")
    return f"{page_name(benchmark.suite)}#{address}&commit={change.commit.hash[:HASH_LENGTH]}"


def asv_hash(change: Change, machine: str) -> str:
    """Behind ``#`` of asv's page: the cell's graph, the commit marked. asv has parameters' repr."""
    benchmark = change.benchmark
    named = zip(benchmark.param_names, change.params, strict=True)
    query = {"machine": machine, **{f"p-{name}": repr(value) for name, value in named}}
    return (
        f"{benchmark.name}?{urlencode({**query, 'commits': change.commit.hash}, quote_via=quote)}"
    )


def exponent_rows(front: FrontPage) -> Iterator[ExponentRow]:
    """The newest exponent of every line that has one."""
    declared = front.history.declared.growth
    for line in front.exponents:
        measured = [i for i, value in enumerate(line.value.tolist()) if value == value]
        if measured:
            yield _exponent_row(line, measured[-1], front.history.commits, declared)


def _exponent_row(
    line: Exponents, newest: int, commits: Sequence[Commit], declared: Sequence[Growth]
) -> ExponentRow:
    first = next(growth for growth in declared if growth.quantity == line.quantity)
    group = dict(zip(line.growth.by, map(str, line.group), strict=True))
    low, high = float(line.low[newest]), float(line.high[newest])
    digits = 3 if line.exact else 2
    return ExponentRow(
        series=line.series,
        group=tuple(group.get(name, "") for name in declared[0].by),
        quantity=line.quantity if line.growth == first else line.growth.title,
        exponent=f"{line.value[newest]:.{digits}f}",
        interval=f"{low:.{digits}f} to {high:.{digits}f}" if low == low else "two sizes: none",
        n_sizes=int(line.n_sizes[newest]),
        limit=line.limit,
        commit=commits[newest].hash[:HASH_LENGTH],
    )
