"""Refcounts of a qcow2 image, read to tell whether its metadata is preallocated."""

from __future__ import annotations

from typing import Final

import numpy as np

from hbitmap_impl.host_file import HostFile
from hbitmap_impl.qcow2_header import Header

_OFFSET_MASK: Final = 0xFFFFFFFFFFFFFE00
_WIDE: Final = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}


def preallocated_metadata(file: HostFile, header: Header) -> bool:
    """Whether notably more clusters are in use than the file has on disk: QEMU's rule.

    At least 10/9 of them, and two more. Only then is it worth a look for holes in the file where
    clusters have their places. False where refcounts are broken. Cost: one pass over the refcounts
    of the file's length (2 bytes a cluster, by default), a cluster of them at a time, that ends as
    soon as enough are counted.
    """
    on_disk = file.allocated_bytes >> header.cluster_bits
    threshold = max(on_disk * 10 // 9, on_disk + 2)
    in_block = header.cluster_bytes * 8 // header.refcount_bits
    n_clusters = -(-file.size >> header.cluster_bits)
    n_entries = header.refcount_table_clusters * header.cluster_bytes // 8
    used = 0
    for index in range(min(n_entries, -(-n_clusters // in_block))):
        entry = file.read(header.refcount_table_offset + index * 8, 8)
        offset = int.from_bytes(entry, "big") & _OFFSET_MASK
        if offset % header.cluster_bytes or offset >= 1 << 63:
            return False
        if offset:
            counted = min(in_block, n_clusters - index * in_block)
            used += _n_used(file.read(offset, header.cluster_bytes), header.refcount_bits, counted)
        if used >= threshold:
            return True
    return False


def _n_used(block: bytes, bits: int, n: int) -> int:
    """How many of the first ``n`` refcounts, ``bits`` wide, are not 0."""
    if bits in _WIDE:
        return int(np.count_nonzero(np.frombuffer(block, _WIDE[bits])[:n]))
    # Widths below a byte begin with its lowest bits.
    single = np.unpackbits(np.frombuffer(block, np.uint8), bitorder="little")
    return int(np.count_nonzero(single.reshape(-1, bits)[:n].max(axis=1)))
