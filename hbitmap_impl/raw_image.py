"""A raw image: what its file has as data, and what as holes."""

from __future__ import annotations

import os

from hbitmap_impl.clusters import check_range
from hbitmap_impl.host_file import HostFile
from hbitmap_impl.image import BlockStatus
from hbitmap_impl.image_file import ImageFile, LayerStatus


class RawImage(ImageFile):
    """A raw file or block device as a disk, read-only. Everything in it is allocated.

    ``want_zero`` as in ``ImageFile``: two seeks an answer, else none. ``ImageError`` where the file
    can't be opened.
    """

    def __init__(self, path: str | os.PathLike[str] | HostFile, *, want_zero: bool = False) -> None:
        self._file = path if isinstance(path, HostFile) else HostFile(path)
        self.size = self._file.size
        self.want_zero = want_zero

    def block_status(self, offset: int, length: int) -> BlockStatus:
        """Allocated; zero, and no further than the hole, where the file has one."""
        check_range(offset, length, self.size)
        if not self.want_zero:
            return BlockStatus(length, True, False)
        return super().block_status(offset, length)

    def layer_status(self, offset: int, length: int) -> LayerStatus:
        """Data, or a hole that reads as zeros."""
        length = min(length, self.size - offset)
        data, run = self._file.extent(offset, length)
        return LayerStatus(run, True, data, not data, offset)

    def read(self, offset: int, length: int) -> bytes:
        """The content of a range."""
        check_range(offset, length, self.size)
        return self._file.read(offset, length)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
