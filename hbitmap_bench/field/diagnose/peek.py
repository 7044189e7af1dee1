"""A look at somebody else's QEMU over QMP: questions only, never a command that changes it."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from qemu.qmp import ConnectError, ExecuteError, QMPClient, QMPError

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.interrupt import run_stoppable
from hbitmap_bench.field.diagnose.process import is_held
from hbitmap_bench.qemu.daemon import LOST

QUESTIONS: Final = frozenset(
    {
        "query-jobs",
        "query-block-jobs",
        "query-named-block-nodes",
        "query-status",
        "x-debug-query-block-graph",
    }
)
"""All that is ever sent, beside QMP's own greeting. None of them changes anything in QEMU."""

TIMEOUT_S: Final = 30.0
"""A build-up lets QEMU answer only when it waits for its disk: replies may lag by seconds."""

HELD_S: Final = 3.0
"""So often it is looked whether another client is served, while QEMU does not greet us."""

_HELD: Final = (
    "{path} has another client (such as libvirt or a backup program), and QEMU serves one at a "
    "time: for a virtual machine of libvirt give --libvirt DOMAIN, else give --qmp another socket, "
    "or end that client"
)

_PEER: Final = struct.Struct("3i")  # pid, user, group


class NoAnswerError(UserError):
    """QEMU did not answer in time, or hung up: whether it could is not known."""


class Asked(Protocol):
    """Who answers: a QEMU over its socket, or through somebody else. A context."""

    pid: int | None

    def __enter__(self) -> Self:
        """Connect. Raises ``UserError``."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave QEMU as it was."""

    def ask(self, question: str, **arguments: object) -> Any:  # noqa: ANN401 - QMP's JSON
        """The answer; None where this QEMU does not know the question."""


def require_question(question: str) -> None:
    """Raise ``ValueError`` for what is not in ``QUESTIONS``."""
    if question not in QUESTIONS:
        raise ValueError(f"only {', '.join(sorted(QUESTIONS))} may be asked, not {question}")


class Peek:
    """A context: inside, ``ask`` sends one of ``QUESTIONS`` and waits for its answer.

    On the way out the connection is closed; QEMU goes on as it was. Raises ``UserError`` where the
    socket can't be reached, ``NoAnswerError`` where nobody greets on it for ``timeout_s``, or after
    some seconds where another client is served.
    """

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._client = QMPClient()
        self.pid: int | None = None
        """The process that listens, from when it is connected to."""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._runner = stack.enter_context(asyncio.Runner())
            connection = stack.enter_context(_connected(self._path))
            self.pid = _peer(connection)
            stack.callback(self._hang_up)
            self._greet(connection)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def ask(self, question: str, **arguments: object) -> Any:  # noqa: ANN401 - QMP's JSON
        """The answer; None where this QEMU does not know the question.

        Raises ``NoAnswerError``, and ``ValueError`` for what is not in ``QUESTIONS``.
        """
        require_question(question)
        asking = asyncio.wait_for(self._client.execute(question, arguments), self._timeout_s)
        try:
            return run_stoppable(self._runner, asking)
        except ExecuteError:
            return None
        except TimeoutError as error:
            raise NoAnswerError(
                f"QEMU has not answered {question} for {self._timeout_s:.0f} s: its main loop is "
                "busy; try again"
            ) from error
        except LOST as error:
            raise NoAnswerError(f"QEMU hung up during {question}: has it ended?") from error

    def _greet(self, connection: socket.socket) -> None:
        try:
            greeting = self._greeting(connection)
            run_stoppable(self._runner, asyncio.wait_for(greeting, self._timeout_s))
        except TimeoutError as error:
            raise NoAnswerError(
                f"no greeting on {self._path} for {self._timeout_s:.0f} s: QEMU answers nobody (of "
                "an image without L2 tables it may not until its build-up ends); try again"
            ) from error
        except ConnectError as error:
            if isinstance(error.exc, LOST):
                raise NoAnswerError(
                    f"{self._path} hung up without a greeting: has QEMU ended, or is it no QMP?"
                ) from error
            raise UserError(
                f"{self._path} speaks no QMP: give --qmp the socket of a monitor in control mode"
            ) from error

    async def _greeting(self, connection: socket.socket) -> None:
        """Wait for it, unless the socket turns out to be held by another client."""
        greeting = asyncio.create_task(self._client.connect(connection))
        try:
            while not (await asyncio.wait({greeting}, timeout=HELD_S))[0]:
                if self.pid is not None and is_held(self.pid, connection.getpeername()):
                    raise NoAnswerError(_HELD.format(path=self._path))
            await greeting
        finally:
            greeting.cancel()
            await asyncio.wait({greeting})

    def _hang_up(self) -> None:
        with suppress(*LOST, QMPError, TimeoutError):  # it may go in mid-sentence
            run_stoppable(self._runner, asyncio.wait_for(self._client.disconnect(), 1.0))


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(TIMEOUT_S)
        _queue(connection, path)
    except OSError as error:
        connection.close()
        if isinstance(error, BlockingIOError):
            raise NoAnswerError(_HELD.format(path=path)) from error
        raise UserError(
            f"{path} can't be connected to ({error.strerror or error}): give --qmp the path of a "
            "listening QMP socket"
        ) from error
    connection.setblocking(False)
    return connection


def _queue(connection: socket.socket, path: Path) -> None:
    """Wait in line. Raises ``BlockingIOError`` where the line stays full for ``HELD_S``.

    A busy QEMU is slow to clear it of those who have gone.
    """
    until = time.monotonic() + HELD_S
    while True:
        try:
            return connection.connect(str(path))
        except BlockingIOError:
            if time.monotonic() > until:
                raise
        time.sleep(0.1)


def _peer(connection: socket.socket) -> int | None:
    """The process that listens; None where it is in another PID namespace."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return _PEER.unpack(found)[0] or None
