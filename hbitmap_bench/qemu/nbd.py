"""An NBD client that asks for block status, as a backup program does that pulls over NBD.

It discards and zeroes, too, as a guest does. Written from the protocol's public specification; it
knows the fixed newstyle handshake, structured replies and the context ``base:allocation``, and
reads no data.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from hbitmap_bench.base.errors import UserError

MAX_REQUEST_BYTES: Final = 2**32 - 2**16
"""Lengths have 32 bits; less a copy cluster, so that each request starts at one."""

_CONTEXT: Final = b"base:allocation"
_HELLO: Final = b"NBDMAGICIHAVEOPT"
_FIXED_NO_ZEROES: Final = 3
_OPTION: Final = struct.Struct(">8sII")
_OPTION_REPLY: Final = struct.Struct(">QIII")
_OPTION_MAGIC: Final = 0x3E889045565A9
_STRUCTURED_REPLY, _SET_META_CONTEXT, _GO = 8, 10, 7
_ACK, _INFO = 1, 3
_EXPORT_INFO: Final = struct.Struct(">HQH")
_REQUEST: Final = struct.Struct(">IHHQQI")
_REQUEST_MAGIC: Final = 0x25609513
_DISCARD: Final = 4
_WRITE_ZEROES: Final = 6
_BLOCK_STATUS: Final = 7
_SIMPLE_REPLY: Final = struct.Struct(">IIQ")
_SIMPLE_REPLY_MAGIC: Final = 0x67446698
_IN_FLIGHT: Final = 16
"""Requests that wait for their replies at once: QEMU's server reads no more."""

_CHUNK: Final = struct.Struct(">IHHQI")
_CHUNK_MAGIC: Final = 0x668E33EF
_DONE: Final = 1
_STATUS_CHUNK: Final = 5
_TIMEOUT_S: Final = 600.0


class Extent(NamedTuple):
    """A run of bytes of one state; the flags are hole (1) and zero (2)."""

    length: int
    flags: int


class NbdClient:
    """A connection to one export; ``size`` is its bytes."""

    def __init__(self, connection: socket.socket, export: str) -> None:
        self._connection = connection
        self.size = 0
        self._greet()
        self._option(_STRUCTURED_REPLY, b"")
        name = struct.pack(">I", len(export)) + export.encode()
        query = struct.pack(">II", 1, len(_CONTEXT)) + _CONTEXT
        self._option(_SET_META_CONTEXT, name + query)
        self._option(_GO, name + struct.pack(">H", 0))

    def block_status(self, offset: int, length: int) -> list[Extent]:
        """One request: the extents from ``offset`` on, which may end before ``length`` bytes.

        Raises ``UserError`` where the server refuses.
        """
        request = (_REQUEST_MAGIC, 0, _BLOCK_STATUS, offset, offset, length)
        self._connection.sendall(_REQUEST.pack(*request))
        extents: list[Extent] = []
        flags = 0
        while not flags & _DONE:
            magic, flags, kind, _, size = _CHUNK.unpack(self._receive(_CHUNK.size))
            payload = self._receive(size)
            if magic != _CHUNK_MAGIC or kind not in (0, _STATUS_CHUNK):
                raise UserError(f"the NBD server refused block status at {offset} (reply {kind})")
            if kind == _STATUS_CHUNK:  # a context's number, then lengths and flags
                extents += [Extent(*pair) for pair in struct.iter_unpack(">II", payload[4:])]
        return extents

    def discard(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Discard ranges, (offset, length) in bytes, some of them at once. Lengths have 32 bits.

        Raises ``UserError`` where the server refuses one.
        """
        self._send(_DISCARD, ranges)

    def write_zeroes(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Write zeroes to ranges, as ``discard`` does."""
        self._send(_WRITE_ZEROES, ranges)

    def _send(self, command: int, ranges: Iterable[tuple[int, int]]) -> None:
        waiting = 0
        for offset, length in ranges:
            request = (_REQUEST_MAGIC, 0, command, offset, offset, length)
            self._connection.sendall(_REQUEST.pack(*request))
            waiting += 1
            if waiting == _IN_FLIGHT:
                self._confirm()
                waiting -= 1
        for _ in range(waiting):
            self._confirm()

    def _confirm(self) -> None:
        """One reply without content: simple if it succeeded, the head of a chunk if it did not."""
        magic, error, offset = _SIMPLE_REPLY.unpack(self._receive(_SIMPLE_REPLY.size))
        if magic != _SIMPLE_REPLY_MAGIC or error:
            raise UserError(f"the NBD server refused a change at {offset}")

    def _greet(self) -> None:
        if self._receive(len(_HELLO)) != _HELLO:
            raise UserError("the NBD server does not speak the newstyle handshake")
        self._receive(2)
        self._connection.sendall(struct.pack(">I", _FIXED_NO_ZEROES))

    def _option(self, option: int, data: bytes) -> None:
        self._connection.sendall(_OPTION.pack(_HELLO[8:], option, len(data)) + data)
        kind = 0
        while kind != _ACK:
            magic, _, kind, size = _OPTION_REPLY.unpack(self._receive(_OPTION_REPLY.size))
            payload = self._receive(size)
            if magic != _OPTION_MAGIC or kind >> 31:
                raise UserError(f"the NBD server refused option {option} ({payload!r})")
            if kind == _INFO and payload[:2] == b"\0\0":
                self.size = _EXPORT_INFO.unpack(payload)[1]

    def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self._connection.recv(size - len(data))
            if not part:
                raise UserError("the NBD server hung up")
            data += part
        return bytes(data)


@contextmanager
def connected(path: Path, export: str) -> Iterator[NbdClient]:
    """A client of an export on a Unix socket; closed at the end of the block."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_TIMEOUT_S)
        try:
            connection.connect(str(path))
        except OSError as error:
            raise UserError(f"no NBD server on {path}: {error.strerror}") from error
        yield NbdClient(connection, export)


def whole_status(client: NbdClient, request_bytes: int = MAX_REQUEST_BYTES) -> tuple[int, int]:
    """Ask for the whole export, as ``range_status`` does."""
    return range_status(client, 0, client.size, request_bytes)


def range_status(
    client: NbdClient, start: int, end: int, request_bytes: int = MAX_REQUEST_BYTES
) -> tuple[int, int]:
    """Ask for a range; returns requests sent and extents received.

    Neighbours of one state, which meet where requests do, are counted apart.
    """
    offset, requests, extents = start, 0, 0
    while offset < end:
        found = client.block_status(offset, min(request_bytes, end - offset))
        offset += sum(extent.length for extent in found)
        requests += 1
        extents += len(found)
    return requests, extents
