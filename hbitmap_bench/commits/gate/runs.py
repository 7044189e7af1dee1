"""A stored run of the gate: a folder with ``run.json`` and a results folder a round and side.

======================================  =================================================
``run.json``                            what was compared, where, in which band: ``Manifest``
``counters/round-01/base|head/...``     exact counters, once a side, as asv stores results
``pass-1/round-NN/base|head/...``       noisy cells; in the last rounds perhaps some alone
``pass-2/round-NN/base|head/...``       suspects of the first pass, measured afresh
======================================  =================================================

Beside each result stands its side record, with the digest of the file and what was imported.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import write_atomic
from hbitmap_bench.base.reading import read_json
from hbitmap_bench.base.shape import checked
from hbitmap_bench.commits import sources
from hbitmap_bench.commits.gate.environments import SIDES, SideName
from hbitmap_bench.commits.gate.instructions import Counts
from hbitmap_bench.commits.gate.paired import summary
from hbitmap_bench.commits.gate.suites import Cell
from hbitmap_bench.commits.gate.verdict import (
    Attached,
    EnvironmentFacts,
    Override,
    RunFacts,
    SideFacts,
)
from hbitmap_bench.commits.project_file import DEFAULTS, FILE, Allowance, ProjectFile, parse, read
from hbitmap_bench.commits.series import Benchmark, Param
from hbitmap_bench.commits.sessions import rows_of
from hbitmap_bench.commits.store import DAMAGE, RESULT_SCHEMA, decode_benchmark, param_values

SCHEMA: Final = 2
MANIFEST: Final = "run.json"
COUNTERS: Final = "counters"
PASSES: Final = ("pass-1", "pass-2")

Floats = NDArray[np.float64]
Pair = tuple[Floats, Floats]
"""Base and head: a number a round, NaN where there is none."""


@dataclass(frozen=True)
class Manifest:
    """All of a run but its numbers.

    ``required`` are the cells that the base's reviewed list has, ``versions`` the reviewed versions
    of its benchmarks. ``failures`` are (side, cell, reason). ``same_code``: the measured sources of
    both sides are one; ``same_package``: the sources differ, and what was installed does not.
    ``declared`` is the project's file by which the run is judged. ``attached`` is what was said of
    regressions when it was measured.
    """

    facts: RunFacts
    band: float
    band_source: str
    benchmarks: Mapping[str, Benchmark]
    cells: tuple[Cell, ...]
    required: tuple[Cell, ...]
    versions: Mapping[str, str]
    failures: tuple[tuple[SideName, str, str], ...]
    allowances: tuple[Allowance, ...]
    instructions: Counts
    same_code: bool
    same_package: bool
    overrides: tuple[Override, ...] = ()
    declared: ProjectFile = DEFAULTS
    attached: tuple[Attached, ...] = ()


@dataclass(frozen=True)
class Run:
    """A run with its numbers: counters by cell, and of each pass every cell's rounds.

    ``calls`` are how many calls a sample of a cell timed, the fewest of all.
    """

    manifest: Manifest
    counters: Mapping[Cell, tuple[float, float]]
    passes: tuple[Mapping[Cell, Pair], ...]
    calls: Mapping[Cell, float] = field(default_factory=dict)


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``run.json``."""
    facts = asdict(manifest.facts)
    stored = {
        "schema": SCHEMA,
        "asv": _asv_versions(),
        "facts": facts,
        "band": manifest.band,
        "band_source": manifest.band_source,
        "benchmarks": {name: _encoded(b) for name, b in manifest.benchmarks.items()},
        "cells": [_cell_json(cell) for cell in manifest.cells],
        "required": [_cell_json(cell) for cell in manifest.required],
        "versions": dict(manifest.versions),
        "failures": [list(failure) for failure in manifest.failures],
        "allowances": [asdict(allowance) for allowance in manifest.allowances],
        "instructions": [
            [*_cell_json(cell), *counts] for cell, counts in manifest.instructions.counted.items()
        ],
        "not_counted": [
            [*_cell_json(cell), why] for cell, why in manifest.instructions.left_out.items()
        ],
        "same_code": manifest.same_code,
        "same_package": manifest.same_package,
        "overrides": [asdict(override) for override in manifest.overrides],
        "project_file": manifest.declared.text,
        "attached": [asdict(attached) for attached in manifest.attached],
    }
    write_atomic(folder / MANIFEST, (json.dumps(stored, indent=1) + "\n").encode())


def load_run(folder: Path) -> Run:
    """Read a stored run. Raises ``UserError`` if it is damaged, unfinished, or another asv's."""
    return load_passes(folder, load_manifest(folder))


def load_passes(folder: Path, manifest: Manifest) -> Run:
    """The numbers of a run whose manifest is known; of the passes, those that it tells of."""
    facts = manifest.facts
    n_rounds = (*(n + facts.more_rounds for n in facts.rounds[:1]), *facts.rounds[1:])
    calls: dict[Cell, float] = {}
    passes = tuple(
        load_pass(folder / name, manifest, n, calls)
        for name, n in zip(PASSES, n_rounds, strict=False)
    )
    counters = {}
    if (folder / COUNTERS).exists():
        pairs = load_pass(folder / COUNTERS, manifest, 1, {})
        counters = {cell: (float(b[0]), float(h[0])) for cell, (b, h) in pairs.items()}
    return Run(manifest, counters, passes, calls)


def load_manifest(folder: Path) -> Manifest:
    """Read ``run.json``."""
    path = folder / MANIFEST
    try:
        stored = read_json(path)
    except FileNotFoundError:
        raise UserError(
            f"a run of the gate has a {MANIFEST}, and {folder} has none: name the folder that "
            "`hbitmap-bench gate` printed"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} must be JSON, and can't be read ({error}): measure again"
        ) from None
    try:
        if stored["schema"] != SCHEMA:
            raise ValueError(f"schema {stored['schema']}, not {SCHEMA}")
        if stored["asv"] != _asv_versions():
            raise UserError(
                f"{folder} was measured by asv {' and runner '.join(stored['asv'])}, and this is "
                f"{' and runner '.join(_asv_versions())}: samples of two do not compare"
            )
        if not 0 < stored["band"] < math.inf:  # nothing would lie beyond NaN
            raise ValueError(f"a band of {stored['band']}")
        found = _manifest(stored, folder)
        if unknown := {cell.benchmark for cell in found.cells} - found.benchmarks.keys():
            raise ValueError(f"no benchmark {min(unknown)}")
        return found
    except DAMAGE as error:
        raise UserError(f"{path} is no run of the gate ({error!r}): measure again") from None


def load_pass(
    folder: Path, manifest: Manifest, n_rounds: int, calls: dict[Cell, float]
) -> dict[Cell, Pair]:
    """Numbers of a pass, of those cells that have any: arrays of ``n_rounds``.

    Puts the fewest calls of a sample into ``calls``.
    """
    known = set(manifest.cells)
    found: dict[Cell, Pair] = {}
    for number in range(n_rounds):
        for index, side in enumerate(SIDES):
            values = _load_side(folder / f"round-{number + 1:02}" / side, side, manifest)
            for cell, value, n_calls in values:
                if cell in known:
                    calls[cell] = min(calls.get(cell, n_calls), n_calls)
                    pair = found.setdefault(
                        cell, (np.full(n_rounds, np.nan), np.full(n_rounds, np.nan))
                    )
                    pair[index][number] = value
    return found


def _load_side(folder: Path, side: SideName, manifest: Manifest) -> list[Number]:
    paths = list(sources.result_paths(folder))
    if len(paths) != 1:
        raise UserError(
            f"a round has one result a side, and {folder} has {len(paths)}: measure again"
        )
    (path,) = paths
    commit = getattr(manifest.facts, side).commit
    try:
        stored = read_json(path)
        values = _values(stored)
        if (values and sources.read_record(path)[0] != commit) or stored["commit_hash"] != commit:
            raise ValueError(f"not of commit {commit[:10]}")
        if stored["version"] != RESULT_SCHEMA:
            raise ValueError(f"asv's result version {stored['version']}, not {RESULT_SCHEMA}")
        if stored["params"] != dict(manifest.facts.machine):
            raise ValueError("of another machine")
        return values
    except DAMAGE as error:
        raise UserError(f"{path} can't be judged: {error}: measure again") from None


class Number(NamedTuple):
    """A cell's value in a result file: the summary of its samples, each of so many calls."""

    cell: Cell
    value: float
    calls: float


def _values(stored: Mapping[str, Any]) -> list[Number]:
    """What a result file says of each cell."""
    found = []
    for name, columns in rows_of(stored).items():
        if columns.get("result") is None:
            continue
        kind = Benchmark(name, "time", "", "", (), param_values(columns["params"]))
        samples = columns.get("samples") or [None] * len(kind.cells)
        calls = columns.get("stats_number") or [None] * len(kind.cells)
        for params, value, taken, n in zip(
            kind.cells, columns["result"], samples, calls, strict=True
        ):
            number = summary(taken) if taken else value
            if taken and not number > 0:
                raise ValueError(f"{name} took {number} s, and a time is above 0")
            if number is not None and not math.isnan(number):
                found.append(Number(Cell(name, params), float(number), float(n or 1)))
    return found


def _manifest(stored: Mapping[str, Any], folder: Path) -> Manifest:
    return Manifest(
        facts=_facts(**stored["facts"]),
        band=float(stored["band"]),
        band_source=str(stored["band_source"]),
        benchmarks={
            name: decode_benchmark({**b, "name": name}) for name, b in stored["benchmarks"].items()
        },
        cells=_cells(stored["cells"]),
        required=_cells(stored["required"]),
        versions=dict(stored["versions"]),
        failures=tuple(
            (_name(side), str(cell), str(why)) for side, cell, why in stored["failures"]
        ),
        allowances=tuple(checked(Allowance(**allowance)) for allowance in stored["allowances"]),
        instructions=Counts(
            {
                _cell(name, params): (float(base), float(also), float(head))
                for name, params, base, also, head in stored["instructions"]
            },
            {_cell(name, params): str(why) for name, params, why in stored["not_counted"]},
        ),
        same_code=bool(stored["same_code"]),
        same_package=bool(stored["same_package"]),
        overrides=tuple(checked(Override(**one)) for one in stored.get("overrides", ())),
        declared=_declared(stored, folder),
        attached=tuple(Attached(**attached) for attached in stored.get("attached", ())),
    )


def _declared(stored: Mapping[str, Any], folder: Path) -> ProjectFile:
    """The project's file as the run has it; older runs have none: that of the clone around it."""
    if "project_file" in stored:
        return parse(str(stored["project_file"]))
    return next((read(up) for up in folder.resolve().parents if (up / FILE).exists()), DEFAULTS)


def _facts(
    base: Mapping[str, Any],
    head: Mapping[str, Any],
    rounds: Sequence[int],
    elapsed_s: float,
    more_rounds: int = 0,
    **rest: Any,  # noqa: ANN401 - the fields
) -> RunFacts:
    numbers = tuple(int(n) for n in rounds)
    sides = _side(**base), _side(**head)
    return checked(
        RunFacts(
            *sides, rounds=numbers, elapsed_s=float(elapsed_s), more_rounds=int(more_rounds), **rest
        )
    )


def _name(side: str) -> SideName:
    """Raises ``ValueError`` for what is no side."""
    return SIDES[SIDES.index(cast(SideName, side))]


def _side(environment: Mapping[str, Any] | None = None, **rest: Any) -> SideFacts:  # noqa: ANN401 - the fields
    if environment is None:  # as in older runs
        return SideFacts(**rest)
    options = tuple(environment["options"])
    return SideFacts(**rest, environment=EnvironmentFacts(**{**environment, "options": options}))


def _encoded(benchmark: Benchmark) -> dict[str, object]:
    return {
        "type": benchmark.kind,
        "unit": benchmark.unit,
        "version": benchmark.version,
        "param_names": list(benchmark.param_names),
        "params": [list(map(repr, values)) for values in benchmark.param_values],
        **({"noisy": True} if benchmark.noisy else {}),
    }


def _cell_json(cell: Cell) -> list[object]:
    return [cell.benchmark, [_param_json(value) for value in cell.params]]


def _param_json(value: Param) -> object:
    """A parameter as JSON: what JSON would change, such as a tuple, by its ``repr``."""
    return value if type(value) in (int, str) else {"repr": repr(value)}


def _cells(stored: Iterable[Sequence[Any]]) -> tuple[Cell, ...]:
    return tuple(_cell(name, params) for name, params in stored)


def _cell(name: str, params: Sequence[Any]) -> Cell:
    """A cell that ``_cell_json`` has encoded. Raises ``TypeError`` for what is none."""
    cell = Cell(str(name), tuple(map(_param, params)))
    hash(cell)  # numbers are found by it
    return cell


def _param(stored: Any) -> Param:  # noqa: ANN401 - any JSON
    if not isinstance(stored, dict):
        return cast(Param, stored)
    ((value,),) = param_values([[stored["repr"]]])
    return value


def _asv_versions() -> list[str]:
    return [version("asv"), version("asv-runner")]
