"""Our HBitmap against a library's, operation by operation, through the driver.

By default the library is the stub. ``QEMU_BUILD`` names the build folder of a real one instead::

    QEMU_BUILD=BUILD pytest tests/qemu/test_driver_model.py
"""

import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
from driver_stub import SOURCES, built
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hbitmap_bench.qemu.driver import started
from hbitmap_bench.qemu.driver_build import compile_driver
from hbitmap_impl import HBitmap

# Where words and levels begin and end, with a partial last group for most granularities.
SIZES = [1, 63, 64, 65, 64**2 - 1, 64**2, 64**2 + 1, 64**3 - 1, 64**3 + 1]
GRANULARITIES = [0, 1, 16]
EVERYTHING = 2**62


@pytest.fixture(scope="module", autouse=True)
def driver(tmp_path_factory):
    """One process for all examples: each makes its bitmaps anew."""
    folder = tmp_path_factory.mktemp("library")
    build = Path(os.environ.get("QEMU_BUILD") or built(folder))
    with started(compile_driver(SOURCES, build, folder / "driver").program) as running:
        TwoBitmaps.driver = running
        TwoBitmaps.has_digest = "sha256" in running.ask("operations")
        yield


class TwoBitmaps(RuleBasedStateMachine):
    """Each rule does one operation on both, and compares what it returns."""

    @initialize(n_bits=st.sampled_from(SIZES), granularity=st.sampled_from(GRANULARITIES))
    def start(self, n_bits, granularity):
        self.group = 1 << granularity
        self.size = max(1, n_bits * self.group - self.group // 3)
        self.ours = HBitmap(self.size, granularity)
        self.driver.ask("new", 0, self.size, granularity)

    def draw_range(self, data):
        start = data.draw(st.integers(0, self.size - 1))
        bits = data.draw(st.sampled_from([0, 1, 63, 64, 65, 5000, EVERYTHING]))
        return start, min(bits * self.group + data.draw(st.integers(1, 3)), self.size - start)

    @rule(data=st.data())
    def set(self, data):
        start, count = self.draw_range(data)
        self.ours.set(start, count)
        self.driver.ask("set", 0, start, count)

    @rule(data=st.data())
    def reset(self, data):
        start, count = self.draw_range(data)
        start -= start % self.group
        count = min(count + -count % self.group, self.size - start)
        self.ours.reset(start, count)
        self.driver.ask("reset", 0, start, count)

    @rule()
    def reset_all(self):
        self.ours.reset_all()
        self.driver.ask("reset_all", 0)

    @rule(data=st.data(), granularity=st.sampled_from(GRANULARITIES))
    def merge(self, data, granularity):
        other = HBitmap(self.size, granularity)
        self.driver.ask("new", 1, self.size, granularity)
        for _ in range(data.draw(st.integers(0, 3))):
            start, count = self.draw_range(data)
            other.set(start, count)
            self.driver.ask("set", 1, start, count)
        self.ours.merge(other)
        self.driver.ask("merge", 0, 1)

    @rule(n_bits=st.sampled_from(SIZES), part=st.integers(0, 3))
    def truncate(self, n_bits, part):
        self.size = max(1, n_bits * self.group - part * self.group // 4)
        self.ours.truncate(self.size)
        self.driver.ask("truncate", 0, self.size)

    @rule(data=st.data(), limit=st.sampled_from([1, 64, EVERYTHING]))
    def search(self, data, limit):
        start, count = self.draw_range(data)
        ask, ours = self.driver.ask, self.ours
        assert ask("get", 0, start) == [ours.get(start)]
        assert ask("next_dirty", 0, start, count) == [ours.next_dirty(start, count)]
        assert ask("next_zero", 0, start, count) == [ours.next_zero(start, count)]
        assert ask("status", 0, start, count) == list(ours.status(start, count))
        area = ours.next_dirty_area(start, start + count, limit)
        assert ask("next_dirty_area", 0, start, start + count, limit) == list(area or ())

    @rule(data=st.data())
    def iterate_from(self, data):
        start = data.draw(st.integers(0, self.size - 1))
        items = list(self.ours.iter_from(start))
        expected = [len(items), items[-1] if items else -1, sum(items) % 2**63]
        assert self.driver.ask("iterate", 0, start, EVERYTHING) == expected

    @invariant()
    def both_hold_the_same(self):
        self.ours._check()
        assert self.driver.ask("count", 0) == [self.ours.count]
        if self.has_digest:
            assert self.driver.ask("sha256", 0) == [self.ours.sha256()]


TwoBitmaps.TestCase.settings = settings(max_examples=60, stateful_step_count=25, derandomize=True)
TestTwoBitmaps = TwoBitmaps.TestCase
