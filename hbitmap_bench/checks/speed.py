"""Does the compiled core keep its speed promises? Ratios against bitarray and pyroaring.

Run it where the ``speed`` extra is installed::

    tox -e speed

Every ratio is the median over rounds in each of which ours and the rival's line ran one after the
other, so that drift of the machine hits both. The exit code is 1 when a limit is missed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import sysconfig
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from timeit import Timer
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from hbitmap_bench.base.host import compiler_of_core
from hbitmap_impl.contender_bitmaps import VECTORS, TwoSidedHBitmap, WideHBitmap
from hbitmap_impl.hbitmap import BUILD_FLAGS, HBitmap

try:
    from bitarray import bitarray
    from pyroaring import BitMap
except ImportError as error:
    raise SystemExit(
        f"{error}: the rivals are missing; pip install 'hbitmap-bench[speed]'"
    ) from error

N: Final = 167_772_160
"""Bits of a 10 TiB disk at 64 KiB clusters."""

STEPS: Final = N // 512
"""Queries of a build-up over them."""

ROUNDS: Final = 11


@dataclass(frozen=True, slots=True)
class Duel:
    """Two lines of code that do the same, and the largest ratio of their times allowed."""

    name: str
    ours: str
    rival: str
    limit: float
    names: dict[str, Any]
    renew: str = "pass"
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """A measured number with its spread over the rounds, and the limit that it should keep."""

    name: str
    value: float
    spread: tuple[float, float]
    limit: float
    unit: str
    detail: str

    @property
    def kept(self) -> bool:
        """True if the median keeps the limit."""
        return self.value <= self.limit


def duel(one: Duel) -> Outcome:
    """Run both lines in turn, round by round; the median ratio of ours to the rival's."""
    ours = Timer(one.ours, one.renew, globals=one.names)
    rival = Timer(one.rival, one.renew, globals=one.names)
    ours.timeit(1), rival.timeit(1)  # first-touch costs are nobody's
    pairs = [(ours.timeit(one.repeats), rival.timeit(one.repeats)) for _ in range(ROUNDS)]
    ratios = [a / b for a, b in pairs]
    milliseconds = [statistics.median(column) * 1e3 for column in zip(*pairs, strict=True)]
    return Outcome(
        one.name,
        statistics.median(ratios),
        (min(ratios), max(ratios)),
        one.limit,
        "x",
        f"{one.ours}  ({milliseconds[0]:.2f} ms)\n{one.rival}  ({milliseconds[1]:.2f} ms)",
    )


def absolute(
    name: str, measure: Callable[[], float], limit: float, unit: str, detail: str
) -> Outcome:
    """Repeat a measurement; its median and spread."""
    measure()
    values = [measure() for _ in range(ROUNDS)]
    return Outcome(name, statistics.median(values), (min(values), max(values)), limit, unit, detail)


# ---------------------------------------------------------------- what is compared


def random_pair() -> tuple[HBitmap, bitarray]:
    """The same random bits at density 0.5 in both structures."""
    raw = np.random.default_rng(1).integers(0, 256, N // 8, dtype=np.uint8)
    theirs = bitarray(endian="little")
    theirs.frombytes(raw.tobytes())
    ours = HBitmap(N)
    bits = np.unpackbits(raw, bitorder="little")
    edges = np.flatnonzero(np.diff(bits, prepend=0, append=0))
    for start, end in edges.reshape(-1, 2).tolist():
        ours.set(start, end - start)
    return ours, theirs


def filled_pair(value: int) -> tuple[HBitmap, bitarray]:
    """All zeros or all ones in both structures."""
    ours, theirs = HBitmap(N), bitarray(N)
    theirs.setall(value)
    if value:
        ours.set(0, N)
    return ours, theirs


def searches() -> Iterator[Duel]:
    """The two searches that the project is about."""
    full, full_rival = filled_pair(1)
    yield Duel(
        "next_zero over a full bitmap (rate at least 0.9x)",
        "full.next_zero(0)",
        "full_rival.find(0)",
        1 / 0.9,
        {"full": full, "full_rival": full_rival},
    )
    last = HBitmap(N)
    last.set(N - 1, 1)
    yield Duel(
        "next_dirty, only the last bit set",
        "last.next_dirty(0)",
        "last_rival.next_set_bit(0)",
        0.25,
        {"last": last, "last_rival": BitMap([N - 1])},
        repeats=20_000,
    )


WALK: Final = "for x in range(0, N, 512): {}"


def contenders() -> Iterator[Duel]:
    """What rivals of the published checks promise: a memory's speed, and levels for both."""
    wide = WideHBitmap(N)
    wide.set(0, N)
    yield Duel(
        f"access-simd ({VECTORS}) over a full bitmap (rate at least 0.8x)",
        "wide.next_zero(0)",
        "np.bitwise_and.reduce(words)",
        1 / 0.8,
        {"wide": wide, "words": wide.words, "np": np},
    )
    full, empty = TwoSidedHBitmap(N), HBitmap(N)
    full.set(0, N)
    names = {"full": full, "empty": empty, "N": N}
    yield Duel(
        "two-sided over deny: a build-up's queries",
        WALK.format("full.next_zero(x, N - x)"),
        WALK.format("empty.next_dirty(x, N - x)"),
        1.2,
        names,
    )
    yield Duel(
        "two-sided over deny: discards of 512 clusters, one behind the other",
        WALK.format("a.reset(x, 512)"),
        WALK.format("b.set(x, 512)"),
        1.3,
        names,
        renew="a = full.copy(); b = empty.copy()",
    )


def updates() -> Iterator[Duel]:
    """Set and reset of nearly everything, and the union of two random bitmaps."""
    pairs = {"0": filled_pair(0), "0.5": random_pair(), "1": filled_pair(1)}
    for density, (ours, rival) in pairs.items():
        for method, value in (("set", 1), ("reset", 0)):
            yield Duel(
                f"{method} [1, N-1) from density {density}",
                f"a.{method}(1, N - 2)",
                f"b[1:N - 1] = {value}",
                3.0,
                {"ours": ours, "rival": rival, "N": N},
                renew="a = ours.copy(); b = rival.copy()",
            )
    ours, rival = pairs["0.5"]
    yield Duel(
        "merge of random bitmaps",
        "a.merge(other)",
        "b |= rival; b.count()",
        1.0,
        {"ours": ours, "other": ours.copy(), "rival": rival},
        renew="a = ours.copy(); b = rival.copy()",
    )


QUERY_AND_SET: Final = """
for x in range(0, N, 512):
    if a.next_dirty(x, 512) < 0:
        a.set(x, 512)
"""

RIVAL_FORMS: Final = (
    """
for x in range(0, N, 512):
    if not b.contains_range(x, x + 512):
        b.add_range(x, x + 512)
""",
    """
for x in range(0, N, 512):
    if not b.range_cardinality(x, x + 512):
        b.add_range(x, x + 512)
""",
    """
for x in range(0, N, 512):
    try:
        full = b.next_set_bit(x) < x + 512
    except ValueError:
        full = False
    if not full:
        b.add_range(x, x + 512)
""",
)


def query_and_set() -> Iterator[Outcome]:
    """A build-up's loop from Python, against the fastest of the rival's forms."""
    names = {"HBitmap": HBitmap, "BitMap": BitMap, "N": N}
    renew = "a = HBitmap(N); b = BitMap()"
    rival = min(RIVAL_FORMS, key=lambda form: min(Timer(form, renew, globals=names).repeat(2, 1)))
    yield duel(Duel("query-and-set loop", QUERY_AND_SET, rival, 1.0, names, renew))
    timer = Timer(QUERY_AND_SET, renew, globals=names)
    yield absolute(
        "query-and-set, a step", lambda: timer.timeit(1) / STEPS * 1e9, 250, "ns", QUERY_AND_SET
    )


def absolutes() -> Iterator[Outcome]:
    """What has a limit of its own: to_array, memory, import."""
    bitmap, _ = random_pair()
    timer = Timer("bitmap.to_array()", globals={"bitmap": bitmap})
    n_set = bitmap.count
    yield absolute(
        "to_array at density 0.5, a set bit",
        lambda: timer.timeit(1) / n_set * 1e9,
        2.0,
        "ns",
        "bitmap.to_array()",
    )
    yield absolute("memory, of (N/8) * 64/63", traced_memory, 1.02, "x", "HBitmap(N)")
    yield absolute("import hbitmap_impl, beyond NumPy", import_ms, 30, "ms", IMPORT)


def traced_memory() -> float:
    """Bytes that the allocators handed out for a bitmap, over those of its bits and levels."""
    tracemalloc.start()
    bitmap = HBitmap(N)
    traced, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return traced / (bitmap.size / 8 * 64 / 63)


IMPORT: Final = """
import time, numpy
start = time.perf_counter()
import hbitmap_impl
print(time.perf_counter() - start)
"""


def import_ms() -> float:
    """Milliseconds that the import takes in a fresh interpreter that has NumPy already."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", IMPORT], capture_output=True, text=True, check=True
    )
    return float(done.stdout) * 1e3


# ---------------------------------------------------------------- the report


def outcomes() -> Iterator[Outcome]:
    """Everything, in the order of the table."""
    for one in (*searches(), *contenders(), *updates()):
        yield duel(one)
    yield from query_and_set()
    yield from absolutes()


def main() -> int:
    """Print the table; 1 if a limit was missed."""
    console = Console()
    flags = sysconfig.get_config_var("CFLAGS")
    console.print(f"{N:,} bits; {ROUNDS} interleaved rounds; Python {sys.version.split()[0]}")
    console.print(f"compiler: {compiler_of_core()}; flags: {flags} {BUILD_FLAGS}", highlight=False)
    console.print(f"rivals: bitarray {version('bitarray')}, pyroaring {version('pyroaring')}")
    table = Table("", "median", "min..max", "limit", "", "lines")
    missed = 0
    for outcome in outcomes():
        missed += not outcome.kept
        table.add_row(
            outcome.name,
            f"{outcome.value:.3g} {outcome.unit}",
            f"{outcome.spread[0]:.3g}..{outcome.spread[1]:.3g}",
            f"{outcome.limit:.3g} {outcome.unit}",
            "kept" if outcome.kept else "MISSED",
            outcome.detail.strip(),
            end_section=True,
        )
    console.print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
