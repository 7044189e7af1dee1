"""The committed report, as a part of the project's front page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from hbitmap_bench.base.front_part import Figure, FrontPart
from hbitmap_bench.base.reading import read_text
from hbitmap_bench.reproduction.records import Reproduction
from hbitmap_bench.reproduction.report.projection import pick_query_cost
from hbitmap_bench.reproduction.report.six_cells import six_cells, six_cells_table
from hbitmap_bench.reproduction.report.tables import side_by_side

REPORTS: Final = "reports"
DATA: Final = "reproduction.json"
"""In the repository: the committed report of one host."""

DOCUMENTS: Final = (
    *("docs/problem.md", "docs/reading-a-report.md", "docs/operators.md"),
    *("docs/gating-your-project.md", "docs/project-file.md", "docs/ci.md", "docs/adding.md"),
    *("reports/reproduction.md", "reports/releases.md", "reports/kernels.md"),
    *("reports/second-path.md", "reports/tournament.md"),
)
"""What gets a page of its own, where it is there."""

DRAWING: Final = "docs/two-searches.svg"
DRAWN: Final = (
    "Both searches over a small bitmap. The access bitmap is full, and each question reads every "
    "word up to the end. The deny bitmap is empty, and each question reads a word a level."
)

PAGE: Final = "reproduction.md"
FIGURE: Final = re.compile(r"^!\[(?P<caption>.*)\]\((?P<file>reproduction-[\w-]+\.png)\)$", re.M)
"""A figure as ``hbitmap_bench.reproduction.report.document`` puts it into the committed page."""


def front_part(repo: Path) -> FrontPart | None:
    """The six cells, then the rows of each size, with all figures; None without a report.

    Raises ``UserError`` if it is broken.
    """
    folder = repo / REPORTS
    if not (folder / DATA).exists():
        return None
    found = Reproduction.load(folder / DATA)
    cost = pick_query_cost(found.cells)
    return FrontPart(
        tables=(six_cells_table(six_cells(found.cells, cost)), *side_by_side(found.cells, cost)),
        figures=figures(folder),
        created=found.created,
        processor=str(found.host.get("cpu_model") or "an unknown processor"),
        commit=found.commit,
        documents=tuple(path for name in DOCUMENTS if (path := repo / name).exists()),
        drawing=Figure(repo / DRAWING, DRAWN) if (repo / DRAWING).exists() else None,
    )


def figures(reports_dir: Path) -> tuple[Figure, ...]:
    """The committed figures that are there, in the order of the committed page, with its captions.

    Without that page they come by name, without captions.
    """
    try:
        page = read_text(reports_dir / PAGE)
    except (OSError, ValueError):
        page = ""
    captions = {found["file"]: _unescaped(found["caption"]) for found in FIGURE.finditer(page)}
    paths = {path.name: path for path in sorted(reports_dir.glob("reproduction-*.png"))}
    names = [
        *(name for name in captions if name in paths),
        *(n for n in paths if n not in captions),
    ]
    return tuple(Figure(paths[name], captions.get(name, "")) for name in names)


def _unescaped(text: str) -> str:
    """The inverse of ``hbitmap_bench.base.drawing.escaped``."""
    text = text.replace("<br>", "\n")
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, character)
    return re.sub(r"\\([\\`*_\[\]|])", r"\1", text)
