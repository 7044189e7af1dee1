"""A judgement as text, JSON, Markdown, JUnit XML and GitHub's annotations."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Final, Literal

from rich.console import Console

from hbitmap_bench.commits.gate.verdict import Judgement
from hbitmap_bench.commits.gate.verdict_github import to_github
from hbitmap_bench.commits.gate.verdict_json import to_json
from hbitmap_bench.commits.gate.verdict_junit import to_junit
from hbitmap_bench.commits.gate.verdict_markdown import to_markdown
from hbitmap_bench.commits.gate.verdict_text import print_text

Format = Literal["text", "json", "markdown", "junit", "github"]

FILE_COLUMNS: Final = 100
"""Width of text in a file."""


def render_all(judgements: Sequence[Judgement], form: Format) -> str:
    """The reports of several, one after the other: JSON as a list, JUnit's in one document."""
    if form == "junit":
        return to_junit(judgements)
    told = [render(judgement, form) for judgement in judgements]
    return f"[{','.join(told)}]\n" if form == "json" and len(told) > 1 else "".join(told)


def render(judgement: Judgement, form: Format) -> str:
    """The report in a format, ended by a newline; text as for a file, without colours.

    On a terminal use ``print_text``, which knows its width and its encoding. Lone surrogates and
    what would steer a terminal come as escapes: the result can be encoded as UTF-8, JSON and XML as
    ASCII.
    """
    if form == "json":
        return to_json(judgement)
    if form == "junit":
        return to_junit([judgement])
    if form == "markdown":
        return to_markdown(judgement)
    if form == "github":
        return to_github(judgement)
    page = StringIO()
    console = Console(file=page, width=FILE_COLUMNS, force_terminal=False, color_system=None)
    print_text(judgement, console)
    return page.getvalue()
