"""The header of a qcow2 image, versions 2 and 3, and the extensions behind it.

Written from the public format specification. What is read here is never larger than a cluster
(2 MiB), whatever the header claims; tables are checked for what they claim, and not read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from hbitmap_impl.clusters import align_up
from hbitmap_impl.host_file import CorruptImage, HostFile, UnsupportedImage

MAGIC: Final = b"QFI\xfb"

_FIXED: Final = struct.Struct(">4sIQIIQIIQQIIQ")  # as long as version 2's header
_VERSION_3: Final = struct.Struct(">QQQII")  # behind it
_COMPRESSION_AT: Final = 104
_EXTENSION: Final = struct.Struct(">II")

DIRTY: Final = 1 << 0
CORRUPT: Final = 1 << 1
EXTERNAL_DATA: Final = 1 << 2
COMPRESSION_TYPE: Final = 1 << 3
EXTENDED_L2: Final = 1 << 4
_KNOWN: Final = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2

BITMAPS: Final = 1 << 0
"""Autoclear feature: the bitmaps extension is up to date."""

RAW_DATA: Final = 1 << 1
"""Autoclear feature: the external data file is a raw image of the disk by itself."""

_BACKING_FORMAT: Final = 0xE2792ACA
_FEATURE_NAMES: Final = 0x6803F857
_BITMAPS_EXTENSION: Final = 0x23852875
_DATA_FILE_NAME: Final = 0x44415441

COMPRESSIONS: Final = ("zlib", "zstd")
ENCRYPTIONS: Final = ("none", "AES", "LUKS")

# The limits that QEMU keeps to: what is beyond them is no image that can be used anywhere.
MAX_L1_BYTES: Final = 32 * 2**20
_MAX_REFCOUNT_TABLE_BYTES: Final = 8 * 2**20
_MAX_SNAPSHOTS: Final = 65536
_SNAPSHOT_HEADER_BYTES: Final = 40
_MAX_NAME_BYTES: Final = 1023
_MAX_DIRECTORY_BYTES: Final = 64 * 2**20

_REPAIR: Final = "qemu-img check -r all may repair it, a copy of it at best"


class BitmapDirectory(NamedTuple):
    """Where the directory of stored bitmaps lies, and how much it should hold."""

    n_bitmaps: int
    n_bytes: int
    offset: int


@dataclass(frozen=True, slots=True)
class Header:
    """What an image says of itself. Sizes in bytes, offsets in its own file.

    ``incompatible``, ``compatible`` and ``autoclear`` are feature bits, 0 in version 2. ``l1_size``
    is in entries. ``backing_file`` and ``data_file`` are None where the image has none. ``bitmaps``
    is None where there are none, or they are out of date.
    """

    version: int
    size: int
    cluster_bits: int
    encryption: str
    compression: str
    l1_offset: int
    l1_size: int
    refcount_table_offset: int
    refcount_table_clusters: int
    refcount_bits: int
    n_snapshots: int
    incompatible: int
    compatible: int
    autoclear: int
    backing_file: str | None = None
    backing_format: str | None = None
    data_file: str | None = None
    bitmaps: BitmapDirectory | None = None

    @property
    def cluster_bytes(self) -> int:
        """Bytes of a cluster."""
        return 1 << self.cluster_bits

    @property
    def extended_l2(self) -> bool:
        """Whether L2 entries have 16 bytes, and clusters 32 subclusters."""
        return bool(self.incompatible & EXTENDED_L2)

    @property
    def l2_entry_bytes(self) -> int:
        """Bytes of an L2 entry."""
        return 16 if self.extended_l2 else 8

    @property
    def l2_span(self) -> int:
        """Bytes of the disk that one L2 table, a cluster long, tells of."""
        return self.cluster_bytes // self.l2_entry_bytes << self.cluster_bits

    @property
    def external_data(self) -> bool:
        """Whether clusters lie in a file of their own."""
        return bool(self.incompatible & EXTERNAL_DATA)

    @property
    def raw_data(self) -> bool:
        """Whether that file is a raw image of the disk by itself."""
        return bool(self.autoclear & RAW_DATA)

    @property
    def dirty(self) -> bool:
        """Whether refcounts may be wrong (lazy refcounts, not closed): reading needs none."""
        return bool(self.incompatible & DIRTY)

    @property
    def corrupt(self) -> bool:
        """Whether QEMU has found it broken before, and writes to it no more."""
        return bool(self.incompatible & CORRUPT)


def read_header(file: HostFile) -> Header:
    """Read and check header and extensions. Cost: at most two clusters read.

    Raises ``UnsupportedImage`` for what is sound but unknown here, ``CorruptImage`` for what QEMU
    would refuse as well.
    """
    start = file.read(0, 512)
    _check_identity(start, file)
    cluster_bits: int = _FIXED.unpack_from(start)[4]
    if not 9 <= cluster_bits <= 21:
        raise CorruptImage("a qcow2 cluster has 2**9 to 2**21 bytes", f"2**{cluster_bits}", _REPAIR)
    return _Parser(file.read(0, 1 << cluster_bits)).header()


def _check_identity(start: bytes, file: HostFile) -> None:
    magic, version = start[:4], int.from_bytes(start[4:8], "big")
    if magic != MAGIC:
        raise UnsupportedImage(
            f"a qcow2 image begins with {MAGIC!r} ({file.path!r})",
            repr(magic),
            "name a qcow2 image, or convert this one: qemu-img convert -O qcow2",
        )
    if version not in (2, 3):
        raise UnsupportedImage(
            "a qcow2 image of version 2 or 3 can be read",
            f"version {version}",
            "convert it: qemu-img convert -O qcow2",
        )


class _Parser:
    """One pass over the first cluster of an image."""

    def __init__(self, cluster: bytes) -> None:
        self._cluster = cluster
        fields = _FIXED.unpack_from(cluster)
        (_, self._version, self._backing_at, self._backing_bytes, self._cluster_bits) = fields[:5]
        (self._size, self._encryption, self._l1_size, self._l1_at) = fields[5:9]
        (self._refcounts_at, self._refcount_clusters) = fields[9:11]
        (self._n_snapshots, self._snapshots_at) = fields[11:]
        self._incompatible = self._compatible = self._autoclear = 0
        self._refcount_order, self._header_bytes = 4, _FIXED.size
        if self._version == 3:
            (
                self._incompatible,
                self._compatible,
                self._autoclear,
                self._refcount_order,
                self._header_bytes,
            ) = _VERSION_3.unpack_from(cluster, _FIXED.size)

    def header(self) -> Header:
        self._check_layout()
        extensions = dict(self._extensions())
        self._check_features(extensions.get(_FEATURE_NAMES, b""))
        self._check_tables()
        return Header(
            version=self._version,
            size=self._size - self._size % 512,  # whole sectors, as QEMU has it
            cluster_bits=self._cluster_bits,
            encryption=self._encryption_name(),
            compression=self._compression_name(),
            l1_offset=self._l1_at,
            l1_size=self._l1_size,
            refcount_table_offset=self._refcounts_at,
            refcount_table_clusters=self._refcount_clusters,
            refcount_bits=1 << self._refcount_order,
            n_snapshots=self._n_snapshots,
            incompatible=self._incompatible,
            compatible=self._compatible,
            autoclear=self._autoclear,
            backing_file=self._backing_file(),
            backing_format=_format(extensions.get(_BACKING_FORMAT)),
            data_file=self._data_file(extensions.get(_DATA_FILE_NAME)),
            bitmaps=self._bitmaps(extensions.get(_BITMAPS_EXTENSION)),
        )

    def _check_layout(self) -> None:
        """The header, and what is in the same cluster, must fit there."""
        shortest = _FIXED.size if self._version == 2 else _FIXED.size + _VERSION_3.size
        if not shortest <= self._header_bytes <= len(self._cluster):
            raise CorruptImage(
                f"a header has {shortest} bytes to one cluster ({len(self._cluster)})",
                f"{self._header_bytes}",
                _REPAIR,
            )
        if self._backing_at > len(self._cluster):
            raise CorruptImage(
                f"the backing file's name lies in the first cluster ({len(self._cluster)} bytes)",
                f"at {self._backing_at}",
                _REPAIR,
            )

    def _extensions(self) -> Iterator[tuple[int, bytes]]:
        """Type and content of each header extension, up to the end mark or the backing name."""
        at, end = self._header_bytes, self._backing_at or len(self._cluster)
        while at < end:
            if end - at < _EXTENSION.size:
                raise self._extension_error("cut off", at)
            kind, length = _EXTENSION.unpack_from(self._cluster, at)
            at += _EXTENSION.size
            if length > end - at:
                raise self._extension_error(f"of {length} bytes", at)
            if kind == 0:
                return
            yield kind, self._cluster[at : at + length]
            at += align_up(length, 8)

    @staticmethod
    def _extension_error(what: str, at: int) -> CorruptImage:
        rule = "a header extension lies wholly in the first cluster, before the backing name"
        return CorruptImage(rule, f"{what} at {at}", _REPAIR)

    def _check_features(self, names: bytes) -> None:
        unknown = self._incompatible & ~_KNOWN
        if unknown:
            raise UnsupportedImage(
                "an image needs features that are known here",
                ", ".join(_feature_names(unknown, names)),
                "convert it with a QEMU that has them: qemu-img convert -O qcow2",
            )
        if self._incompatible & EXTENDED_L2 and self._cluster_bits < 14:
            raise CorruptImage(
                "extended L2 entries need clusters of 16384 bytes or more",
                f"{1 << self._cluster_bits}",
                _REPAIR,
            )
        if self._refcount_order > 6:
            raise CorruptImage(
                "a refcount has at most 2**6 bits", f"2**{self._refcount_order}", _REPAIR
            )

    def _encryption_name(self) -> str:
        if self._encryption >= len(ENCRYPTIONS):
            raise UnsupportedImage(
                f"an image's encryption is one of {', '.join(ENCRYPTIONS)}",
                f"method {self._encryption}",
                "convert it with a QEMU that has it",
            )
        return ENCRYPTIONS[self._encryption]

    def _compression_name(self) -> str:
        """The method of compressed clusters; one other than zlib must be marked as a feature."""
        known = self._header_bytes > _COMPRESSION_AT
        method = self._cluster[_COMPRESSION_AT] if known else 0
        if method >= len(COMPRESSIONS):
            raise UnsupportedImage(
                f"an image's compression is one of {', '.join(COMPRESSIONS)}",
                f"method {method}",
                "convert it with a QEMU that has it",
            )
        if bool(method) != bool(self._incompatible & COMPRESSION_TYPE):
            raise CorruptImage(
                "the feature bit 'compression type' is set where, and only where, it isn't zlib",
                f"otherwise with {COMPRESSIONS[method]}",
                _REPAIR,
            )
        return COMPRESSIONS[method]

    def _check_tables(self) -> None:
        """Tables that are impossible in themselves, or too small for the disk."""
        self._check_table("L1 table", self._l1_at, self._l1_size, 8, MAX_L1_BYTES)
        bytes_ = self._refcount_clusters << self._cluster_bits
        limit = _MAX_REFCOUNT_TABLE_BYTES
        self._check_table("refcount table", self._refcounts_at, bytes_, 1, limit)
        entry = _SNAPSHOT_HEADER_BYTES
        limit = _MAX_SNAPSHOTS * entry
        self._check_table("snapshot table", self._snapshots_at, self._n_snapshots, entry, limit)
        if not self._refcount_clusters:
            raise CorruptImage("an image has a refcount table", "one of 0 clusters", _REPAIR)
        entry_bytes = 16 if self._incompatible & EXTENDED_L2 else 8
        span = (1 << 2 * self._cluster_bits) // entry_bytes
        needed = -(-self._size // span)
        if self._l1_size < needed:
            raise CorruptImage(
                f"the L1 table of this disk has {needed} entries or more",
                f"{self._l1_size}",
                _REPAIR,
            )

    def _check_table(self, name: str, at: int, n: int, entry_bytes: int, limit: int) -> None:
        if n * entry_bytes > limit:
            raise CorruptImage(f"a {name} has at most {limit} bytes", f"{n * entry_bytes}", _REPAIR)
        if at % (1 << self._cluster_bits) or at + n * entry_bytes > 2**63 - 1:
            raise CorruptImage(
                f"a {name} begins with a cluster, below 2**63", f"at offset {at}", _REPAIR
            )

    def _backing_file(self) -> str | None:
        if not self._backing_at:
            return None
        limit = min(_MAX_NAME_BYTES, len(self._cluster) - self._backing_at)
        if self._backing_bytes > limit:
            raise CorruptImage(
                f"the backing file's name has at most {limit} bytes there",
                f"{self._backing_bytes}",
                _REPAIR,
            )
        name = self._cluster[self._backing_at : self._backing_at + self._backing_bytes]
        return _text(name) or None

    def _data_file(self, name: bytes | None) -> str | None:
        if not self._incompatible & EXTERNAL_DATA:
            return None
        return _text(name) if name else None

    def _bitmaps(self, content: bytes | None) -> BitmapDirectory | None:
        if content is None or not self._autoclear & BITMAPS:
            return None
        if len(content) != 24:
            raise CorruptImage("the bitmaps extension has 24 bytes", f"{len(content)}", _REPAIR)
        n_bitmaps, reserved, n_bytes, at = struct.unpack(">IIQQ", content)
        fits = n_bytes <= _MAX_DIRECTORY_BYTES and at % (1 << self._cluster_bits) == 0
        if reserved or not 1 <= n_bitmaps <= 65535 or not fits:
            raise CorruptImage(
                "the bitmaps extension tells of 1 to 65535 bitmaps, in a directory of at most "
                f"{_MAX_DIRECTORY_BYTES} bytes that begins with a cluster",
                f"{n_bitmaps} (reserved: {reserved}) in {n_bytes} bytes at offset {at}",
                _REPAIR,
            )
        return BitmapDirectory(n_bitmaps, n_bytes, at)


def _feature_names(bits: int, table: bytes) -> Iterator[str]:
    """What the image itself calls incompatible features, else their bit numbers."""
    names = {}
    for at in range(0, len(table) - 47, 48):
        kind, bit = table[at], table[at + 1]
        if kind == 0:
            names[bit] = _text(table[at + 2 : at + 48])
    for bit in range(64):
        if bits >> bit & 1:
            yield names.get(bit) or f"incompatible feature bit {bit}"


def _format(name: bytes | None) -> str | None:
    return _text(name) if name else None


def _text(name: bytes) -> str:
    """A name up to its first NUL, as C has it."""
    return os.fsdecode(name.split(b"\0")[0])
