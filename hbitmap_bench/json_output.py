"""Where a command's ``--json`` goes: into a file beside the tables, or to stdout in their place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from hbitmap_bench.output import STDOUT, deliver, write_text


def put_json(path: Path | None, text: Callable[[], str], show: Callable[[], object]) -> None:
    """Write it, if it was asked for, and show the tables, unless it is on stdout in their place.

    Raises ``UserError`` as ``deliver`` does.
    """
    if path == STDOUT:
        deliver([], lambda: click.echo(text(), nl=False), text)
    else:
        deliver([(path, write_text(text))] if path is not None else [], show, text)
