"""``hbitmap-bench diagnose``: look at a QEMU that is not ours, and say what its backup job does."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

from rich.console import Console

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.interrupt import stop_like_ctrl_c
from hbitmap_bench.base.output import check_output
from hbitmap_bench.base.printable import printable
from hbitmap_bench.field.diagnose import process
from hbitmap_bench.field.diagnose.facts import Facts
from hbitmap_bench.field.diagnose.follow import follow, show_once
from hbitmap_bench.field.diagnose.job import FILES, Job, View, jobs_of, look
from hbitmap_bench.field.diagnose.libvirt import Domain
from hbitmap_bench.field.diagnose.peek import Asked, NoAnswerError, Peek
from hbitmap_bench.field.diagnose.watch import Window, watch

_NO_SOCKET: Final = (
    "job and filters: process {pid} serves QMP on no socket that its command line names (libvirt "
    "hands it an open file: give --libvirt DOMAIN); give --qmp one"
)
_NO_END: Final = (
    "--watch ends with the build-up, whose end is told over QMP: give --qmp SOCKET or --libvirt "
    "DOMAIN"
)


def run(
    qmp: Path | None,
    domain: str | None,
    pid: int | None,
    seconds: float,
    *,
    watched: bool = False,
    json_path: Path | None = None,
    metrics_path: Path | None = None,
) -> None:
    """Look for about ``seconds``, and print, or write JSON (``-`` for stdout) beside that.

    ``watched`` looks again and again until the build-up ends, and JSON is then a line a sample.
    Raises ``UserError`` where nothing can be seen.
    """
    for path in (json_path, metrics_path):
        check_output(path)
    progress = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    if pid is not None and process.state(pid) is None:
        raise UserError(f"there is no process {pid} here: give --pid that of a running QEMU")
    if watched and not (qmp or domain or _socket_of(pid)):
        raise UserError(_NO_END)
    name = domain or str(qmp or pid)
    seen = samples(qmp, pid, seconds, domain=domain, tell=progress.print)
    with stop_like_ctrl_c(), closing(seen):
        if watched:
            follow(seen, name, json_path, metrics_path)
        else:
            show_once(next(seen), name, json_path, metrics_path)


def observe(qmp: Path | None, pid: int | None, seconds: float) -> Facts:
    """One sample."""
    with closing(samples(qmp, pid, seconds)) as seen:
        return next(seen)


def samples(
    qmp: Path | None,
    pid: int | None,
    seconds: float,
    *,
    domain: str | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> Generator[Facts]:
    """See what can be seen, over QMP and in ``/proc``, again and again; what can't be is noted.

    The connection is kept while QEMU answers. Before the first watching begins, what is not
    answered till then is told by ``tell``, too.
    """
    if qmp is None and domain is None:
        qmp = _socket_of(pid)
    while True:
        peek = Domain(domain) if domain is not None else Peek(qmp) if qmp is not None else None
        notes = [] if peek is not None else [_NO_SOCKET.format(pid=pid)]
        with ExitStack() as stack:
            view = _view(stack.enter_context, peek, pid, notes)
            while True:
                facts = _seen(peek, view, pid, seconds, notes, tell)
                yield facts
                notes, tell = [], _say_nothing
                if peek is None or facts.is_over is None:  # it did not answer: by a new connection
                    break
                view = _view(lambda peek: peek, peek, pid, notes)


def _socket_of(pid: int | None) -> Path | None:
    """A QMP socket that the process serves."""
    return None if pid is None else next(iter(process.qmp_sockets(pid)), None)


def _say_nothing(_: str) -> None:
    pass


def _seen(
    peek: Asked | None,
    view: View | None,
    pid: int | None,
    seconds: float,
    notes: list[str],
    tell: Callable[[str], object],
) -> Facts:
    """One window, and what became of the jobs in it."""
    greeted = peek.pid if peek is not None and _has_greeted(peek, view) else None
    pid = _named(pid, greeted, notes) or _served_by(peek, greeted, notes)
    if pid is not None:
        tell("\n".join((*notes, f"watching for {seconds:g} s")))
    window = _watch(pid, seconds, view, notes)
    later = _later(peek if view is not None else None, notes)
    age_s = time.perf_counter() - window.closed_s if window is not None else 0.0
    return Facts(view=view, later=later, window=window, notes=tuple(notes), age_s=age_s)


def _view(
    connected: Callable[[Asked], Asked], peek: Asked | None, pid: int | None, notes: list[str]
) -> View | None:
    """What QEMU tells; None where nobody answers, which leaves the process to look at."""
    if peek is None:
        return None
    try:
        return look(connected(peek))
    except NoAnswerError as error:
        if pid is None and peek.pid is None:
            raise
        notes.append(f"job and filters: {error}")
        return None


def _later(peek: Asked | None, notes: list[str]) -> tuple[Job, ...] | None:
    """The jobs when the window closed; None where QEMU did not answer."""
    try:
        return jobs_of(peek) if peek is not None else None
    except NoAnswerError as error:
        notes.append(f"what became of the job: {error}")
        return None


def _has_greeted(peek: Asked, view: View | None) -> bool:
    """Whether who listens is the QEMU that greeted: socat or ssh, which pass on, read no image."""
    if view is None or peek.pid is None:
        return False
    image = view.node(*FILES)
    return image is None or image.file is None or process.may_read(peek.pid, image.file)


def _named(pid: int | None, greeted: int | None, notes: list[str]) -> int | None:
    """The process that the user names. It is looked at whatever it is, since builds have names."""
    if pid is not None and pid != greeted and not process.is_qemu(pid):
        name = printable(process.program(pid))
        notes.append(f"whether process {pid} is a QEMU at all: its program is called {name!r}")
    return pid


def _served_by(peek: Asked | None, greeted: int | None, notes: list[str]) -> int | None:
    """The process behind the socket, if it is a QEMU that can be seen from here."""
    if greeted is None and peek is not None and peek.pid is not None and process.is_qemu(peek.pid):
        return peek.pid
    if greeted is None:
        notes.append("the process: who answers is no QEMU that is seen from here; give --pid")
    return greeted


def _watch(pid: int | None, seconds: float, view: View | None, notes: list[str]) -> Window | None:
    if pid is None:
        return None
    runs_guest = view is not None and view.runs_guest
    window = watch(pid, seconds, _files(view), runs_guest=runs_guest)
    if window is None:
        notes.append(f"the process: {pid} has ended")
    elif window.no_samples:
        notes.append(f"the scan's share: {window.no_samples}")
    return window


def _files(view: View | None) -> list[Path]:
    """The files that a build-up asks about: the disk's, and that of what was overwritten."""
    if view is None:
        return []
    fleecing = (node for node in view.fleecing if node.driver in FILES)
    nodes = (view.node(*FILES), next(fleecing, None))
    return [node.file for node in nodes if node is not None and node.file is not None]
