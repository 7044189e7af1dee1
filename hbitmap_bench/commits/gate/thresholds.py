"""Every threshold of the gate, with its reason. Reports print them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Threshold:
    """A number that verdicts depend on."""

    name: str
    value: float
    unit: str
    reason: str


FAMILY_LEVEL: Final = Threshold(
    "family level", 0.01, "probability",
    "at most one run in a hundred may raise a false alarm by chance, over all cells together: "
    "shared out evenly among the noisy cells (Bonferroni)",
)  # fmt: skip

SCREEN_LEVEL: Final = Threshold(
    "screening level", 0.05, "probability",
    "of the first pass, for each cell: who fails it is measured again. The second pass must then "
    "reject at family level / cells / this, so that both together give the family level",
)  # fmt: skip

DEFAULT_BAND: Final = Threshold(
    "default band", 0.05, "relative change",
    "where nobody ran `hbitmap-bench calibrate`: one code against itself differed by up to so much "
    "on shared machines",
)  # fmt: skip

LEAST_BAND: Final = Threshold(
    "least band", 0.02, "relative change",
    "however quiet a machine was in its calibration: code and data land on other addresses with "
    "every change of the sources, which alone moves a loop by a percent or two",
)  # fmt: skip

FLOOR_S: Final = Threshold(
    "time floor", 50e-6, "seconds a timed call",
    "a scheduler's tick or a page fault is some tens of microseconds, and the shortest timed calls "
    "last half a millisecond",
)  # fmt: skip

FLOOR_BYTES: Final = Threshold(
    "memory floor", 2**20, "bytes",
    "a process's peak moves by pages of its allocator and of what the interpreter maps",
)  # fmt: skip

TOLERATED: Final = Threshold(
    "tolerated", 0.25, "relative change",
    "a cell whose interval does not exclude a larger change than this is INCONCLUSIVE, not "
    "UNCHANGED: noise hid more than anyone would call small",
)  # fmt: skip

MOST_INCONCLUSIVE: Final = Threshold(
    "most inconclusive", 0.5, "share of the noisy cells",
    "a run in which more cells than this are INCONCLUSIVE has not been a measurement, and passes "
    "nothing",
)  # fmt: skip

BLIND: Final = Threshold(
    "blind", 0.5, "relative change",
    "whoever lets a change pass counts on nothing taking half as long again. A run passes nothing "
    "where it can't exclude such a rise of a cell, or could not have shown it in the median time",
)  # fmt: skip

EXACT_MARGIN: Final = Threshold(
    "exact exponent margin", 0.01, "exponent",
    "counters repeat; this leaves room only for what is added to the leading term",
)  # fmt: skip

GROWTH_MARGIN: Final = Threshold(
    "time exponent margin", 0.6, "exponent",
    "where data outgrows a cache each step over it costs more: caches alone have given an exponent "
    "of 2.5 between two close sizes where counted steps gave 2",
)  # fmt: skip

GROWTH_BAND: Final = Threshold(
    "exponent band", 0.1, "exponent",
    "between base and head, beyond noise: over 16 times the size, 0.1 is 1.3 times the time",
)  # fmt: skip

GROWTH_SPAN: Final = Threshold(
    "growth span", 8, "largest size over smallest",
    "an exponent over less is decided by where caches end",
)  # fmt: skip

INSTRUCTIONS_BAND: Final = Threshold(
    "instructions band", 0.005, "relative change",
    "half of the 1% that is to be seen. A commit against itself hardly differs, but around any "
    "change a compiler and an allocator arrange things anew",
)  # fmt: skip

INSTRUCTIONS_REPEAT: Final = Threshold(
    "instructions repeat", 0.001, "relative change",
    "a cell whose two counts of the base differ by more is not judged by instructions",
)  # fmt: skip

COMMON: Final = (
    FAMILY_LEVEL, SCREEN_LEVEL, DEFAULT_BAND, LEAST_BAND, FLOOR_S, FLOOR_BYTES,
    TOLERATED, MOST_INCONCLUSIVE, BLIND,
)  # fmt: skip
"""Those that every verdict depends on; ``steepness.thresholds`` has all."""
