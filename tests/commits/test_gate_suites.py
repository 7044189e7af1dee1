"""Benchmarks as asv describes them, and which of these the gate can judge."""

import pytest

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.gate.suites import decode_judged
from hbitmap_bench.commits.project_file import DEFAULTS, Counters, ProjectFile


def test_a_benchmark_that_no_rule_is_for_is_refused():
    described = {
        "name": "suite.Work.mem_words",
        "type": "track",
        "unit": "words",
        "version": "1",
        "param_names": ["implementation", "image_tib"],
        "params": [["'deny'"], ["1", "2"]],
    }
    assert decode_judged(described, DEFAULTS).is_exact
    assert decode_judged({**described, "type": "memory"}, DEFAULTS).is_exact
    noisy = ProjectFile(counters=Counters(noisy=("mem_",)))
    assert not decode_judged(described, noisy).is_exact
    with pytest.raises(UserError, match=r"mem_words is of asv's kind 'energy'.*track_"):
        decode_judged({**described, "type": "energy"}, DEFAULTS)
