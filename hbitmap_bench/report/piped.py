"""A console whose reader may go."""

from __future__ import annotations

from contextlib import suppress

from rich.console import Console


class PipedConsole(Console):
    """Prints as far as somebody reads: a reader such as ``head`` may have seen enough.

    rich would end the program by exit code 1, which for some commands says something else.
    """

    def on_broken_pipe(self) -> None:
        """Go on, and print nothing more."""
        with suppress(SystemExit):
            super().on_broken_pipe()
