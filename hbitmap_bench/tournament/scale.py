"""What each contender would cost where nothing can be measured: closed forms, and stated rates.

All is for a build-up over a fully allocated image with 64K clusters, nothing denied, nothing done.
Words are exact (the tests hold them against runs). Seconds are extrapolated: the published table's
seconds a question and seconds a word, times these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from hbitmap_bench.base.drawing import Table
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.base.wording import amount, duration
from hbitmap_bench.qemu.geometry import (
    HBITMAP_LEVELS,
    WORD_BITS,
    Layout,
    n_bits,
    words_access,
    words_deny,
)
from hbitmap_bench.reproduction.published import QUERY_S, published_cells
from hbitmap_impl.contenders.bounded import BOUND_BYTES
from hbitmap_impl.image import default_l2_slice

CLUSTER: Final = 65536

SIZES: Final = (100 * 2**40, 2**50, 128 * 2**50)
"""100 TiB, 1 PiB and 128 PiB, which has 2**41 clusters: the most that an HBitmap has bits."""

FLEET: Final[Mapping[int, int]] = {
    100 * 2**30: 5000, 2**40: 3000, 4 * 2**40: 1500, 16 * 2**40: 400, 64 * 2**40: 100
}  # fmt: skip
"""Image size to number of disks: 10,000 disks, each backed up every night."""


def _bounded(layout: Layout) -> int:
    """At most the words of ``BOUND_BYTES``, and of what is left near the end."""
    words = _once(layout)
    at_most, moved = BOUND_BYTES // CLUSTER // WORD_BITS, layout.answer_bytes // CLUSTER
    near = min(layout.queries, BOUND_BYTES // layout.answer_bytes)
    ends = (
        words - question * moved // WORD_BITS
        for question in range(layout.queries - near, layout.queries)
    )
    return (layout.queries - near) * at_most + sum(min(end, at_most) for end in ends)


def _once(layout: Layout) -> int:
    """Every word of the bitmap, once."""
    return -(-n_bits(layout.image_bytes, CLUSTER) // WORD_BITS)


def _by_levels(layout: Layout) -> int:
    return words_deny(layout.image_bytes, layout.answer_bytes, CLUSTER)


def _to_the_end(layout: Layout) -> int:
    return words_access(layout.image_bytes, layout.answer_bytes, CLUSTER)


WORDS: Final[Mapping[str, Callable[[Layout], int]]] = {
    "access": _to_the_end,
    "deny": _by_levels,
    "bounded": _bounded,
    "clamped": _once,
    "remembering": _once,
    "two-sided": _by_levels,
}
"""Words that the access checks of a whole build-up examine, by contender.

``access-simd`` examines those of ``access`` and the rest of a block; ``roaring`` counts none.
"""


def full_layout(image_bytes: int) -> Layout:
    """An image with 64K clusters and QEMU's default slice. It may be larger than qcow2 allows."""
    return Layout(
        image_bytes=image_bytes,
        cluster_bytes=CLUSTER,
        l2_slice_bytes=default_l2_slice(image_bytes, CLUSTER),
    )


def words(contender: str, layout: Layout) -> int:
    """Words of the access check and of the empty done bitmap, exactly."""
    return WORDS[contender](layout) + HBITMAP_LEVELS * layout.queries


def memory_bytes(contender: str, image_bytes: int) -> int:
    """Bytes of the access check's bitmap with all its levels, touched or not."""
    n, total, upper = n_bits(image_bytes, CLUSTER), 0, 0
    for level in range(HBITMAP_LEVELS):
        n = max(-(-n // WORD_BITS), 1)
        total += n * 8
        upper += n * 8 if level else 0
    return total + upper if contender == "two-sided" else total


@dataclass(frozen=True, slots=True)
class Rates:
    """What a build-up's work costs: wall seconds, as published."""

    question_s: float
    word_s: float

    def seconds(self, contender: str, layout: Layout) -> float:
        """Of a whole build-up, extrapolated."""
        return layout.queries * self.question_s + words(contender, layout) * self.word_s


def published_rates() -> Rates:
    """Of the published table at 10T: its plain row, and what its access row has more."""
    at_10t = {cell.setup: cell for cell in published_cells() if cell.image_bytes == 10 * 2**40}
    layout = full_layout(10 * 2**40)
    plain, access = at_10t["plain"].elapsed_s or 0.0, at_10t["access"].elapsed_s or 0.0
    return Rates(QUERY_S, (access - plain) / _to_the_end(layout))


def scale_table() -> Table:
    """Words counted in closed form, seconds extrapolated: contenders by image sizes."""
    rates = published_rates()
    rows = []
    for contender in WORDS:
        found = []
        for size in SIZES:
            layout = full_layout(size)
            seconds = _long(rates.seconds(contender, layout))
            found.append(f"{amount(words(contender, layout), '')}\n{seconds}")
        rows.append((contender, *found, amount(memory_bytes(contender, SIZES[-1]), "bytes")))
    columns = ("contender", *map(format_size, SIZES), f"memory at\n{format_size(SIZES[-1])}")
    title = "One build-up: words (closed form), and time (extrapolated)"
    note = (
        f"Time at the published table's {rates.question_s * 1e6:.0f} us a question and "
        f"{rates.word_s * 1e9:.2f} ns a word, which are those of one machine at 10T."
    )
    return Table(title, columns, tuple(rows), (note,), n_labels=1, grouped=False)


def fleet_table() -> Table:
    """Hours of one night's build-ups of a fleet, and its longest: all extrapolated."""
    rates = published_rates()
    rows = []
    for contender in WORDS:
        each = {size: rates.seconds(contender, full_layout(size)) for size in FLEET}
        total = sum(each[size] * n for size, n in FLEET.items())
        longest = max(FLEET)
        memory = amount(memory_bytes(contender, longest), "bytes")
        rows.append((contender, f"{total / 3600:,.0f}", duration(each[longest]), memory))
    disks = ", ".join(f"{n:,} of {format_size(size)}" for size, n in FLEET.items())
    columns = ("contender", "hours\na night", "longest\nstall", "memory\nof that disk")
    title = f"A fleet of {sum(FLEET.values()):,} disks, backed up every night (extrapolated)"
    return Table(title, columns, tuple(rows), (f"Disks: {disks}.",), n_labels=1, grouped=False)


def _long(seconds: float) -> str:
    days = seconds / 86400
    return duration(seconds) if days < 2 else f"{days:,.0f} days"
