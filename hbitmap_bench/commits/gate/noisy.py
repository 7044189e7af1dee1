"""Verdicts on what noise moves, times and peaks: a first pass suspects, a second one confirms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from hbitmap_bench.commits.changes import Word
from hbitmap_bench.commits.gate import paired
from hbitmap_bench.commits.gate import thresholds as limits
from hbitmap_bench.commits.gate.runs import Pair

FLOORS: Final = {
    "time": limits.FLOOR_S.value,
    "peakmemory": limits.FLOOR_BYTES.value,
    "track": 0.0,
    "memory": 0.0,
}
"""By asv's kind of benchmark."""


@dataclass(frozen=True)
class Levels:
    """What the passes reject at, and the band of noise as a log ratio."""

    confirm: float
    log_band: float
    screen: float = limits.SCREEN_LEVEL.value

    @property
    def band(self) -> float:
        """The band as a relative change."""
        return math.expm1(self.log_band)


class Judged(NamedTuple):
    """A verdict on a cell, with the rounds that it is from; ``found`` is None if not measured."""

    word: Word
    reason: str
    pair: Pair
    level: float
    found: paired.Estimate | None = None
    resolvable: float | None = None


def suspicion(pair: Pair, levels: Levels, floor: float) -> Word | None:
    """What a first pass suspects of a cell: REGRESSED, IMPROVED or nothing.

    A cell that got faster is one that got slower with its sides exchanged.
    """
    if is_slower(pair, levels, floor):
        return "REGRESSED"
    return "IMPROVED" if is_slower(pair[::-1], levels, floor) else None


def is_slower(pair: Pair, levels: Levels, floor: float) -> bool:
    """Whether the head is slower: by band and floor, at the screening level."""
    base, head = complete(pair)
    if too_few(len(base), levels.screen) or paired.log_ratio(base, head) <= levels.log_band:
        return False
    is_far = paired.p_above(base, head, levels.log_band) <= levels.screen
    return is_far and _rise(base, head) >= floor


def judge(first: Pair, again: Pair | None, levels: Levels, floor: float) -> Judged:
    """A cell by its first pass; if that suspects it, by the second."""
    pair = complete(first)
    if reason := too_few(len(pair[0]), levels.screen):
        return Judged("NOT_MEASURED", reason, pair, levels.screen)
    found = paired.estimate(*pair, levels.screen)
    resolvable = paired.smallest_change(*pair, found, levels.band)
    if suspected := suspicion(first, levels, floor):
        return _judge_again(suspected, again, levels, floor)._replace(resolvable=resolvable)
    word, reason = _judge_once(pair, found, levels, floor)
    return Judged(word, reason, pair, levels.screen, found, resolvable)


def complete(pair: Pair) -> Pair:
    """The rounds that have both sides, above 0: of a counter that is 0 there is no ratio."""
    both = np.isfinite(pair[0]) & np.isfinite(pair[1]) & (pair[0] > 0) & (pair[1] > 0)
    return pair[0][both], pair[1][both]


def too_few(n_rounds: int, level: float) -> str | None:
    """Why so many rounds can't reject at ``level``; None if they can."""
    if not n_rounds:
        return "no round has both sides"
    smallest = paired.smallest_p(n_rounds)
    if smallest <= level:
        return None
    return (
        f"{n_rounds} rounds give a p of {smallest:.2g} at best, and the corrected level is "
        f"{level:.2g}: no regression could have been seen"
    )


def _judge_again(suspected: Word, again: Pair | None, levels: Levels, floor: float) -> Judged:
    """A suspected cell, by its second pass, which must show the same."""
    pair = complete(again) if again else (np.empty(0), np.empty(0))
    if reason := too_few(len(pair[0]), levels.confirm):
        reason = f"suspected, and not measured again: {reason}"
        return Judged("NOT_MEASURED", reason, pair, levels.confirm)
    found = paired.estimate(*pair, levels.confirm)
    is_worse = suspected == "REGRESSED"
    nearest, rise = (found.low, _rise(*pair)) if is_worse else (-found.high, -_rise(*pair))
    if nearest > levels.log_band and rise >= floor:
        reason = f"the whole interval lies beyond the band of {levels.band:.1%}, in two passes"
        return Judged(suspected, reason, pair, levels.confirm, found)
    reason = f"{suspected} in the first pass; the second did not confirm it"
    return Judged("INCONCLUSIVE", reason, pair, levels.confirm, found)


def _judge_once(
    pair: Pair, found: paired.Estimate, levels: Levels, floor: float
) -> tuple[Word, str]:
    """A cell that is not suspected."""
    if found.high > math.log1p(limits.TOLERATED.value):
        hidden = f"a rise of more than {limits.TOLERATED.value:.0%}"
        return "INCONCLUSIVE", f"noise: {hidden} can't be excluded"
    if found.value <= levels.log_band:
        return "UNCHANGED", "no rise beyond the band, and no large one hidden by noise"
    if _rise(*pair) < floor:
        return "UNCHANGED", f"a rise beyond the band, but of less than the floor of {floor:g}"
    return "INCONCLUSIVE", f"a rise beyond the band of {levels.band:.1%}, which may be noise"


def _rise(base: paired.Floats, head: paired.Floats) -> float:
    return float(paired.fast_mean(head) - paired.fast_mean(base))
