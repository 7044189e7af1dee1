"""Temporary folders: a later run removes those of a run that was killed.

Each is locked while its owner lives, and the kernel gives up the locks of a process that is killed.
The lock is on the folder itself, which systemd-tmpfiles knows to leave alone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from hbitmap_bench.base.interrupt import uninterrupted

PREFIX: Final = "hbitmap-bench-tmp-"
"""How the names of all of them begin."""

_TRY: Final = fcntl.LOCK_EX | fcntl.LOCK_NB


@contextmanager
def folder(parent: Path | None = None) -> Iterator[Path]:
    """A new folder of mode 0700, removed at the end with all that is in it.

    It is made in ``parent``, by default in TMPDIR; what killed runs left there is removed first.
    """
    parent = parent or Path(tempfile.gettempdir())
    sweep(parent)
    with ExitStack() as stack:
        with uninterrupted():  # or nobody could remove what has just been made
            path, lock = _locked(parent)
            stack.callback(_remove, path, lock)
        yield path


@contextmanager
def for_all() -> Iterator[Path]:
    """A folder that is TMPDIR meanwhile: for libraries and programs that make folders there."""
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    with folder() as own:
        tempfile.tempdir = os.environ["TMPDIR"] = str(own)
        try:
            yield own
        finally:
            tempfile.tempdir = before[0]
            del os.environ["TMPDIR"]
            os.environ.update({"TMPDIR": before[1]} if before[1] is not None else {})


def sweep(parent: Path | None = None) -> None:
    """Remove the folders in ``parent``, by default TMPDIR, whose owners were killed.

    Costs a listing of ``parent``.
    """
    for _ in abandoned(parent):
        pass


def abandoned(parent: Path | None = None) -> Iterator[Path]:
    """The folders in ``parent`` whose owners were killed; each is removed after its turn.

    Those of living owners, those of other users and links stay; all stay where the file system has
    no locks.
    """
    for path in (parent or Path(tempfile.gettempdir())).glob(f"{PREFIX}*"):
        with suppress(OSError):  # in use, or gone by now
            handle = _open(path)
            try:
                if os.fstat(handle).st_uid == os.geteuid():
                    fcntl.flock(handle, _TRY)
                    yield path
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(handle)


def _locked(parent: Path) -> tuple[Path, int]:
    """A new folder, and the open file that holds its lock."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))  # noqa: TID251
        with suppress(FileNotFoundError):
            handle = _open(path)
            if _lock(handle) and path.exists():
                return path, handle
            os.close(handle)  # a sweep was faster: once more


def _lock(handle: int) -> bool:
    """Whether no sweep has it. A file system without locks, such as NFS, has no sweeps either."""
    try:
        fcntl.flock(handle, _TRY)
    except OSError as error:
        return not isinstance(error, BlockingIOError)
    return True


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _remove(path: Path, lock: int) -> None:
    with uninterrupted():
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)
