"""The published pages: a front page, and a page for each suite, with plots of every cell.

They are plain files that open from the file system: data comes in scripts, plots are drawn in the
browser by Observable Plot, and nothing is asked of another host. Text from data is put in escaped
by Jinja2 here, and as text, never as markup, by the scripts.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.front_part import FrontPart
from hbitmap_bench.commits.derived import Exponents
from hbitmap_bench.commits.front import FrontPage, linear
from hbitmap_bench.commits.pages import data, front_rows
from hbitmap_bench.commits.pages.derived_panels import derived_panels
from hbitmap_bench.commits.pages.documents import DocumentPage, document_pages
from hbitmap_bench.commits.pages.panel import Panel, panel_of
from hbitmap_bench.commits.pages.suite_page import SuitePage, cell_table, file_stem
from hbitmap_bench.commits.project_file import Growth
from hbitmap_bench.commits.seams_text import seam_words
from hbitmap_bench.commits.series import History

PARTS: Final = {
    "d3.min.js": "d3/dist/d3.min.js",
    "plot.umd.min.js": "@observablehq/plot/dist/plot.umd.min.js",
}
"""Files that pages load, and where packages from npm have them."""

OWN: Final = ("chart.js", "front.js", "page.js", "selection.js", "suite.js", "style.css")

FILTERS: Final = (
    ("", "All"),
    ("REGRESSED", "Regressed"),
    ("IMPROVED", "Improved"),
    ("INCONCLUSIVE", "Unconfirmed"),
)


@dataclass(frozen=True)
class Other:
    """Another history's front page, and the way to it."""

    front: FrontPage
    href: str


def write_pages(folder: Path, fronts: Sequence[FrontPage], parts_dir: Path) -> None:
    """Write the pages of all histories into a new or an empty folder.

    The first history's pages are in ``folder`` itself, ``index.html`` before all; each other has a
    folder of its own in it, linked. ``parts_dir`` is a ``node_modules`` with d3 and Observable
    Plot. Figures are copied beside. asv's own pages are expected in ``folder/asv``. Costs about
    2 us a stored number. Raises ``UserError`` where parts are missing, ``ValueError`` without a
    history.
    """
    if not fronts:
        raise ValueError("pages need a history")
    _copy_assets(folder / "assets", parts_dir)
    (folder / "figures").mkdir()
    part = fronts[0].part  # all histories are of one repository
    documents = document_pages(part.documents) if part else []
    for path in {*_figures(part), *(image for one in documents for image in one.images)}:
        shutil.copyfile(path, folder / "figures" / path.name)
    places = list(_places(fronts))
    for place, front in zip(places, fronts, strict=True):
        up = "../" if place else ""
        others = [
            Other(other, f"{up}{there}index.html")
            for there, other in zip(places, fronts, strict=True)
            if other is not front
        ]
        _Site(folder / place, up, front, others, documents).write()


def _figures(part: FrontPart | None) -> Iterator[Path]:
    for figure in (*part.figures, part.drawing) if part else ():
        if figure is not None:
            yield figure.path


def _places(fronts: Sequence[FrontPage]) -> Iterator[str]:
    """A folder for each history: none for the first, then one by machine and environment."""
    taken = {""}
    for front in fronts:
        history = front.history
        name = file_stem(f"on-{history.machine['machine']}-{history.environment}")[:100]
        place = "" if len(taken) == 1 else f"{name}/"
        while place in taken and len(taken) > 1:
            place = f"{place[:-1]}-{len(taken)}/"
        taken.add(place or "/")
        yield place


@dataclass(frozen=True)
class _Site:
    """The pages of one history. ``top`` leads from them to the folder of the first one's."""

    folder: Path
    top: str
    front: FrontPage
    others: Sequence[Other]
    documents: Sequence[DocumentPage]

    def write(self) -> None:
        (self.folder / "data").mkdir(parents=True)
        suites = suite_pages(self.front.history, self.front.exponents)
        self._write_data(suites)
        common = {"history": self.front.history, "suites": suites, "top": self.top}
        self._write_front(common)
        for document in () if self.top else self.documents:
            self._render("document.html", document.file, {**common, "document": document})
        for suite in suites:
            tables = [cell_table(panel, self.front.history.commits) for panel in suite.panels]
            self._render("suite.html", suite.file, {**common, "suite": suite, "tables": tables})

    def _write_data(self, suites: Sequence[SuitePage]) -> None:
        for suite in suites:
            for panel in suite.panels:
                self._script(_data_file(panel.name), panel.name, panel.content())
        self._script("data/index.js", "index", _index(self.front.history, suites))
        self._script("data/exponents.js", "exponents", _exponents(self.front))

    def _script(self, file: str, name: str, value: object) -> None:
        data.write_script(self.folder / file, name, value)

    def _write_front(self, common: dict[str, object]) -> None:
        more = {
            "front": self.front,
            "linear": linear(self.front),
            "verdicts": front_rows.VERDICTS,
            "words": tuple(front_rows.VERDICTS),
            "filters": FILTERS,
            "exponents": list(front_rows.exponent_rows(self.front)),
            "changes": front_rows.change_list(self.front),
            "others": self.others,
            "documents": self.documents,
            "seams": seam_words(self.front.history),
            "said": self.front.history.declared.front,
            "growth": self.front.history.declared.growth,
            "plots": _plots(self.front.exponents),
        }
        self._render("front.html", "index.html", {**common, **more})

    def _render(self, template: str, file: str, values: dict[str, object]) -> None:
        """Write a page as it is rendered: a table of every cell is large."""
        stream = _environment().get_template(template).stream(page=file, **values)
        stream.enable_buffering(500)
        stream.dump(str(self.folder / file), encoding="utf-8")


def suite_pages(history: History, exponents: Sequence[Exponents]) -> tuple[SuitePage, ...]:
    """The suites of a history, declared ones first, and their panels, derived ones before all."""
    declared = history.declared
    panels = _panels(history, exponents)
    if history.seams:  # within a commit the sessions' own seconds compare better than chained ones
        measured = _panels(history.unchained(), exponents)
        pairs = zip(panels, measured, strict=True)
        panels = [replace(p, slopes=own.lines, ratio=own.ratio) for p, own in pairs]
    names = sorted({panel.suite for panel in panels})
    known = [name for name in declared.suites if name in names]
    ordered = [*known, *(name for name in names if name not in known)]
    return tuple(
        SuitePage(name, declared.suite_words(name), tuple(p for p in panels if p.suite == name))
        for name in ordered
    )


def _panels(history: History, exponents: Sequence[Exponents]) -> list[Panel]:
    return [
        *derived_panels(history, exponents),
        *(
            panel_of(benchmark, history.measured[name], history.declared)
            for name, benchmark in sorted(history.benchmarks.items())
        ),
    ]


def _index(history: History, suites: Sequence[SuitePage]) -> dict[str, object]:
    """What all pages share: commits, and where each panel's data is."""
    seams = {seam.place for seam in history.seams}
    commits = [
        {"hash": c.hash, "date": f"{c.date:%Y-%m-%d %H:%M} UTC", "subject": c.subject}
        | ({"seam": True} if place in seams else {})
        for place, c in enumerate(history.commits)
    ]
    found = {
        suite.name: [
            {"name": p.name, "title": p.words.title, "file": _data_file(p.name)}
            for p in suite.panels
        ]
        for suite in suites
    }
    asv = {"machine": history.machine["machine"]}
    meant = history.declared.parameters
    return {
        "commits": commits, "suites": found, "asv": asv, "size": meant.size,
        "variant": meant.variant,
    }  # fmt: skip


def _exponents(front: FrontPage) -> dict[str, object]:
    """The growth exponents over commits, and which keys of a line name its series and group."""
    growth = front.history.declared.growth
    return {
        "lines": _lines(front.exponents),
        "plots": {plot: one.quantity for plot, one in _plots(front.exponents).items()},
        "group": list(growth[0].by) if growth else [],
        "exact": sorted({line.quantity for line in front.exponents if line.exact}),
    }


def _plots(lines: Sequence[Exponents]) -> dict[str, Growth]:
    """What growth each plot is of, where any commit has an exponent; by the plot's name."""
    found: dict[str, Growth] = {}
    for line in lines:
        if line.growth not in found.values() and np.isfinite(line.value).any():
            quantity = line.quantity
            found[f"{quantity}-{len(found)}" if quantity in found else quantity] = line.growth
    return found


def _lines(lines: Sequence[Exponents]) -> list[dict[str, object]]:
    plots = _plots(lines)
    return [
        {
            **dict(zip(line.growth.by, line.group, strict=True)),
            "series": line.series,
            "plot": next(plot for plot, growth in plots.items() if growth == line.growth),
            "limit": line.limit if line.limit == line.limit else None,
            "n_sizes": line.n_sizes.tolist(),
            "value": data.nullable(line.value),
            "low": data.nullable(line.low),
            "high": data.nullable(line.high),
        }
        for line in lines
        if line.growth in plots.values()
    ]


def _data_file(panel: str) -> str:
    return f"data/{file_stem(panel)}.js"


def _copy_assets(folder: Path, parts_dir: Path) -> None:
    folder.mkdir(parents=True)
    for name, part in PARTS.items():
        source = parts_dir / part
        if not source.is_file():
            raise UserError(
                f"pages need {part} from npm, and {parts_dir} has none: run npm install there"
            )
        shutil.copyfile(source, folder / name)
    own = resources.files("hbitmap_bench.commits.pages") / "assets"
    for name in OWN:
        (folder / name).write_bytes((own / name).read_bytes())


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("hbitmap_bench.commits.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["marked"] = marked
    return found


def marked(text: str) -> Markup:
    """What a project says, with ``**bold**`` and code in backticks; all else stays text."""
    escaped = str(escape(text.strip()))
    bold = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escaped)
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", bold))  # escaped above
