"""What a project has to say of a regression: the output of a program that it names.

It runs on the slower side, the head, right after that was measured. Whatever comes of it, no
verdict depends on it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Final

from rich.console import Console

from hbitmap_bench.base import scratch
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.printable import printable
from hbitmap_bench.commits.asv_library import at_work
from hbitmap_bench.commits.gate.runs import Manifest
from hbitmap_bench.commits.gate.session import Session, environment_of
from hbitmap_bench.commits.gate.suites import Cell
from hbitmap_bench.commits.gate.verdict import Attached, Judgement
from hbitmap_bench.commits.gate.verdict_entries import Entry, entries
from hbitmap_bench.commits.project_file import Attachment

LINES: Final = 40
COLUMNS: Final = 200
"""Of what is kept of an output: a verdict is read whole."""


def attachments(
    session: Session, manifest: Manifest, judgement: Judgement, console: Console
) -> tuple[Attached, ...]:
    """Run what the project declares for benchmarks that have regressed, each for its clearest cell.

    A program may take as long as the benchmark. Nothing is run for what is allowed.
    """
    return tuple(
        _ask(session, manifest, declared, cell, console)
        for entry in entries(judgement.findings)
        if entry.word == "REGRESSED" and not entry.clearest.allowed
        for declared in manifest.declared.attached
        if declared.of == entry.clearest.benchmark
        for cell in _cells(entry, manifest)
    )


def _cells(entry: Entry, manifest: Manifest) -> Iterator[Cell]:
    """The cell that stands for an entry; of growth alone, the last one that it was found in."""
    for part in entry.parts:
        if part.clearest.evidence != "growth":
            yield Cell(part.clearest.benchmark, part.clearest.params)
            return
    one = entry.clearest
    grown = [c for c in manifest.cells if c.benchmark == one.benchmark]
    yield from [c for c in grown if {*one.params} <= {*c.params}][-1:]


def _ask(
    session: Session, manifest: Manifest, declared: Attachment, cell: Cell, console: Console
) -> Attached:
    said = printable(f"{declared.title}: {cell.name}")
    console.print(said, style="dim", markup=False)
    try:
        text = _output(session, manifest, declared, cell)
    except UserError as error:
        text = str(error)
    return Attached(cell.benchmark, cell.name, declared.title, text)


def _output(session: Session, manifest: Manifest, declared: Attachment, cell: Cell) -> str:
    names = manifest.benchmarks[cell.benchmark].param_names
    program, *words = (_filled(word, dict(zip(names, cell.params, strict=True)))
                       for word in declared.command)  # fmt: skip
    environment = environment_of(session.workshop, "head", {})
    complaint = f"{program} gave nothing to attach"
    with at_work(session.workshop.project, complaint), scratch.folder() as folder:
        try:
            told = environment.run_executable(
                program, words, env={**os.environ, **environment.env_vars}, cwd=str(folder),
                dots=False, display_error=False,
                timeout=session.described[cell.benchmark]["timeout"],
            )  # fmt: skip
        except OSError as error:
            raise UserError(f"{complaint}: {error}") from None
    lines = [line.rstrip()[:COLUMNS] for line in told.strip().splitlines()]
    return "\n".join(lines[:LINES]) or f"{program} printed nothing"


def _filled(word: str, params: Mapping[str, object]) -> str:
    try:
        return word.format(**params)
    except (LookupError, AttributeError, ValueError, TypeError):
        raise UserError(
            f"attached.command may name {', '.join(params) or 'nothing'} in braces, and has "
            f"{word!r}: see docs/project-file.md"
        ) from None
