"""Paths on the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click


class Place(click.Path):
    """A path as ``pathlib`` has it. It refuses an empty one, which would be the current folder."""

    def __init__(self, **rules: bool) -> None:
        super().__init__(path_type=Path, **rules)

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401 - as click has it
        """The path. Fails as ``click.Path`` does, and for a name that no file can have."""
        name = os.fsdecode(value)
        if not name:
            self.fail("a path is not empty: name one, or leave the option out", param, ctx)
        if "\0" in name:
            self.fail(f"a path has no NUL character, as {name!r} has: name another", param, ctx)
        return super().convert(value, param, ctx)
