"""The geometry of a build-up: how far one answer reaches, how many are asked, what they read.

All formulas are exact integers and hold for a fully allocated qcow2 image whose host offsets are
contiguous inside each slice, a full access bitmap (or an empty deny bitmap), and no cluster done
(but for ``words_done``).
QEMU 7.2 asks exactly so many queries (counted by its own trace, see tests/qemu). Images that
``qemu-img create -o preallocation=metadata`` makes have refcount blocks amid slices at clusters
between 64 KiB and 2 MiB, and each that cuts one costs a query more: at 1 TiB, 1152 for 1024 with
128 KiB clusters and a 64 KiB slice, and 8224 for 8192 with 256 KiB clusters and a 4 KiB slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.qemu.filters import Setup
from hbitmap_impl.image import MAX_ANSWER_BYTES, default_l2_slice

HBITMAP_LEVELS: Final = 7
WORD_BITS: Final = 64


MIN_CLUSTER_BYTES: Final = 512
MAX_CLUSTER_BYTES: Final = 2 * 2**20
L1_ENTRIES: Final = 32 * 2**20 // 8
"""qcow2's L1 table has at most 32 MiB; an entry of 8 bytes stands for one L2 table."""

MIN_SLICE_BYTES: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """An image as far as its build-up depends on it: bytes, powers of two but for the image's.

    ``copy_cluster_bytes`` is that of both filters here: neither target asks for a larger one.
    """

    image_bytes: int
    cluster_bytes: int
    l2_slice_bytes: int
    l2_entry_bytes: int = 8
    copy_cluster_bytes: int = 65536

    @property
    def answer_bytes(self) -> int:
        """How far one block-status answer moves the job."""
        return answer_bytes(
            self.cluster_bytes, self.l2_slice_bytes, self.l2_entry_bytes, self.copy_cluster_bytes
        )

    @property
    def queries(self) -> int:
        """Block-status queries of the whole build-up, exactly."""
        return n_queries(self.image_bytes, self.answer_bytes, self.copy_cluster_bytes)

    def words(self, setup: Setup) -> int:
        """Words that the setup's access checks read in the whole build-up, exactly."""
        if setup == "plain":
            return 0
        closed_form = words_access if setup == "access" else words_deny
        return closed_form(self.image_bytes, self.answer_bytes, self.copy_cluster_bytes)


def layout(
    image_bytes: int,
    cluster_bytes: int = 65536,
    *,
    l2_slice_bytes: int | None = None,
    copy_cluster_bytes: int = 65536,
) -> Layout:
    """A layout that QEMU would accept, with its default slice where none is given.

    Raises ``UserError`` otherwise.
    """
    _require_power_of_two("an image cluster", cluster_bytes, MIN_CLUSTER_BYTES, MAX_CLUSTER_BYTES)
    _require_power_of_two("a copy cluster", copy_cluster_bytes, 65536, 2**30)
    if l2_slice_bytes is None:
        l2_slice_bytes = default_l2_slice(image_bytes, cluster_bytes)
    _require_power_of_two("an L2 slice", l2_slice_bytes, MIN_SLICE_BYTES, cluster_bytes)
    most = L1_ENTRIES * (cluster_bytes // 8) * cluster_bytes
    if image_bytes > most:
        raise UserError(
            f"qcow2 holds at most {format_size(most)} with {format_size(cluster_bytes)} clusters "
            f"(its L1 table ends at 32 MiB), not {format_size(image_bytes)}: take larger clusters"
        )
    if n_bits(image_bytes, copy_cluster_bytes) > 2**31:
        raise UserError(
            f"an image has at most 2^31 copy clusters here (256 MiB a bitmap), not "
            f"{format_size(image_bytes)} of {format_size(copy_cluster_bytes)}: "
            "take a larger --copy-cluster-size"
        )
    return Layout(
        image_bytes=image_bytes,
        cluster_bytes=cluster_bytes,
        l2_slice_bytes=l2_slice_bytes,
        copy_cluster_bytes=copy_cluster_bytes,
    )


def answer_bytes(
    cluster_bytes: int, l2_slice_bytes: int, l2_entry_bytes: int, copy_cluster_bytes: int
) -> int:
    """How far the job moves with one answer, in bytes: a multiple of the copy cluster.

    qcow2 answers for one slice, and at most for 2 GiB - 1; the job rounds an allocated run up
    to copy clusters, so a slice of 2 GiB or more moves it by exactly 2 GiB. O(1).
    """
    slice_covers = l2_slice_bytes // l2_entry_bytes * cluster_bytes
    answer = min(slice_covers, MAX_ANSWER_BYTES)
    return _ceil_div(answer, copy_cluster_bytes) * copy_cluster_bytes


def n_bits(image_bytes: int, copy_cluster_bytes: int) -> int:
    """Bits of the copy, access, deny and done bitmaps: one a copy cluster, the last rounded up."""
    return _ceil_div(image_bytes, copy_cluster_bytes)


def n_queries(image_bytes: int, answer_bytes: int, copy_cluster_bytes: int) -> int:
    """Block-status requests of a whole build-up: ceil(N / r), N bits and r bits an answer. O(1)."""
    return _ceil_div(n_bits(image_bytes, copy_cluster_bytes), answer_bytes // copy_cluster_bytes)


def words_access(image_bytes: int, answer_bytes: int, copy_cluster_bytes: int) -> int:
    """Words that ``next_zero`` reads in a whole build-up over a full access bitmap, exactly.

    The sum over queries at X = 0, r, 2r, ... of (W - floor(X / 64)), W = ceil(N / 64): from the
    word of X to the last. O(1).
    """
    words = _ceil_div(n_bits(image_bytes, copy_cluster_bytes), WORD_BITS)
    queries = n_queries(image_bytes, answer_bytes, copy_cluster_bytes)
    return queries * words - _floor_sum(queries, answer_bytes // copy_cluster_bytes)


def words_deny(image_bytes: int, answer_bytes: int, copy_cluster_bytes: int) -> int:
    """Words that ``next_dirty`` reads in a whole build-up over an empty deny bitmap, exactly.

    One word of each of the seven levels a query. O(1).
    """
    return HBITMAP_LEVELS * n_queries(image_bytes, answer_bytes, copy_cluster_bytes)


def words_done(
    image_bytes: int, answer_bytes: int, copy_cluster_bytes: int, done_bytes: int
) -> int:
    """Words that ``status`` reads of a done bitmap whose first D bits are set, exactly.

    A query that begins among them reads one word to see that, then ``next_zero`` from there to the
    word of the first zero or to the last word: from X = 0, r, 2r, ... < D the sum of
    1 + floor(D / 64) + 1 - floor(X / 64), or of 1 + W - floor(X / 64) where all bits are set. A
    query beyond them reads a word of each level. ``done_bytes`` are whole answers, or all of the
    image (``ValueError``): then the queries are those without a done bitmap. O(1).
    """
    if done_bytes != image_bytes and done_bytes % answer_bytes:
        raise ValueError(f"done bytes are whole answers of {answer_bytes}, not {done_bytes}")
    done_bits = n_bits(done_bytes, copy_cluster_bytes)
    is_all = done_bits == n_bits(image_bytes, copy_cluster_bytes)
    end = _ceil_div(done_bits, WORD_BITS) if is_all else done_bits // WORD_BITS + 1
    inside = n_queries(done_bytes, answer_bytes, copy_cluster_bytes)
    beyond = n_queries(image_bytes, answer_bytes, copy_cluster_bytes) - inside
    scanned = inside * end - _floor_sum(inside, answer_bytes // copy_cluster_bytes)
    return inside + scanned + HBITMAP_LEVELS * beyond


def _floor_sum(n: int, step: int) -> int:
    """Sum of floor(i * step / 64) over 0 <= i < n.

    The remainders of i * step repeat every 64 terms, so whole rounds of 64 have a closed form.
    """
    rounds, rest = divmod(n, WORD_BITS)
    one_round = sum(i * step // WORD_BITS for i in range(WORD_BITS))
    whole = rounds * one_round + WORD_BITS * step * (rounds * (rounds - 1) // 2)
    return whole + sum((rounds * WORD_BITS + i) * step // WORD_BITS for i in range(rest))


def _ceil_div(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def _require_power_of_two(what: str, n_bytes: int, least: int, most: int) -> None:
    if n_bytes & (n_bytes - 1) or not least <= n_bytes <= most:
        raise UserError(
            f"{what} is a power of two from {format_size(least)} to {format_size(most)}, "
            f"not {format_size(n_bytes)}: try {format_size(max(least, min(65536, most)))}"
        )
