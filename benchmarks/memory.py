"""Memory: bytes of each structure, and the peak of a process that does a build-up.

Bytes are those allocated, all levels of a bitmap: an empty bitmap may not have its pages yet, which
the peak shows. The peak is that of the whole process, interpreter and NumPy included, and no lower
than that of the process which started it: only differences between rows mean something.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks.access_check import CHECKS
from benchmarks.buildup import Cell
from benchmarks.common import KIB, TIB, Suite, benchmark, provided, testify

if TYPE_CHECKING:
    from hbitmap_impl.copy_before_write import CopyBeforeWrite
    from hbitmap_impl.image import Disk

SIZES_TIB = [1, 4, 16, 64]

COPY_CLUSTERS_KIB = [64, 1024]

OF_FILTER = ["check", "done", "copy"]
OF_JOB = "job_copy"

NO_FILTER = [
    ("plain", tib, kib, structure)
    for tib in SIZES_TIB
    for kib in COPY_CLUSTERS_KIB
    for structure in OF_FILTER
]
"""Parameters of which there is no structure."""


def filter_over(disk: Disk, implementation: str, cluster_bytes: int) -> CopyBeforeWrite:
    """A copy-before-write filter over the disk, which copies to nowhere."""
    return provided("copy_before_write", "CopyBeforeWrite")(
        disk,
        provided("image", "NullDisk")(disk.size),
        provided("access_check", CHECKS[implementation]),
        cluster_bytes=cluster_bytes,
    )


class Structures(Suite):
    """The bitmaps of the job and of the filter under it, after assembly.

    ``check`` is the access or deny bitmap, ``done`` and ``copy`` the filter's other two, and
    ``job_copy`` the job's own. ``plain`` has no filter, and so the last alone.
    """

    param_names = ("implementation", "image_tib", "copy_cluster_kib", "structure")
    params = (["plain", "access", "deny"], SIZES_TIB, COPY_CLUSTERS_KIB, [*OF_FILTER, OF_JOB])

    def prepare(
        self, implementation: str, image_tib: int, copy_cluster_kib: int, structure: str
    ) -> None:
        """Put filter and job together, and take the bitmap."""
        source = provided("image", "FullImage")(image_tib * TIB)
        cluster_bytes = copy_cluster_kib * KIB
        if implementation != "plain":
            cbw = filter_over(source, implementation, cluster_bytes)
            source = provided("snapshot_access", "SnapshotAccess")(cbw)
        if structure == OF_JOB:
            self.bitmap = provided("backup", "BackupJob")(source, cluster_bytes).copy_bitmap
        elif structure == "check":
            self.bitmap = cbw.check._bitmap  # has no public name
        else:
            self.bitmap = cbw.done_bitmap if structure == "done" else cbw.copy_bitmap

    @benchmark(version="1", timeout=60, unit="bytes", skip_params=NO_FILTER)
    def track_bytes(self, *_: object) -> int:
        """What the bitmap has allocated, with its object."""
        return sys.getsizeof(self.bitmap)


class Peak:
    """A build-up in a fresh process: assembled there, and no more than that."""

    param_names = ("implementation", "image_tib", "cluster_kib")
    params = (["plain", "access", "deny"], SIZES_TIB, [2048])

    def setup(self, *_: object) -> None:
        """Import, or skip."""
        provided("setups", "assemble")
        testify()

    @benchmark(version="1", timeout=120)
    def peakmem_build_up(self, implementation: str, image_tib: int, cluster_kib: int) -> None:
        """Assemble the job, and build up.

        With the access bitmap, whose pages are all written before the first query, the cell's
        blocks of queries do. The others run whole: a deny bitmap's pages come as they are read.
        """
        cell = Cell(implementation, image_tib, cluster_kib)
        if implementation == "access":
            cell.run()
        else:
            cell.job.build_up()
