"""A qcow2 image as a disk that is only read, with the images below it.

Written from the public format specification; how far one answer reaches is as observed in QEMU.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Final

from hbitmap_impl.clusters import check_range
from hbitmap_impl.hbitmap import HBitmap
from hbitmap_impl.host_file import CorruptImage, HostFile, ImageError, UnsupportedImage
from hbitmap_impl.image import (
    DEFAULT_L2_CACHE_BYTES,
    MAX_ANSWER_BYTES,
    BlockStatus,
    default_l2_slice,
)
from hbitmap_impl.image_file import ImageFile, LayerStatus
from hbitmap_impl.image_name import JSON, by_options
from hbitmap_impl.qcow2_bitmaps import StoredBitmap, list_bitmaps, load_bitmap
from hbitmap_impl.qcow2_content import DECOMPRESS, read_compressed
from hbitmap_impl.qcow2_entries import (
    COMPRESSED,
    INVALID,
    NORMAL,
    RESERVED,
    UNALLOCATED,
    ZERO_ALLOC,
    ZERO_PLAIN,
    EntryReader,
)
from hbitmap_impl.qcow2_header import MAGIC, Header, read_header
from hbitmap_impl.qcow2_refcounts import preallocated_metadata
from hbitmap_impl.qcow2_tables import TableCache, Tables
from hbitmap_impl.raw_image import RawImage

MAX_LAYERS: Final = 100
"""The longest chain of images that is opened: each has its open files."""

_OFFSET_MASK: Final = 0x00FFFFFFFFFFFE00
_PLACED: Final = (NORMAL, ZERO_ALLOC, RESERVED)
_REPAIR: Final = "qemu-img check -r all may repair it, a copy of it at best"

# How other formats begin: such a file, without a format named, is no raw disk.
_OTHER_FORMATS: Final = {
    b"KDMV": "vmdk",
    b"COWD": "vmdk",
    b"QED\0": "qed",
    b"vhdxfile": "vhdx",
    b"conectix": "vpc",
    b"LUKS\xba\xbe": "luks",
    b"WithoutFreeSpace": "parallels",
    b"WithouFreSpacExt": "parallels",
}


class Qcow2Image(ImageFile):
    """A qcow2 image, version 2 or 3, over its backing files: a ``Disk`` whose writes fail.

    ``l2_slice_bytes`` is QEMU's ``l2-cache-entry-size``, by default as QEMU chooses it (a power of
    two from 512 to the cluster size, else ``ValueError``); backing files always have the default.
    ``want_zero`` as in ``ImageFile``. ``l2_cache_bytes`` bounds the memory of the tables of the
    whole chain, whatever the image claims; a cluster or two come on top where content is read. No
    lock is taken: of an image that is in use, the tables are seen as they are when they are read.

    Raises ``ImageError`` where a file can't be opened, ``UnsupportedImage`` for a feature that is
    not known, ``CorruptImage`` for a header that breaks the rules, a chain that loops, or one of
    more than ``MAX_LAYERS`` images. Broken tables are told where they are met: every method below
    raises ``CorruptImage`` for them. Encryption hinders only ``read``; whether an image is dirty or
    marked corrupt hinders nothing, for refcounts are not relied on.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        l2_slice_bytes: int | None = None,
        want_zero: bool = False,
        l2_cache_bytes: int = DEFAULT_L2_CACHE_BYTES,
    ) -> None:
        self.want_zero = want_zero
        self._open(HostFile(path), TableCache(l2_cache_bytes), (), l2_slice_bytes)

    @classmethod
    def _below(cls, file: HostFile, cache: TableCache, above: tuple[HostFile, ...]) -> Qcow2Image:
        image = cls.__new__(cls)
        image._open(file, cache, above, None)
        return image

    def _open(
        self,
        file: HostFile,
        cache: TableCache,
        above: tuple[HostFile, ...],
        l2_slice_bytes: int | None,
    ) -> None:
        with ExitStack() as stack:
            stack.callback(file.close)
            self._file = self._data_file = file
            self.header = header = read_header(file)
            self.size = header.size
            self._set_geometry(header, l2_slice_bytes)
            self._tables = Tables(file, header, cache, self.l2_slice_bytes)
            self._piece_span = self._tables.piece_span
            self._external = header.external_data
            if header.external_data or header.raw_data:
                self._data_file = _open_data_file(file, header)
                stack.callback(self._data_file.close)
            if header.backing_file is not None:
                self.backing = _open_backing(header, cache, (*above, file))
            stack.pop_all()

    def _set_geometry(self, header: Header, l2_slice_bytes: int | None) -> None:
        self.cluster_bytes = header.cluster_bytes
        self.l2_entry_bytes = header.l2_entry_bytes
        if l2_slice_bytes is None:
            l2_slice_bytes = default_l2_slice(header.size, self.cluster_bytes, self.l2_entry_bytes)
        power_of_two = l2_slice_bytes & (l2_slice_bytes - 1) == 0
        if not (power_of_two and 512 <= l2_slice_bytes <= self.cluster_bytes):
            raise ValueError(
                f"an L2 slice is a power of two from 512 bytes to one cluster "
                f"({self.cluster_bytes}), not {l2_slice_bytes}: leave it out for QEMU's default"
            )
        self.l2_slice_bytes = l2_slice_bytes
        self._entries = EntryReader(header.cluster_bits, header.extended_l2, header.external_data)
        self._cluster_bits = header.cluster_bits
        self._sub_bits = header.cluster_bits - (5 if header.extended_l2 else 0)
        self._cluster_mask = header.cluster_bytes - 1
        self._slice_span = l2_slice_bytes // self.l2_entry_bytes * self.cluster_bytes

    def _run(self, offset: int, length: int) -> tuple[int, int, int]:
        """How far the status at ``offset`` holds, its kind, and the first L2 entry.

        It holds to the end of the slice at most, and while clusters are of one kind, at places in
        the file that follow each other.
        """
        reach = min(length, self._slice_span - offset % self._slice_span, MAX_ANSWER_BYTES)
        number, in_piece = divmod(offset, self._piece_span)
        piece = self._tables.l2_piece(number)
        if piece is None:
            return reach, UNALLOCATED, 0
        within = offset & self._cluster_mask
        sub = within >> self._sub_bits
        n_clusters = (within + reach + self._cluster_mask) >> self._cluster_bits
        kind, n_subs, entry = self._entries.run(
            piece, in_piece >> self._cluster_bits, sub, n_clusters
        )
        if kind != UNALLOCATED:
            self._check(kind, entry, offset)
        return min(reach, ((sub + n_subs) << self._sub_bits) - within), kind, entry

    def _check(self, kind: int, entry: int, offset: int) -> None:
        """Raise ``CorruptImage`` for an entry that no sound image of this kind has."""
        place = entry & _OFFSET_MASK
        if kind == INVALID:
            wrong = "a subcluster both allocated and zero, or allocated nowhere"
        elif kind == COMPRESSED:
            wrong = "compressed, with an external data file" if self._external else ""
        elif kind in (ZERO_PLAIN, ZERO_ALLOC) and self.header.version == 2:
            wrong = "a zero cluster, in version 2"
        elif kind == ZERO_PLAIN:
            return
        elif place & self._cluster_mask:
            wrong = f"at {place}, inside a cluster"
        elif self._external and place != offset & -self.cluster_bytes:
            wrong = f"at {place}, elsewhere in the external data file"
        else:
            return
        if wrong:
            raise CorruptImage(
                f"the L2 entry for disk offset {offset} is one that an image can have",
                wrong,
                _REPAIR,
            )

    def block_status(self, offset: int, length: int) -> BlockStatus:
        """What this image alone says: cost O(clusters of the answer), at most a slice read."""
        check_range(offset, length, self.size)
        if self.want_zero:
            return super().block_status(offset, length)
        run, kind, _ = self._run(offset, length)
        if kind >= ZERO_PLAIN:
            return BlockStatus(run, True, kind <= ZERO_ALLOC)
        return BlockStatus(run, False, self._nothing_below(offset))

    def has_table(self, offset: int) -> bool:
        """Whether an L2 table tells of ``offset``: else a status reads none."""
        return self._tables.l2_piece(offset // self._piece_span) is not None

    def _nothing_below(self, offset: int) -> bool:
        """Whether no backing file reaches so far. QEMU asks that of an answer's start alone."""
        return self.backing is None or offset >= self.backing.size

    def layer_status(self, offset: int, length: int) -> LayerStatus:
        """What this image alone says, no further than its end.

        If metadata was preallocated, holes are looked for in the file. Cost: as ``block_status``,
        and then up to three seeks.
        """
        run, kind, entry = self._run(offset, min(length, self.size - offset))
        place = None
        if kind in _PLACED and self.header.encryption == "none":
            place = (entry & _OFFSET_MASK) + (offset & self._cluster_mask)
        if kind < ZERO_PLAIN:
            return LayerStatus(run, False, False, self._nothing_below(offset), place)
        if kind <= ZERO_ALLOC:
            return LayerStatus(run, True, False, True, place)
        zero = False
        if place is not None and self.preallocated_metadata:
            run, zero = self._look_into_file(place, run)
        return LayerStatus(run, True, True, zero, place)

    @cached_property
    def preallocated_metadata(self) -> bool:
        """Whether clusters have places but no data, by QEMU's rule; looked at once."""
        return preallocated_metadata(self._file, self.header)

    def _look_into_file(self, place: int, length: int) -> tuple[int, bool]:
        """How far the file has one kind of data from there, and whether that is a hole."""
        left = self._data_file.size - place
        if left <= 0:
            return length, True
        data, run = self._data_file.extent(place, min(length, left))
        if not data and run == left:
            return length, True  # behind the file's end there is nothing either
        return run, not data

    def read(self, offset: int, length: int) -> bytes:
        """The content of a range, that of the backing files where nothing is allocated.

        Memory: the range's, and two clusters. Raises ``UnsupportedImage`` for clusters that are
        encrypted, or compressed in a way that is not known.
        """
        check_range(offset, length, self.size)
        pieces = []
        while length:
            run, kind, entry = self._run(offset, length)
            pieces.append(self._content(offset, run, kind, entry))
            offset, length = offset + run, length - run
        return b"".join(pieces)

    def _content(self, offset: int, length: int, kind: int, entry: int) -> bytes:
        if kind in (ZERO_PLAIN, ZERO_ALLOC):
            return bytes(length)
        if kind < ZERO_PLAIN:
            return self._from_backing(offset, length)
        if self.header.encryption != "none":
            raise UnsupportedImage(
                "clusters that are not encrypted can be read",
                f"encrypted by {self.header.encryption}",
                "convert the image with its key: qemu-img convert --object secret,...",
            )
        within = offset & self._cluster_mask
        if kind == NORMAL:
            return self._data_file.read((entry & _OFFSET_MASK) + within, length)
        decompress = DECOMPRESS[self.header.compression]
        content = read_compressed(self._file, entry, self._cluster_bits, decompress)
        return content[within : within + length]

    def _from_backing(self, offset: int, length: int) -> bytes:
        """What the backing file has there, and zeros behind its end."""
        if self.backing is None or offset >= self.backing.size:
            return bytes(length)
        inside = min(length, self.backing.size - offset)
        return self.backing.read(offset, inside) + bytes(length - inside)

    def bitmaps(self) -> list[StoredBitmap]:
        """The dirty bitmaps that are stored in the image; none where the list is out of date."""
        return list_bitmaps(self._file, self.header)

    def load_bitmap(self, stored: StoredBitmap) -> HBitmap:
        """The bits of one of them. Costs and errors as ``qcow2_bitmaps.load_bitmap``."""
        return load_bitmap(self._file, self.header, stored)

    def close(self) -> None:
        """Close this image's files, and its backing files; to do so again changes nothing."""
        self._file.close()
        self._data_file.close()
        if self.backing is not None:
            self.backing.close()


def open_image(
    path: str | os.PathLike[str],
    *,
    l2_slice_bytes: int | None = None,
    want_zero: bool = False,
) -> Qcow2Image | RawImage:
    """Open a qcow2 image, or else a raw one, by how the file begins.

    Options and errors as ``Qcow2Image``; ``UnsupportedImage`` where it begins as another format
    that is known by name.
    """
    with HostFile(path) as file:
        raw = _probe(file) == "raw"
    if raw:
        return RawImage(path, want_zero=want_zero)
    return Qcow2Image(path, l2_slice_bytes=l2_slice_bytes, want_zero=want_zero)


def _open_data_file(file: HostFile, header: Header) -> HostFile:
    if not header.external_data:
        raise CorruptImage(
            "an image has the feature 'raw external data' with an external data file alone",
            "without",
            _REPAIR,
        )
    if header.data_file is None:
        raise UnsupportedImage(
            "an image with an external data file names it",
            "nothing",
            "store its name: qemu-img amend -o data_file=NAME",
        )
    return HostFile(_beside(file, header.data_file, "data file"))


def _open_backing(
    header: Header, cache: TableCache, above: tuple[HostFile, ...]
) -> Qcow2Image | RawImage:
    assert header.backing_file is not None
    file, named = _open_named(above[-1], header.backing_file)
    with ExitStack() as stack:
        stack.callback(file.close)
        if any(file.identity == one.identity for one in above):
            raise CorruptImage(
                "a backing chain ends", f"a loop at {file.path!r}", "name another: qemu-img rebase"
            )
        if len(above) >= MAX_LAYERS:
            raise UnsupportedImage(
                f"a backing chain has at most {MAX_LAYERS} images",
                "more",
                "merge some: qemu-img commit",
            )
        name = header.backing_format or named or _probe(file)
        if name not in ("qcow2", "raw", "file", "host_device"):
            raise _unsupported_format(name, file)
        qcow2 = name == "qcow2"
        image = Qcow2Image._below(file, cache, above) if qcow2 else RawImage(file)
        stack.pop_all()
        return image


def _open_named(above: HostFile, name: str) -> tuple[HostFile, str | None]:
    """The backing file of this name, and the format that the name has in it."""
    if not name.startswith(JSON):
        return HostFile(_beside(above, name, "backing file")), None
    path, format_ = by_options(name, "a backing file")
    try:
        return HostFile(path), format_
    except ImageError as error:
        if path.is_absolute():
            raise
        remedy = "call it from the folder that this name is relative to, as QEMU is"
        raise ImageError(error.rule, error.value, remedy) from error


def _probe(file: HostFile) -> str:
    """The format of a file that nobody has named: qcow2 or raw. Others are refused."""
    start = file.read(0, 16)
    for magic, name in _OTHER_FORMATS.items():
        if start.startswith(magic):
            raise _unsupported_format(name, file)
    return "qcow2" if start.startswith(MAGIC) else "raw"


def _unsupported_format(name: str, file: HostFile) -> ImageError:
    return UnsupportedImage(
        f"an image is qcow2 or raw ({file.path!r})",
        name,
        "convert it: qemu-img convert -O qcow2",
    )


def _beside(file: HostFile, name: str, what: str) -> Path:
    """The path of a file that an image names: relative to the image's own."""
    name = name.removeprefix("file:")
    if ":" in name.split("/")[0]:
        raise UnsupportedImage(
            f"a {what} is named by its path",
            repr(name),
            "store its path, or open it with QEMU and read it over NBD",
        )
    return Path(file.path).parent / name
