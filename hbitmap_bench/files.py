"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from hbitmap_bench.errors import UserError


def write_atomic(path: Path, data: bytes) -> None:
    """Write a regular file whole or not at all: a temporary file beside it, then a rename.

    Follows symbolic links. Raises ``UserError`` where the path is no regular file (a rename would
    replace a device or a pipe) or the system refuses.
    """
    target = path.resolve()
    require_regular(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"output needs a folder that can be written to, not {path} ({reason}): name another"
        ) from error
    finally:
        with suppress(OSError):  # on a read-only file system even this is refused
            temporary.unlink(missing_ok=True)


def require_regular(path: Path) -> None:
    """Raise ``UserError`` for what is there and no regular file. O(1)."""
    if path.exists() and not path.is_file():  # a pipe in /dev/fd leads to no other path
        raise UserError(f"output goes to a regular file, not {path}: give a file's name")
