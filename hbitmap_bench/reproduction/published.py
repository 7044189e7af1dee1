"""The published table, and the other numbers of the report that this project starts from.

Source of all of them: the cover letter of QEMU's patch series "improve block_status() for cbw +
snapshot setup", v2, on QEMU's development list, May 2025.
"""

from __future__ import annotations

from typing import Final

from hbitmap_bench.qemu.filters import Setup
from hbitmap_bench.qemu.geometry import answer_bytes, n_queries, words_access, words_deny
from hbitmap_bench.reproduction.records import CellRecord

SOURCE: Final = (
    'the cover letter of QEMU\'s patch series "improve block_status() for cbw + snapshot setup" '
    "(v2, May 2025)"
)

REPORTED_SIZE_GROWTH: Final = 0.10
REPORTED_TIME_GROWTH: Final = 0.20
"""The report's words: "+10% size results in +20% time". Its own table has 413 s / 325 s: +27%."""

REPORTED_HOUR_BYTES: Final = 30 * 10**12
"""Backups of 30 TB and more stood still for over an hour."""

PROFILE: Final = {
    "hbitmap_next_zero": 0.9667,
    "qcow2_cache_do_get": 0.0033,
    "perf_adjust_freq_unthr_context": 0.0010,
    "qcow2_get_host_offset": 0.0008,
}
"""Shares of time by function in the stuck job. Its image size and event are not published."""

_T: Final = 2**40
_CLUSTER: Final = 64 * 1024
_SLICE: Final = 4096
_L2_ENTRY: Final = 8
_ELAPSED_S: Final[dict[int, dict[Setup, float]]] = {
    10 * _T: {"plain": 52, "access": 325, "deny": 55},
    11 * _T: {"plain": 57, "access": 413, "deny": 61},
}
_ANSWER: Final = answer_bytes(_CLUSTER, _SLICE, _L2_ENTRY, _CLUSTER)

QUERY_S: Final = _ELAPSED_S[10 * _T]["plain"] / n_queries(10 * _T, _ANSWER, _CLUSTER)
"""QEMU's own cost a query in the published plain row: 52 s / 327,680 = 159 us."""

_EXTRA_11T_S: Final = _ELAPSED_S[11 * _T]["access"] - _ELAPSED_S[11 * _T]["plain"]
_SCAN_RATE_11T: Final = words_access(11 * _T, _ANSWER, _CLUSTER) / _EXTRA_11T_S


def published_cells() -> tuple[CellRecord, ...]:
    """The six published rows. Queries and words are closed forms, since none were published."""
    return tuple(
        _cell(image_bytes, setup, seconds)
        for image_bytes, row in _ELAPSED_S.items()
        for setup, seconds in row.items()
    )


def extrapolated_s(image_bytes: int) -> float:
    """Build-up seconds of the access bitmap at another size, had that machine gone on as at 11T.

    Closed-form words at the scan rate of the 11T row, and ``QUERY_S`` a query. O(1).
    """
    words = words_access(image_bytes, _ANSWER, _CLUSTER)
    return words / _SCAN_RATE_11T + n_queries(image_bytes, _ANSWER, _CLUSTER) * QUERY_S


def _cell(image_bytes: int, setup: Setup, elapsed_s: float) -> CellRecord:
    words = _words(image_bytes, setup)
    extra_s = None if setup == "plain" else elapsed_s - _ELAPSED_S[image_bytes]["plain"]
    # A rate for the deny row would divide a few words by a difference of rounded seconds.
    rate = words / extra_s if words and extra_s and setup == "access" else None
    return CellRecord(
        source="published",
        setup=setup,
        mode="published",
        image_bytes=image_bytes,
        cluster_bytes=_CLUSTER,
        copy_cluster_bytes=_CLUSTER,
        l2_slice_bytes=_SLICE,
        l2_entry_bytes=_L2_ENTRY,
        elapsed_s=elapsed_s,
        queries=n_queries(image_bytes, _ANSWER, _CLUSTER),
        words_examined=words,
        words_source="closed_form" if words is not None else None,
        extra_s=extra_s,
        scan_rate_words_s=rate,
    )


def _words(image_bytes: int, setup: Setup) -> int | None:
    if setup == "access":
        return words_access(image_bytes, _ANSWER, _CLUSTER)
    return words_deny(image_bytes, _ANSWER, _CLUSTER) if setup == "deny" else None
