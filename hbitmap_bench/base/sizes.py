"""Sizes as QEMU writes them. Imports nothing heavy: the command line reads them first of all."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from hbitmap_bench.base.errors import UserError

_SUFFIXES: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
_SIZE: Final = re.compile(r"(\d{1,20}(?:\.\d{1,20})?)([KMGTP]?)(?:I?B)?", re.IGNORECASE | re.ASCII)
_LIMIT: Final = 2**63
"""Where the offsets of files end."""


def parse_size(text: str) -> int:
    """Read a size such as ``10T``, ``64K`` or ``512``: bytes, with binary suffixes as in QEMU.

    Raises ``UserError`` when the text is no size, no whole number of bytes, or 2^63 bytes or more.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UserError(f"a size is a number with K, M, G, T or P behind it, not {text!r}: try 10T")
    value = Fraction(match[1]) * _SUFFIXES[match[2].upper()]  # exact, as a float is not
    if value.denominator != 1 or value <= 0:
        raise UserError(f"a size is a positive whole number of bytes, not {text!r}: try 10T or 64K")
    if value >= _LIMIT:
        raise UserError(f"a size is below 8192P (2^63 bytes), not {text!r}: try 10T")
    return int(value)


def format_size(n_bytes: int) -> str:
    """Write bytes with the largest suffix that keeps them whole: 10T, 1536G, 64K."""
    for suffix, factor in reversed(_SUFFIXES.items()):
        if n_bytes and n_bytes % factor == 0:
            return f"{n_bytes // factor}{suffix}"
    return str(n_bytes)
