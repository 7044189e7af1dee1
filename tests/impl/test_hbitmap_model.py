"""HBitmap against a plain Python set of group numbers, operation by operation."""

import itertools

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hbitmap_impl import HBitmap
from hbitmap_impl.contender_bitmaps import RememberingHBitmap, TwoSidedHBitmap, WideHBitmap

# Where words and levels begin and end, with a partial last group for most granularities.
SIZES = [1, 63, 64, 65, 64**2 - 1, 64**2, 64**2 + 1, 64**3 - 1, 64**3 + 1]


class BitmapMachine(RuleBasedStateMachine):
    """Each rule does one operation on both, and compares what it returns."""

    kind: type[HBitmap] = HBitmap

    @initialize(n_bits=st.sampled_from(SIZES), granularity=st.sampled_from([0, 1, 16]))
    def start(self, n_bits, granularity):
        self.shift = granularity
        self.group = 1 << granularity
        self.resize(max(1, n_bits * self.group - self.group // 3))
        self.bitmap = self.kind(self.size, granularity)
        self.model: set[int] = set()

    def resize(self, size):
        self.size = size
        self.n_bits = -(-size // self.group)

    def draw_range(self, data, whole_groups=False):
        first = data.draw(st.integers(0, self.n_bits - 1))
        # Short ranges and long ones; the long ones stay countable for the model.
        last = min(
            first + data.draw(st.sampled_from([0, 1, 62, 63, 64, 65, 5000])), self.n_bits - 1
        )
        start, end = first * self.group, min((last + 1) * self.group, self.size)
        if not whole_groups and self.group > 1:
            start = min(start + data.draw(st.integers(0, self.group - 1)), end - 1)
            end = data.draw(st.integers(max(start, last * self.group) + 1, end))
        return start, end - start, set(range(first, last + 1))

    @rule(data=st.data())
    def set(self, data):
        start, count, groups = self.draw_range(data)
        self.bitmap.set(start, count)
        self.model |= groups

    @rule(data=st.data())
    def reset(self, data):
        start, count, groups = self.draw_range(data, whole_groups=True)
        self.bitmap.reset(start, count)
        self.model -= groups

    @rule()
    def reset_all(self):
        self.bitmap.reset_all()
        self.model.clear()

    @precondition(lambda self: self.n_bits <= 64**2 + 1)
    @rule()
    def invert(self):
        self.bitmap.invert()
        self.model = set(range(self.n_bits)) - self.model

    @rule(data=st.data(), granularity=st.sampled_from([0, 1, 16]))
    def merge(self, data, granularity):
        other = HBitmap(self.size, granularity)
        for _ in range(data.draw(st.integers(0, 3))):
            start, count, _ = self.draw_range(data)
            other.set(start, count)
        self.bitmap.merge(other)
        for start, count in other.to_runs().tolist():
            self.model |= set(range(start >> self.shift, ((start + count - 1) >> self.shift) + 1))

    @rule(n_bits=st.sampled_from(SIZES), part=st.integers(0, 3))
    def truncate(self, n_bits, part):
        self.resize(max(1, n_bits * self.group - part * self.group // 4))
        self.bitmap.truncate(self.size)
        self.model = {group for group in self.model if group < self.n_bits}

    @rule(data=st.data())
    def search(self, data):
        start, count, _ = self.draw_range(data)
        groups = range(start >> self.shift, ((start + count - 1) >> self.shift) + 1)
        dirty = next((g for g in groups if g in self.model), None)
        zero = next((g for g in groups if g not in self.model), None)
        dirty_item = -1 if dirty is None else max(dirty << self.shift, start)
        zero_item = -1 if zero is None else max(zero << self.shift, start)
        assert self.bitmap.next_dirty(start, count) == dirty_item
        assert self.bitmap.next_zero(start, count) == zero_item
        first_is_dirty = groups[0] in self.model
        edge = zero_item if first_is_dirty else dirty_item
        run = count if edge < 0 else edge - start
        assert self.bitmap.status(start, count) == (first_is_dirty, run)
        assert self.bitmap.get(start) == first_is_dirty

    @rule(data=st.data(), limit=st.sampled_from([1, 64, 2**40]))
    def area(self, data, limit):
        start, count, _ = self.draw_range(data)
        area = self.bitmap.next_dirty_area(start, start + count, limit)
        dirty = self.bitmap.next_dirty(start, count)
        if area is None:
            assert dirty == -1
            return
        zero = self.bitmap.next_zero(dirty, start + count - dirty)
        end = zero if zero >= 0 else start + count
        assert area == (dirty, min(end - dirty, limit))

    @rule(data=st.data())
    def iterate_from(self, data):
        start = data.draw(st.integers(0, self.size - 1))
        expected = [g << self.shift for g in sorted(self.model) if g >= start >> self.shift]
        assert list(self.bitmap.iter_from(start)) == expected

    @rule(data=st.data())
    def carry_over(self, data):
        """Take all words out in parts, and put them into another bitmap in any order."""
        twin = self.kind(self.size, self.shift)
        if data.draw(st.booleans()):
            twin.set(0, self.size)
        parts = self.draw_parts(data)
        for start, count in data.draw(st.permutations(parts)):
            twin.deserialize_part(
                self.bitmap.serialize_part(start, count), start, count, finish=False
            )
        twin.deserialize_finish()
        assert twin == self.bitmap
        self.bitmap = twin

    @rule(data=st.data(), ones=st.booleans())
    def fill_part(self, data, ones):
        start, count = data.draw(st.sampled_from(self.draw_parts(data)))
        fill = self.bitmap.deserialize_ones if ones else self.bitmap.deserialize_zeroes
        fill(start, count, finish=True)
        groups = set(range(start >> self.shift, ((start + count - 1) >> self.shift) + 1))
        self.model = self.model | groups if ones else self.model - groups

    def draw_parts(self, data):
        """Ranges of whole words that cover the bitmap."""
        align = 64 * self.group
        n_words = -(-self.size // align)
        cuts = data.draw(st.sets(st.integers(0, n_words), max_size=3)) | {0, n_words}
        ends = [min(cut * align, self.size) for cut in sorted(cuts)]
        return [(start, end - start) for start, end in itertools.pairwise(ends)]

    @rule()
    def copy(self):
        twin = self.bitmap.copy()
        assert twin == self.bitmap
        assert twin.sha256() == self.bitmap.sha256()
        self.bitmap = twin

    @invariant()
    def holds_what_the_set_holds(self):
        self.bitmap._check()
        assert self.bitmap.count == len(self.model) << self.shift
        assert self.bitmap.to_array().tolist() == [g << self.shift for g in sorted(self.model)]

    @invariant()
    def runs_cover_the_set_and_nothing_else(self):
        runs = self.bitmap.to_runs().tolist()
        covered = [
            g
            for start, count in runs
            for g in range(start >> self.shift, ((start + count - 1) >> self.shift) + 1)
        ]
        assert covered == sorted(self.model)
        assert all(end + n <= self.size for end, n in runs)
        assert all(a[0] + a[1] < b[0] for a, b in itertools.pairwise(runs))


class WideMachine(BitmapMachine):
    kind = WideHBitmap


class TwoSidedMachine(BitmapMachine):
    kind = TwoSidedHBitmap


class RememberingMachine(BitmapMachine):
    kind = RememberingHBitmap


for machine in (BitmapMachine, WideMachine, TwoSidedMachine, RememberingMachine):
    machine.TestCase.settings = settings(
        max_examples=min(60, settings.default.max_examples),
        stateful_step_count=25,
        derandomize=True,
    )

TestBitmap = BitmapMachine.TestCase
TestWideBitmap = WideMachine.TestCase
TestTwoSidedBitmap = TwoSidedMachine.TestCase
TestRememberingBitmap = RememberingMachine.TestCase
