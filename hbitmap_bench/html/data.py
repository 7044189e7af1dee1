"""Data for the pages: scripts that a page loads by a tag, since opened files may not fetch.

Each script puts one value under its name into the page's ``hbitmapData``. What is in it stays data
wherever it is put: no character in it can end a script, an attribute or a string.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

DIGITS: Final = 6
"""Significant digits: no clock that asv reads has more."""

_ESCAPES: Final = str.maketrans({"<": r"\u003c", ">": r"\u003e", "&": r"\u0026"})


class Literal(str):
    """JSON text that is ready: ``script`` puts it in as it is."""


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


def rows(values: NDArray[np.float64]) -> Literal:
    """JSON of an array, commits x cells, turned: a row of commits for each cell.

    A cell that no commit has measured is null as a whole.
    """
    return Literal(f"[{','.join(numbers(column) for column in values.T)}]")


def script(name: str, fields: Iterable[tuple[str, object]]) -> bytes:
    """A script that puts an object of these fields under ``name``."""
    target = f"(globalThis.hbitmapData ??= {{}})[{safe_json(name)}]"
    return f"{target} = {nested(fields)};\n".encode("ascii")


def nested(fields: Iterable[tuple[str, object]]) -> Literal:
    """JSON of an object of these fields, those that are ``Literal`` as they are."""
    parts = (
        f"{safe_json(key)}:{value if isinstance(value, Literal) else safe_json(value)}"
        for key, value in fields
    )
    return Literal(f"{{{','.join(parts)}}}")
