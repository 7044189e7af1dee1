"""Which runs a busy host has spoilt: on made-up runs, and on a loop that a neighbour slows."""

import pytest

from hbitmap_bench.qemu.account import Run
from hbitmap_bench.reproduction.disturbance import judged, reason_of_all, usual_loop_words_s
from hbitmap_bench.reproduction.scan_loop import ScanLoop

USUAL = 3e9


def reason(*others, **changes):
    """Why a run of 10 s is disturbed, beside other runs of its row."""
    run = Run(**{"wall_s": 10.0, "cpu_s": 10.0} | changes)
    return judged([run, *others], USUAL)[0].disturbed


def test_a_run_of_its_own_work_is_not_disturbed():
    warm = {"cached_before": 1.0, "cached_after": 0.97}
    assert reason(wall_s=11.0, loop_words_s=(0.9 * USUAL, USUAL), **warm) is None
    assert reason(wall_s=8.0) is None, "two threads work longer than the clock says"


def test_wall_seconds_far_above_cpu_seconds_with_what_took_them():
    found = reason(wall_s=124.0, waited_s=40.0, read_bytes=70 * 10**9, steal_s=2.5)
    assert found == (
        "wall seconds 1140% above CPU seconds (40 s waiting for a core, 70,000 MB read from disk, "
        "2.5 s taken by the hypervisor)"
    )
    assert "(9.5 min waiting for a core)" in reason(wall_s=600.0, waited_s=570.0)
    assert "(<0.001 s taken by the hypervisor)" in reason(wall_s=20.0, steal_s=1e-9)
    assert reason(wall_s=20.0) == "wall seconds 100% above CPU seconds"


def test_a_short_run_may_wait_for_the_last_poll():
    assert reason(wall_s=0.07, cpu_s=0.03) is None
    assert reason(wall_s=0.2, cpu_s=0.03) is not None


def test_metadata_outside_the_page_cache():
    assert reason(cached_before=0.5) == "cold: 50% of the image's metadata in the page cache"


def test_metadata_that_leaves_the_page_cache_counts_if_it_is_read_again():
    left = {"cached_before": 1.0, "cached_after": 0.5}
    assert reason(**left) is None
    assert "600 MB read from disk" in reason(wall_s=12.0, read_bytes=6 * 10**8, **left)


@pytest.mark.parametrize("rates", [(1.0, 0.6), (0.6, 1.0)])
def test_a_loop_that_is_slower_than_in_the_session(rates):
    found = reason(loop_words_s=(rates[0] * USUAL, rates[1] * USUAL))
    assert found == "a fixed loop beside it ran 40% slower than in most of the session"


def test_a_slow_loop_within_the_spread_of_the_runs_says_nothing():
    others = [Run(wall_s=s, cpu_s=s) for s in (7.0, 10.0, 12.0)]
    assert reason(*others, loop_words_s=(0.6 * USUAL, USUAL)) is None


def test_what_a_host_does_not_tell_disturbs_nothing():
    run = Run(wall_s=10.0)
    assert judged([run], None) == (run,)


def test_a_row_is_disturbed_where_no_run_counts():
    good, bad = Run(wall_s=1.0), Run(wall_s=1.0, disturbed="cold: 1%")
    assert reason_of_all([]) is None
    assert reason_of_all([bad, good]) is None
    assert reason_of_all([bad]) == "cold: 1%"
    assert reason_of_all([bad, bad]) == "2 of 2 runs; the last: cold: 1%"


def test_the_usual_rate_is_that_of_the_quiet_quarter():
    rates = [1e9, 1e9, 2e9, 3e9, 3e9, 3e9]
    runs = [Run(wall_s=1.0, loop_words_s=(rate, rate)) for rate in rates]
    assert usual_loop_words_s(runs) == 3e9
    assert usual_loop_words_s([Run(wall_s=1.0)]) is None


def test_the_fixed_loop_has_a_rate():
    assert ScanLoop().words_s() > 1e7
