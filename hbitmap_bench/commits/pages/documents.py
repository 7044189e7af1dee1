"""Committed texts in Markdown, each as a page of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

_TABLE: Final = (
    '<div class="scroll" tabindex="0" role="group" aria-label="A table"><table class="data">'
)


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """A text as HTML; ``images`` are the files that it shows, which belong into ``figures/``."""

    title: str
    file: str
    body: Markup
    images: tuple[Path, ...]


def document_pages(paths: Sequence[Path]) -> list[DocumentPage]:
    """Pages of Markdown files. Links between them stay links; all others are text."""
    files = {path.name: f"{path.stem}.html" for path in paths}
    return [_page(path, files) for path in paths]


def _page(path: Path, files: Mapping[str, str]) -> DocumentPage:
    parser = MarkdownIt("commonmark").enable("table")
    parser.add_render_rule("table_open", lambda *_: _TABLE)
    parser.add_render_rule("table_close", lambda *_: "</table></div>")
    tokens = parser.parse(path.read_text(encoding="utf-8"))
    images: list[Path] = []
    for token in tokens:
        if token.attrs.pop("style", "") == "text-align:right":  # the policy allows none
            token.attrs["class"] = "number"
        if token.children:
            token.children = list(_adapted(token.children, files, path.parent, images))
    pairs = itertools.pairwise(tokens)
    title = next((text.content for tag, text in pairs if tag.type == "heading_open"), path.stem)
    html = parser.renderer.render(tokens, parser.options, {})
    # The project's own committed text; scripts in it would be refused by the page's policy.
    return DocumentPage(title, files[path.name], Markup(html), tuple(images))


def _adapted(
    tokens: Sequence[Token], files: Mapping[str, str], folder: Path, images: list[Path]
) -> Iterator[Token]:
    kept: list[bool] = []  # of the links that are open
    for token in tokens:
        if token.type == "link_open":
            kept.append(_leads_somewhere(token.attrs, files))
        if token.type == "image":
            _show(token, folder, images)
        if not token.type.startswith("link_") or kept[-1]:
            yield token
        if token.type == "link_close":
            kept.pop()


def _leads_somewhere(attributes: dict[str, Any], files: Mapping[str, str]) -> bool:
    place, mark, fragment = str(attributes["href"]).partition("#")
    if not place:
        return True
    attributes["href"] = files.get(Path(place).name, "") + mark + fragment
    return Path(place).name in files


def _show(token: Token, folder: Path, images: list[Path]) -> None:
    file = folder / str(token.attrs["src"])
    if file.is_file():
        images.append(file)
        token.attrs["src"] = f"figures/{file.name}"
