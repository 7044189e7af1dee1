"""Consoles: one whose reader may go, one for wide tables, one for progress with its bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LOG_COLUMNS: Final = 130
"""Width of what is printed to a file, where a table that is cut can't be widened."""


class PipedConsole(Console):
    """Prints as far as somebody reads: a reader such as ``head`` may have seen enough.

    rich would end the program by exit code 1, which for some commands says something else.
    """

    def on_broken_pipe(self) -> None:
        """Go on, and print nothing more."""
        with suppress(SystemExit):
            super().on_broken_pipe()


def table_console() -> Console:
    """As wide as the terminal; a file gets ``LOG_COLUMNS``."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else LOG_COLUMNS)


def progress_console() -> Console:
    """On stderr, for what goes on meanwhile."""
    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def bar(console: Console, title: str) -> Iterator[Callable[[float], object]]:
    """Show how far long work is: the block is given what takes the share of each step."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    if not console.is_terminal:
        console.print(title)  # a log gets a line instead of a bar
        yield lambda share: None
        return
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=1.0)
        yield lambda share: progress.advance(task, share)
