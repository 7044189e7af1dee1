"""Reads asv's stored results into histories.

The files are decoded here, not by ``asv.results``: that keeps the samples, nine tenths of a file,
of all benchmarks, and gives values cell by cell where this needs arrays.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.reading import read_json
from hbitmap_bench.commits import sources
from hbitmap_bench.commits.chain import Joint, chained
from hbitmap_bench.commits.project_file import ProjectFile, read
from hbitmap_bench.commits.series import Benchmark, Commit, History, Kind, Measured, Opaque, Param
from hbitmap_bench.commits.sessions import (
    FIRST,
    Anchor,
    Sessions,
    anchor_paths,
    owners,
    read_anchor,
    rows_of,
)

RESULT_SCHEMA = 2
"""asv's version of its result files: 2 since asv 0.4."""

MACHINE_FIELDS = ("machine", "cpu", "arch", "num_cpu", "os", "ram")
DAMAGE: Final = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, SyntaxError),
    *(ArithmeticError, RecursionError, MemoryError),
)
"""What decoding a damaged file may raise: a key that is gone, a list for an object, a number that
no float holds, and the last two where brackets in a text are nested thousands deep."""

COLUMNS = ("result", "stats_ci_99_a", "stats_ci_99_b", "stats_number")
"""Value, interval, and how many calls a sample timed."""


@dataclass(frozen=True)
class _Result:
    """One file: a commit on one machine in one environment, a row of floats a benchmark."""

    commit: str
    environment: str
    machine: str
    rows: Mapping[str, tuple[NDArray[np.float64], ...]]
    owners: Mapping[str, Sequence[str]]
    """The session of each cell of timed benchmarks; none where all is of the first one."""


def load_histories(
    results_dir: Path, repo: Path, declared: ProjectFile | None = None
) -> tuple[History, ...]:
    """All histories in a folder of results, that with the newest commit first.

    Results that can't be used are told in ``History.refused`` of every history. What the project
    declares is read from ``repo``, unless it is given. Costs some 3 ms a
    result file. Raises ``UserError`` where there are no results, or none that can be used.
    """
    declared = read(repo) if declared is None else declared
    benchmarks = {
        name: replace(benchmark, noisy=declared.is_noisy(name))
        for name, benchmark in load_benchmarks(results_dir).items()
    }
    refused = dict(sources.refusals(results_dir, repo))
    found: list[_Result] = []
    for path in sources.result_paths(results_dir):
        if path not in refused:
            try:
                found.append(_load_result(path, benchmarks))
            except DAMAGE as error:
                refused[path] = f"not a result of asv as this version stores it ({error!r})"
    joints = _joints(results_dir, benchmarks, refused)
    reasons = _reasons(refused)
    if not found:
        raise _nothing_usable(results_dir, reasons)
    commits = _commits(repo, {result.commit for result in found})
    groups: dict[tuple[str, str], list[_Result]] = {}
    for result in found:
        groups.setdefault((result.machine, result.environment), []).append(result)
    histories = [
        chained(
            _history(_machine(results_dir, key[0]), benchmarks, commits, group, reasons, declared),
            {result.commit: result.owners for result in group},
            [joint for machine, joint in joints if (machine, joint.environment) == key],
        )
        for key, group in groups.items()
    ]
    order = {commit.hash: i for i, commit in enumerate(commits)}
    return tuple(sorted(histories, key=lambda h: order[h.commits[-1].hash], reverse=True))


def require_results(results_dir: Path, repo: Path) -> dict[Path, str]:
    """Results that are refused, with reasons, before anything is loaded.

    Raises ``UserError`` as ``load_histories``, where no others are left.
    """
    load_benchmarks(results_dir)
    refused = sources.refusals(results_dir, repo)
    if all(path in refused for path in sources.result_paths(results_dir)):
        raise _nothing_usable(results_dir, _reasons(refused))
    return refused


def _reasons(refused: Mapping[Path, str]) -> tuple[str, ...]:
    return tuple(f"{path.parent.name}/{path.name}: {why}" for path, why in refused.items())


def _nothing_usable(results_dir: Path, reasons: tuple[str, ...]) -> UserError:
    more = f" (refused: {'; '.join(reasons)})" if reasons else ""
    return UserError(
        f"a history needs stored results, and {results_dir} has none that can be used{more}: "
        "measure some by hbitmap-bench bench"
    )


def load_benchmarks(results_dir: Path) -> dict[str, Benchmark]:
    """The benchmarks that asv found last. Raises ``UserError`` where there are none."""
    path = results_dir / "benchmarks.json"
    try:
        stored = read_json(path)
        found = {
            name: decode_benchmark(one) for name, one in stored.items() if isinstance(one, dict)
        }
        if not found:
            raise ValueError("it names none")
        return found
    except FileNotFoundError:
        raise UserError(
            f"a history needs stored results, and {results_dir} has no benchmarks.json: "
            "measure some by hbitmap-bench bench, or name their folder by --results"
        ) from None
    except DAMAGE as error:
        raise UserError(
            f"{path} must be asv's list of benchmarks, and is not ({error!r}): restore it"
        ) from None


def decode_benchmark(found: Mapping[str, Any]) -> Benchmark:
    """A benchmark as asv describes it. Raises ``KeyError``, ``TypeError``, ``ValueError``."""
    texts = [found[key] for key in ("name", "type", "unit", "version")] + [*found["param_names"]]
    if len(found["param_names"]) != len(found["params"]) or not all(
        isinstance(text, str) for text in texts
    ):
        raise ValueError(f"{found['name']!r} is no benchmark")
    return Benchmark(
        name=found["name"],
        kind=cast(Kind, found["type"]),
        unit=found["unit"],
        version=found["version"],
        param_names=tuple(found["param_names"]),
        param_values=param_values(found["params"]),
        noisy=bool(found.get("noisy")),
    )


def param_values(stored: Sequence[Sequence[str]]) -> tuple[tuple[Param, ...], ...]:
    """Parameters, of which asv stores the ``repr``."""
    return tuple(tuple(_param(value) for value in values) for values in stored)


@cache
def _param(stored: str) -> Param:
    """The same few values stand in every result file; a list, say, is its own ``repr``."""
    try:
        value = ast.literal_eval(stored)
        hash(value)  # series are found by it
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return Opaque(stored)
    return cast(Param, value)


def _load_result(path: Path, benchmarks: Mapping[str, Benchmark]) -> _Result:
    """Decode a file, and put each row into the order of today's parameters."""
    stored = read_json(path)
    if stored["version"] != RESULT_SCHEMA:
        raise ValueError(f"version {stored['version']}")
    rows, names = {}, {}
    sessions = sources.recorded_sessions(path)
    for name, cells in rows_of(stored).items():
        benchmark = benchmarks.get(name)
        if benchmark and cells.get("result") and cells["version"] == benchmark.version:
            rows[name] = _row(benchmark, cells)
            if sessions and benchmark.kind == "time":
                names[name] = _owners(benchmark, cells, sessions)
    commit, machine = str(stored["commit_hash"]), str(stored["params"]["machine"])
    return _Result(commit, str(stored["env_name"]), machine, rows, names)


def _owners(benchmark: Benchmark, cells: Mapping[str, Any], sessions: Sessions) -> tuple[str, ...]:
    """The session of each cell, in today's order."""
    stored = Benchmark(benchmark.name, "time", "", "", (), param_values(cells["params"]))
    found = owners(sessions, benchmark.name, len(stored.cells))
    return tuple(
        found[stored.place[params]] if params in stored.place else FIRST
        for params in benchmark.cells
    )


def _joints(
    results_dir: Path, benchmarks: Mapping[str, Benchmark], refused: dict[Path, str]
) -> list[tuple[str, Joint]]:
    """The machine and the joint of each anchor that can be decoded; the others are refused."""
    found = []
    for path in anchor_paths(results_dir):
        if path not in refused:
            try:
                found.append((path.parent.name, _joint(read_anchor(path), benchmarks)))
            except DAMAGE as error:
                refused[path] = f"not an anchor as this version stores it ({error!r})"
    return found


def _joint(anchor: Anchor, benchmarks: Mapping[str, Benchmark]) -> Joint:
    """What an anchor has measured twice of today's timed benchmarks."""
    before, after, names = {}, {}, {}
    for name, row in anchor.after.items():
        benchmark, old = benchmarks.get(name), anchor.before.get(name)
        if not (benchmark and old and benchmark.kind == "time" and row["result"] and old["result"]):
            continue
        if row["version"] == old["version"] == benchmark.version:
            before[name], after[name] = _row(benchmark, old)[:3], _row(benchmark, row)[:3]
            names[name] = _owners(benchmark, old, anchor.owners)
    return Joint(anchor.session, anchor.environment, before, after, names)


def _row(benchmark: Benchmark, cells: Mapping[str, Any]) -> tuple[NDArray[np.float64], ...]:
    """The columns of each cell of a benchmark; NaN for what is not in the file."""
    stored = Benchmark("", "time", "", "", (), param_values(cells["params"]))
    taken = [_floats(cells.get(column), len(stored.cells)) for column in COLUMNS]
    if benchmark.is_exact:
        taken[1:3] = [taken[0], taken[0]]
    if stored.param_values == benchmark.param_values:
        return tuple(taken)
    places = [benchmark.place.get(params, -1) for params in stored.cells]
    rows = []
    for values in taken:
        row = np.full(len(benchmark.cells), np.nan)
        for place, value in zip(places, values, strict=True):
            if place >= 0:
                row[place] = value
        rows.append(row)
    return tuple(rows)


def _floats(values: Sequence[float | None] | None, n_cells: int) -> NDArray[np.float64]:
    """A column as asv stores it; NaN for null, and for the infinite ends of too few samples."""
    row = np.full(n_cells, np.nan)
    if values is not None:
        row[:] = np.array(values, dtype=np.float64)
    row[np.isinf(row)] = np.nan
    return row


def _history(
    machine: Mapping[str, str],
    benchmarks: Mapping[str, Benchmark],
    commits: Sequence[Commit],
    group: Iterable[_Result],
    refused: tuple[str, ...],
    declared: ProjectFile,
) -> History:
    """The results of one machine and environment, as arrays over its commits."""
    by_commit = {result.commit: result for result in group}
    measured_commits = tuple(commit for commit in commits if commit.hash in by_commit)
    results = [by_commit[commit.hash] for commit in measured_commits]
    measured, calls = {}, {}
    for name, benchmark in benchmarks.items():
        *ends, number = _stacked(benchmark, [result.rows.get(name) for result in results])
        measured[name] = Measured(*ends)
        calls[name] = np.fmin.reduce(number, axis=0)
    return History(
        machine=machine,
        environment=results[0].environment,
        benchmarks=dict(benchmarks),
        commits=measured_commits,
        measured=measured,
        refused=refused,
        declared=declared,
        calls=calls,
    )


def _stacked(
    benchmark: Benchmark, rows: Sequence[tuple[NDArray[np.float64], ...] | None]
) -> list[NDArray[np.float64]]:
    """The columns: commits x cells each."""
    stacked = [np.full((len(rows), len(benchmark.cells)), np.nan) for _ in COLUMNS]
    for i, row in enumerate(rows):
        if row is not None:
            for target, values in zip(stacked, row, strict=True):
                target[i] = values
    return stacked


def _machine(results_dir: Path, name: str) -> dict[str, str]:
    """Fields that asv gives a machine; its name alone where they can't be read."""
    try:
        path = results_dir / name / "machine.json"
        stored = read_json(path)
        return {field: str(stored[field]) for field in MACHINE_FIELDS}
    except DAMAGE:
        return {"machine": name}


def _commits(repo: Path, hashes: set[str]) -> list[Commit]:
    """Commits in the order of the repository, oldest first, by one git process."""
    git = ["git", "-C", str(repo), "log", "--stdin", "--topo-order", "--reverse"]
    ran = subprocess.run(
        [*git, "--format=%H%x00%ct%x00%s"], input="\n".join(hashes).encode(), capture_output=True
    )
    if ran.returncode != 0:
        raise UserError(f"git log failed in {repo}: {ran.stderr.decode().strip()}")
    found = []
    for line in ran.stdout.decode(errors="replace").split("\n")[:-1]:
        name, seconds, subject = line.split("\0")
        if name in hashes:
            found.append(Commit(name, datetime.fromtimestamp(int(seconds), UTC), subject))
    return found
