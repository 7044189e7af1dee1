"""What people read for suites and benchmarks. What is not named here keeps its own name."""

from __future__ import annotations

from typing import Final, NamedTuple


class Words(NamedTuple):
    """A title, and a sentence or two on what it is."""

    title: str
    about: str


SUITES: Final = {
    "buildup": Words(
        "Build-up",
        "The job asks for the block status of the whole disk to build its copy bitmap. With the "
        "access bitmap each question reads the rest of the bitmap: seconds grow with the square of "
        "the image size. With the deny bitmap, and without a filter, they grow in proportion.",
    ),
    "access_check": Words(
        "Access check",
        "One access check asks whether anything from a place to the end of the disk may not be "
        "read: at the start, in the middle and at the end, with and without denied clusters.",
    ),
    "bitmap_ops": Words(
        "Bitmap operations",
        "Operations on the bitmap that a check keeps, over its size and its density: the first "
        "denied_percent of every hundred clusters are denied.",
    ),
    "memory": Words(
        "Memory",
        "Bytes of each bitmap, and the peak of a whole process that does a build-up. The peak "
        "includes interpreter and NumPy: only differences between rows mean something.",
    ),
}

_OPERATIONS: Final = {
    "set": "Set 16,384 scattered clusters",
    "reset": "Reset 16,384 scattered clusters",
    "status": "Status at 16,384 scattered clusters",
    "iterate": "Iterate over set bits",
    "merge": "Merge the inverse, eight times",
    "invert": "Invert, eight times",
    "serialize": "Serialize, eight times",
}

BENCHMARKS: Final = {
    "buildup.BuildUp.time_queries": Words(
        "Timed queries, as stored",
        "Seconds of the queries that a cell times: those of the whole build-up in small cells, "
        "eight blocks of them in the others. Compare over commits, not between cells.",
    ),
    "buildup.BuildUp.track_queries": Words(
        "Number of timed queries",
        "How many queries the timed call asks. Compare over commits, not between cells.",
    ),
    "buildup.Words.track_extra_words_a_query": Words(
        "Extra words a query",
        "Words that the access check of a query reads, the mean over a whole build-up. plain reads "
        "none. Exact: the same on every machine.",
    ),
    "buildup.Words.track_words_examined": Words(
        "Words examined by the timed queries",
        "Words of any level that the access checks of the timed queries read: exact. Compare over "
        "commits, not between cells.",
    ),
    "access_check.AccessCheck.time_checks": Words(
        "Seconds of 8,192 checks", "Checks from 8,192 consecutive clusters to the end of the disk."
    ),
    "access_check.AccessCheck.track_words_a_check": Words(
        "Words a check", "Words that a check reads, the mean of 8,192: exact."
    ),
    **{
        f"bitmap_ops.BitmapOps.time_{name}": Words(title, "Seconds of one timed call.")
        for name, title in _OPERATIONS.items()
    },
    "memory.Peak.peakmem_build_up": Words(
        "Peak memory of a build-up", "Peak of the whole process, interpreter and NumPy included."
    ),
    "memory.Structures.track_bytes": Words(
        "Bytes of a bitmap", "What the bitmap has allocated, all levels: exact."
    ),
}

UNLIKE_CELLS: Final = {
    "buildup.BuildUp.time_queries",
    "buildup.BuildUp.track_queries",
    "buildup.Words.track_words_examined",
}
"""Benchmarks whose cells do unlike shares of a build-up: a line through them would mean nothing."""


def suite_words(name: str) -> Words:
    """The title and the sentence of a suite's page."""
    return SUITES.get(name, Words(name, ""))


def benchmark_words(name: str) -> Words:
    """The title of a benchmark and what it measures."""
    return BENCHMARKS.get(name, Words(name, ""))
