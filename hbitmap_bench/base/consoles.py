"""Consoles: one whose reader may go, one for wide tables."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Final

from rich.console import Console

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
