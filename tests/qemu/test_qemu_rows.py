"""QEMU's rows: what is planned, in which order it runs, and what the records say."""

import math
import os
from pathlib import Path
from statistics import median

import pytest

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.qemu.account import Run
from hbitmap_bench.qemu.builds import QemuBuild
from hbitmap_bench.qemu.buildup import add_ends, backup_job, start_backup
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.geometry import layout, words_access, words_deny
from hbitmap_bench.qemu.images import Image, ensure_images
from hbitmap_bench.qemu.page_cache import cached_share
from hbitmap_bench.reproduction import rows as rows_module
from hbitmap_bench.reproduction.disturbance import WARM_SHARE, counted
from hbitmap_bench.reproduction.growth import extra_is_resolved
from hbitmap_bench.reproduction.records import Reproduction
from hbitmap_bench.reproduction.rows import Probe, Row, Session, measure_rows, plan_rows

K, M, G, T = 2**10, 2**20, 2**30, 2**40


@pytest.fixture(scope="module")
def image(qemu_img, tmp_path_factory):
    """Just large enough for a default slice of 4 KiB: 8,224 queries."""
    directory = tmp_path_factory.mktemp("rows")
    (made,) = ensure_images(directory, [(257 * G, 64 * K)], qemu_img, lambda _: None)
    yield made
    made.path.unlink()


@pytest.fixture
def measure():
    """Measure rows; check the progress; return the records and the lines said."""

    def measured(rows, **limits):
        lines, shares = [], []
        records = measure_rows(rows, lines.append, shares.append, **limits)
        assert sum(shares) == pytest.approx(1 if shares else 0)
        assert len(records) == len(rows)
        return records, lines

    return measured


def test_rows_of_an_image(build, image, measure):
    records, lines = measure(plan_rows([build], [image]))
    assert [(r.setup, r.l2_slice_bytes) for r in records] == [
        ("plain", 4 * K),
        ("access", 4 * K),
        ("plain", 64 * K),
        ("access", 64 * K),
    ]
    for record in records:
        assert (record.source, record.mode) == ("qemu", "measured")
        assert (record.build, record.detected) == (build.label, "access")
        assert (record.image_bytes, record.cluster_bytes) == (257 * G, 64 * K)
        assert (record.copy_cluster_bytes, record.l2_entry_bytes) == (64 * K, 8)
        assert len(record.runs) >= 3
        cpu_s = [run.cpu_s for run in counted(record.runs)]
        assert record.cpu_s == median(cpu_s)
        assert record.elapsed_s == median(run.wall_s for run in counted(record.runs))
        assert len(cpu_s) == 1 or record.interval_s == (min(cpu_s), max(cpu_s))
        assert record.interval_kind in ("min_max", None)
        for run in record.runs:
            assert_accounted(run)
    assert [record.queries for record in records] == [8224, 8224, 514, 514]
    for plain, filtered in (records[:2], records[2:]):
        answer = layout(257 * G, 64 * K, l2_slice_bytes=plain.l2_slice_bytes).answer_bytes
        assert (plain.words_examined, plain.extra_s, plain.scan_rate_words_s) == (None, None, None)
        assert filtered.words_examined == words_access(257 * G, answer, 64 * K)
        assert filtered.words_source == "closed_form"
        if None in (filtered.work_s, plain.work_s):
            assert filtered.extra_s is None, "a busy host: nothing is made of it"
        else:
            assert filtered.extra_s == filtered.cpu_s - plain.cpu_s
        if filtered.scan_rate_words_s is not None:
            assert extra_is_resolved(filtered, plain)
            assert filtered.scan_rate_words_s == filtered.words_examined / filtered.extra_s
    Reproduction.from_json(Reproduction.of_this_run(records, ()).to_json())
    assert any("detected algorithm access" in line for line in lines)


def assert_accounted(run):
    """What the kernel counted is there, and is possible."""
    assert run.cpu_s > 0
    assert run.waited_s >= 0
    assert run.read_bytes >= 0
    assert run.major_faults >= 0
    assert run.steal_s >= 0
    assert min(run.cached_before, run.cached_after) >= WARM_SHARE
    assert min(run.loop_words_s) > 0


def test_runs_go_round_in_turn(build, image, measure):
    planned = plan_rows([build], [image])
    _, lines = measure(planned, budget_s=0.0)
    names = [str(row) for row in planned]
    expected = [f"run 1: {name}" for name in names]
    expected += [f"run 2: {name}" for name in reversed(names)]
    expected += [f"run 3: {name}" for name in names]
    runs = [line for line in lines if line.startswith("run ")]
    assert runs[: len(expected)] == expected, "disturbed ones are repeated after these"


def test_slow_row_is_not_repeated_and_has_no_spread(build, image, measure, monkeypatch):
    monkeypatch.setattr(rows_module, "QUICK_S", 0.0)
    records, lines = measure(plan_rows([build], [image], 64 * K), budget_s=0.0)
    for record in records:
        (run,) = record.runs
        assert (record.elapsed_s, record.cpu_s) == (run.wall_s, run.cpu_s)
        assert (record.interval_s, record.interval_kind) == (None, None)
    assert sum("more did not fit into --budget 0" in line for line in lines) == 2


def test_an_image_that_left_the_page_cache_is_read_into_it_again(build, image, measure):
    with image.path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert cached_share(image.path) < WARM_SHARE
    records, _ = measure(plan_rows([build], [image], 64 * K), n_runs=1)
    for record in records:
        run = record.runs[0]
        assert run.cached_before >= WARM_SHARE
        assert run.read_bytes < 512 * image.path.stat().st_blocks / 100, (
            "the daemon reads from the cache"
        )


def test_an_image_that_memory_can_not_hold_makes_its_rows_cold(build, image, measure, monkeypatch):
    monkeypatch.setattr(rows_module, "cached_share", lambda _: 0.75)
    records, _ = measure(plan_rows([build], [image], 64 * K), n_runs=1)
    for record in records:
        assert record.disturbed.endswith("cold: 75% of the image's metadata in the page cache")
        assert (record.work_s, record.extra_s, record.scan_rate_words_s) == (None, None, None)


def a_session(runs_of, **limits):
    """A session whose rows have these runs already: (wall seconds, CPU seconds) of each."""
    rows = [Row(QemuBuild(name, Path(name), "1"), Image(Path(name), T, 64 * K), False)
            for name in runs_of]  # fmt: skip
    limits = {"n_runs": 5, "budget_s": 100.0} | limits
    session = Session(rows, lambda _: None, lambda _: None, **limits)
    for row, runs in zip(rows, runs_of.values(), strict=True):
        session._runs[row] += [Run(wall_s=wall_s, cpu_s=cpu_s) for wall_s, cpu_s in runs]
    return {row.build.name: session.wants(row) for row in rows}


def test_how_often_a_row_is_measured():
    wanted = a_session(
        {
            "never measured": [],
            "quick, whatever the others take": [(10, 10), (10, 10)],
            "quick, beyond the budget": [(10, 10)] * 3,
            "quick and disturbed, beyond the budget": [(2, 2)] * 2 + [(2, 1)] * 5,
            "quick, but no longer all together": [(2, 2)] * 2 + [(2, 1)] * 6,
            "slow, beyond the budget": [(70, 70)],
        }
    )
    assert list(wanted.values()) == [True, True, False, True, False, False]
    wanted = a_session(
        {
            "slow, within the budget": [(70, 70)],
            "as often as asked": [(1, 1)] * 5,
            "disturbed ones do not count": [(1, 1)] * 4 + [(2, 1)] * 5,
            "but are repeated no more than that": [(1, 1)] * 4 + [(2, 1)] * 6,
        },
        budget_s=200.0,
    )
    assert list(wanted.values()) == [True, False, True, False]
    wanted = a_session(
        {
            "slow, not before": [(70, 70)],
            "a quick one that lacks a run": [(20, 20)] * 2 + [(20, 9)],
        },
        budget_s=210.0,
    )
    assert list(wanted.values()) == [False, True]


@pytest.mark.parametrize("whole_rounds", [False, True])
def test_a_round_is_whole_where_runs_are_compared_within_it(monkeypatch, whole_rounds):
    """A row that was disturbed once is tried again: by itself, or beside all others."""
    layouts = [Row(QemuBuild(name, Path(name), "1"), Image(Path(name), T, 64 * K), False)
               for name in "ab"]  # fmt: skip
    seconds = {"a": iter([(1, 1), (2, 1), (1, 1), (1, 1)]), "b": iter([(1, 1)] * 4)}

    def run_once(row, _):
        wall_s, cpu_s = next(seconds[row.build.label])
        return Run(wall_s=wall_s, cpu_s=cpu_s)

    monkeypatch.setattr(rows_module, "run_once", run_once)
    session = Session(layouts, lambda _: None, lambda _: None, n_runs=3,
                      budget_s=math.inf, whole_rounds=whole_rounds)  # fmt: skip
    session.run()
    n_runs = [len(runs) for runs in session.judged_runs().values()]
    assert n_runs == [4, 4 if whole_rounds else 3]


def test_a_row_that_fails_is_not_measured_again_and_the_others_are(monkeypatch):
    """In the second round; which is no reason to measure fewer."""
    rows = [Row(QemuBuild(name, Path(name), "1"), Image(Path(name), T, 64 * K), False)
            for name in "ab"]  # fmt: skip
    order = []

    def run_once(row, _):
        order.append(row.build.label)
        if order.count("a") == 2 and row.build.label == "a":
            raise UserError("qemu a ended")
        return Run(wall_s=1, cpu_s=1)

    monkeypatch.setattr(rows_module, "run_once", run_once)
    monkeypatch.setattr(rows_module, "probe", lambda _: Probe(frozenset(), "access"))
    lines, shares = [], []
    limits = {"n_runs": 3, "budget_s": math.inf, "whole_rounds": True}
    failed, whole = measure_rows(rows, lines.append, shares.append, **limits)
    assert "".join(order) == "abbab"
    assert (failed.failed, len(failed.runs), failed.work_s) == ("qemu a ended", 1, None)
    assert (whole.failed, len(whole.runs)) == (None, 3)
    assert lines.count("failed, and not measured again: qemu a ended") == 1
    assert sum(shares) == pytest.approx(1)
    found = Reproduction.of_this_run([failed, whole], ())
    assert Reproduction.from_json(found.to_json()).cells == (failed, whole)


@pytest.mark.parametrize(
    ("tries", "end"),
    [
        (6, "1 of 3 runs: qemu b: blockdev-backup, 1T; 5 were disturbed, and no more are tried"),
        (5, "1 of 3 runs: qemu b: blockdev-backup, 1T; 2 more did not fit into --budget 1"),
    ],
)
def test_why_runs_were_left_out_is_said(tries, end):
    row = Row(QemuBuild("b", Path("b"), "1"), Image(Path("b"), T, 64 * K), False)
    lines = []
    session = Session([row], lines.append, lambda _: None, n_runs=3, budget_s=1.0)
    session._runs[row] += [Run(wall_s=1, cpu_s=1)] + [Run(wall_s=40, cpu_s=20)] * (tries - 1)
    session.run()
    assert lines == [end]


def test_a_limited_build_has_no_rows_of_larger_images(tmp_path):
    builds = [QemuBuild("all", tmp_path, "1"), QemuBuild("small", tmp_path, "1", 2 * T)]
    images = [Image(tmp_path, size * T, 64 * K) for size in (1, 2, 4)]
    sizes = {
        build.label: {
            row.image.image_bytes // T for row in plan_rows(builds, images) if row.build == build
        }
        for build in builds
    }
    assert sizes == {"all": {1, 2, 4}, "small": {1, 2}}


def test_all_threads_of_a_daemon_are_kept_to_one_core(build, image):
    with Daemon(build) as daemon:
        daemon.keep_to_one_core()
        start_backup(daemon, *add_ends(daemon, image, filtered=True, l2_slice_bytes=4 * K))
        cores = [os.sched_getaffinity(int(task.name)) for task in tasks_of(daemon)]
        assert len(cores) > 1, "the job reads by threads that it starts"
        assert set(map(frozenset, cores)) == {frozenset({max(os.sched_getaffinity(0))})}


def tasks_of(daemon):
    """Its threads once the job has started some."""
    while len(tasks := list(Path(f"/proc/{daemon.pid}/task").iterdir())) < 3:
        assert backup_job(daemon)["current-progress"] == 0, "no further thread in a whole build-up"
    return tasks


def test_build_without_a_filter_has_plain_rows_alone(without, image, measure):
    records, lines = measure(plan_rows([without("snapshot-access")], [image], 64 * K))
    plain, filtered = records
    assert "has no snapshot-access" in lines[0]
    assert len(plain.runs) >= 3
    assert (filtered.elapsed_s, filtered.runs, filtered.detected) == (None, (), None)
    Reproduction.from_json(Reproduction.of_this_run(records, ()).to_json())


def test_build_without_the_job_has_empty_rows(without, image, measure):
    records, lines = measure(plan_rows([without("blockdev-backup")], [image], 64 * K))
    assert len(lines) == 1
    assert "has no blockdev-backup" in lines[0]
    assert [record.elapsed_s for record in records] == [None, None]


@pytest.mark.parametrize(
    ("detected", "setup"), [("deny", "deny"), ("unknown", "access"), ("access", "access")]
)
def test_filtered_row_is_called_after_what_was_detected(
    build, image, measure, monkeypatch, detected, setup
):
    """No patched build to run here, so the finding is given; the runs are real."""
    monkeypatch.setattr(rows_module, "probe", lambda _: Probe(frozenset(), detected))
    (plain, filtered), _ = measure(plan_rows([build], [image], 64 * K))
    answer = layout(257 * G, 64 * K, l2_slice_bytes=64 * K).answer_bytes
    words = {"deny": words_deny, "access": words_access, "unknown": lambda *_: None}[detected]
    assert (plain.setup, plain.detected) == ("plain", detected)
    assert (filtered.setup, filtered.detected) == (setup, detected)
    assert filtered.words_examined == words(257 * G, answer, 64 * K)
    assert (filtered.extra_s is None) == (None in (plain.work_s, filtered.work_s))
    if detected != "access":
        assert filtered.scan_rate_words_s is None


@pytest.mark.parametrize(
    ("image_bytes", "cluster", "pinned", "slices"),
    [
        (10 * T, 64 * K, None, [None, 64 * K]),
        (256 * G, 64 * K, None, [None]),  # the default is a whole cluster: nothing to remedy
        (8 * T, 2 * M, None, [None]),
        (16 * T, 2 * M, None, [None, 64 * K]),
        (T, 16 * K, None, [None, 16 * K]),
        (10 * T, 64 * K, 8 * K, [8 * K]),
    ],
)
def test_plan(tmp_path, image_bytes, cluster, pinned, slices):
    builds = [QemuBuild("a", tmp_path, "1"), QemuBuild("b", tmp_path, "2")]
    rows = plan_rows(builds, [Image(tmp_path, image_bytes, cluster)], pinned)
    assert [(row.build, row.l2_slice_bytes, row.filtered) for row in rows] == [
        (build, chosen, filtered)
        for build in builds
        for chosen in slices
        for filtered in (False, True)
    ]
