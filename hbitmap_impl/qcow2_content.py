"""The content of compressed clusters."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from importlib import import_module

from hbitmap_impl.host_file import CorruptImage, HostFile, UnsupportedImage

Decompress = Callable[[bytes, int], bytes]
"""Compressed data, and the most bytes to make of it."""


def read_compressed(file: HostFile, entry: int, cluster_bits: int, decompress: Decompress) -> bytes:
    """The cluster that an L2 entry tells of. Reads at most two clusters, and makes one.

    The entry's upper part counts the further 512-byte sectors, its lower part is the offset.
    Raises ``CorruptImage`` where the data does not make a whole cluster.
    """
    offset_bits = 62 - (cluster_bits - 8)
    offset = entry & ((1 << offset_bits) - 1)
    sectors = (entry >> offset_bits & ((1 << (cluster_bits - 8)) - 1)) + 1
    data = file.read(offset, sectors * 512 - offset % 512)
    content = decompress(data, 1 << cluster_bits)
    if len(content) != 1 << cluster_bits:
        raise CorruptImage(
            f"compressed data makes a cluster of {1 << cluster_bits} bytes",
            f"{len(content)} (at offset {offset})",
            "restore it from a backup: its content is lost",
        )
    return content


def decompress_zlib(data: bytes, n_bytes: int) -> bytes:
    """Raw deflate; as much as comes before anything broken."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, n_bytes)
    except zlib.error:
        return b""


def decompress_zstd(data: bytes, n_bytes: int) -> bytes:
    """Zstandard, which Python's standard library has from 3.14 on; else ``UnsupportedImage``."""
    try:
        zstd = import_module("compression.zstd")
    except ImportError as error:
        raise UnsupportedImage(
            "clusters compressed by zstd can be read where Python has it (3.14 and later)",
            "here",
            "convert the image: qemu-img convert -O qcow2 -o compression_type=zlib",
        ) from error
    try:
        content: bytes = zstd.ZstdDecompressor().decompress(data, n_bytes)
    except zstd.ZstdError:
        return b""
    return content


DECOMPRESS: dict[str, Decompress] = {"zlib": decompress_zlib, "zstd": decompress_zstd}
