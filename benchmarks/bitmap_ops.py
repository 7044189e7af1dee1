"""Operations on the bitmap that a check keeps, over its size and its density.

Of every hundred clusters the first ``denied_percent`` are denied: those are the clear bits of an
access bitmap, and the set bits of a deny bitmap. So at 0 percent one is full and the other empty.

Single operations are called thousands of times, from Python: the call is most of their time.
Operations on the whole bitmap are done eight times, so that a call lasts long enough.
Memory: three bitmaps of 2 MiB a TiB at 64 KiB copy clusters, 96 MiB at most.
"""

from __future__ import annotations

import random
from itertools import islice, repeat
from typing import TYPE_CHECKING

from benchmarks.common import KIB, TIB, Suite, benchmark, exhaust, provided

if TYPE_CHECKING:
    from hbitmap_impl.hbitmap import HBitmap

SIZES_TIB = [1, 4, 16]
COPY_CLUSTERS_KIB = [64]

PERIOD = 100
SEED = 2
N_SINGLE = 16384
"""Single operations in a timed call: a millisecond at the least."""

N_ITERATED = 2**18
"""Set bits that a walk visits at most: a full bitmap of 16 TiB has a thousand times as many."""

PASSES = 8
"""An even number: a bitmap that was inverted so often is as before."""

STATUS_BYTES = 2**31
"""How far a status asks: about as far as qcow2 answers."""

EMPTY = [("deny", tib, kib, 0) for tib in SIZES_TIB for kib in COPY_CLUSTERS_KIB]
"""Parameters where there is nothing to walk over."""


def bitmap_of(implementation: str, size_bytes: int, cluster_bytes: int, percent: int) -> HBitmap:
    """The check's bitmap, denials put in as it would put them."""
    bitmap = provided("hbitmap", "HBitmap")(size_bytes, cluster_bytes.bit_length() - 1)
    deny = bitmap.set
    if implementation == "access":
        bitmap.set(0, size_bytes)
        deny = bitmap.reset
    if percent:
        starts = range(0, size_bytes - PERIOD * cluster_bytes, PERIOD * cluster_bytes)
        exhaust(map(deny, starts, repeat(percent * cluster_bytes)))
    return bitmap


class BitmapOps(Suite):
    """Each call is given a fresh copy of the bitmap: written, and so pre-faulted."""

    param_names = ("implementation", "image_tib", "copy_cluster_kib", "denied_percent")
    params = (["access", "deny"], SIZES_TIB, COPY_CLUSTERS_KIB, [0, 1, 50])

    def prepare(
        self, implementation: str, image_tib: int, copy_cluster_kib: int, denied_percent: int
    ) -> None:
        """Build the bitmap, its inverse, and a place to serialize it to."""
        size_bytes, self.cluster_bytes = image_tib * TIB, copy_cluster_kib * KIB
        self.pristine = bitmap_of(implementation, size_bytes, self.cluster_bytes, denied_percent)
        self.other = self.pristine.copy()
        self.other.invert()
        rng = random.Random(SEED)
        n_clusters = size_bytes // self.cluster_bytes
        scattered = [rng.randrange(n_clusters) for _ in range(N_SINGLE)]
        self.starts = [cluster * self.cluster_bytes for cluster in scattered]
        self.lengths = [min(STATUS_BYTES, size_bytes - start) for start in self.starts]
        self.buffer = bytearray(memoryview(self.pristine).cast("B"))

    def renew(self) -> None:
        """Take a fresh copy."""
        self.bitmap = self.pristine.copy()

    @benchmark(version="1", timeout=60)
    def time_set(self, *_: object) -> None:
        """Set 16384 scattered single clusters."""
        exhaust(map(self.bitmap.set, self.starts, repeat(self.cluster_bytes)))

    @benchmark(version="1", timeout=60)
    def time_reset(self, *_: object) -> None:
        """Reset 16384 scattered single clusters."""
        exhaust(map(self.bitmap.reset, self.starts, repeat(self.cluster_bytes)))

    @benchmark(version="1", timeout=60)
    def time_status(self, *_: object) -> None:
        """Ask for the run at 16384 scattered clusters, up to 2 GiB each."""
        exhaust(map(self.bitmap.status, self.starts, self.lengths))

    @benchmark(version="1", timeout=60, skip_params=EMPTY)
    def time_iterate(self, *_: object) -> None:
        """Walk over the first 262144 set bits, or all there are."""
        exhaust(islice(self.bitmap, N_ITERATED))

    @benchmark(version="1", timeout=60)
    def time_merge(self, *_: object) -> None:
        """Merge the inverse into it, eight times."""
        for _pass in range(PASSES):
            self.bitmap.merge(self.other)

    @benchmark(version="1", timeout=60)
    def time_invert(self, *_: object) -> None:
        """Invert it eight times."""
        for _pass in range(PASSES):
            self.bitmap.invert()

    @benchmark(version="1", timeout=60)
    def time_serialize(self, *_: object) -> None:
        """Copy the words of its last level out, eight times."""
        for _pass in range(PASSES):
            memoryview(self.buffer)[:] = memoryview(self.bitmap).cast("B")
