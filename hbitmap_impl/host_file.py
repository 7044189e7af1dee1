"""Files that hold images: read at any offset, and asked where they have data."""

from __future__ import annotations

import errno
import os
import stat
from typing import Final, Self

from hbitmap_impl.clusters import align_up

SECTOR_BYTES: Final = 512
"""QEMU counts a disk in sectors: the end of a file is rounded up to one, with zeros."""


_MAX_FILE_BYTES: Final = 2**63 - 1


class ImageError(ValueError):
    """An image that can't be used, or not in this way: the rule, what is there, the remedy."""

    def __init__(self, rule: str, value: str, remedy: str) -> None:
        # Names come out of images: they must not break the line, nor the terminal.
        text = f"{rule}, not {value}: {remedy}"
        super().__init__("".join(char if char.isprintable() else "?" for char in text))
        self.rule = rule
        self.value = value
        self.remedy = remedy


class UnsupportedImage(ImageError):  # noqa: N818 - an event, not a mistake
    """A sound image with something in it that is not read here."""


class CorruptImage(ImageError):  # noqa: N818 - as above
    """An image that breaks the rules of its format."""


class HostFile:
    """A regular file or block device, opened to read, without a lock: others may use it.

    Raises ``ImageError`` where ``path`` is neither, or can't be opened.
    """

    __slots__ = ("fd", "identity", "path")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.fd = -1
        try:
            # Not to wait for the other end of a FIFO.
            self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            status = os.fstat(self.fd)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "a path with a NUL in it"
            raise self._refusal(str(reason)) from error
        self.identity = (status.st_dev, status.st_ino)
        """Device and inode: the same file under another name has the same."""
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)):
            self.close()
            raise self._refusal("something else")

    def _refusal(self, value: str) -> ImageError:
        rule = f"an image is a file or a block device that can be read ({self.path!r})"
        return ImageError(rule, value, "name one that is there, and that you may read")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; to do so again changes nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @property
    def size(self) -> int:
        """Bytes, rounded up to a sector."""
        return align_up(os.lseek(self.fd, 0, os.SEEK_END), SECTOR_BYTES)

    @property
    def allocated_bytes(self) -> int:
        """What the file takes on its file system."""
        return os.fstat(self.fd).st_blocks * 512

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes; zeros where the file ends before them.

        ``CorruptImage`` for a place that no file can have, ``OSError`` where the device fails.
        """
        if offset + length > _MAX_FILE_BYTES:
            raise CorruptImage(
                f"what an image refers to lies below 2**63 in {self.path!r}",
                f"at {offset}",
                "restore it from a backup: qemu-img check can't mend this",
            )
        data = os.pread(self.fd, length, offset)
        while len(data) < length:
            more = os.pread(self.fd, length - len(data), offset + len(data))
            if not more:
                return data + bytes(length - len(data))
            data += more
        return data

    def extent(self, offset: int, length: int) -> tuple[bool, int]:
        """Is there data at ``offset``, and for how many of ``length`` bytes that holds.

        Up to two seeks. All is data where the file system can't tell, and a hole behind the end.
        """
        try:
            data = os.lseek(self.fd, offset, os.SEEK_DATA)
        except OSError as error:
            # ENXIO: no data from here to the end. Any other: it is not known.
            return error.errno != errno.ENXIO, length
        if data > offset:
            return False, min(length, data - offset)
        hole = os.lseek(self.fd, offset, os.SEEK_HOLE)
        if hole <= offset:  # cut short in between, by somebody else
            return False, length
        return True, min(length, align_up(hole, SECTOR_BYTES) - offset)
