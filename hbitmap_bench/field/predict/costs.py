"""What a build-up's parts cost: few coefficients, and the seconds that they add up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from scipy.optimize import nnls

from hbitmap_bench.field.predict.counts import Counts
from hbitmap_bench.qemu.filters import Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds each. All but ``word_s`` are of a query or a part of one.

    ``start_s`` is there once: the command, the first chunk, the last poll. ``load_s`` reads an L2
    slice, ``cache_entry_s`` looks at one slice of the cache to find that it is another one,
    ``entry_s`` looks at one L2 entry (and reads its bytes), ``filter_s`` is what both filters add
    to a query without their search, ``seek_s`` a look for holes in the file, ``word_s`` a word of
    the access bitmap.
    """

    start_s: float
    query_s: float
    load_s: float
    cache_entry_s: float
    entry_s: float
    filter_s: float
    seek_s: float
    word_s: float

    def seconds(self, counts: Counts, setup: Setup) -> float:
        """What the build-up takes: the sum of its parts."""
        amounts = _amounts(counts, setup)
        return float(sum(amounts[name] * getattr(self, name) for name in amounts))

    def scan_s(self, counts: Counts) -> float:
        """What the search of the access bitmap alone takes."""
        return counts.words_access * self.word_s

    def scaled(self, query: float, word: float) -> Costs:
        """All multiplied: words by ``word``, everything else by ``query``."""
        factors = dict.fromkeys(NAMES, query) | {"word_s": word}
        return Costs(**{name: getattr(self, name) * factor for name, factor in factors.items()})


NAMES = tuple(field.name for field in fields(Costs))


def _amounts(counts: Counts, setup: Setup) -> Mapping[str, int]:
    """How many of each part a build-up has."""
    filtered = setup != "plain"
    words = {"plain": 0, "access": counts.words_access, "deny": counts.words_deny}
    return {
        "start_s": 1,
        "query_s": counts.queries,
        "load_s": counts.loads,
        "cache_entry_s": counts.loads * counts.cache_entries,
        "entry_s": counts.scanned,
        "filter_s": counts.queries if filtered else 0,
        "seek_s": counts.seeks if filtered else 0,
        "word_s": words[setup],
    }


def fit(runs: Sequence[tuple[Counts, Setup, float]]) -> Costs:
    """The costs, none below 0, whose seconds are the nearest to those of the runs, relatively."""
    rows = np.array(
        [[_amounts(counts, setup)[name] for name in NAMES] for counts, setup, _ in runs]
    )
    seconds = np.array([elapsed_s for _, _, elapsed_s in runs])
    weighted = rows / seconds[:, None]
    scale = weighted.max(axis=0)
    scale[scale == 0] = 1
    found, _ = nnls(weighted / scale, np.ones(len(runs)))
    return Costs(**dict(zip(NAMES, (float(one) for one in found / scale), strict=True)))
