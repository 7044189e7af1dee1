"""The two levels of tables that lead from a place on the disk to one in the file.

Neither level is ever read as a whole: both come in pieces, through a cache of bounded size.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from hbitmap_impl.host_file import CorruptImage, HostFile
from hbitmap_impl.qcow2_header import Header

_OFFSET_MASK: Final = 0x00FFFFFFFFFFFE00  # bits 9 to 55 of an entry
_L1_PIECE_BYTES: Final = 4096
_L2_PIECE_BYTES: Final = 65536
_OVERHEAD_BYTES: Final = 300  # of a piece held: its object, its key and its place, about


class TableCache:
    """Pieces of tables, the least recently used dropped first. A chain of images shares one.

    ``limit_bytes`` bounds what is held, overhead included, but for the piece that was read last.
    """

    __slots__ = ("_held_bytes", "_pieces", "limit_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._held_bytes = 0
        self._pieces: OrderedDict[tuple[int, int, int], bytes] = OrderedDict()

    def piece(self, file: HostFile, offset: int, n_bytes: int) -> bytes:
        """``n_bytes`` of a file, zeros where it ends before them."""
        # In a broken image, tables of two kinds may claim the same place.
        key = (file.fd, offset, n_bytes)
        held = self._pieces.get(key)
        if held is not None:
            self._pieces.move_to_end(key)
            return held
        read = file.read(offset, n_bytes)
        self._pieces[key] = read
        self._held_bytes += n_bytes + _OVERHEAD_BYTES
        while self._held_bytes > self.limit_bytes and len(self._pieces) > 1:
            _, dropped = self._pieces.popitem(last=False)
            self._held_bytes -= len(dropped) + _OVERHEAD_BYTES
        return read


class Tables:
    """The L1 table of an image, and its L2 tables in pieces of whole slices.

    How far an answer reaches is the slices' doing; pieces may be larger, since a read of
    64 KiB costs little more than one of 4. ``piece_span`` is what one
    of them tells of, in bytes of the disk. Entries beyond the file's end read as 0.
    """

    __slots__ = (
        "_cache",
        "_file",
        "_header",
        "_last",
        "_last_number",
        "_piece_bytes",
        "_pieces_bits",
        "piece_span",
    )

    def __init__(self, file: HostFile, header: Header, cache: TableCache, slice_bytes: int) -> None:
        self._file = file
        self._header = header
        self._cache = cache
        self._piece_bytes = max(slice_bytes, min(header.cluster_bytes, _L2_PIECE_BYTES))
        self._pieces_bits = (header.cluster_bytes // self._piece_bytes).bit_length() - 1
        self.piece_span = header.l2_span >> self._pieces_bits
        # A pass asks for the same piece many times in a row.
        self._last_number = -1
        self._last: bytes | None = None

    def l2_piece(self, number: int) -> bytes | None:
        """The piece of that number, counted from the start of the disk; None where there is none.

        Raises ``CorruptImage`` for an L2 table that does not begin with a cluster.
        """
        if number == self._last_number:
            return self._last
        piece = self._find(number)
        if self._piece_bytes <= _L2_PIECE_BYTES:  # larger ones of a long chain would add up
            self._last_number, self._last = number, piece
        return piece

    def _find(self, number: int) -> bytes | None:
        index = number >> self._pieces_bits
        l2_offset = self._l2_offset(index)
        if not l2_offset:
            return None
        within = (number - (index << self._pieces_bits)) * self._piece_bytes
        return self._cache.piece(self._file, l2_offset + within, self._piece_bytes)

    def _l2_offset(self, index: int) -> int:
        at = index * 8
        within = at % _L1_PIECE_BYTES
        start = self._header.l1_offset + at - within
        piece = self._cache.piece(self._file, start, _L1_PIECE_BYTES)
        offset = int.from_bytes(piece[within : within + 8], "big") & _OFFSET_MASK
        if offset % self._header.cluster_bytes:
            raise CorruptImage(
                f"an L2 table begins with a cluster of {self._header.cluster_bytes} bytes",
                f"at {offset} (entry {index} of the L1 table)",
                "qemu-img check -r all may repair it, a copy of it at best",
            )
        return offset
