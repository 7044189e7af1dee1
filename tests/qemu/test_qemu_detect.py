"""Detection: both branches on a real build, and builds that lack a part."""

import pytest

from hbitmap_bench.qemu.detect import (
    FILTERS,
    JOB,
    PROBE_BYTES,
    classify,
    detect_algorithm,
    missing_parts,
)
from hbitmap_bench.qemu.graph import first_unnamed_count, unnamed_counts
from hbitmap_bench.reproduction.rows import probe


def test_unpatched_build_has_the_access_bitmap(daemon):
    """True of every distribution's build; one with the patches on PATH would fail here, rightly."""
    assert detect_algorithm(daemon) == "access"
    assert daemon.execute("query-named-block-nodes") == []


def test_filter_whose_first_bitmap_is_empty_is_taken_for_deny(daemon, add_denying_filter):
    """An access bitmap made from an empty bitmap is empty, as a deny bitmap is at its start."""
    add_denying_filter(PROBE_BYTES)
    nodes = daemon.execute("query-named-block-nodes")
    assert first_unnamed_count(nodes, "cbw") == 0
    assert classify(first_unnamed_count(nodes, "cbw")) == "deny"


def test_only_the_first_unnamed_bitmap_of_the_filter_counts():
    nodes = [
        {"node-name": "disk", "dirty-bitmaps": [{"count": 1}]},
        {
            "node-name": "cbw",
            "dirty-bitmaps": [{"count": 2, "name": "a"}, {"count": 3}, {"count": 4}],
        },
        {"node-name": "bare"},
    ]
    assert first_unnamed_count(nodes, "cbw") == 3
    assert unnamed_counts(nodes, "cbw") == [3, 4]
    assert first_unnamed_count(nodes, "bare") is None
    assert first_unnamed_count(nodes, "absent") is None


@pytest.mark.parametrize(
    ("count", "algorithm"),
    [(67108864, "access"), (0, "deny"), (65536, "unknown"), (None, "unknown")],
)
def test_classify(count, algorithm):
    assert classify(count) == algorithm


@pytest.mark.parametrize("part", [JOB, *FILTERS])
def test_build_without_a_part(without, part):
    found = probe(without(part))
    assert found.missing == {part}
    assert found.detected is None


def test_build_with_all_parts(daemon):
    assert missing_parts(daemon.execute("query-qmp-schema")) == frozenset()
