"""What follows from stored results: seconds of whole build-ups, ratios, growth exponents.

asv stores raw measurements: a large cell times blocks of its queries. This is the one place where
they are scaled. Arrays are float64 over commits (rows), NaN where something was not measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hbitmap_bench.base.slopes import loglog_slopes
from hbitmap_bench.commits.series import Benchmark, History, Measured, Params

TIB, KIB = 2**40, 2**10

ANSWER_CLUSTERS = 512
"""What the suite ``buildup`` pins for all its cells: image clusters that one query moves on."""

SECONDS = "buildup.BuildUp.time_queries"
QUERIES = "buildup.BuildUp.track_queries"
WORDS = "buildup.Words.track_extra_words_a_query"

Quantity = Literal["seconds", "words"]

LIMITS: dict[str, float] = {"plain": 1.0, "access": 2.0, "deny": 1.0}
"""Exponents that the algorithms promise: what grows faster has another algorithm, or caches."""

TWO_SIZES = 2


@dataclass(frozen=True)
class Exponents:
    """The growth exponent of one implementation at one cluster size, commit after commit.

    ``value``, ``low`` and ``high`` have a number a commit; the interval is the 95% t interval of
    the slope, NaN below three sizes. ``n_sizes`` is how many sizes each commit was fitted over.
    """

    implementation: str
    cluster_kib: int
    quantity: Quantity
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n_sizes: NDArray[np.int64]

    @property
    def limit(self) -> float:
        """What the implementation's algorithm promises."""
        return LIMITS.get(self.implementation, np.nan)


def build_up_seconds(history: History) -> Measured | None:
    """Seconds of whole build-ups, commits x cells of ``SECONDS``: measured whole, or scaled.

    Seconds a timed query times the queries of a whole build-up (``queries_of``). None where
    the history has no suite ``buildup``.
    """
    if SECONDS not in history.measured or QUERIES not in history.measured:
        return None
    measured = history.measured[SECONDS]
    factor = _all_queries(history.benchmarks[SECONDS]) / history.measured[QUERIES].value
    return Measured(*(ends * factor for ends in measured))


def is_whole(history: History) -> NDArray[np.bool_]:
    """Whether a cell's build-up was timed whole, commits x cells of ``SECONDS``; else scaled."""
    queries = _all_queries(history.benchmarks[SECONDS])
    return np.equal(history.measured[QUERIES].value, queries)


def build_up_words(history: History) -> Measured | None:
    """Words that the access checks of whole build-ups examine: exact; cells of ``WORDS``."""
    if WORDS not in history.measured:
        return None
    value = history.measured[WORDS].value * _all_queries(history.benchmarks[WORDS])
    return Measured(value, value, value)


def ratio(over: Measured, under: Measured) -> Measured:
    """One quantity over another, element by element.

    The interval takes both intervals at their worst ends, so it holds with at least the confidence
    that both hold together (98% for two of 99%).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return Measured(over.value / under.value, over.low / under.high, over.high / under.low)


def ratio_of(
    benchmark: Benchmark, measured: Measured, over: str, under: str
) -> tuple[tuple[Params, ...], Measured] | None:
    """The ratio of two implementations, where cells have both.

    Returns those cells without their first parameter, and arrays of commits x such cells. None if
    there are none.
    """
    if benchmark.param_names[:1] != ("implementation",):
        return None
    place = benchmark.place
    rest = [p[1:] for p in benchmark.cells if p[0] == over and (under, *p[1:]) in place]
    if not rest:
        return None
    places = ([place[(i, *p)] for p in rest] for i in (over, under))
    above, below = (Measured(*(ends[:, chosen] for ends in measured)) for chosen in places)
    return tuple(rest), ratio(above, below)


def exponents(history: History) -> tuple[Exponents, ...]:
    """Growth exponents of every implementation and cluster size that has two sizes anywhere."""
    found: list[Exponents] = []
    kinds: list[tuple[Quantity, str, Measured | None]] = [
        ("seconds", SECONDS, build_up_seconds(history)),
        ("words", WORDS, build_up_words(history)),
    ]
    for quantity, name, measured in kinds:
        if measured is not None:
            found += _exponents_of(history.benchmarks[name], measured, quantity)
    return tuple(found)


def _exponents_of(benchmark: Benchmark, measured: Measured, quantity: Quantity) -> list[Exponents]:
    lines: dict[tuple[str, int], list[Params]] = {}
    for params in benchmark.cells:
        lines.setdefault((str(params[0]), int(params[2])), []).append(params)
    found = []
    for (implementation, cluster_kib), cells in lines.items():
        sizes = np.array([int(params[1]) for params in cells], float)
        values = measured.value[:, [benchmark.place[params] for params in cells]]
        fits = loglog_slopes(sizes, values)
        if fits.n_sizes.max(initial=0) >= TWO_SIZES:
            found.append(Exponents(implementation, cluster_kib, quantity, *fits))
    return found


def queries_of(params: Params) -> int:
    """Queries of the whole build-up of a cell of the suite ``buildup``."""
    _, tib, kib = params
    return -(-int(tib) * TIB // (ANSWER_CLUSTERS * int(kib) * KIB))


def _all_queries(benchmark: Benchmark) -> NDArray[np.float64]:
    return np.array([queries_of(params) for params in benchmark.cells], float)
