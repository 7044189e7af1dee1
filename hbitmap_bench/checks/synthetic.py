"""A repository with a long history that nobody measured: every cell of the suites, on every commit.

Commits, asv's result files and side records are real files, as ``hbitmap-bench bench`` leaves them;
the numbers in them are made by formulas and a seed. Nothing of it may be taken for a measurement.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from asv import util
from numpy.typing import NDArray
from rich.progress import track

from hbitmap_bench.commits import sources
from hbitmap_bench.commits.project import git
from hbitmap_bench.commits.store import RESULT_SCHEMA

MACHINE: Final = "synthetic"
FIELDS: Final = {
    "machine": MACHINE, "arch": "none", "cpu": "none", "num_cpu": "2", "os": "none", "ram": "none",
}  # fmt: skip
ENVIRONMENT: Final = "virtualenv-py3.11-numpy"
PACKAGE: Final = "hbitmap_impl"
CHANGED: Final = f"{PACKAGE}/__init__.py"
"""The file that differs between commits."""

BEGIN_S: Final = 1_767_225_600
HOUR_S: Final = 3600

SAMPLES: Final = 12
"""A cell: what the profile ``quick`` takes."""

NOISE: Final = 0.01
EVENTS: Final = 4
"""Commits at which the cells of one benchmark and implementation rise or fall to a new level."""

COLUMNS: Final = (
    "result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b",
    "stats_q_25", "stats_q_75", "stats_number", "stats_repeat", "samples", "profile",
)  # fmt: skip
"""As asv 0.6 has them."""

Floats = NDArray[np.float64]
Found = Mapping[str, Any]
"""A benchmark as asv describes it in ``benchmarks.json``."""


def make_history(root: Path, repo: Path, n_commits: int, *, seed: int = 1) -> None:
    """Make the repository ``repo`` with so many commits, a result of each in its ``results/``.

    ``root`` is a clone of this project: its configuration, benchmarks, package and reports are
    taken. Costs some 15 ms and 0.2 MB a commit. Raises ``UserError`` where git refuses.
    """
    package = {f"{PACKAGE}/{p.name}": p.read_bytes() for p in sorted((root / PACKAGE).glob("*.py"))}
    contents = [b"%s# commit %d\n" % (package[CHANGED], number) for number in range(n_commits)]
    conf = {"asv.conf.json": (root / "asv.conf.json").read_bytes()}
    hashes = make_commits(repo, {**conf, **package}, contents)
    shutil.copytree(root / "reports", repo / "reports", ignore=lambda *_: ["html", "regressions"])
    folder = repo / "results" / MACHINE
    folder.mkdir(parents=True)
    shutil.copyfile(root / "results" / "benchmarks.json", repo / "results" / "benchmarks.json")
    util.write_json(str(folder / "machine.json"), FIELDS, 1)
    blobs = {name: sources.blob_id(data) for name, data in package.items()}
    made = zip(hashes, contents, results_of(root, n_commits, seed), strict=True)
    for hash_, content, result in track(made, f"{n_commits} commits", n_commits, transient=True):
        path = folder / f"{hash_[:8]}-{ENVIRONMENT}.json"
        util.write_json(str(path), {"commit_hash": hash_, **result}, RESULT_SCHEMA, compact=True)
        sources.write_record(path, hash_, [{**blobs, CHANGED: sources.blob_id(content)}])


def make_commits(repo: Path, files: Mapping[str, bytes], contents: Sequence[bytes]) -> list[str]:
    """A commit of all files, then one for each further content of ``CHANGED``; their hashes."""
    repo.mkdir()
    git(repo, "init", "--quiet", "--initial-branch=main")
    stream = b"".join(_stream(files, contents))
    subprocess.run(["git", "-C", str(repo), "fast-import", "--quiet"], input=stream, check=True)
    git(repo, "reset", "--quiet", "--hard")
    return git(repo, "rev-list", "--reverse", "main").split()


def _stream(files: Mapping[str, bytes], contents: Sequence[bytes]) -> Iterator[bytes]:
    """What ``git fast-import`` reads."""
    for number, content in enumerate(contents):
        subject = b"Change nothing, the %dth time" % number
        when_s = BEGIN_S + number * HOUR_S
        yield b"commit refs/heads/main\ncommitter synthetic <s@localhost> %d +0000\n" % when_s
        yield b"data %d\n%s\n" % (len(subject), subject)
        changed = {CHANGED: content}
        for path, data in ({**files, **changed} if number == 0 else changed).items():
            yield b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data)


def results_of(root: Path, n_commits: int, seed: int) -> Iterator[dict[str, object]]:
    """What asv would store of each commit, but for its hash."""
    stored = util.load_json(str(root / "results" / "benchmarks.json"))
    benchmarks = {name: found for name, found in stored.items() if isinstance(found, dict)}
    rng = np.random.default_rng(seed)
    levels = {name: costs(found, n_commits, rng) for name, found in benchmarks.items()}
    for number in range(n_commits):
        yield {
            "env_name": ENVIRONMENT,
            "date": (BEGIN_S + number * HOUR_S) * 1000,
            "params": {**FIELDS, "python": "3.11", "numpy": "2"},
            "python": "3.11",
            "requirements": {"numpy": "2"},
            "env_vars": {},
            "result_columns": COLUMNS,
            "results": {n: _row(f, levels[n][number], rng) for n, f in benchmarks.items()},
            "durations": {},
        }


def costs(found: Found, n_commits: int, rng: np.random.Generator) -> Floats:
    """What each cell of a benchmark costs before noise: commits x cells, seconds or a count."""
    first = np.array([cell[0] for cell in itertools.product(*found["params"])])
    level = (1e-3 if found["type"] == "time" else 1e6) * 10 ** rng.uniform(0, 2, len(first))
    rows = np.tile(level, (n_commits, 1))
    for _ in range(EVENTS):
        of_one = first == rng.choice(found["params"][0])
        rows[rng.integers(n_commits) :, of_one] *= rng.choice([0.8, 1.25])
    return rows


def _row(found: Found, cost: Floats, rng: np.random.Generator) -> list[object]:
    """One benchmark of one commit, in the order of ``COLUMNS``."""
    head: list[object] = [found["params"], found["version"], BEGIN_S * 1000, 1.0]
    if found["type"] != "time":
        return [np.round(cost).astype(int).tolist(), *head]
    samples = cost[:, None] * (1 + NOISE * rng.standard_normal((len(cost), SAMPLES)))
    ordered = np.sort(samples)
    ends = (ordered[:, 1], ordered[:, -2], *np.percentile(samples, (25, 75), axis=1))
    rounded = [[float(f"{value:.5g}") for value in column] for column in ends]  # as asv's are
    counts = [[1] * len(cost), [SAMPLES] * len(cost)]
    return [np.median(samples, axis=1).tolist(), *head, *rounded, *counts, samples.tolist()]
