"""What is measured: the bitmap, both access checks, the disks, the filters and the job.

It needs NumPy and the standard library alone, and knows nothing of being measured.
"""

from hbitmap_impl.hbitmap import HBitmap

__all__ = ["HBitmap"]
