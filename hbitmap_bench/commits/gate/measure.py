"""Measures two commits for the gate, into a run's folder."""

from __future__ import annotations

import errno
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain, count
from pathlib import Path
from time import perf_counter
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from hbitmap_bench.base import scratch
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import deliver, folder_as_text
from hbitmap_bench.commits import sources
from hbitmap_bench.commits.gate import BUDGET_S, environments, instructions, suites
from hbitmap_bench.commits.gate.allowances import check_allowances, new_allowances
from hbitmap_bench.commits.gate.attachments import attachments
from hbitmap_bench.commits.gate.environments import SideName, Workshop
from hbitmap_bench.commits.gate.instructions import Counts
from hbitmap_bench.commits.gate.judge import hiding, judge, suspects
from hbitmap_bench.commits.gate.overrides import read_overrides
from hbitmap_bench.commits.gate.runs import COUNTERS, PASSES, Manifest, load_passes, save_manifest
from hbitmap_bench.commits.gate.session import Session, discover
from hbitmap_bench.commits.gate.sides import Side
from hbitmap_bench.commits.gate.suites import Cell, Plan
from hbitmap_bench.commits.gate.verdict import EnvironmentFacts, RunFacts
from hbitmap_bench.commits.installed import Installed

ROUNDS: Final = (12, 28)
"""Of the first pass, over all noisy cells, and of the second, over the suspects alone."""

COLUMNS: Final = (
    "{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
)  # fmt: skip
"""Of a progress bar."""


@dataclass(frozen=True)
class Request:
    """What to compare: two sides, a profile, cells of it alone if ``bench``, on a named machine.

    ``budget_s`` may be spent on more rounds of cells in which a large rise may hide. The suites are
    the head's, and the list of what must be measured is the base's, unless
    ``suites_of`` names a commit that both come from. ``environment`` is asv's name of the one that
    is meant, where a project has several. With ``instructions`` None they are counted where they
    can be, within ``instructions.BUDGET_S``.
    """

    base: Side
    head: Side
    profile: str
    bench: str | None
    machine: Mapping[str, str]
    band: float
    band_source: str
    instructions: bool | None = False
    budget_s: float = BUDGET_S
    same_code_too: bool = False
    suites_of: Side | None = None
    environment: str = ""

    @property
    def sides(self) -> dict[SideName, Side]:
        """By name."""
        return {"base": self.base, "head": self.head}

    @property
    def suites(self) -> dict[SideName, Side]:
        """Whose suites and lists count for either side."""
        return {name: self.suites_of or side for name, side in self.sides.items()}


def measure(workshop: Workshop, request: Request, console: Console) -> Path:
    """Measure, and return the folder of the run; it appears there only once it is whole.

    Sides whose measured sources are one are not timed, unless ``same_code_too``; where their suites
    differ, it is looked whether the head still has what the base's list names. Raises
    ``UserError`` and ``KeyboardInterrupt``, which leave earlier runs as they are.
    """
    started = perf_counter()
    with workshop.alone(), _new_run(workshop, request) as (unfinished, folder):
        manifest = _manifest(workshop.project.root, request)
        with scratch.for_all():
            if not manifest.same_code or request.same_code_too:
                manifest = _measure(workshop, request, manifest, unfinished, console)
            elif suites.suites_differ(workshop, request.suites):
                console.print("Preparing both environments, since the suites differ", style="dim")
                environments.prepare(workshop, request.sides)
                manifest = _look_for_what_is_gone(workshop, request, manifest, unfinished)
        elapsed_s = perf_counter() - started
        facts = replace(manifest.facts, elapsed_s=elapsed_s)
        return _finish(unfinished, folder, replace(manifest, facts=facts))


def _with_environments(facts: RunFacts, found: Mapping[SideName, EnvironmentFacts]) -> RunFacts:
    base, head = (replace(getattr(facts, side), environment=one) for side, one in found.items())
    return replace(facts, base=base, head=head)


def _finish(unfinished: Path, folder: Path, manifest: Manifest) -> Path:
    """Make a run whole and let it appear; where that fails a copy is made elsewhere."""
    appeared: list[Path] = []

    def write(place: Path) -> None:
        if place == folder:
            save_manifest(unfinished, manifest)
            appeared.append(_appear(unfinished, folder))
        else:
            shutil.copytree(unfinished, place)
            save_manifest(place, manifest)

    deliver([(folder, write)], lambda: None, partial(folder_as_text, unfinished))
    return appeared[0]


def _appear(unfinished: Path, folder: Path) -> Path:
    """Rename a run; beside one of the same second and commits, by a number. Returns where."""
    for place in chain([folder], (folder.with_name(f"{folder.name}-{n}") for n in count(2))):
        try:
            return unfinished.rename(place)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
    raise AssertionError("there is always a next number")


def _measure(
    workshop: Workshop, request: Request, manifest: Manifest, folder: Path, console: Console
) -> Manifest:
    console.print("Preparing both environments", style="dim")
    packages = environments.prepare(workshop, request.sides)
    if workshop.variants:
        found = environments.compared(workshop, packages)
        manifest = replace(manifest, facts=_with_environments(manifest.facts, found))
    _check_packages(workshop, request, packages)
    if packages["base"].files == packages["head"].files and not manifest.same_code:
        if request.head.declared.measured.paths:
            return replace(manifest, same_package=True)
        if not request.same_code_too:  # nothing says that the change must change the package
            return _look_for_what_is_gone(
                workshop, request, replace(manifest, same_code=True), folder
            )
    plan, suites_of = _plan(workshop, request, folder)
    check_allowances(manifest.allowances, plan.benchmarks)
    manifest = replace(
        manifest,
        benchmarks=plan.benchmarks,
        cells=plan.cells,
        required=plan.required,
        versions=plan.versions,
        same_code=False,  # asked for: calibration
    )
    counts = _instructions(
        workshop, request, plan, suites_of["head"], folder / "instructions", console
    )
    manifest = replace(manifest, instructions=counts)
    session = Session(
        workshop=workshop,
        sides=request.sides,
        packages=packages,
        machine=request.machine,
        suites=suites_of["head"],
        described={found["name"]: found for found in plan.described},
    )
    exact = [cell for cell in plan.cells if plan.benchmarks[cell.benchmark].is_exact]
    noisy = [cell for cell in plan.cells if not plan.benchmarks[cell.benchmark].is_exact]
    _rounds(session, exact, folder / COUNTERS, 1, "counters", console)
    if noisy:
        manifest = _passes(session, noisy, folder, manifest, request.budget_s, console)
    session.forget_caches()
    shutil.rmtree(folder / "suites", ignore_errors=True)
    failures = tuple(
        (side, cell.name, failure.reason)
        for (side, cell), failure in session.failures.items()
        # of one commit nothing is new: what environment A can't measure is missing
        if side == "head" or workshop.variants or cell not in plan.new
    )
    manifest = replace(manifest, failures=failures)
    judgement = judge(load_passes(folder, manifest))
    attached = attachments(session, manifest, judgement, console)
    return replace(manifest, attached=attached)


def _instructions(
    workshop: Workshop, request: Request, plan: Plan, suite: Path, folder: Path, console: Console
) -> Counts:
    """Of the timed cells, where they are wanted and can be counted."""
    timed = instructions.timed(plan)
    if request.instructions is False or not timed:
        return Counts({}, {})
    if reason := instructions.missing():
        return Counts({}, dict.fromkeys(timed, reason))
    budget_s = math.inf if request.instructions else instructions.BUDGET_S
    with Progress(*COLUMNS, console=console, transient=True) as progress:
        task = progress.add_task("instructions", total=None)
        try:
            return instructions.count(
                instructions.interpreters(workshop), suite, timed, folder, budget_s,
                lambda done, total: progress.update(task, completed=done, total=total),
            )  # fmt: skip
        except UserError as error:
            if request.instructions:
                raise
            return Counts({}, dict.fromkeys(timed, str(error)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _look_for_what_is_gone(
    workshop: Workshop, request: Request, manifest: Manifest, folder: Path
) -> Manifest:
    """What the base's list names and the head's suites have, of one code: nothing is timed.

    Else a change that takes a benchmark away, and nothing more, would pass; and after it any other.
    """
    plan, _ = _plan(workshop, request, folder)
    shutil.rmtree(folder / "suites", ignore_errors=True)
    return replace(
        manifest, benchmarks=plan.benchmarks, cells=plan.cells, required=plan.required,
        versions=plan.versions,
    )  # fmt: skip


def _passes(
    session: Session,
    cells: Sequence[Cell],
    folder: Path,
    manifest: Manifest,
    budget_s: float,
    console: Console,
) -> Manifest:
    """The first pass over all noisy cells, the second over suspects; says the rounds of each."""
    started = perf_counter()
    _rounds(session, cells, folder / PASSES[0], ROUNDS[0], "first pass", console)
    visit_s = (perf_counter() - started) / len(cells) / ROUNDS[0]
    first = replace(manifest, facts=replace(manifest.facts, rounds=ROUNDS[:1]))
    first = _more_rounds(session, folder, first, visit_s, budget_s, console)
    again = suspects(load_passes(folder, first))
    if not again:
        return first
    console.print(f"Suspected, and measured again: {len(again)} cells", style="dim")
    session.exchange()
    _rounds(session, again, folder / PASSES[1], ROUNDS[1], "second pass", console)
    return replace(first, facts=replace(first.facts, rounds=ROUNDS))


def _more_rounds(
    session: Session,
    folder: Path,
    manifest: Manifest,
    visit_s: float,
    budget_s: float,
    console: Console,
) -> Manifest:
    """As many rounds again, while much may hide and the budget has room; says how many more.

    ``visit_s`` is what a cell has cost in a round. Which cells take part depends on how wide their
    intervals are, not on which way they changed. Rounds come in twos, for sides exchange halfway.
    """
    ends, more = perf_counter() + budget_s, 0
    while cells := hiding(load_passes(folder, manifest)):
        room = int((ends - perf_counter()) / (visit_s * len(cells)))
        n_rounds = min(room, ROUNDS[0]) // 2 * 2
        if n_rounds < 2:
            break
        console.print(f"Much may hide: {n_rounds} more rounds of {len(cells)} cells", style="dim")
        session.exchange()
        done = ROUNDS[0] + more
        _rounds(session, cells, folder / PASSES[0], n_rounds, "more rounds", console, done)
        more += n_rounds
        manifest = replace(manifest, facts=replace(manifest.facts, more_rounds=more))
    return manifest


def _rounds(
    session: Session,
    cells: Sequence[Cell],
    folder: Path,
    n_rounds: int,
    what: str,
    console: Console,
    done: int = 0,
) -> None:
    """Rounds over some cells, after ``done``, with a bar; halfway sides exchange environments."""
    if not cells:
        return
    with Progress(*COLUMNS, console=console, transient=True) as progress:
        task = progress.add_task(what, total=n_rounds * len(cells))
        for number in range(1, n_rounds + 1):
            if number == n_rounds // 2 + 1 > 1:
                session.exchange()
            place = done + number
            session.measure_round(
                cells, folder / f"round-{place:02}", place, lambda: progress.advance(task)
            )


def _plan(workshop: Workshop, request: Request, folder: Path) -> tuple[Plan, dict[SideName, Path]]:
    """What is measured, and where the suites of either side are.

    Suites of one commit may still have other benchmarks in another environment.
    """
    found = suites.extract_suites(workshop, request.suites, folder / "suites")
    head = discover(workshop, "head", found["head"])
    needed = request.suites["base"].declared.measured.reviewed is None or workshop.variants
    differ = needed and (workshop.variants or suites.suites_differ(workshop, request.suites))
    base = discover(workshop, "base", found["base"]) if differ else head
    plan = suites.make_plan(
        workshop, request.suites,
        profile=request.profile, bench=request.bench, described={"base": base, "head": head},
    )  # fmt: skip
    if workshop.variants:
        suites.check_params(plan, base)
    return plan, found


def _check_packages(
    workshop: Workshop, request: Request, packages: Mapping[SideName, Installed]
) -> None:
    """Of a package that samples import, every file that is not compiled must be its commit's."""
    sides = {name: side for name, side in request.sides.items() if side.declared.measured.imports}
    wanted = [(side.commit, packages[name].files) for name, side in sides.items()]
    known = sources.committed_files(workshop.project.root, wanted)
    for name, side in sides.items():
        if wrong := sources.difference(packages[name].files, side.commit, known):
            raise UserError(
                f"what is installed of {workshop.called(name)} is not its commit's: {wrong}"
            )


def _manifest(repo: Path, request: Request) -> Manifest:
    """What is known before anything is measured."""
    facts = RunFacts(
        base=request.base.facts,
        head=request.head.facts,
        profile=request.profile,
        bench=request.bench,
        machine=request.machine,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        rounds=(),
        elapsed_s=0.0,
        environment=request.environment,
    )
    return Manifest(
        facts=facts,
        band=request.band,
        band_source=request.band_source,
        benchmarks={},
        cells=(),
        required=(),
        versions={},
        failures=(),
        allowances=new_allowances(request.base.declared, request.head.declared),
        instructions=Counts({}, {}),
        same_code=request.base.measured == request.head.measured,
        same_package=False,
        overrides=read_overrides(repo, request.base.commit, request.head.commit),
        declared=request.head.declared,
    )


@contextmanager
def _new_run(workshop: Workshop, request: Request) -> Iterator[tuple[Path, Path]]:
    """A folder to work in, gone unless it was renamed, and where it is to appear."""
    runs = workshop.folder / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    name = f"{now}-{request.base.commit[:8]}-{request.head.commit[:8]}"
    unfinished = Path(tempfile.mkdtemp(prefix=environments.UNFINISHED, dir=runs))  # noqa: TID251
    try:
        yield unfinished, runs / name
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
