"""Where a command's ``--json`` goes: into a file beside the tables, or to stdout in their place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from hbitmap_bench.interrupt import uninterrupted
from hbitmap_bench.records import check_output, write_atomic

STDOUT: Final = Path("-")
"""What stands for stdout on the command line."""


def check_json(path: Path | None) -> None:
    """Raise ``UserError`` now where the file could not be written later. O(1)."""
    if path is not None and path != STDOUT:
        check_output(path)


def put_json(path: Path | None, text: Callable[[], str]) -> bool:
    """Write it, if it was asked for; whether the tables are still to be shown."""
    if path == STDOUT:
        click.echo(text(), nl=False)
        return False
    if path is not None:
        with uninterrupted():
            write_atomic(path, text().encode())
    return True
