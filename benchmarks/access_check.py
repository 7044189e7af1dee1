"""One access check, at three places of the disk, with and without denied clusters.

``copy_cluster_kib`` is what one bit stands for. A check asks for all the rest of the disk, as the
build-up does. Checks are called from Python's cheapest loop; the call, the method and the argument
handling cost some 150 ns a check, and what a deny check itself does is a tenth of that. A deny
check that reads twice the words is therefore seen in ``track_words_a_check`` and not in
``time_checks``; one that scans is seen in both.

Memory: 2 MiB a TiB at 64 KiB copy clusters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.common import KIB, TIB, Suite, benchmark, exhaust, provided

if TYPE_CHECKING:
    from hbitmap_impl.access_check import AccessCheck as Checked

CHECKS = {"access": "AccessBitmap", "deny": "DenyBitmap"}

N_CHECKS = 8192
"""In a timed call, at as many consecutive clusters: a millisecond at the least, and with an access
bitmap of 4 TiB four seconds."""

FRAGMENT_PERIOD = 4093
"""One denied cluster in so many, where they are fragmented. A prime: they sit at every bit."""


def denied_clusters(kind: str, n_clusters: int) -> range:
    """Those that may not be read: none, the last one, or scattered ones."""
    if kind == "none":
        return range(0)
    if kind == "one":
        return range(n_clusters - 1, n_clusters)
    return range(FRAGMENT_PERIOD - 1, n_clusters, FRAGMENT_PERIOD)


def first_cluster(position: str, n_clusters: int) -> int:
    """Where the checks begin; those at the end go up to the last cluster."""
    return {"start": 0, "middle": n_clusters // 2, "end": n_clusters - N_CHECKS}[position]


class AccessCheck(Suite):
    """``first_inaccessible`` from consecutive clusters to the end of the disk."""

    param_names = ("implementation", "image_tib", "copy_cluster_kib", "position", "denied")
    params = (
        ["access", "deny"],
        [1, 2, 4],
        [64, 1024],
        ["start", "middle", "end"],
        ["none", "one", "fragmented"],
    )

    def prepare(
        self,
        implementation: str,
        image_tib: int,
        copy_cluster_kib: int,
        position: str,
        denied: str,
    ) -> None:
        """Deny the clusters, and run the checks once: reading zero pages is a first touch too."""
        size_bytes, cluster_bytes = image_tib * TIB, copy_cluster_kib * KIB
        n_clusters = size_bytes // cluster_bytes
        self.check: Checked = provided("access_check", CHECKS[implementation])(
            size_bytes, cluster_bytes
        )
        for cluster in denied_clusters(denied, n_clusters):
            self.check.discard(cluster * cluster_bytes, cluster_bytes)
        first = first_cluster(position, n_clusters)
        self.offsets = [(first + i) * cluster_bytes for i in range(N_CHECKS)]
        self.lengths = [size_bytes - offset for offset in self.offsets]
        self.run()

    def run(self) -> None:
        """All checks."""
        exhaust(map(self.check.first_inaccessible, self.offsets, self.lengths))

    @benchmark(version="1", timeout=180)
    def time_checks(self, *_: object) -> None:
        """8192 checks."""
        self.run()

    @benchmark(version="1", timeout=180, unit="words/check")
    def track_words_a_check(self, *_: object) -> float:
        """Words that a check reads, the mean of all 8192: exact."""
        self.check.reset_counters()
        self.run()
        return self.check.words_examined / N_CHECKS
