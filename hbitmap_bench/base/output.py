"""Where results go: places are tried before anything is measured, and no result is dropped."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
from click.decorators import FC

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.interrupt import uninterrupted
from hbitmap_bench.base.places import Place

STDOUT: Final = Path("-")
"""What stands for stdout on the command line."""

RESCUED: Final = "hbitmap-result-"
"""Begins the names of folders with results that had no other place. Nothing removes them."""

_TRIED_BYTES: Final = 4096
"""A full disk may still take an empty file."""

Output = tuple[Path, Callable[[Path], object]]
"""A result's place, and what writes it to any place; that raises ``UserError`` or ``OSError``."""


def check_output(path: Path | None) -> None:
    """Raise ``UserError`` now where a file could not be written later. Costs one small file.

    No place, or stdout's, passes. The test is a temporary file beside it: permissions alone do not
    tell, as in ``/proc``, on a full disk or for root.
    """
    if path is None or path == STDOUT:
        return
    try:
        require_regular(path)
        _try(_target(path).parent, path.name)
    except OSError as error:
        raise _refused(path, error) from error


def check_folder(path: Path, remedy: str = "name another with --out") -> None:
    """Raise ``UserError`` now where a folder can't be made, or files in it. Leaves nothing."""
    place = path.absolute()
    missing = [folder for folder in (place, *place.parents) if not os.path.exists(folder)]  # noqa: PTH110 - no error for a name that is too long
    try:
        with uninterrupted():
            place.mkdir(parents=True, exist_ok=True)
            _try(place, "file")
    except OSError as error:
        raise UserError(
            f"a result needs a folder to write to, not {path} ({error.strerror}): {remedy}"
        ) from error
    finally:
        for folder in missing:
            with suppress(OSError):  # it was not made, or another process uses it already
                folder.rmdir()


def deliver(
    outputs: Sequence[Output],
    show: Callable[[], object],
    as_text: Callable[[], str],
    say: Callable[[str], object] = lambda _: None,
) -> None:
    """Write every result to its place, ``say`` which are there, and print by ``show``.

    What a place refuses goes to TMPDIR, else to the current folder, else to stdout as text; what
    stdout refuses goes to a file as text. Raises ``UserError`` then, which says where it is.
    """
    failures: list[str] = []
    with uninterrupted():
        for path, write in outputs:
            try:
                write(path)
            except (UserError, OSError) as error:
                kept = _rescued(path.name, write)
                if kept is None:
                    show = _first(as_text, show)
                failures.append(f"{error}; the result is {f'in {kept}' if kept else 'on stdout'}")
            else:
                say(f"written: {path}")
    failures += _shown(show, as_text)
    if failures:
        raise UserError("; ".join(failures))


def json_option(words: str) -> Callable[[FC], FC]:
    """A command's option ``--json``, as ``put_json`` takes it; ``words`` are its help."""
    path = Place(dir_okay=False, allow_dash=True)
    return click.option("--json", "json_path", type=path, help=words)


def out_option(what: str) -> Callable[[FC], FC]:
    """A command's option that names the folder of a report; ``what`` is in it."""
    return click.option(
        "--out", "out_dir", type=Place(file_okay=False),
        default="hbitmap-bench-report", show_default=True, help=what,
    )  # fmt: skip


def put_json(
    path: Path | None,
    text: Callable[[], str],
    show: Callable[[], object],
    others: Sequence[Output] = (),
    say: Callable[[str], object] = lambda _: None,
) -> None:
    """Write it, if it was asked for, and show the tables, unless it is on stdout in their place.

    ``others`` are written first. Raises ``UserError`` as ``deliver`` does.
    """
    if path == STDOUT:
        deliver(others, lambda: click.echo(text(), nl=False), text, say)
    else:
        more = [(path, write_text(text))] if path is not None else []
        deliver([*others, *more], show, text, say)


def in_lines(document: Mapping[str, Any]) -> str:
    """JSON of an object, a line for each of its keys and for each item of its lists.

    Raises ``ValueError`` for a number that is not finite.
    """
    dump = partial(json.dumps, ensure_ascii=False, allow_nan=False)

    def line(key: str, value: object) -> str:
        items = ",\n".join(map(dump, value)) if isinstance(value, list) else None
        return f"{dump(key)}: " + (dump(value) if items is None else f"[\n{items}\n]")

    return "{\n" + ",\n".join(line(*item) for item in document.items()) + "\n}\n"


def write_atomic(path: Path, data: bytes) -> None:
    """Write a regular file whole or not at all: a temporary file beside it, then a rename.

    Follows symbolic links. Raises ``UserError`` where the path is no regular file (a rename would
    replace a device or a pipe) or the system refuses.
    """
    target = _target(path)
    require_regular(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        with suppress(OSError):  # on a read-only file system even this is refused
            temporary.unlink(missing_ok=True)


def make_folder(out_dir: Path) -> None:
    """A report's folder. Raises ``UserError`` where it can't be made."""
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"a report needs a folder, not {out_dir} ({error.strerror}): name another with --out"
        ) from error


def require_regular(path: Path) -> None:
    """Raise ``UserError`` for what is there and no regular file. O(1)."""
    if path.exists() and not path.is_file():  # a pipe in /dev/fd leads to no other path
        raise UserError(f"output goes to a regular file, not {path}: give a file's name")


def write_text(text: Callable[[], str]) -> Callable[[Path], None]:
    """What writes a text to a place, whole or not at all."""
    return lambda path: write_atomic(path, text().encode())


def folder_as_text(folder: Path) -> str:
    """All JSON files in a folder and below, by name, as one JSON object."""
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.json")}
    return json.dumps(found, indent=1) + "\n"


def _target(path: Path) -> Path:
    """Where symbolic links lead; those that lead to each other are themselves replaced."""
    return Path(os.path.realpath(path))


def _refused(path: Path, error: OSError) -> UserError:
    reason = error.strerror or error
    return UserError(f"output needs a place that takes it, not {path} ({reason}): name another")


def _try(folder: Path, name: str) -> None:
    temporary = folder / f".{name}.{secrets.token_hex(6)}"  # as write_atomic calls it
    try:
        temporary.write_bytes(bytes(_TRIED_BYTES))
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _rescued(name: str, write: Callable[[Path], object]) -> Path | None:
    """Where the result is now, in a folder of its own, or None where no folder takes it."""
    for place in (tempfile.gettempdir, os.getcwd):
        with suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix=RESCUED, dir=place()))  # noqa: TID251
            kept = folder / (name if name.strip(".") else "result")
            try:
                write(kept)
            except (UserError, OSError):
                shutil.rmtree(folder, ignore_errors=True)
            else:
                return kept
    return None


def _first(as_text: Callable[[], str], show: Callable[[], object]) -> Callable[[], None]:
    def both() -> None:
        click.echo(as_text(), nl=False)
        show()

    return both


def _shown(show: Callable[[], object], as_text: Callable[[], str]) -> Iterator[str]:
    """Print; the failure, if stdout refuses. A reader that has gone has seen enough."""
    try:
        show()
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it again
        kept = _rescued("result", write_text(as_text))
        yield f"stdout refuses ({error.strerror}); the result is {f'in {kept}' if kept else 'lost'}"
