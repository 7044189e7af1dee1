"""What the gate's commands do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console

from hbitmap_bench.base.consoles import PipedConsole
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import check_folder, check_output, deliver, write_text
from hbitmap_bench.commits.asv_library import environments
from hbitmap_bench.commits.gate import instructions, resolution
from hbitmap_bench.commits.gate.environments import Workshop
from hbitmap_bench.commits.gate.judge import judge
from hbitmap_bench.commits.gate.measure import ROUNDS, Request, measure
from hbitmap_bench.commits.gate.paired import log_ratio
from hbitmap_bench.commits.gate.runs import Run, load_run
from hbitmap_bench.commits.gate.sides import Side, resolve, resolve_one
from hbitmap_bench.commits.gate.suites import compiled
from hbitmap_bench.commits.gate.thresholds import DEFAULT_BAND
from hbitmap_bench.commits.gate.variants import variants
from hbitmap_bench.commits.gate.verdict import Judgement
from hbitmap_bench.commits.gate.verdict_formats import Format, render_all
from hbitmap_bench.commits.gate.verdict_json import to_json
from hbitmap_bench.commits.gate.verdict_text import print_text
from hbitmap_bench.commits.machine import machine_fields
from hbitmap_bench.commits.project import Project, find_project

VERDICT: Final = "verdict.json"
"""In a run's folder: as it was judged when it was measured, each cell."""

WORST_FIRST = (1, 2, 0)
"""A regression that was seen outweighs what could not be seen."""


@dataclass(frozen=True)
class Options:
    """What to measure, as the commands take it."""

    profile: str
    bench: str | None
    machine: str
    instructions: bool | None
    budget_s: float = 0.0


@dataclass(frozen=True)
class Refs:
    """Which commits, as the command takes them."""

    base: str | None
    head: str | None
    allow_dirty: bool

    def both(self, project: Project) -> tuple[Side, Side]:
        """Base and head."""
        return resolve(project, self.base, self.head, allow_dirty=self.allow_dirty)

    def one(self, project: Project) -> tuple[Side, Side]:
        """The head on both sides. Raises ``UserError`` for a base, which none would be."""
        if self.base is not None:
            raise UserError(
                "two environments are compared on one commit, and there is a --base: leave it out, "
                "or leave --env-a and --env-b out"
            )
        side = resolve_one(project, self.head, allow_dirty=self.allow_dirty)
        return side, side


@dataclass(frozen=True)
class Report:
    """How a judgement is told: in which format, and in which file, if any."""

    format: Format
    output: Path | None

    def check(self) -> None:
        """Raise ``UserError`` if the file could not be written, before minutes of measuring."""
        check_output(self.output)

    def tell(self, judgements: Sequence[Judgement]) -> None:
        """Write to the file and say so, or print."""
        console = PipedConsole(soft_wrap=True, highlight=False)
        if self.output is None and self.format == "text":
            for judgement in judgements:
                print_text(judgement, PipedConsole())
            return
        text = render_all(judgements, self.format)
        if self.output is None:
            console.out(text, end="", highlight=False)
            return

        def outcomes() -> None:
            for judgement in judgements:
                console.print(f"{judgement.outcome}: {'; '.join(judgement.reasons)}", markup=False)

        say = partial(console.print, markup=False)
        deliver([(self.output, write_text(lambda: text))], outcomes, lambda: text, say)


def gate(
    folder: Path,
    refs: Refs,
    env_options: tuple[Sequence[str], Sequence[str]],
    options: Options,
    report: Report,
) -> int:
    """Measure, judge and tell; the exit code."""
    report.check()
    compiled([options.bench or ""])
    if options.instructions:
        instructions.require()
    project = find_project(folder)
    if any(env_options):
        workshops = _of_variants(project, *env_options)
        sides = refs.one(project)
    else:
        workshops = [Workshop(project, place) for place in range(len(environments(project)))]
        sides = refs.both(project)
    check_folder(Workshop(project).folder / "runs", "make it writable")
    progress = Console(stderr=True, soft_wrap=True, highlight=False)
    runs = []
    for workshop in workshops:
        request = _request(workshop, sides, options)
        if len(workshops) > 1:
            request = replace(request, environment=workshop.name)
        runs.append(measure(workshop, request, progress))
    judgements = [judge(load_run(run)) for run in runs]
    try:
        kept = [
            (run / VERDICT, write_text(partial(to_json, judgement)))
            for run, judgement in zip(runs, judgements, strict=True)
        ]
        deliver(kept, partial(report.tell, judgements), partial(render_all, judgements, "json"))
    finally:  # most of all where the report could not be written
        for run in runs:
            progress.print(f"Stored in {run}: judge it again by hbitmap-bench judge", markup=False)
    return _worst(judgements)


def _of_variants(project: Project, a: Sequence[str], b: Sequence[str]) -> list[Workshop]:
    """A workshop for each pair of environments. ``UserError`` for those that asv can't make."""
    pairs = variants(project, a, b)
    for variant in chain(*pairs):
        environments(variant.project)
    return [Workshop(project, variants=pair) for pair in pairs]


def judge_stored(runs: Sequence[Path], report: Report) -> int:
    """Judge stored runs and tell; the exit code of the worst."""
    report.check()
    judgements = [judge(load_run(run)) for run in runs]
    report.tell(judgements)
    return _worst(judgements)


def _worst(judgements: Sequence[Judgement]) -> int:
    return min((j.exit_code for j in judgements), key=WORST_FIRST.index)


def calibrate(folder: Path, options: Options, n_passes: int) -> None:
    """Measure HEAD against itself, and store what the machine can resolve."""
    compiled([options.bench or ""])
    workshop = Workshop(find_project(folder))
    sides = resolve(workshop.project, "HEAD", "HEAD", allow_dirty=False)
    default = (DEFAULT_BAND.value, "none: this is a calibration")
    request = _request(workshop, sides, options, band=default)
    path = resolution.path_of(workshop.project.results_dir, request.machine)
    check_folder(path.parent, "make it writable")
    progress = Console(stderr=True, soft_wrap=True, highlight=False)
    found: list[float] = []
    for number in range(1, n_passes + 1):
        progress.print(f"Session {number} of {n_passes}", style="dim")
        found += noise(load_run(measure(workshop, request, progress)))
    stored = resolution.Calibration(
        commit=sides[1].commit,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=request.machine,
        profile=options.profile,
        n_passes=n_passes,
        n_rounds=ROUNDS[0],
        log_ratios=found,
        band=resolution.band_of(found),
    )
    say = partial(Console(soft_wrap=True, highlight=False).print, markup=False)
    told = (
        f"A commit against itself differed by {np.expm1(np.median(np.abs(found))):.1%} in the "
        f"median and {np.expm1(np.max(np.abs(found))):.1%} at most ({len(found)} differences).\n"
        f"Band: {stored.band:.1%}"
    )
    deliver([(path, stored.save)], partial(say, told), stored.to_json, say)


def noise(run: Run) -> list[float]:
    """Log ratios of a run's noisy cells, first pass: of a commit against itself they are noise."""
    return [
        log_ratio(base, head)
        for one in run.passes[:1]
        for base, head in one.values()
        if np.isfinite(base).all() and np.isfinite(head).all()
    ]


def _request(
    workshop: Workshop,
    sides: tuple[Side, Side],
    options: Options,
    band: tuple[float, str] | None = None,
) -> Request:
    """The same code is measured too: by a calibration, which says its band, and in variants."""
    for side in sides:
        side.declared.profile(options.profile)  # told before minutes of building
    machine = machine_fields(options.machine, workshop.project.results_dir)
    value, source = band or resolution.load_band(workshop.project.results_dir, machine, ROUNDS[0])
    return Request(
        *sides,
        profile=options.profile,
        bench=options.bench,
        machine=machine,
        band=value,
        band_source=source,
        instructions=options.instructions,
        budget_s=options.budget_s,
        same_code_too=band is not None or workshop.variants is not None,
    )
