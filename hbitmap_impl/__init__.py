"""What is measured: the bitmap, both access checks, the disks, the filters and the job.

It needs NumPy and the standard library alone, and knows nothing of being measured.
"""

from hbitmap_impl.access_check import AccessBitmap, AccessCheck, DenyBitmap
from hbitmap_impl.backup import BackupJob, BuildUp
from hbitmap_impl.copy_before_write import CopyBeforeWrite
from hbitmap_impl.hbitmap import HBitmap
from hbitmap_impl.image import BlockStatus, FullImage, MemoryImage, NullDisk, SparseImage
from hbitmap_impl.setups import assemble
from hbitmap_impl.snapshot_access import SnapshotAccess

__all__ = [
    "AccessBitmap",
    "AccessCheck",
    "BackupJob",
    "BlockStatus",
    "BuildUp",
    "CopyBeforeWrite",
    "DenyBitmap",
    "FullImage",
    "HBitmap",
    "MemoryImage",
    "NullDisk",
    "SnapshotAccess",
    "SparseImage",
    "assemble",
]
