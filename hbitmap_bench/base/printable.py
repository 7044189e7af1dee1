"""Text of others on one line: nothing in it may move a terminal's cursor or start a line."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Text with what is not printable as its escape: ``\n``, ``\x1b``. O(n)."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
