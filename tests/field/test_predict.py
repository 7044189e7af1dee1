"""Predictions: counts against the job that really runs, costs against sums, errors as one line."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.checks.predict_accuracy import Row
from hbitmap_bench.field.predict import calibrate, main
from hbitmap_bench.field.predict.calibrate import REFERENCE, Calibration, scan_geometry
from hbitmap_bench.field.predict.costs import NAMES, Costs, fit
from hbitmap_bench.field.predict.counts import Counts, count
from hbitmap_bench.field.predict.knobs import AS_IT_IS, Knob, knobs
from hbitmap_bench.field.predict.prediction import Counted, Prediction, count_as_it_is
from hbitmap_bench.field.predict.prediction_text import headline
from hbitmap_bench.field.predict.subject import of_file, of_plan
from hbitmap_bench.qemu.blueprint import Blueprint, alternating, empty, fragmented
from hbitmap_bench.qemu.geometry import layout
from hbitmap_impl.clusters import full_bitmap
from hbitmap_impl.qcow2 import Qcow2Image
from hbitmap_impl.setups import assemble

K, M, G, T = 2**10, 2**20, 2**30, 2**40
COMMAND = str(Path(sys.executable).with_name("hbitmap-bench"))

DRAWN = {
    "full": Blueprint(image_bytes=3 * G + 512),
    "full, 2M": Blueprint(image_bytes=40 * G, cluster_bytes=2 * M),
    "empty": Blueprint(image_bytes=2 * G, pattern=empty),
    "no tables": Blueprint(image_bytes=2 * G, pattern=None),
    "half": Blueprint(image_bytes=2 * G, cluster_bytes=16 * K, pattern=alternating(5)),
    "fragmented": Blueprint(image_bytes=2 * G + 5 * M, pattern=fragmented(3)),
    "extended": Blueprint(image_bytes=2 * G, extended_l2=True, pattern=alternating(100)),
}


def run(*arguments, cwd):
    return subprocess.run(
        [COMMAND, "predict", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def drawn(plan, path):
    plan.write(path)
    return path


@pytest.mark.parametrize("copy_cluster", [64 * K, M])
@pytest.mark.parametrize("l2_slice", [None, 512])
@pytest.mark.parametrize("name", DRAWN)
def test_counts_are_those_of_the_job_that_really_searches(tmp_path, name, l2_slice, copy_cluster):
    path = drawn(DRAWN[name], tmp_path / "image")
    found = count(
        of_file(path), filtered=True, l2_slice_bytes=l2_slice, copy_cluster_bytes=copy_cluster
    )
    for setup in ("access", "deny"):
        with Qcow2Image(path, l2_slice_bytes=l2_slice, want_zero=True) as image:
            job = assemble(setup, image, cbw_cluster_bytes=copy_cluster)
            assert job.build_up().queries == found.queries
            words = found.words_access if setup == "access" else found.words_deny
            assert job.check.words_examined == words
    plain = count(of_file(path), filtered=False, l2_slice_bytes=l2_slice)
    with Qcow2Image(path, l2_slice_bytes=l2_slice) as image:
        assert assemble("plain", image).build_up().queries == plain.queries
    assert plain.words_access == plain.words_deny == plain.seeks == 0


def test_a_planned_image_counts_as_the_closed_form(tmp_path):
    for size, cluster in ((T, 64 * K), (4 * T, M), (100 * G, 2 * M)):
        cell = layout(size, cluster)
        found = count(of_plan(size, cluster), filtered=True)
        assert found.queries == cell.queries
        assert found.words_access == cell.words("access")
        assert found.words_deny == cell.words("deny")


def test_slices_are_loaded_once_and_entries_looked_at_by_each_query(tmp_path):
    whole = of_file(drawn(Blueprint(image_bytes=4 * G), tmp_path / "whole"))
    found = count(whole, filtered=True, l2_slice_bytes=4 * K)
    assert (found.queries, found.loads, found.scanned) == (128, 128, 65536)
    assert found.seeks == 128  # its metadata is preallocated
    assert found.cache_entries == 65536 * 8 // (4 * K)
    hollow = of_file(drawn(Blueprint(image_bytes=4 * G, pattern=None), tmp_path / "hollow"))
    found = count(hollow, filtered=True, l2_slice_bytes=4 * K)
    assert (found.queries, found.loads, found.scanned, found.seeks) == (128, 0, 0, 0)


def test_a_raw_image_has_no_slices(tmp_path):
    raw = tmp_path / "raw"
    raw.write_bytes(b"x" * 4096)
    with raw.open("r+b") as file:
        file.truncate(G)
    found = count(of_file(raw), filtered=True)
    assert found.loads == found.scanned == found.cache_entries == 0
    assert 1 <= found.queries == found.seeks <= 3
    assert count(of_file(raw), filtered=False).queries == 1


def _counts(**more):
    zero = dict.fromkeys(("queries", "loads", "scanned", "seeks", "cache_entries", "bits"), 0)
    return Counts(**zero | more)


def test_seconds_are_the_sum_of_their_parts():
    costs = Costs(**dict.fromkeys(NAMES, 1.0))
    counts = _counts(
        queries=2, loads=3, scanned=5, seeks=7, cache_entries=11, words_access=13, words_deny=17
    )
    assert costs.seconds(counts, "plain") == 1 + 2 + 3 + 3 * 11 + 5
    assert costs.seconds(counts, "access") == 1 + 2 + 3 + 33 + 5 + 2 + 7 + 13
    assert costs.seconds(counts, "deny") == 1 + 2 + 3 + 33 + 5 + 2 + 7 + 17
    assert costs.scan_s(counts) == 13


def test_a_fit_finds_the_costs_that_made_the_runs():
    counts = [
        _counts(queries=1000, loads=a, scanned=b, cache_entries=c, seeks=d, words_access=e)
        for a, b, c, d, e in (
            (0, 0, 0, 0, 0), (900, 9000, 900, 0, 0), (500, 90000, 30, 0, 0),
            (900, 9000, 90, 900, 0), (10, 9000, 10, 0, 10**8), (700, 10**5, 700, 10, 10**6),
        )
    ]  # fmt: skip
    runs = [
        (one, setup, REFERENCE.seconds(one, setup))
        for one in counts
        for setup in ("plain", "access")
    ]
    found = fit(runs)
    for one, setup, seconds in runs:
        assert found.seconds(one, setup) == pytest.approx(seconds, rel=1e-6)


def test_the_interval_is_of_all_rounds_widened():
    rounds = (REFERENCE, REFERENCE.scaled(2, 2), REFERENCE.scaled(1.5, 1.5))
    counts = _counts(queries=10**6, words_access=10**9)
    one = REFERENCE.seconds(counts, "access")
    found = Calibration(None, None, rounds, 1.25).seconds(counts, "access")
    assert found == pytest.approx((1.5 * one, one / 1.25, 2 * one * 1.25))


@pytest.mark.parametrize("size", [G, 256 * G, T, 10 * T, 100 * T])
def test_the_scan_is_measured_on_an_image_that_qcow2_can_hold(size):
    cluster, slice_bytes = scan_geometry(size // (64 * K))
    layout(size, cluster, l2_slice_bytes=slice_bytes)


def test_a_word_of_a_small_bitmap_is_not_priced_as_a_call(monkeypatch):
    scanned = []
    monkeypatch.setattr(
        calibrate, "full_bitmap", lambda *size: scanned.append(size) or full_bitmap(*size)
    )
    calibrate.scan_word_s(1)
    assert scanned == [(256 * G, 64 * K)]


def test_the_headline_says_predicted_and_has_units():
    subject = of_plan(30 * T, 64 * K)
    counted = Counted(*(AS_IT_IS.counts(subject, filtered=filtered) for filtered in (False, True)))
    calibration = Calibration(None, None, (REFERENCE,), 2.0)
    told = headline(
        Prediction(
            subject=subject, calibration=calibration, counted={AS_IT_IS: counted},
            has_min_cluster_size=None,
        )
    )  # fmt: skip
    assert re.match(r"Predicted: the first byte after 20.\d min .*between 10.\d min and 4", told)


def test_knobs_that_change_nothing_are_not_offered(tmp_path):
    offered = list(knobs(of_plan(T, 64 * K)))
    assert offered[0] == Knob(l2_slice_bytes=64 * K)
    assert Knob(image_cluster_bytes=M) in offered
    large = list(knobs(of_plan(T, 2 * M)))  # its slice is a cluster, and its cluster the largest
    assert not any(knob.l2_slice_bytes or knob.image_cluster_bytes for knob in large)
    assert AS_IT_IS not in offered


TURNED = [Knob(fleecing_bytes=M), Knob(min_cluster_bytes=M), Knob(l2_slice_bytes=64 * K)]


@pytest.mark.parametrize("knob", TURNED, ids=str)
def test_a_knob_saves_words(knob):
    """Each makes either the queries or the bitmap sixteen times fewer."""
    subject = of_plan(T, 64 * K)
    before = AS_IT_IS.counts(subject, filtered=True).words_access
    assert before > 15 * knob.counts(subject, filtered=True).words_access


def test_json_tells_what_the_tables_do(tmp_path):
    drawn(DRAWN["fragmented"], tmp_path / "image")
    done = run("image", "--size", "1T", "--json", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    image, planned = document["images"]
    assert (image["planned"], planned["planned"]) == (False, True)
    assert planned["as_it_is"]["access"]["words"] == layout(T).words("access")
    assert image["as_it_is"]["plain"]["measured_s"] == []
    low, high = planned["as_it_is"]["access"]["interval_s"]
    assert high / low == pytest.approx(4)  # twofold, both ways
    done = run("image", "--json", "out.json", cwd=tmp_path)
    assert "access bitmap" in done.stdout
    assert json.loads((tmp_path / "out.json").read_text())["images"][0]["name"] == "image"


def test_bad_images_are_a_line_each_and_the_others_are_predicted(tmp_path):
    drawn(DRAWN["full"], tmp_path / "good")
    (tmp_path / "huge").write_bytes(_huge(tmp_path / "good"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").write_bytes(b"KDMV" + bytes(600))
    bad = ["missing", "folder", "other", "huge"]
    done = run(*bad, "good", cwd=tmp_path)
    assert done.returncode == 2
    assert "good: qcow2" in done.stdout
    lines = [line for line in done.stderr.splitlines() if line.startswith("hbitmap-bench:")]
    assert len(lines) == len(bad)
    assert all(name in line for name, line in zip(bad, lines, strict=True))
    assert "Traceback" not in done.stderr


FLEET = {
    "some": Blueprint(image_bytes=256 * G, pattern=None),
    "more.qcow2": Blueprint(image_bytes=512 * G, pattern=None),
    "below/least": Blueprint(image_bytes=G, cluster_bytes=M),
}
IN_THE_WAY = {"notes.txt": b"text" * 200, "torn": b"QFI\xfb", "other": b"KDMV" + bytes(600)}


@pytest.fixture
def fleet(tmp_path):
    """A folder of images, the longest stall neither first nor last, and of what is none."""
    folder = tmp_path / "fleet"
    (folder / "below").mkdir(parents=True)
    for name, plan in FLEET.items():
        drawn(plan, folder / name)
    for name, content in IN_THE_WAY.items():
        (folder / name).write_bytes(content)
    (folder / "raw.img").write_bytes(bytes(M))
    (folder / "link").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    return folder


def test_a_fleet_is_listed_by_its_stalls_and_what_is_no_image_with_the_reason(fleet, tmp_path):
    done = run("--fleet", "fleet", "--csv", "out.csv", "--json", "out.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "out.json").read_text())
    stalls = [one["as_it_is"]["access"]["predicted_s"] for one in document["images"]]
    assert stalls == sorted(stalls, reverse=True)
    names = [os.path.relpath(one["name"], "fleet") for one in document["images"]]
    assert set(names) == {*FLEET, "raw.img"}
    reasons = {one["name"]: one["reason"] for one in document["refused"]}
    assert set(reasons) == {*IN_THE_WAY, "link", "pipe"}
    assert "not vmdk" in reasons["other"]
    assert ".raw or .img" in reasons["notes.txt"]
    for name in (*names, *reasons):
        assert name in done.stdout
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [row["name"] for row in rows] == [*names, *reasons]
    assert [float(row["access_s"]) for row in rows if row["access_s"]] == stalls
    assert {row["name"]: row["reason"] for row in rows if row["reason"]} == reasons


def test_a_fleet_is_predicted_as_its_images_alone(fleet, tmp_path):
    alone = json.loads(run("fleet/some", "--json", "-", cwd=tmp_path).stdout)["images"][0]
    found = json.loads(run("--fleet", "fleet", "--json", "-", cwd=tmp_path).stdout)["images"]
    (same,) = (one for one in found if one["name"] == alone["name"])
    for setup in ("plain", "access", "deny"):
        for key in ("queries", "words"):
            assert same["as_it_is"][setup][key] == alone["as_it_is"][setup][key]


def test_a_fleet_of_many_sizes_is_calibrated_for_few(tmp_path):
    sizes = range(1, main.MANY_SIZES + 2)
    walked = [(one := of_plan(n * T, M), {AS_IT_IS: count_as_it_is(one)}) for n in sizes]
    bits = [main.calibrated_bits(walked[:n]) for n in (main.MANY_SIZES, len(walked))]
    assert bits[0] == [n * T // (64 * K) for n in sizes][: main.MANY_SIZES]
    assert bits[1] == [n * T // (64 * K) for n in (1, 2, 4, 4, 8, 8, 8, 8, 16)]


def test_a_folder_without_an_image_is_an_error_that_lists_what_is_there(tmp_path):
    (tmp_path / "notes.txt").write_text("text")
    done = run("--fleet", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "notes.txt" in done.stdout


def _huge(path):
    """The head of an image that claims 2**62 bytes, with clusters of 2M: its tables lack."""
    with path.open("rb") as image:
        content = bytearray(image.read(65536))
    content[24:32] = (2**62).to_bytes(8, "big")
    return bytes(content)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "name an image"),
        (["--cluster-size", "64K"], "give its --size"),
        (["--size", "10T", "--qemu", "/nowhere/qsd"], "no program that can be run"),
        (["--size", "10T", "--json", "/nowhere/out.json"], "name another"),
        (["--fleet", "."], "has no file"),
        (["--fleet", ".", "--csv", "/nowhere/out.csv"], "name another"),
        (["--fleet", ".", "--size", "10T"], "give no IMAGE"),
        (["--fleet", ".", "--csv", "-", "--json", "-"], "a file's name"),
        (["--size", "10T", "--csv", "-"], "give --fleet DIR"),
    ],
)
def test_errors_are_one_line(tmp_path, arguments, line):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert line in done.stderr
    assert len([one for one in done.stderr.splitlines() if not one.startswith("counting")]) == 1


def test_drawn_images_of_odd_sizes_are_read_back(tmp_path):
    with pytest.raises(UserError, match="can't be read|an image is"):
        of_file(tmp_path / "none")
    subject = of_file(drawn(DRAWN["full"], tmp_path / "image"))
    assert (subject.image_bytes, subject.cluster_bytes) == (3 * G + 512, 64 * K)


@pytest.mark.parametrize(
    ("looks", "predicted", "measured", "kept"),
    [
        (100, (1.0, 9.0, 1.2), (1.0, 1.0, 1.0), True),  # the middle round decides
        (100, (1.3, 1.3, 1.3), (1.0, 1.0, 1.0), False),
        (100, (0.79, 0.79, 0.79), (1.0, 1.0, 1.0), False),
        (100, (0.19, 0.19, 0.19), (0.1, 0.1, 0.1), True),  # short: within 0.1 s
        (100, (0.21, 0.21, 0.21), (0.1, 0.1, 0.1), False),
        (99, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0), False),  # the real job asks less often
        (109, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0), False),
    ],
)
def test_the_accuracy_check_fails_where_a_promise_is_broken(looks, predicted, measured, kept):
    row = Row(
        "an image",
        of_plan(T, 64 * K),
        "plain",
        _counts(queries=100),
        looks,
        list(predicted),
        list(measured),
    )
    assert row.kept == kept
