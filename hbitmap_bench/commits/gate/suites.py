"""The benchmarks of a commit: which there are, which must be there, and which a profile takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.gate.environments import SIDES, SideName, Workshop, extract
from hbitmap_bench.commits.gate.sides import Side, content, tree_ids
from hbitmap_bench.commits.gate.verdict import NOISY_EVIDENCE
from hbitmap_bench.commits.project_file import ProjectFile
from hbitmap_bench.commits.series import Benchmark, Params, cell_name
from hbitmap_bench.commits.store import decode_benchmark


@dataclass(frozen=True, order=True)
class Cell:
    """A benchmark with parameters."""

    benchmark: str
    params: Params

    @property
    def name(self) -> str:
        """As asv names it, and matches expressions against it."""
        return cell_name(self.benchmark, self.params)

    @property
    def regex(self) -> str:
        """An expression that matches this cell alone; without quotes, for a shell's sake."""
        return f"^{re.escape(self.name)}$".replace("\\ ", " ").replace("'", ".")


@dataclass(frozen=True)
class Plan:
    """What is measured.

    ``required`` are the cells that the base's reviewed list has, less those it says are skipped;
    without a list, those of the base's suites. ``benchmarks`` are the head's, ``cells`` those of
    them that are taken; asv's own descriptions, from which it runs them, are ``described``.
    ``versions`` are the reviewed ones. ``new`` are the cells that the base lists nowhere, so that
    they may need what it has not.
    """

    described: tuple[Mapping[str, Any], ...]
    benchmarks: Mapping[str, Benchmark]
    cells: tuple[Cell, ...]
    required: tuple[Cell, ...]
    versions: Mapping[str, str]
    new: frozenset[Cell]


def make_plan(
    workshop: Workshop,
    sides: Mapping[SideName, Side],
    *,
    profile: str,
    bench: str | None,
    described: Mapping[SideName, Sequence[Mapping[str, Any]]],
) -> Plan:
    """Choose cells: those of the profile, as either commit has it, that match ``bench``.

    Raises ``UserError`` where the base has no reviewed list, a side no such profile, or nothing is
    left to measure.
    """
    expressions = {
        name: compiled(side.declared.profile(profile).cells or [""]) for name, side in sides.items()
    }
    benchmarks = {
        found["name"]: decode_judged(found, sides["head"].declared) for found in described["head"]
    }
    only = compiled([bench]) if bench else []
    found = _matching(benchmarks.values(), [*expressions["base"], *expressions["head"]], only)
    left_out = _all_skipped(described["head"])
    cells = tuple(cell for cell in found if cell not in left_out)
    reviewed = _reviewed_list(workshop, sides["base"])
    listed = reviewed or described["base"]
    wanted = _matching(map(decode_benchmark, listed), expressions["base"], only)
    left_out = _all_skipped(listed)
    if not reviewed:  # what a suite skips in its setup is only known once it has run
        left_out.update(cells)
    required = tuple(cell for cell in wanted if cell not in left_out)
    if not cells and not required:
        raise UserError(
            f"the gate needs something to measure, and no benchmark of the {profile} profile "
            f"matches {bench!r}: see the suites for their names"
        )
    versions = {one["name"]: one["version"] for one in reviewed}
    new = frozenset(cells) - {*wanted}
    return Plan(tuple(described["head"]), benchmarks, cells, required, versions, new)


def check_params(plan: Plan, base: Iterable[Mapping[str, Any]]) -> None:
    """Raise ``UserError`` where a benchmark has other parameters on the base.

    Cells are measured by their places among all, so that others than meant would be compared.
    """
    params = {one["name"]: one["params"] for one in base}
    head = {one["name"]: one["params"] for one in plan.described}
    for name in dict.fromkeys(cell.benchmark for cell in plan.cells):
        if params.get(name, head[name]) != head[name]:
            raise UserError(
                f"a benchmark must have the same parameters in both environments, and {name} has "
                "not: leave it out by --bench, or make them constant"
            )


def extract_suites(
    workshop: Workshop, sides: Mapping[SideName, Side], folder: Path
) -> dict[SideName, Path]:
    """Each side's suites as its commit has them, with all else that the commit has; their folders.

    Where commits have none, since asv's configuration is not in the repository, those of the
    working tree.
    """
    project = workshop.project
    path = project.path_of(project.benchmark_dir)
    if path is None:
        return dict.fromkeys(SIDES, project.benchmark_dir)
    for name in SIDES:
        extract(project.root, sides[name].commit, ".", folder / name)
    return {name: folder / name / path for name in SIDES}


def suites_differ(workshop: Workshop, sides: Mapping[SideName, Side]) -> bool:
    """Whether the two commits have other suites, or another reviewed list."""
    project = workshop.project
    wanted = (project.path_of(project.benchmark_dir), sides["base"].declared.measured.reviewed)
    paths = [path for path in wanted if path]
    base, head = (tree_ids(project.root, side.commit, paths) for side in sides.values())
    return base != head


def _reviewed_list(workshop: Workshop, base: Side) -> list[dict[str, Any]]:
    """Descriptions of the benchmarks that the base's reviewed list names; none without a list."""
    path = base.declared.measured.reviewed
    if path is None:
        return []
    text = content(workshop.project.root, base.commit, path)
    try:
        found: dict[str, Any] = json.loads(text or b"{}")
        listed = [{**rest, "name": name} for name, rest in found.items()]
        for one in listed:
            decode_benchmark(one)
    except (ValueError, TypeError, KeyError, AttributeError):
        listed = []
    if not listed:
        raise UserError(
            f"the base's list of benchmarks says what must be measured, and commit "
            f"{base.commit[:10]} has none in {path}: choose a base that has"
        )
    return listed


def decode_judged(described: Mapping[str, Any], declared: ProjectFile) -> Benchmark:
    """A benchmark by asv's description. ``UserError`` if the gate has no rule for its kind."""
    noisy = declared.is_noisy(described["name"])
    found = replace(decode_benchmark(described), noisy=noisy)
    if not (found.is_exact or found.kind in NOISY_EVIDENCE):
        raise UserError(
            f"the gate judges times, peaks of memory and counters, and {found.name} is of asv's "
            f"kind {found.kind!r}: count it in a track_ benchmark"
        )
    return found


def _all_skipped(described: Iterable[Mapping[str, Any]]) -> set[Cell]:
    return {
        Cell(one["name"], tuple(params))
        for one in described
        for params in one.get("skip_params", ())
    }


def _matching(
    benchmarks: Iterable[Benchmark],
    chosen: Iterable[re.Pattern[str]],
    only: Iterable[re.Pattern[str]],
) -> tuple[Cell, ...]:
    chosen, only = list(chosen), list(only)
    every = (Cell(b.name, params) for b in benchmarks for params in b.cells)
    return tuple(
        sorted(
            (
                cell
                for cell in every
                if any(p.search(cell.name) for p in chosen)
                and (not only or any(p.search(cell.name) for p in only))
            ),
            key=lambda cell: (cell.benchmark, list(map(repr, cell.params))),
        )
    )


def place_of(benchmark: Mapping[str, Any], cell: Cell) -> int:
    """Index of a cell among all of its benchmark, the last parameter varying fastest."""
    place = 0
    for values, value in zip(benchmark["params"], cell.params, strict=True):
        place = place * len(values) + values.index(repr(value))
    return place


def compiled(expressions: Iterable[str]) -> list[re.Pattern[str]]:
    """Regular expressions; ``UserError`` for what is none."""
    found = []
    for expression in expressions:
        try:
            found.append(re.compile(expression))
        except (re.error, OverflowError, RecursionError) as error:
            raise UserError(
                f"cells are chosen by a regular expression, and {expression!r} is none ({error}): "
                "mend it"
            ) from None
    return found
