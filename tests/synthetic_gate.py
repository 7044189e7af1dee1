"""Runs of the gate made of given numbers, and judgements made of given findings.

A run is made in memory, or as the folder that a real one would leave:

    write_run(folder, {("buildup.BuildUp.time_queries", ("deny", 16, 64)): (base, head)})

``base`` and ``head`` are arrays of seconds (of a peak: bytes), a number a round, NaN where the
round has none. Benchmarks are those of the reviewed list.
"""

from dataclasses import replace
from datetime import UTC, datetime
from math import inf, nan
from pathlib import Path

import numpy as np
from asv.results import Results
from asv.runner import BenchmarkResult
from synthetic_history import DECLARED, benchmarks

from hbitmap_bench.commits import sources
from hbitmap_bench.commits.gate.instructions import Counts
from hbitmap_bench.commits.gate.runs import COUNTERS, PASSES, Manifest, Run, save_manifest
from hbitmap_bench.commits.gate.suites import Cell
from hbitmap_bench.commits.gate.thresholds import Threshold
from hbitmap_bench.commits.gate.verdict import (
    Attached,
    EnvironmentFacts,
    Finding,
    Judgement,
    Override,
    RunFacts,
    SideFacts,
)

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
ENVIRONMENTS = replace(
    FACTS,
    base=replace(
        HEAD,
        environment=EnvironmentFacts("A", ("numpy=1.26.4",), "3.11.7", {"numpy": "1.26.4"}, {}),
    ),
    head=replace(HEAD, environment=EnvironmentFacts("B", (), "3.11.7", {"numpy": "2.4.6"}, {})),
)
MANIFEST = Manifest(
    facts=FACTS, band=0.05, band_source="default: this machine is not calibrated",
    benchmarks=benchmarks(), cells=(), required=(), versions={}, failures=(), allowances=(),
    instructions=Counts({}, {}), same_code=False, same_package=False, declared=DECLARED,
)  # fmt: skip
THRESHOLDS = (
    Threshold("family level", 0.01, "probability", "one run in a hundred may raise a false alarm"),
    Threshold("time floor", 50e-6, "seconds a timed call", "a scheduler's tick is some tens of µs"),
    Threshold("memory floor", 2**20, "bytes", "a peak moves by pages"),
    Threshold("words exponent margin", 0.01, "exponent", "words are counted"),
    Threshold("time exponent margin", 0.6, "exponent", "caches end"),
)
TIME = "buildup.BuildUp.time_queries"
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
    rounds = [len(next(iter(one.values()))[0]) for one in passes]
    if rounds:
        rounds[0] -= found.facts.more_rounds
    versions = {name: benchmark.version for name, benchmark in found.benchmarks.items()}
    facts = replace(found.facts, rounds=tuple(rounds))
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


# ---------------------------------------------------------------- judgements


def finding(word, evidence="time", params=("deny", 16, 64), benchmark=TIME, **fields):
    """A finding of plausible numbers for its evidence; ``fields`` replace any."""
    numbers = {
        "time": ("seconds", 0.1606, 0.1925, 1.199, (1.194, 1.203), 0.0056, 0.057),
        "memory": ("bytes", 1.0e8, 1.3e8, 1.3, (1.28, 1.31), 0.05, 0.062),
        "exact": ("words/query", 7.0, 8.0, 8 / 7, None, None, None),
        "growth": ("exponent", 1.0, 2.01, None, (1.97, 2.04), None, None),
        "instructions": ("instructions", 1_000_000, 1_020_000, 1.02, None, None, None),
    }[evidence]
    if word == "NOT_MEASURED":
        numbers = ("", *[None] * 6)
    names = ("unit", "before", "after", "ratio", "interval", "level", "resolvable")
    given = {
        **dict(zip(names, numbers, strict=True)),
        "reason": f"a reason for {word}",
        "command": "hbitmap-bench gate --base 1f3aae6bbb --head e0a1360ccc --bench '^a|b$'",
    }
    return Finding(
        benchmark=benchmark, params=params, evidence=evidence, word=word, **{**given, **fields}
    )


def judgement(outcome, findings, **fields):
    """A judgement of such findings; ``fields`` replace any."""
    facts = replace(FACTS, rounds=(12, 20))
    given = {
        "reasons": (f"a reason for {outcome}",), "run": facts, "new": (), "band": 0.05,
        "band_source": "default: this machine is not calibrated", "thresholds": THRESHOLDS,
        "not_counted": {},
    }  # fmt: skip
    return Judgement(outcome=outcome, findings=tuple(findings), **{**given, **fields})


def regressed():
    """All words, and all kinds of evidence."""
    words = "buildup.Words.track_extra_words_a_query"
    queries = "buildup.BuildUp.track_queries"
    return judgement(
        "REGRESSED",
        [
            finding("REGRESSED", "exact", benchmark=words),
            finding(
                "REGRESSED", "exact", benchmark=queries, unit="queries", before=0.0, ratio=None
            ),
            finding(
                "REGRESSED", "exact", benchmark="memory.Structures.track_bytes", unit="bytes",
                params=("deny", 16, 64, "check"), before=20971520.0, after=20971528.0,
                ratio=20971528 / 20971520,
            ),
            finding("REGRESSED", "time"),
            finding("REGRESSED", "memory", ("deny", 16, 2048), "memory.Peak.peakmem_build_up"),
            finding("REGRESSED", "growth", ("deny", 64)),
            finding("REGRESSED", "growth", ("deny", 64), words, interval=None),
            finding("REGRESSED", "instructions", (), "next_dirty"),
            finding("NOT_MEASURED", "exact", reason="it failed on the head: it ran out of time"),
            finding(
                "INCONCLUSIVE", "time", ("plain", 1, 64), ratio=1.31, interval=(0.0, 1.7),
                resolvable=inf,
            ),
            finding(
                "IMPROVED", "time", ("access", 4, 64), after=0.08, ratio=0.498,
                interval=(0.49, 0.51), resolvable=0.091,
            ),
            finding("UNCHANGED", "exact", ("plain", 1, 64), words, after=7.0, ratio=1.0),
            finding(
                "UNCHANGED", "time", ("plain", 2, 64), after=0.1606, ratio=1.0,
                interval=(0.99, 1.01), resolvable=0.052,
            ),
        ],
        new=("buildup.BuildUp.time_resume('deny', 16, 64)",),
        attached=(
            Attached(
                TIME, f"{TIME}('deny', 16, 64)", "Profile of the daemon",
                "cbw_snap, 16T: 1.20 s\n 71.2%  next_zero (daemon)\n  0.3%  `cache_get`",
            ),
        ),
    )  # fmt: skip


def passed():
    """Unchanged, but for one improvement; the head has uncommitted work."""
    facts = replace(
        FACTS, rounds=(12,), head=replace(HEAD, dirty=True), bench="^buildup", profile="full"
    )
    better = finding("IMPROVED", after=0.08, ratio=0.498, interval=(0.49, 0.51))
    same = finding(
        "UNCHANGED", "time", ("access", 4, 64), after=0.1606, ratio=1.0, interval=(0.99, 1.01),
        resolvable=0.064,
    )  # fmt: skip
    return judgement(
        "PASSED", [better, same], run=facts, band=0.031,
        band_source="calibrated on 2026-11-20: one commit against itself, 240 differences",
    )  # fmt: skip


def allowed():
    """A regression that the change declares, beside one that it does not need to."""
    override = Override(TIME, "Each query reads the done bitmap too.", HEAD.commit)
    unneeded = Override("memory.Peak.peakmem_build_up", "A larger table.", HEAD.commit)
    slower = [
        finding("REGRESSED", params=("deny", tib, 64), allowed=str(override)) for tib in (16, 8)
    ]
    return judgement(
        "PASSED", slower, overrides=(override, unneeded),
        reasons=tuple(f"allowed: {one.name}: {one}" for one in (override, unneeded)),
    )  # fmt: skip


def not_judged():
    """Nothing was measured."""
    missing = [
        finding(
            "NOT_MEASURED", "exact", ("deny", tib, 64), reason="the base's reviewed list has it"
        )
        for tib in (1, 2)
    ]
    reasons = ("2 cells were NOT_MEASURED, the first: the build failed", "nothing was measured")
    return judgement("NOT_JUDGED", missing, reasons=reasons, run=replace(FACTS, rounds=(12,)))


def same_code():
    """A change of documents."""
    reason = "the measured sources of both sides are identical: nothing was timed"
    return judgement("SAME_CODE", [], reasons=(reason,), run=replace(FACTS, elapsed_s=0.4))


def steady(before, ratio=1.0, n=12, spread=0.004, seed=0):
    """A cell of n rounds, which ``spread`` of normal noise hardly moves."""
    rng = np.random.default_rng(seed)
    base, head = before * np.exp(rng.normal(0, spread, (2, n)))
    return base, head * ratio
