"""The whole site: our pages in front, asv's behind them, put into place in one piece."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from hbitmap_bench.base import scratch
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.interrupt import uninterrupted
from hbitmap_bench.base.output import check_folder
from hbitmap_bench.commits import sources
from hbitmap_bench.commits.pages.npm import install_parts
from hbitmap_bench.commits.pages.stock import make_offline
from hbitmap_bench.commits.project import Project
from hbitmap_bench.commits.store import load_histories, require_results

if TYPE_CHECKING:
    from hbitmap_bench.commits.front import FrontPage

ASV = "asv"
"""Folder of asv's own pages in the site."""


def publish(project: Project, results_dir: Path, html_dir: Path, console: Console) -> FrontPage:
    """Build the site from stored results; the front page's content.

    An earlier site stays as it is until the new one is complete. Raises ``UserError`` for results
    that can't be used at all, missing parts, and an ``html_dir`` that is something else.
    """
    # asv changes its folder
    results_dir, html_dir = (Path(os.path.realpath(path)) for path in (results_dir, html_dir))
    _require_site(html_dir)
    for folder in (html_dir.parent, html_dir):
        check_folder(folder, "name another by --html")
    console.print("Reading results", markup=False)
    refused = require_results(results_dir, project.root)
    parts = install_parts(project.make_work_dir() / "parts")
    html_dir.parent.mkdir(parents=True, exist_ok=True)
    with scratch.folder(html_dir.parent) as folder:
        site = folder / "site"
        console.print("asv publish", markup=False)
        accepted = folder / "results"
        _link_accepted(results_dir, refused, accepted)
        _run_asv(project, accepted, folder, site / ASV)
        make_offline(site / ASV, parts)
        console.print("Front page and suites", markup=False)
        front = _write_ours(site, project, results_dir, parts)
        _put_in_place(site, html_dir, folder / "old")
    return front


def _write_ours(site: Path, project: Project, results_dir: Path, parts: Path) -> FrontPage:
    """Our own pages; the content of the first one."""
    # Here, after asv: histories, and what computes with them, would stand in memory beside it.
    from hbitmap_bench.base.front_part import added_part
    from hbitmap_bench.commits.front import front_page
    from hbitmap_bench.commits.pages.writer import write_pages

    histories = load_histories(results_dir, project.root, project.declared)
    part = added_part(project.root)
    fronts = [front_page(history, part) for history in histories]
    write_pages(site, fronts, parts)
    return fronts[0]


def _require_site(html_dir: Path) -> None:
    """Refuse to replace a folder that holds anything but an earlier site."""
    is_there = os.path.exists(html_dir)  # noqa: PTH110 - no error for a name that is too long
    if is_there and not (html_dir / ASV).is_dir() and any(_entries(html_dir)):
        raise UserError(
            f"pages replace their folder as a whole, and {html_dir} holds something else: "
            "name an empty or new one by --html"
        )


def _entries(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        raise UserError(f"pages go to a folder, and {path} is a file: name another by --html")
    return path.iterdir()


def _run_asv(project: Project, results_dir: Path, scratch: Path, html_dir: Path) -> None:
    """Asv's pages of all results in a folder."""
    conf = {
        **project.conf,
        "repo": str(project.root),
        "results_dir": str(results_dir),
        "html_dir": str(html_dir),
        "env_dir": str(project.env_dir),
        "benchmark_dir": str(project.benchmark_dir),
        "branches": _branches(project),
    }
    path = scratch / "asv.conf.json"
    path.write_text(json.dumps(conf))
    html_dir.parent.mkdir(parents=True)
    command = [sys.executable, "-m", "asv", "publish", "--no-pull", "--config", str(path)]
    home = {"HOME": str(scratch)}  # asv's file of machines there is none of the user's
    ran = subprocess.run(  # an interrupt ends the process before it goes on
        command,
        env={**os.environ, **home},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ran.returncode != 0:
        last = (ran.stdout.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"asv publish failed ({last}): run it by itself to see all of its output")


def _branches(project: Project) -> list[str]:
    """The configured branches that this clone has; where it has none, what is checked out."""
    git = ["git", "-C", str(project.root), "rev-parse", "--verify", "--quiet"]
    has = [
        name
        for name in project.conf["branches"]
        if subprocess.run([*git, f"{name}^{{commit}}"], capture_output=True).returncode == 0
    ]
    return has or ["HEAD"]


def _link_accepted(results_dir: Path, refused: Container[Path], target: Path) -> None:
    """A copy of the results without those refused."""

    def left_out(folder: str, names: list[str]) -> list[str]:
        return [
            name for name in names if Path(folder, name) in refused or name.endswith(sources.SUFFIX)
        ]

    shutil.copytree(results_dir, target, ignore=left_out, copy_function=_link)


def _link(source: str, target: str) -> None:
    """Link where the file system can, copy where it can't."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _put_in_place(site: Path, html_dir: Path, old: Path) -> None:
    """Swap the folders; the old one goes with the scratch folder."""
    with uninterrupted():
        if html_dir.exists():
            html_dir.rename(old)
        site.rename(html_dir)
