"""A qemu-storage-daemon of our own: started, driven over QMP, and gone on every way out."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from qemu.qmp import (
    ConnectError,
    ExecInterruptedError,
    ExecuteError,
    QMPClient,
    QMPError,
    StateError,
)

from hbitmap_bench.base import scratch
from hbitmap_bench.base.children import running
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.interrupt import run_stoppable, stop_like_ctrl_c
from hbitmap_bench.qemu.builds import QemuBuild

# A lost connection is told by our own error, once.
logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())

_START_TIMEOUT_S: Final = 20.0
_START_POLL_S: Final = 0.01
_GREETING_S: Final = 5.0
"""A daemon that is just starting has accepted a connection and never greeted, once in thousands of
starts on a busy machine: then a new one is made."""
_QUIT_TIMEOUT_S: Final = 10.0
_DEATH_TIMEOUT_S: Final = 2.0
LOST: Final = (ExecInterruptedError, StateError, EOFError, OSError)
"""What qemu.qmp raises where the other side is gone."""

_WARNING: Final = re.compile(r"(^|: )warning: ")

_MAX_SOCKET_PATH: Final = 107  # bytes of sun_path, without its closing zero


class QmpError(UserError):
    """The daemon refused a command; ``reason`` is its own text."""

    def __init__(self, name: str, command: str, reason: str) -> None:
        super().__init__(f"{name} refused {command}: {reason}")
        self.reason = reason


class DaemonDied(UserError):  # noqa: N818 - an event, not a mistake
    """The daemon ended, or hung up, while it was needed."""


class Daemon:
    """A context: inside, ``execute`` sends one QMP command and waits for its answer.

    The daemon runs in a session of its own, so that a Ctrl-C at the terminal reaches us alone, and
    listens on a socket in a new directory of mode 0700, which also keeps what it writes to stderr.
    On the way out it is asked to quit; after an exception, or if it does not, it is killed, with
    all that it has started. SIGTERM and SIGHUP count as Ctrl-C meanwhile. Start and end take about
    0.1 s together. ``options`` are more words of its command line.
    """

    def __init__(self, build: QemuBuild, options: Sequence[str] = ()) -> None:
        self.build = build
        self._options = options
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(stop_like_ctrl_c())
            directory = stack.enter_context(scratch.folder())
            self._stderr = directory / "stderr"
            self._runner = stack.enter_context(asyncio.Runner())
            self._client = QMPClient()
            stack.callback(self._hang_up)
            socket = _socket_path(directory)
            self._process = stack.enter_context(self._running(socket))
            self._connect(socket)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            if kind is None:
                self._quit()

    def keep_to_one_core(self) -> None:
        """Keep its threads, and those that they start from now on, to one of our cores.

        A build-up is done by two threads in turn. On two cores each turn wakes a core that has gone
        to sleep: on a virtual machine that doubled the CPU seconds of a query, unless something
        else kept the core awake (measured: 2.3 s for 1T, 1.0 s on one core, in turn).
        """
        core = max(os.sched_getaffinity(0))
        for task in sorted(
            Path(f"/proc/{self.pid}/task").iterdir(), key=lambda path: int(path.name)
        ):
            with suppress(ProcessLookupError):  # it has just ended
                os.sched_setaffinity(int(task.name), {core})

    @property
    def pid(self) -> int:
        """The daemon's process."""
        return self._process.pid

    def errors(self) -> str:
        """What it has written to stderr so far."""
        return self._stderr.read_text(errors="replace")

    def execute(self, command: str, **arguments: object) -> Any:  # noqa: ANN401 - QMP's JSON
        """Send a command; underscores in names stand for hyphens. Waits as long as it takes.

        Raises ``QmpError`` where the daemon refuses it, ``DaemonDied`` where no answer can come.
        """
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            return run_stoppable(self._runner, self._client.execute(command, named))
        except ExecuteError as error:
            raise QmpError(self.build.name, command, str(error)) from error
        except LOST as error:
            raise self._death(f"during {command}") from error

    @contextmanager
    def _running(self, socket: Path) -> Iterator[subprocess.Popen[bytes]]:
        chardev = f"socket,id=qmp,path={str(socket).replace(',', ',,')},server=on,wait=off"
        options = ["--chardev", chardev, "--monitor", "chardev=qmp", *self._options]
        with (
            self._stderr.open("wb") as stderr,
            running(
                [self.build.path, *options], stdout=subprocess.DEVNULL, stderr=stderr
            ) as process,
        ):
            yield process

    def _connect(self, socket: Path) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                limit_s = min(left_s, _GREETING_S)
                run_stoppable(
                    self._runner, asyncio.wait_for(self._client.connect(str(socket)), limit_s)
                )
                return
            except ConnectError as error:
                if self._process.poll() is not None:
                    raise self._death("at its start") from error
                time.sleep(_START_POLL_S)
            except TimeoutError:  # connected, and not greeted
                self._hang_up()
                self._client = QMPClient()
        raise UserError(
            f"{self.build.name} has not answered on its QMP socket for {_START_TIMEOUT_S:.0f} s: "
            f"is {self.build.path} a sound build?"
        )

    def _quit(self) -> None:
        """Ask it to end. What it does not do in time, the kill that follows does."""
        quitting = asyncio.wait_for(self._client.execute("quit"), _QUIT_TIMEOUT_S)
        # It may hang up as it goes, before its answer is read.
        with suppress(*LOST, TimeoutError):
            run_stoppable(self._runner, quitting)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_QUIT_TIMEOUT_S)

    def _hang_up(self) -> None:
        """End the client's tasks. What they tell is no news: it is gone, maybe in mid-sentence."""
        with suppress(*LOST, QMPError):
            run_stoppable(self._runner, self._client.disconnect())

    def _death(self, when: str) -> DaemonDied:
        try:
            code = self._process.wait(_DEATH_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return DaemonDied(f"{self.build.name} closed its QMP connection {when}")
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        # Its last words, but for warnings, which it survived.
        lines = self.errors().strip().splitlines()
        words = [line for line in lines if not _WARNING.search(line)]
        return DaemonDied(": ".join([f"{self.build.name} ended {when}, {how}", *words[-1:]]))


def _socket_path(directory: Path) -> Path:
    path = directory / "qmp"
    if len(bytes(path)) > _MAX_SOCKET_PATH:
        raise UserError(
            f"a socket's path has at most {_MAX_SOCKET_PATH} bytes, not {len(bytes(path))} "
            f"({path}): set TMPDIR to a shorter one"
        )
    return path
