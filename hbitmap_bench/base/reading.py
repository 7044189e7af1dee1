"""Reads files whole, up to a size: a file that is far too large is refused, not loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

MOST_BYTES: Final = 64 * 2**20
"""The largest file that is read. What asv stores of a commit has some megabytes at most, and a
report's data half of one. Decoded JSON takes up to 24 times as much memory: 1.5 GiB of this."""

MOST_WRITTEN_BYTES: Final = 2**20
"""The largest file that people write: settings, a text. Their decoders read 1 MB/s or less."""


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """All bytes of a file. Raises ``OSError``, and ``ValueError`` for more than ``most``.

    Reads one byte beyond that at most, also of a device or a pipe.
    """
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most >> 20} MiB")
    return data


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """A file's text in UTF-8. Raises ``OSError`` and ``ValueError``."""
    return read_bytes(path, most).decode("utf-8")


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever the JSON holds
    """A file's JSON decoded. Raises ``OSError``, and ``ValueError`` for what is no such text."""
    try:
        return json.loads(read_text(path))
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
