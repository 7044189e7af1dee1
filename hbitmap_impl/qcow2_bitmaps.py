"""Dirty bitmaps that are stored in a qcow2 image: its list of them, and their bits."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from hbitmap_impl.clusters import align_up
from hbitmap_impl.hbitmap import HBitmap
from hbitmap_impl.host_file import CorruptImage, HostFile, UnsupportedImage
from hbitmap_impl.qcow2_header import Header

_ENTRY: Final = struct.Struct(">QIIBBHI")
_IN_USE: Final = 1 << 0
_AUTO: Final = 1 << 1
_KNOWN_FLAGS: Final = _IN_USE | _AUTO | 1 << 2
_DIRTY_TRACKING: Final = 1
_MAX_NAME_BYTES: Final = 1023
_MAX_BITMAP_BYTES: Final = 512 * 2**20  # QEMU stores none that is larger

_OFFSET_MASK: Final = 0x00FFFFFFFFFFFE00
_RESERVED_MASK: Final = 0xFF000000000001FE
_ALL_ONES: Final = 1

_REMEDY: Final = (
    "remove it (qemu-img bitmap --remove) and begin a new one: a full backup comes first"
)


class StoredBitmap(NamedTuple):
    """An entry of the directory. One bit stands for ``2**granularity`` bytes.

    ``recording`` is QEMU's flag "auto": the bitmap goes on recording when the image is opened to be
    written. The bits of one ``in_use`` are out of date: its user was killed, or has it now.
    """

    name: str
    granularity: int
    recording: bool
    in_use: bool
    table_offset: int
    table_size: int


def list_bitmaps(file: HostFile, header: Header) -> list[StoredBitmap]:
    """The bitmaps of an image, at most 65535. Cost: one read each.

    Raises ``CorruptImage`` where the directory breaks the rules, ``UnsupportedImage`` for bitmaps
    of another kind.
    """
    if header.bitmaps is None:
        return []
    found = []
    at, end = header.bitmaps.offset, header.bitmaps.offset + header.bitmaps.n_bytes
    for _ in range(header.bitmaps.n_bitmaps):
        content = file.read(at, _ENTRY.size + _MAX_NAME_BYTES)
        found.append(_entry(content, header))
        name_bytes, extra_bytes = _ENTRY.unpack_from(content)[5:]
        at += align_up(_ENTRY.size + extra_bytes + name_bytes, 8)
        if at > end:
            raise _corrupt(f"the directory has {header.bitmaps.n_bytes} bytes", "more")
    return found


def _entry(content: bytes, header: Header) -> StoredBitmap:
    table_offset, table_size, flags, kind, granularity, name_bytes, extra = _ENTRY.unpack_from(
        content
    )
    if kind != _DIRTY_TRACKING or extra or flags & ~_KNOWN_FLAGS:
        raise UnsupportedImage(
            "a stored bitmap is a dirty bitmap without extra data",
            f"type {kind}, flags {flags:#x}, {extra} bytes of extra data",
            "open the image with the program that has made it",
        )
    if not (1 <= name_bytes <= _MAX_NAME_BYTES and 9 <= granularity <= 31):
        raise _corrupt(
            f"a bitmap has a name of 1 to {_MAX_NAME_BYTES} bytes and a granularity of 9 to 31",
            f"{name_bytes} and {granularity}",
        )
    name = os.fsdecode(content[_ENTRY.size : _ENTRY.size + name_bytes])
    stored = StoredBitmap(
        name, granularity, bool(flags & _AUTO), bool(flags & _IN_USE), table_offset, table_size
    )
    _check_table(stored, header)
    return stored


def _check_table(stored: StoredBitmap, header: Header) -> None:
    """The table can be, and covers the disk: one in use may be of the size before."""
    if not stored.table_offset or stored.table_offset % header.cluster_bytes:
        raise _corrupt("a bitmap's table begins with a cluster", f"at {stored.table_offset}")
    n_entries = -(-header.size // (header.cluster_bytes * 8 << stored.granularity))
    n_bytes = stored.table_size * header.cluster_bytes
    if n_bytes > _MAX_BITMAP_BYTES or (stored.table_size != n_entries and not stored.in_use):
        raise _corrupt(
            f"the table of bitmap {stored.name!r} has {n_entries} entries for the disk, for at "
            f"most {_MAX_BITMAP_BYTES} bytes",
            f"{stored.table_size} for {n_bytes} bytes",
        )


def load_bitmap(file: HostFile, header: Header, stored: StoredBitmap) -> HBitmap:
    """The bits, in a bitmap that counts in bytes of the disk.

    Memory: an eighth of a byte a bit, at most 512 MiB, and a cluster. Raises ``CorruptImage`` for
    one that is in use, or with a table that breaks the rules.
    """
    if stored.in_use:
        raise _corrupt(
            f"the bits of bitmap {stored.name!r} are up to date",
            "marked as in use, now or by a program that was killed",
        )
    bitmap = HBitmap(header.size, stored.granularity)
    covered = header.cluster_bytes * 8 << stored.granularity  # by a cluster of bits
    table = _table(file, header, stored)
    for start in range(0, header.size, covered):
        count = min(covered, header.size - start)
        entry = next(table)
        if offset := entry & _OFFSET_MASK:
            n_words = -(-count // bitmap.serialization_align)
            bitmap.deserialize_part(_stored(file, offset, n_words * 8), start, count, False)
        elif entry & _ALL_ONES:
            bitmap.deserialize_ones(start, count, False)
    bitmap.deserialize_finish()
    return bitmap


def _table(file: HostFile, header: Header, stored: StoredBitmap) -> Iterator[int]:
    """The entries: where a cluster of bits lies, or that all of them are 0, or 1."""
    for index in range(stored.table_size):
        entry = int.from_bytes(_stored(file, stored.table_offset + index * 8, 8), "big")
        offset = entry & _OFFSET_MASK
        if entry & _RESERVED_MASK or offset % header.cluster_bytes or (offset and entry & 1):
            raise _corrupt(
                f"entry {index} of the table of bitmap {stored.name!r} is a place, 0 or 1",
                f"{entry:#x}",
            )
        yield entry


def _stored(file: HostFile, offset: int, n_bytes: int) -> bytes:
    """Bytes that are in the file: bits that are cut off are lost, and not clean."""
    if offset + n_bytes > file.size:
        raise _corrupt("a stored bitmap lies inside the file", f"at {offset}, behind its end")
    return file.read(offset, n_bytes)


def _corrupt(rule: str, value: str) -> CorruptImage:
    return CorruptImage(rule, value, _REMEDY)
