"""Synthetic runs of the gate: a written one is read back as the one in memory."""

import numpy as np
import pytest
from synthetic_gate import make_run, write_run

from hbitmap_bench.commits.gate.judge import judge
from hbitmap_bench.commits.gate.runs import load_run
from hbitmap_bench.commits.gate.suites import Cell

TIME = "buildup.BuildUp.time_queries"
WORDS = "buildup.Words.track_words_examined"
PEAK = "memory.Peak.peakmem_build_up"


def numbers():
    """Two noisy cells, one of them suspected and measured again; a round is missing on one side."""
    rng = np.random.default_rng(1)

    def rounds(n, value):
        return value * (1 + 0.01 * rng.random(n))

    deny, peak = (TIME, ("deny", 16, 64)), (PEAK, ("deny", 16, 2048))
    first = {deny: (rounds(12, 0.01), rounds(12, 0.012)), peak: (rounds(12, 1e8), rounds(12, 1e8))}
    first[peak][0][3] = np.nan
    return {
        "seconds": first,
        "again": {deny: (rounds(20, 0.01), rounds(20, 0.012))},
        "counters": {(WORDS, ("deny", 16, 64)): (7, 8)},
    }


@pytest.mark.parametrize(
    "parts", [("seconds",), ("seconds", "counters"), ("seconds", "again", "counters")]
)
def test_written_run_is_read_back(tmp_path, parts):
    given = {part: numbers()[part] for part in parts}
    written, made = load_run(write_run(tmp_path / "run", **given)), make_run(**given)
    assert written.manifest == made.manifest
    assert written.counters == made.counters
    assert len(written.passes) == len(made.passes)
    for one, other in zip(written.passes, made.passes, strict=True):
        assert set(one) == set(other)
        for cell in one:
            np.testing.assert_array_equal(one[cell], other[cell])


def test_written_run_is_judged(tmp_path):
    judgement = judge(load_run(write_run(tmp_path / "run", **numbers())))
    assert [(f.word, f.evidence) for f in judgement.findings] == [
        ("REGRESSED", "exact"), ("REGRESSED", "time"), ("UNCHANGED", "memory"),
    ]  # fmt: skip
    assert judgement.exit_code == 1


def test_a_missing_cell_counts_as_what_it_would_have_been(tmp_path):
    """Also where the head has no such benchmark, and nothing but its name tells what it was."""
    names = ("gone.Suite.time_x", "gone.Suite.peakmem_x", "gone.Suite.track_x")
    required = [*(Cell(name, (1,)) for name in names), Cell(PEAK, ("deny", 32, 2048))]
    failures = (("head", required[-1].name, "it ran out of time"),)
    run = make_run(numbers()["seconds"], required=tuple(required), failures=failures)
    missing = {f.benchmark: f.evidence for f in judge(run).findings if f.word == "NOT_MEASURED"}
    kinds = ("time", "memory", "exact", "memory")
    assert missing.items() >= dict(zip((*names, PEAK), kinds, strict=True)).items()
