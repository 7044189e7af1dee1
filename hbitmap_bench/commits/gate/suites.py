"""The benchmarks of a commit: which there are, which must be there, and which a profile takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.gate.environments import SIDES, SideName, Workshop, extract
from hbitmap_bench.commits.gate.sides import Side, content
from hbitmap_bench.commits.gate.verdict import NOISY_EVIDENCE
from hbitmap_bench.commits.series import Benchmark, Params
from hbitmap_bench.commits.store import decode_benchmark


@dataclass(frozen=True, order=True)
class Cell:
    """A benchmark with parameters."""

    benchmark: str
    params: Params

    @property
    def name(self) -> str:
        """As asv names it, and matches expressions against it."""
        return f"{self.benchmark}({', '.join(map(repr, self.params))})"

    @property
    def regex(self) -> str:
        """An expression that matches this cell alone; without quotes, for a shell's sake."""
        return f"^{re.escape(self.name)}$".replace("\\ ", " ").replace("'", ".")


@dataclass(frozen=True)
class Plan:
    """What is measured.

    ``required`` are the cells that the base's reviewed list has, less those it says are skipped.
    ``benchmarks`` are the head's, ``cells`` those of them that are taken; asv's own descriptions,
    from which it runs them, are ``described``. ``versions`` are the reviewed ones.
    """

    described: tuple[Mapping[str, Any], ...]
    benchmarks: Mapping[str, Benchmark]
    cells: tuple[Cell, ...]
    required: tuple[Cell, ...]
    versions: Mapping[str, str]


def make_plan(
    workshop: Workshop,
    sides: Mapping[SideName, Side],
    *,
    profile: str,
    bench: str | None,
    described: Sequence[Mapping[str, Any]],
) -> Plan:
    """Choose cells: those of the profile, as either commit has it, that match ``bench``.

    Raises ``UserError`` where the base has no reviewed list, a side no such profile, or nothing is
    left to measure.
    """
    expressions = {
        name: compiled(side.declared.profile(profile).cells or [""]) for name, side in sides.items()
    }
    benchmarks = {found["name"]: decode_judged(found) for found in described}
    reviewed, skipped = _reviewed_list(workshop, sides["base"])
    only = compiled([bench]) if bench else []
    found = _matching(benchmarks.values(), [*expressions["base"], *expressions["head"]], only)
    left_out = {cell for one in described for cell in _skipped(one["name"], one)}
    cells = tuple(cell for cell in found if cell not in left_out)
    listed = _matching(reviewed.values(), expressions["base"], only)
    required = tuple(cell for cell in listed if cell not in skipped)
    if not cells and not required:
        raise UserError(
            f"the gate needs something to measure, and no benchmark of the {profile} profile "
            f"matches {bench!r}: see the suites for their names"
        )
    versions = {name: benchmark.version for name, benchmark in reviewed.items()}
    return Plan(tuple(described), benchmarks, cells, required, versions)


def extract_suites(workshop: Workshop, sides: Mapping[SideName, Side], folder: Path) -> None:
    """Put each side's ``benchmarks/`` into a folder of its name."""
    path = str(workshop.project.conf["benchmark_dir"])
    for name in SIDES:
        extract(workshop.project.root, sides[name].commit, path, folder / name)


def _reviewed_list(workshop: Workshop, base: Side) -> tuple[dict[str, Benchmark], set[Cell]]:
    """The benchmarks that the base commit's list names, and the cells that it says are skipped."""
    path = base.declared.measured.reviewed or ""
    text = content(workshop.project.root, base.commit, path)
    try:
        found: dict[str, Any] = json.loads(text or b"{}")
        listed = {name: decode_benchmark({**rest, "name": name}) for name, rest in found.items()}
        skipped = {cell for name, rest in found.items() for cell in _skipped(name, rest)}
    except (ValueError, TypeError, KeyError, AttributeError):
        listed, skipped = {}, set()
    if not listed:
        raise UserError(
            f"the base's list of benchmarks says what must be measured, and commit "
            f"{base.commit[:10]} has none in {path}: choose a base that has"
        )
    return listed, skipped


def decode_judged(described: Mapping[str, Any]) -> Benchmark:
    """A benchmark by asv's description. ``UserError`` if the gate has no rule for its kind."""
    found = decode_benchmark(described)
    if not (found.is_exact or found.kind in NOISY_EVIDENCE):
        raise UserError(
            f"the gate judges times, peaks of memory and counters, and {found.name} is of asv's "
            f"kind {found.kind!r}: count it in a track_ benchmark"
        )
    return found


def _skipped(name: str, described: Mapping[str, Any]) -> Iterator[Cell]:
    return (Cell(name, tuple(params)) for params in described.get("skip_params", ()))


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


def compiled(expressions: Iterable[str]) -> list[re.Pattern[str]]:
    """Regular expressions; ``UserError`` for what is none."""
    found = []
    for expression in expressions:
        try:
            found.append(re.compile(expression))
        except re.error as error:
            raise UserError(
                f"cells are chosen by a regular expression, and {expression!r} is none: {error}"
            ) from None
    return found
