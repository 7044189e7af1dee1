"""Ways to the first inaccessible byte: both published checks, their rivals, a set of clusters."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hbitmap_impl.access_check import AccessBitmap, DenyBitmap
from hbitmap_impl.clusters import copy_cluster_size, empty_bitmap
from hbitmap_impl.contenders.access_simd import AccessSimd
from hbitmap_impl.contenders.remembering import Remembering
from hbitmap_impl.contenders.roaring import Roaring
from hbitmap_impl.contenders.two_sided import TwoSided

BOTH = [AccessBitmap, DenyBitmap]
ALL = [*BOTH, AccessSimd, Remembering, Roaring, TwoSided]


def slow_first_inaccessible(denied: set[int], cluster: int, offset: int, length: int) -> int:
    """Look at the clusters of the range one by one."""
    for index in range(offset // cluster, -(-(offset + length) // cluster)):
        if index in denied:
            return max(index * cluster, offset)
    return -1


class ManyWays(RuleBasedStateMachine):
    # One word, two levels and three levels of bits, and one to either side.
    @initialize(
        data=st.data(),
        n_clusters=st.sampled_from([1, 63, 64, 65, 64**2 - 1, 64**2, 64**2 + 1, 64**3 + 1]),
        cluster=st.sampled_from([1, 65536]),
        from_copy=st.booleans(),
    )
    def start(self, data, n_clusters, cluster, from_copy):
        self.cluster, self.n_clusters = cluster, n_clusters
        self.size = n_clusters * cluster - data.draw(st.integers(0, cluster - 1))
        self.denied: set[int] = set()
        if not from_copy:
            self.checks = [kind(self.size, cluster) for kind in ALL]
            return
        first = data.draw(st.integers(0, n_clusters - 1))
        last = data.draw(st.integers(first, n_clusters - 1))
        length = min((last + 1) * cluster, self.size) - first * cluster
        self.denied = {i for i in range(n_clusters) if not first <= i <= last}
        self.checks = []
        for kind in ALL:
            copy = empty_bitmap(self.size, cluster, kind.bitmap_type)
            copy.set(first * cluster, length)
            self.checks.append(kind.from_copy_bitmap(copy))

    @rule(data=st.data())
    def discard(self, data):
        first = data.draw(st.integers(0, self.n_clusters - 1))
        count = data.draw(st.integers(1, min(self.n_clusters - first, 130)))
        self.denied.update(range(first, first + count))
        end = min((first + count) * self.cluster, self.size)
        for check in self.checks:
            check.discard(first * self.cluster, end - first * self.cluster)

    @rule(data=st.data())
    def ask(self, data):
        offset = data.draw(st.integers(0, self.size - 1))
        length = data.draw(st.integers(1, self.size - offset))
        self._compare(offset, length)

    @rule(data=st.data(), before=st.integers(0, 2), after=st.integers(0, 2))
    def ask_near_a_denied_cluster(self, data, before, after):
        if self.denied:
            near = data.draw(st.sampled_from(sorted(self.denied))) * self.cluster
            offset = max(near - before, 0)
            self._compare(offset, min(near + after, self.size) - offset)

    def _compare(self, offset, length):
        expected = slow_first_inaccessible(self.denied, self.cluster, offset, length)
        for check in self.checks:
            assert check.first_inaccessible(offset, length) == expected, type(check)

    @invariant()
    def counts_are_those_of_the_set(self):
        # QEMU counts set bits, so a partial last cluster counts as a whole one.
        for check in self.checks:
            n = len(self.denied) if check.cuts_status else self.n_clusters - len(self.denied)
            assert check.count == n * self.cluster, type(check)


ManyWays.TestCase.settings = settings(
    max_examples=min(60, settings.default.max_examples), stateful_step_count=25
)
TestManyWays = ManyWays.TestCase


def test_without_a_bitmap_the_counts_tell_the_algorithm():
    # What tells one build of QEMU from another, over a 64 MiB disk.
    assert AccessBitmap(64 * 2**20, 65536).count == 67_108_864
    assert DenyBitmap(64 * 2**20, 65536).count == 0


@given(
    n_clusters=st.integers(1, 5000), first=st.integers(0, 4999), length=st.integers(1, 70 * 65536)
)
def test_words_are_those_from_the_first_to_the_last_of_the_range(n_clusters, first, length):
    first %= n_clusters
    size = n_clusters * 65536
    length = min(length, size - first * 65536)
    access, deny = (kind(size, 65536) for kind in BOTH)
    for check in (access, deny):
        assert check.first_inaccessible(first * 65536, length) == -1
    last = (first * 65536 + length - 1) // 65536
    assert access.words_examined == last // 64 - first // 64 + 1
    assert deny.words_examined == 7


@pytest.mark.parametrize("kind", BOTH)
def test_counters_start_again(kind):
    check = kind(10 * 65536, 65536)
    check.first_inaccessible(0, 65536)
    assert check.words_examined > 0
    check.reset_counters()
    assert check.words_examined == 0


@pytest.mark.parametrize("kind", ALL)
def test_discard_outside_the_disk_is_refused(kind):
    check = kind(10 * 65536, 65536)
    before = check.count
    with pytest.raises(ValueError, match="655360"):
        check.discard(9 * 65536, 2 * 65536)
    assert check.count == before


@pytest.mark.parametrize("kind", ALL)
def test_cluster_sizes_are_powers_of_two(kind):
    with pytest.raises(ValueError, match="power of two, not 65535"):
        kind(65536, 65535)


@pytest.mark.parametrize("kind", ALL)
def test_a_check_is_a_copy_of_its_own(kind):
    copy = empty_bitmap(10 * 65536, 65536, kind.bitmap_type)
    copy.set(0, 65536)
    check = kind.from_copy_bitmap(copy)
    copy.reset_all()
    assert check.first_inaccessible(0, 65536) == -1
    assert check.first_inaccessible(0, 2 * 65536) == 65536


@pytest.mark.parametrize(
    ("target", "minimum", "expected"),
    [(0, 0, 65536), (4096, 0, 65536), (2**20, 0, 2**20), (65536, 2**21, 2**21)],
)
def test_copy_cluster(target, minimum, expected):
    assert copy_cluster_size(target, minimum) == expected
