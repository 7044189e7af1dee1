"""A history as the store would load it, over the whole grid of the suites, made of formulas."""

import json
from ast import literal_eval
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from hbitmap_bench.commits.project_file import read
from hbitmap_bench.commits.series import Benchmark, Commit, History, Measured

GOLDEN = json.loads((Path(__file__).parent / "golden" / "benchmarks.json").read_text())
DECLARED = read(Path(__file__).parents[1])
HOSTILE = "</script><img src=x onerror=\"document.title='broken'\"> & 'it' \"is\" \u2028"


def benchmarks():
    return {
        name: Benchmark(
            name=name,
            kind=found["type"],
            unit=found["unit"],
            version=found["version"],
            param_names=tuple(found["param_names"]),
            param_values=tuple(tuple(literal_eval(v) for v in vs) for vs in found["params"]),
        )
        for name, found in GOLDEN.items()
    }


def cost(benchmark, params):
    """What a cell costs: the access bitmap's grows with the square of the size."""
    named = dict(zip(benchmark.param_names, params, strict=True))
    size = named["image_tib"]
    cluster = named.get("cluster_kib", 64)
    squared = named["implementation"] == "access" and benchmark.suite == "buildup"
    if benchmark.name == "buildup.BuildUp.track_queries":
        return size * 2**21 / cluster
    if benchmark.name == "buildup.Words.track_extra_words_a_query":
        return size * 2**17 if squared else 7.0
    base = 1e-6 if benchmark.kind == "time" else 1e6
    return base * size ** (2 if squared else 1) * 2**21 / cluster


def history(n_commits=6, *, text="", measured=1.0, regression=None, seed=1):
    """Every cell at every commit, 1% of noise on times; ``regression``: (commit, factor) of deny.

    ``measured`` is the share of cells that are; ``text`` goes into subjects and the machine's name.
    """
    rng = np.random.default_rng(seed)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    commits = tuple(
        Commit(f"{i + 1:040x}"[::-1], start + timedelta(hours=i), f"Change the bitmap {i} {text}")
        for i in range(n_commits)
    )
    arrays = {}
    for name, benchmark in benchmarks().items():
        value = np.tile([cost(benchmark, params) for params in benchmark.cells], (n_commits, 1))
        width = np.zeros_like(value)
        if not benchmark.is_exact:
            value *= 1 + 0.01 * rng.standard_normal(value.shape)
            width = 0.02 * value
        if regression and benchmark.kind == "time":
            deny = [params[0] == "deny" for params in benchmark.cells]
            value[regression[0] :, deny] *= regression[1]
        value[:, rng.random(value.shape[1]) >= measured] = np.nan
        arrays[name] = Measured(value, value - width, value + width)
    machine = {"machine": f"bench {text}".strip(), "cpu": "EPYC", "num_cpu": "2", "ram": "24 GiB"}
    environment = "virtualenv-py3.11-numpy2.4.6"
    return History(machine, environment, benchmarks(), commits, arrays, declared=DECLARED)
