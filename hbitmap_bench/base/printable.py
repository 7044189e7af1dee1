"""Text of others on one line: nothing in it may move a terminal's cursor or start a line."""

from __future__ import annotations

from typing import Final

MOST_SHOWN: Final = 2000
"""Characters of a message. Its end is kept, since it has the remedy."""


def printable(text: str) -> str:
    r"""Text with what is not printable as its escape: ``\n``, ``\x1b``. O(n)."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def one_line(message: str) -> str:
    """A message on one line; the middle of a very long one is left out."""
    text = printable(message)
    if len(text) <= MOST_SHOWN:
        return text
    half = MOST_SHOWN // 2
    return f"{text[:half]} [...] {text[-half:]}"
