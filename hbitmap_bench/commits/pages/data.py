"""Data for the pages: scripts that a page loads by a tag, since opened files may not fetch.

Each script puts one value under its name into the page's ``hbitmapData``. What is in it stays data
wherever it is put: no character in it can end a script, an attribute or a string.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

DIGITS: Final = 6
"""Significant digits: no clock that asv reads has more."""

_ESCAPES: Final = str.maketrans({"<": r"\u003c", ">": r"\u003e", "&": r"\u0026"})


class Rows(NamedTuple):
    """An array, commits x cells, that is written turned: a row of commits for each cell.

    A cell that no commit has measured is null as a whole.
    """

    values: NDArray[np.float64]


def safe_json(value: object) -> str:
    """JSON in ASCII without ``<``, ``>`` and ``&``; so without U+2028 and U+2029 too.

    Raises ``ValueError`` for numbers that are not finite.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


def numbers(values: NDArray[np.float64]) -> str:
    """A JSON array of a row of numbers, null where they are not finite. Costs 0.2 us a number."""
    if not np.isfinite(values).any():
        return "null"
    text = ",".join(map(f"%.{DIGITS}g".__mod__, values.tolist()))
    return f"[{text}]".replace("-inf", "null").replace("inf", "null").replace("nan", "null")


def nullable(values: NDArray[np.float64]) -> list[float | None]:
    """A short row as a list, None where a number is not finite."""
    return [value if np.isfinite(value) else None for value in values.tolist()]


def write_script(path: Path, name: str, value: object) -> None:
    """Write a script that puts ``value`` under ``name``; ``Rows`` may be in dicts, at any depth."""
    with path.open("w", encoding="ascii") as file:
        file.write(f"(globalThis.hbitmapData ??= {{}})[{safe_json(name)}] = ")
        file.writelines(_chunks(value))
        file.write(";\n")


def _chunks(value: object) -> Iterator[str]:
    """The JSON of a value in pieces: whole, that of a long history takes tens of megabytes."""
    if isinstance(value, Rows):
        yield from _list(numbers(column) for column in value.values.T)
    elif isinstance(value, dict):
        yield "{"
        for i, (key, inner) in enumerate(value.items()):
            yield f"{',' if i else ''}{safe_json(str(key))}:"
            yield from _chunks(inner)
        yield "}"
    else:
        yield safe_json(value)


def _list(items: Iterator[str]) -> Iterator[str]:
    yield "["
    for i, item in enumerate(items):
        yield f",{item}" if i else item
    yield "]"
