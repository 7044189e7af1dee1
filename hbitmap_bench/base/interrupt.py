"""One way out for every polite request to stop."""

from __future__ import annotations

import asyncio
import math
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, TypeVar

T = TypeVar("T")

_REQUESTS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DEFAULT: Final = (signal.SIG_DFL, signal.default_int_handler)

_PATIENCE_S: Final = 5.0
"""Requests this soon after one that was heard are the same one: a user who presses Ctrl-C twice, or
a supervisor that signals a group. Raised in the midst of the cleaning up, which takes a fraction of
this, they would leave half of it undone. If it hangs, a later request ends it."""

_heard_s = -math.inf  # time.monotonic() of the request that was raised last


@contextmanager
def stop_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, by one ``KeyboardInterrupt``.

    By default they end Python on the spot, which would leave a daemon, its socket or a half-made
    image behind. A signal that is ignored, as under nohup, or handled already is left so. Outside
    of the main thread, which alone may set handlers, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    global _heard_s
    taken = {n: before for n in _REQUESTS if (before := signal.getsignal(n)) in _DEFAULT}
    for number in taken:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in taken.items():
            if signal.getsignal(number) is _interrupt:
                signal.signal(number, handler)
        if taken:  # the outermost block is over, and so is what it was asked
            _heard_s = -math.inf


@contextmanager
def rather_than_errors() -> Iterator[None]:
    """End the block by the request to stop that was heard, not by an error that came of it.

    What is interrupted is half done: cleaning it up may fail, and so may what is told of it.
    """
    try:
        yield
    except Exception:
        if math.isinf(_heard_s):
            raise
        raise KeyboardInterrupt from None


def hear_no_more() -> None:
    """Let the program end by the exit code that is decided: what follows is Python's own end."""
    if threading.current_thread() is threading.main_thread():
        for number in _REQUESTS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def uninterrupted(hear: Callable[[], object] = lambda: None) -> Iterator[list[int]]:
    """Let a short block run to its end, such as one that writes or removes files.

    A request to stop, Ctrl-C included, is heard when the block is done; meanwhile it is told by
    ``hear``, and stands in the list. One that comes much later finds a block that hangs, and is
    raised. Outside of the main thread nothing is changed.
    """
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return

    first_s = math.inf

    def keep(number: int, frame: FrameType | None) -> None:
        nonlocal first_s
        if time.monotonic() - first_s > _PATIENCE_S:
            raise KeyboardInterrupt
        if not heard and not _is_repeated():
            first_s = time.monotonic()
            heard.append(number)
            hear()

    before = {
        number: signal.signal(number, keep)
        for number in _REQUESTS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if heard:
            signal.raise_signal(heard[0])


def run_stoppable(runner: asyncio.Runner, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it in the runner's loop; a request to stop cancels it, and is heard when the loop stands.

    Raised in the midst of the loop, it would fall into whatever just runs there: into the loop's
    own stopping, which then stops the next run at once; into another task, which ends without
    ending those that wait for it; or where nothing can be raised, and is lost. asyncio's own way
    with Ctrl-C has the first and the last of these at the beginning and at the end of a run.
    """
    tasks: list[asyncio.Task[Any]] = []

    def cancel() -> None:
        for task in tasks:
            task.cancel()
            task.get_loop().call_soon_threadsafe(lambda: None)  # it may be asleep

    async def waited() -> T:
        tasks.extend(filter(None, [asyncio.current_task()]))
        if heard:  # before there was a task to cancel
            cancel()
        try:
            return await coroutine
        finally:
            tasks.clear()

    with uninterrupted(cancel) as heard:
        try:
            return runner.run(waited())
        except asyncio.CancelledError:
            if not heard:
                raise
            raise KeyboardInterrupt from None


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _heard_s
    if not _is_repeated():
        _heard_s = time.monotonic()
        raise KeyboardInterrupt


def _is_repeated() -> bool:
    return time.monotonic() - _heard_s < _PATIENCE_S
