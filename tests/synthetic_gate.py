"""Runs of the gate made of given numbers: in memory, and as folders that a real run would leave.

    write_run(folder, {("buildup.BuildUp.time_queries", ("deny", 16, 64)): (base, head)})

``base`` and ``head`` are arrays of seconds (of a peak: bytes), a number a round, NaN where the
round has none. Benchmarks are those of the reviewed list.
"""

from dataclasses import replace
from datetime import UTC, datetime
from math import nan
from pathlib import Path

import numpy as np
from asv.results import Results
from asv.runner import BenchmarkResult
from synthetic_history import benchmarks

from hbitmap_bench.gate.runs import COUNTERS, PASSES, Manifest, Run, save_manifest
from hbitmap_bench.gate.suites import Cell
from hbitmap_bench.gate.verdict import RunFacts, SideFacts
from hbitmap_bench.history import sources

BASE = SideFacts("main", "1f3aae6" + "b" * 33, "Search a deny bitmap for ones", dirty=False)
HEAD = SideFacts("HEAD", "e0a1360" + "c" * 33, "Scan four words at a time", dirty=False)
MACHINE = {
    "machine": "bench-2core", "os": "Linux", "num_cpu": "2", "arch": "x86_64", "cpu": "EPYC",
    "ram": "24 GiB",
}  # fmt: skip
FACTS = RunFacts(
    base=BASE, head=HEAD, profile="quick", bench=None, machine=MACHINE,
    created="2026-11-24T19:38:47+00:00", rounds=(), elapsed_s=246.0,
)  # fmt: skip
MANIFEST = Manifest(
    facts=FACTS, band=0.05, band_source="default: this machine is not calibrated",
    benchmarks=benchmarks(), cells=(), required=(), versions={}, failures=(), allowances=(),
    instructions={}, same_code=False, same_package=False,
)  # fmt: skip
IMPORTED = {"hbitmap_impl/hbitmap.py": "0" * 40}


def make_run(seconds, *, again=None, counters=None, **manifest):
    """The ``Run`` that ``load_run`` gives of ``write_run`` with the same arguments.

    ``again`` is the second pass, as ``seconds``. ``counters`` are ``{(benchmark, params): (base,
    head)}``. ``manifest`` replaces any field of ``MANIFEST``; cells are by default those with
    numbers, all of them required, and ``facts`` keeps its own all but rounds.
    """
    passes = [p for p in (_by_cell(seconds), _by_cell(again)) if p]
    exact = {cell: (float(b), float(h)) for cell, (b, h) in _by_cell(counters).items()}
    cells = tuple(dict.fromkeys([*exact, *(cell for one in passes for cell in one)]))
    described = {"cells": cells, "required": cells, **manifest}
    found = replace(MANIFEST, **described)
    rounds = tuple(len(next(iter(one.values()))[0]) for one in passes)
    versions = {name: benchmark.version for name, benchmark in found.benchmarks.items()}
    facts = replace(found.facts, rounds=rounds)
    return Run(replace(found, facts=facts, versions=versions), exact, tuple(passes))


def write_run(folder, seconds, **more):
    """Write a whole run into ``folder``, which is made; arguments as of ``make_run``."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    run = make_run(seconds, **more)
    if run.counters:
        pairs = {cell: np.array(pair)[:, None] for cell, pair in run.counters.items()}
        _write_pass(folder / COUNTERS, run.manifest, pairs)
    for name, pairs in zip(PASSES, run.passes, strict=False):
        _write_pass(folder / name, run.manifest, pairs)
    save_manifest(folder, run.manifest)
    return folder


def _by_cell(given):
    return {
        Cell(name, tuple(params)): tuple(np.asarray(side, float) for side in pair)
        for (name, params), pair in (given or {}).items()
    }


def _write_pass(folder, manifest, pairs):
    n_rounds = {len(side) for pair in pairs.values() for side in pair}
    assert len(n_rounds) == 1, "all cells of a pass have the same rounds"
    for number in range(n_rounds.pop()):
        for side, name in enumerate(("base", "head")):
            values = {cell: float(pair[side][number]) for cell, pair in pairs.items()}
            _write_side(folder / f"round-{number + 1:02}" / name, manifest, name, values)


def _write_side(folder, manifest, side, values):
    """One side of one round, stored by asv, with its side record."""
    commit = getattr(manifest.facts, side).commit
    machine = manifest.facts.machine
    results = Results(dict(machine), {}, commit, 0, "3.11.7", "gate", {})
    for benchmark in {
        cell.benchmark: manifest.benchmarks[cell.benchmark] for cell in values
    }.values():
        _add(
            results, benchmark, [values.get(Cell(benchmark.name, p), nan) for p in benchmark.cells]
        )
    (folder / machine["machine"]).mkdir(parents=True)
    results.save(str(folder))
    (path,) = sources.result_paths(folder)
    sources.write_record(path, commit, [IMPORTED])


def _add(results, benchmark, values):
    """What processes gave, NaN of none: of a timed cell two samples, the faster its value."""
    described = {
        "name": benchmark.name, "version": benchmark.version, "type": benchmark.kind,
        "params": [list(map(repr, one)) for one in benchmark.param_values],
    }  # fmt: skip
    timed = [benchmark.kind == "time" and value == value for value in values]
    found = BenchmarkResult(
        result=list(values),
        samples=[[v * 1.01, v] if t else None for v, t in zip(values, timed, strict=True)],
        number=[1 if t else None for t in timed],
        errcode=0, stderr="", profile=None,
    )  # fmt: skip
    results.add_result(
        described, found, started_at=datetime(2026, 11, 24, tzinfo=UTC), record_samples=True
    )
