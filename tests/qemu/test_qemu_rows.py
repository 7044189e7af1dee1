"""QEMU's rows: what is planned, in which order it runs, and what the records say."""

from statistics import median

import pytest

from hbitmap_bench.cells import layout
from hbitmap_bench.geometry import words_access, words_deny
from hbitmap_bench.qemu import rows as rows_module
from hbitmap_bench.qemu.builds import QemuBuild
from hbitmap_bench.qemu.images import Image, ensure_images
from hbitmap_bench.qemu.rows import Probe, is_repeated, measure_rows, plan_rows
from hbitmap_bench.records import Reproduction

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

    def measured(rows):
        lines, shares = [], []
        records = measure_rows(rows, lines.append, shares.append)
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
        assert len(record.runs_s) == 3
        assert record.elapsed_s == median(record.runs_s)
        assert record.interval_s == (min(record.runs_s), max(record.runs_s))
        assert record.interval_kind == "min_max"
    assert [record.queries for record in records] == [8224, 8224, 514, 514]
    for plain, filtered in (records[:2], records[2:]):
        answer = layout(257 * G, 64 * K, l2_slice_bytes=plain.l2_slice_bytes).answer_bytes
        assert (plain.words_examined, plain.extra_s, plain.scan_rate_words_s) == (None, None, None)
        assert filtered.words_examined == words_access(257 * G, answer, 64 * K)
        assert filtered.words_source == "closed_form"
        assert filtered.extra_s == filtered.elapsed_s - plain.elapsed_s
        if filtered.scan_rate_words_s is not None:
            assert filtered.interval_s[0] > plain.interval_s[1]
            assert filtered.scan_rate_words_s == filtered.words_examined / filtered.extra_s
    Reproduction.from_json(Reproduction.of_this_run(records, ()).to_json())
    assert any("detected algorithm access" in line for line in lines)


def test_runs_go_round_in_turn_after_one_warm_up_an_image(build, image, measure):
    planned = plan_rows([build], [image])
    _, lines = measure(planned)
    names = [str(row) for row in planned]
    expected = [f"warm-up: {names[0]}"]
    expected += [f"run 1 of 3: {name}" for name in names]
    expected += [f"run 2 of 3: {name}" for name in reversed(names)]
    expected += [f"run 3 of 3: {name}" for name in names]
    assert lines[1:] == expected


def test_slow_row_is_not_repeated_and_has_no_spread(build, image, measure, monkeypatch):
    monkeypatch.setattr(rows_module, "SLOW_RUN_S", 0.0)
    monkeypatch.setattr(rows_module, "ALWAYS_REPEATED_BYTES", 0)
    records, _ = measure(plan_rows([build], [image], 64 * K))
    for record in records:
        assert len(record.runs_s) == 1
        assert record.elapsed_s == record.runs_s[0]
        assert (record.interval_s, record.interval_kind) == (None, None)


@pytest.mark.parametrize(
    ("image_bytes", "runs_s", "again"),
    [
        (2 * T, [99.0], True),
        (2 * T + 1, [99.0], False),
        (4 * T, [9.0], True),
        (4 * T, [9.0, 11.0], False),
        (64 * T, [], True),
    ],
)
def test_when_a_row_is_repeated(image_bytes, runs_s, again):
    assert is_repeated(image_bytes, runs_s) is again


def test_build_without_a_filter_has_plain_rows_alone(without, image, measure):
    records, lines = measure(plan_rows([without("snapshot-access")], [image], 64 * K))
    plain, filtered = records
    assert "has no snapshot-access" in lines[0]
    assert len(plain.runs_s) == 3
    assert (filtered.elapsed_s, filtered.runs_s, filtered.detected) == (None, (), None)
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
    assert filtered.extra_s is not None
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
