"""Where checks print their tables."""

from __future__ import annotations

import sys
from typing import Final

from rich.console import Console

LOG_COLUMNS: Final = 130
"""Width of what is printed to a file, where a table that is cut can't be widened."""


def table_console() -> Console:
    """As wide as the terminal; a file gets ``LOG_COLUMNS``."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else LOG_COLUMNS)
