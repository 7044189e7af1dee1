"""Stored runs of the gate: what is damaged, or not of one piece, is refused by name."""

import json
import shutil
import subprocess
from dataclasses import replace
from math import nan

import numpy as np
import pytest
from synthetic_gate import MANIFEST, steady, write_run
from tiny import COMMAND

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits import sources
from hbitmap_bench.commits.gate.instructions import Counts
from hbitmap_bench.commits.gate.judge import judge
from hbitmap_bench.commits.gate.runs import load_manifest, load_run, save_manifest
from hbitmap_bench.commits.gate.suites import Cell

TIME = "bitmap_ops.BitmapOps.time_set"
EXAMINED = "buildup.Words.track_words_examined"
A = ("deny", 1, 64, 1)
DENY = ("deny", 16, 64)


@pytest.fixture
def stored(tmp_path):
    return write_run(
        tmp_path / "run", {(TIME, A): steady(0.01, n=5)}, counters={(EXAMINED, DENY): (7, 7)}
    )


def result_in(folder, part="pass-1/round-03/head"):
    (path,) = sources.result_paths(folder / part)
    return path


def rewrite(path, change):
    """A result that somebody changed, and gave a side record that fits."""
    document = json.loads(path.read_text())
    commit = document["commit_hash"]
    document = change(document) or document
    path.write_text(json.dumps(document))
    sources.write_record(path, commit, [{"hbitmap_impl/hbitmap.py": "0" * 40}])


SAMPLES = 11
"""asv's column."""


def row_of(document):
    return document["results"][TIME]


DAMAGED_RESULTS = {
    "truncated": lambda p: p.write_bytes(p.read_bytes()[:-100]),
    "a byte": lambda p: p.write_bytes(p.read_bytes().replace(b"0.01", b"0.02", 1)),
    "empty": lambda p: p.write_bytes(b""),
    "nested too deep": lambda p: p.write_text("[" * 100_000),
    "no text": lambda p: p.write_bytes(b"\xff\xfe\x00"),
    "a list": lambda p: rewrite(p, lambda d: [1]),
    "no results": lambda p: rewrite(p, lambda d: d.pop("results") and None),
    "results in a list": lambda p: rewrite(p, lambda d: d.update(results=[])),
    "parameters that are no literals": lambda p: rewrite(
        p, lambda d: row_of(d)[1].__setitem__(0, ["deny("])
    ),
    "fewer values than cells": lambda p: rewrite(p, lambda d: row_of(d)[0].pop() and None),
    "another asv's": lambda p: rewrite(p, lambda d: d.update(version=1)),
    "of another machine": lambda p: rewrite(p, lambda d: d["params"].update(cpu="another")),
    "of another commit": lambda p: rewrite(p, lambda d: d.update(commit_hash="d" * 40)),
    "took no time": lambda p: rewrite(
        p, lambda d: [s.__setitem__(0, 0.0) for s in row_of(d)[SAMPLES] if s] and None
    ),
    "no side record": lambda p: p.with_suffix(sources.SUFFIX).unlink(),
    "truncated side record": lambda p: p.with_suffix(sources.SUFFIX).write_text("{"),
    "empty side record": lambda p: p.with_suffix(sources.SUFFIX).write_text("{}"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED_RESULTS)
def test_a_damaged_result_is_refused_by_name(stored, damage):
    path = result_in(stored)
    before = path.read_bytes(), path.with_suffix(sources.SUFFIX).read_bytes()
    DAMAGED_RESULTS[damage](path)
    assert before != (path.read_bytes(), path.with_suffix(sources.SUFFIX).exists())
    with pytest.raises(UserError) as refused:
        load_run(stored)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_result_of_the_other_side_is_refused(stored):
    base, head = result_in(stored, "pass-1/round-03/base"), result_in(stored)
    for path in (head, head.with_suffix(sources.SUFFIX)):
        path.unlink()
    for suffix in (".json", sources.SUFFIX):
        shutil.copy(base.with_suffix(suffix), head.parent / base.with_suffix(suffix).name)
    with pytest.raises(UserError, match="not of commit e0a1360ccc"):
        load_run(stored)


@pytest.mark.parametrize(
    "part", ["pass-1", "pass-1/round-05", "pass-1/round-01/base", "counters/round-01/head"]
)
def test_a_round_or_side_that_is_gone_is_told(stored, part):
    shutil.rmtree(stored / part)
    with pytest.raises(UserError, match=f"one result a side.*{part}.* has 0"):
        load_run(stored)


def test_two_results_in_one_place_are_refused(stored):
    path = result_in(stored)
    shutil.copy(path, path.with_stem(path.stem + "-again"))
    with pytest.raises(UserError, match="one result a side.*has 2"):
        load_run(stored)


def edit(change):
    def damage(path):
        told = json.loads(path.read_text())
        path.write_text(json.dumps(change(told) or told))

    return damage


DAMAGED_MANIFESTS = {
    "truncated": lambda p: p.write_text(p.read_text()[:-20]),
    "no text": lambda p: p.write_bytes(b"\xff"),
    "a list": edit(lambda told: [1]),
    "nested too deep": lambda p: p.write_text("[" * 100_000),
    "a band that is no number": edit(lambda told: told.update(band=float("nan"))),
    "another schema": edit(lambda told: told.update(schema=1)),
    "no cells": edit(lambda told: told.pop("cells") and None),
    "cells of another kind": edit(lambda told: told.update(cells=[1])),
    "a fact too few": edit(lambda told: told["facts"].pop("base") and None),
    "a fact too many": edit(lambda told: told["facts"].update(more=1)),
    "a band in words": edit(lambda told: told.update(band="wide")),
    "no parameters": edit(lambda told: told["benchmarks"][TIME].update(params=[1])),
    "asv that is no list": edit(lambda told: told.update(asv=1)),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED_MANIFESTS)
def test_a_damaged_manifest_is_refused_by_name(stored, damage):
    DAMAGED_MANIFESTS[damage](stored / "run.json")
    with pytest.raises(UserError) as refused:
        load_run(stored)
    assert str(stored / "run.json") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_run_of_another_asv_and_no_run_at_all_are_refused(stored, tmp_path):
    edit(lambda told: told.update(asv=["0.5.1", "0.2.0"]))(stored / "run.json")
    with pytest.raises(UserError, match=r"asv 0\.5\.1 and runner 0\.2\.0, and this is 0\.6\.6"):
        load_run(stored)
    with pytest.raises(UserError, match="has none"):
        load_run(tmp_path)


def test_the_command_tells_it_in_one_line(stored):
    result_in(stored).write_bytes(b"{")
    ran = subprocess.run([COMMAND, "judge", stored], capture_output=True, text=True)
    assert ran.returncode == 2
    assert ran.stdout == ""
    (line,) = ran.stderr.splitlines()
    assert str(result_in(stored)) in line


def test_a_run_of_before_environments_were_compared_is_judged_as_ever(stored):
    found = judge(load_run(stored))
    edit(
        lambda told: [told["facts"][side].pop("environment") for side in ("base", "head")] and None
    )(stored / "run.json")
    assert judge(load_run(stored)) == found


def test_results_without_numbers_need_no_side_record(tmp_path):
    """A side on which every process failed imported nothing."""
    base, _ = steady(0.01, n=5)
    failures = (("head", Cell(TIME, A).name, "it ran out of time"),)
    folder = write_run(tmp_path / "run", {(TIME, A): (base, np.full(5, nan))}, failures=failures)
    for path in folder.rglob("head/*/*.sources"):
        path.unlink()
    assert judge(load_run(folder)).exit_code == 2


@pytest.mark.parametrize("value", [0.5, True, None, "text", 3, (1, "two")])
def test_cells_of_any_parameter_survive_being_stored(tmp_path, value):
    cell, other = Cell(TIME, (value, 1)), Cell(TIME, (value, 2))
    counts = Counts({cell: (1.0, 1.0, 2.0)}, {other: "it waits"})
    save_manifest(tmp_path, replace(MANIFEST, cells=(cell, other), instructions=counts))
    found = load_manifest(tmp_path)
    assert found.cells == (cell, other)
    assert found.instructions == counts
