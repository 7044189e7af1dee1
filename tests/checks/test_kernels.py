"""The core against a library's C: both sides do the same, and the report says what was measured."""

import json

import pytest
from driver_stub import SOURCES, built

from hbitmap_bench.base.host import host_facts
from hbitmap_bench.checks.kernels import (
    FAITHFUL,
    Kernels,
    Outcome,
    as_json,
    compare,
    page,
)

ROUNDS = 6


def outcome(ratios, aim=(0.0, 1.0), others_cores=0.02):
    return Outcome(
        "next_zero", "1", 50, aim, tuple(ratios), 900_000.0, 1_000_000.0, None, others_cores
    )


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    build = built(tmp_path_factory.mktemp("build"))
    return compare(SOURCES.parents[1], build, ROUNDS, lambda _: None, bits=64**2)


def test_all_work_is_done_by_both_sides_at_each_density(kernels):
    names = {(one.name.split(",")[0], one.density) for one in kernels.outcomes}
    searches = {"next_zero", "next_dirty", "next_dirty_area", "status"}
    updates = {"set", "reset", "merge", "truncate"}
    assert {name for name, density in names if density == "last bit"} == searches
    assert {name for name, density in names if density == "0"} == searches | updates
    assert {name for name, density in names if density == "1"} == searches | updates | {"iteration"}
    assert all(len(one.ratios) == ROUNDS for one in kernels.outcomes)


def test_the_page_and_the_json_say_what_was_measured(kernels):
    text = page(kernels)
    assert "QEMU stub, CPU time (measured)" in text
    assert "sha256 is missing" in text
    assert f"in {ROUNDS} interleaved rounds" in text
    record = json.loads(as_json(kernels))
    assert record["source"] == "measured"
    assert len(record["outcomes"]) == len(kernels.outcomes)


def test_an_aim_is_missed_where_the_whole_interval_lies_outside_of_it():
    assert outcome([1.2, 1.1, 0.99, 1.3, 1.25, 1.05]).verdict == "kept"
    assert outcome([1.2, 1.1, 1.01, 1.3, 1.25, 1.05]).verdict == "MISSED"
    assert outcome([0.8, 0.7, 0.6, 0.75, 0.9, 0.85], FAITHFUL).verdict == "MISSED"
    assert outcome([0.8, 0.7, 0.6, 0.75, 0.9, 0.96], FAITHFUL).verdict == "kept"


def test_no_aim_is_judged_by_a_disturbed_row():
    assert outcome([1.1] * 6, others_cores=0.11).verdict == "disturbed"
    assert outcome([0.9] * 6, others_cores=0.11).verdict == "disturbed"


def test_verdicts_are_shown_and_counted():
    outcomes = (outcome([1.1] * 6), outcome([0.9] * 6), outcome([0.9] * 6, others_cores=1.0))
    text = page(Kernels("x", {}, {}, None, host_facts(), 64, outcomes))
    assert "kept: 1 of 3. Missed: 1. Not judged, since\ntheir rows are disturbed: 1." in text
    row = "| 1.100 | 1.100..1.100 | &lt;= 1.00 | MISSED | 0.900 ms | 1.000 ms |  | 0.02 |"
    assert row in text
