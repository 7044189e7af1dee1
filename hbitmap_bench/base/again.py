"""The command line that makes a report again, as the report prints it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from hbitmap_bench.base.printable import printable


def command_line(*words: str) -> str:
    """``hbitmap-bench`` with these words, each as a shell reads it."""
    return printable(shlex.join(("hbitmap-bench", *words)))


def repeated(option: str, values: Iterable[object]) -> list[str]:
    """An option with each of these values, as words."""
    return [word for value in values for word in (option, str(value))]
