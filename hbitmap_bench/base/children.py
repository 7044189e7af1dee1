"""Processes that we start: each in a session of its own, and none outlives what it was for."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from hbitmap_bench.base import guard
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.interrupt import uninterrupted


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what ``start`` started and all that it has started: a wrapper's child outlives it."""
    with suppress(ProcessLookupError):  # all of it is gone
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def running(
    argv: Sequence[str | Path],
    *,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    end: Callable[[subprocess.Popen[bytes]], object] = kill_group,
) -> Iterator[subprocess.Popen[bytes]]:
    """``start`` it; whatever ends the block, ``end`` is called then, and its pipes are closed."""
    with ExitStack() as stack:
        with uninterrupted():  # or nobody could end what has just been started
            process = start(argv, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=env)
            stack.enter_context(process)
            stack.callback(end, process)
        yield process


def start(
    argv: Sequence[str | Path],
    *,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that a Ctrl-C at the terminal reaches us alone.

    It is killed if we are. Raises ``UserError`` where it can't be run.
    """
    try:
        mark = guard.watch()
        return subprocess.Popen(
            argv, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd,
            env=None if env is None else {**env, **mark},
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise UserError(f"{argv[0]} can't be run: {error.strerror}") from error
