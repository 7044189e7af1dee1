"""What image files of all formats share: they are layers of a chain, and are only read."""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple, NoReturn, Self

from hbitmap_impl.clusters import check_range
from hbitmap_impl.image import BlockStatus


class LayerStatus(NamedTuple):
    """What one image of a chain says about ``length`` bytes.

    ``data`` and ``zero`` are QEMU's flags: clusters with content, and what reads as zeros; both for
    content that is known to be zeros. ``offset`` is the place in the file, None where there is none
    that could be read from directly.
    """

    length: int
    allocated: bool
    data: bool
    zero: bool
    offset: int | None


class Extent(NamedTuple):
    """A line of ``qemu-img map``: a run of the disk, and the image of the chain that decides it.

    ``depth`` counts the images above that one; ``present`` is false where none decides.
    """

    start: int
    length: int
    depth: int
    present: bool
    zero: bool
    data: bool
    offset: int | None

    def continues(self, before: Extent) -> bool:
        """Whether this run and the one before it are of one kind, at places that follow."""
        if self[2:6] != before[2:6] or before.start + before.length != self.start:
            return False
        if self.offset is None or before.offset is None:
            return self.offset is before.offset
        return before.offset + before.length == self.offset


class ImageFile(ABC):
    """Base of the disks that are files: a ``Disk`` whose writes all fail with EROFS.

    ``want_zero`` is QEMU's: with it an answer is also cut where data ends and holes begin in the
    host file, as under a snapshot filter; without, it tells of the image's own tables alone, as a
    backup job wants it that reads the disk itself.
    """

    size: int
    backing: ImageFile | None = None
    want_zero: bool = False

    @property
    def has_backing(self) -> bool:
        """Whether a backing file shows through where nothing is allocated."""
        return self.backing is not None

    @abstractmethod
    def layer_status(self, offset: int, length: int) -> LayerStatus:
        """What this image alone says, with a look into the host file; no further than its end."""

    @abstractmethod
    def read(self, offset: int, length: int) -> bytes:
        """The content of a range."""

    @abstractmethod
    def close(self) -> None:
        """Close this image's files, and its backing files; to do so again changes nothing."""

    def block_status(self, offset: int, length: int) -> BlockStatus:
        """What this image alone says."""
        check_range(offset, length, self.size)
        status = self.layer_status(offset, length)
        return BlockStatus(status.length, status.allocated, status.zero)

    def extent(self, offset: int, length: int) -> Extent:
        """The status through the whole chain, of 1 to ``length`` bytes: QEMU's block status.

        Costs a status of each image down to the one that decides.
        """
        check_range(offset, length, self.size)
        layer: ImageFile = self
        depth = 0
        while True:
            status = layer.layer_status(offset, length)
            if status.data or status.zero or layer.backing is None:
                break
            length, layer, depth = status.length, layer.backing, depth + 1
        return Extent(
            offset, status.length, depth, status.allocated, status.zero, status.data, status.offset
        )

    def map(self, start: int = 0, length: int | None = None) -> Iterator[Extent]:
        """The extents of a range, those that continue one another merged: ``qemu-img map``."""
        end = self.size if length is None else min(start + length, self.size)
        last: Extent | None = None
        while start < end:
            found = self.extent(start, end - start)
            start += found.length
            if last is not None and found.continues(last):
                last = last._replace(length=last.length + found.length)
                continue
            if last is not None:
                yield last
            last = found
        if last is not None:
            yield last

    def write(self, offset: int, data: bytes) -> NoReturn:
        """Refused."""
        self._refuse()

    def write_zeroes(self, offset: int, length: int) -> NoReturn:
        """Refused."""
        self._refuse()

    def discard(self, offset: int, length: int) -> NoReturn:
        """Refused."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
