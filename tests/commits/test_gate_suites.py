"""Benchmarks as asv describes them, and which of these the gate can judge."""

import pytest

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.gate.suites import decode_judged


def test_a_benchmark_that_no_rule_is_for_is_refused():
    """asv finds such ones only where pympler is installed."""
    described = {
        "name": "suite.Work.mem_words",
        "type": "track",
        "unit": "words",
        "version": "1",
        "param_names": ["implementation", "image_tib"],
        "params": [["'deny'"], ["1", "2"]],
    }
    assert decode_judged(described).is_exact
    with pytest.raises(UserError, match=r"mem_words is of asv's kind 'memory'.*track_"):
        decode_judged({**described, "type": "memory"})
