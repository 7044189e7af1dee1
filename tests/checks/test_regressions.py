"""The check of the suites: its commits in a real clone, its judgement on given numbers.

Whether the suites really see what is injected is measured by ``tox -e regressions``.
"""

import io
import json
import re

import pytest
from rich.console import Console
from synthetic_history import history
from tiny import ROOT, git

from hbitmap_bench.base.consoles import LOG_COLUMNS
from hbitmap_bench.checks import regressions
from hbitmap_bench.checks.injections import INJECTIONS, scratch_clone
from hbitmap_bench.checks.regressions import Step, find, make_commits, uncalled_for
from hbitmap_bench.commits.project_file import read

BUG = INJECTIONS["old-bug"]


def steps_of(told, injection=BUG):
    """Two commits without the injection, then two with it; the first of these brings it."""
    labels = ["nothing", "nothing", injection.name, "nothing"]
    return [
        Step(commit.hash, label, injection if label == injection.name else None, i == 2)
        for i, (commit, label) in enumerate(zip(told.commits, labels, strict=True))
    ]


@pytest.fixture(scope="module")
def slower():
    """Every timed deny cell three times as dear from the third commit on."""
    return history(4, regression=(2, 3.0))


def test_each_injection_stands_between_commits_without_it(tmp_path):
    clone = scratch_clone(ROOT, tmp_path / "clone")
    base = git(clone, "rev-parse", "HEAD")
    steps = make_commits(clone, ["old-bug", "constant-20"])
    labels = ["nothing", "nothing", "old-bug", "nothing"]
    assert [s.label for s in steps] == [
        *labels, "old-bug out", "nothing", "constant-20", "nothing",
    ]  # fmt: skip
    assert [step.label for step in steps if step.brings] == ["old-bug", "constant-20"]
    changed = git(
        clone, "log", "--reverse", "--format=%H", f"{base}..", "--", *read(clone).measured.paths
    )
    assert changed.split() == [step.hash for step in steps]
    files = [edit.path for edit in BUG.edits]
    assert git(clone, "diff", steps[1].hash, steps[4].hash, "--", *files) == ""
    assert git(clone, "diff", steps[1].hash, steps[3].hash, "--", *files) != ""
    assert git(clone, "status", "--porcelain") == ""


def test_what_an_injection_makes_dearer_is_caught_and_the_rest_uncalled_for(slower):
    (finding,) = find(slower, steps_of(slower))
    assert finding.place == 2
    names = {change.benchmark.name for change in finding.caught}
    assert names == {"access_check.AccessCheck.time_checks", "buildup.BuildUp.time_queries"}
    assert all(change.params[0] == "deny" for change in finding.caught)
    assert all(2.5 < change.ratio < 3.5 for change in finding.caught)
    # Cells with the old bug: sizes, cluster sizes, deny with a done bitmap and without.
    assert finding.exposed["buildup.BuildUp.time_queries"] == 3 * 54
    uncalled = {change.benchmark.name for change in uncalled_for(slower, steps_of(slower))}
    assert uncalled
    assert all(name.startswith("bitmap_ops.BitmapOps.time_") for name in uncalled)


def test_a_change_at_a_commit_that_touches_nothing_is_uncalled_for(slower):
    steps = [Step(commit.hash, "nothing") for commit in slower.commits]
    assert list(find(slower, steps)) == []
    names = {change.benchmark.name for change in uncalled_for(slower, steps)}
    assert "buildup.BuildUp.time_queries" in names


def report(told, steps, tmp_path):
    text = io.StringIO()
    console = Console(file=text, width=LOG_COLUMNS)
    code = regressions._report(told, steps, tmp_path, console)
    return code, text.getvalue()


def test_a_caught_injection_has_its_rows_a_figure_and_json(slower, tmp_path):
    code, text = report(slower, steps_of(slower), tmp_path)
    assert code == 0
    assert "54 of 162" in text
    assert "deny" in text
    assert "MISSED" not in text
    assert (tmp_path / "old-bug.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "regressions.json").read_text())
    (told,) = found["injections"]
    assert told["name"] == "old-bug"
    assert {cell["params"]["implementation"] for cell in told["caught"]} == {"deny"}
    assert found["uncalled_for"]


def test_an_injection_that_nothing_saw_is_missed(tmp_path):
    told = history(4)
    code, text = report(told, steps_of(told), tmp_path)
    assert code == 1
    assert "MISSED: old-bug was caught by no benchmark" in text
    assert "not seen" in text
    assert not (tmp_path / "old-bug.png").exists()


def test_an_injection_that_was_not_measured_is_missed(slower, tmp_path):
    steps = [*steps_of(slower), Step("0" * 40, "rescan", INJECTIONS["rescan"], brings=True)]
    code, text = report(slower, steps, tmp_path)
    assert code == 1
    assert "MISSED: rescan" in text
    assert "MISSED: old-bug" not in text


def test_counters_are_no_evidence_of_a_constant():
    constant = INJECTIONS["constant-20"]
    told = history(1)
    exposed = {
        name
        for name, benchmark in told.benchmarks.items()
        if any(regressions.is_exposed(constant, benchmark, p) for p in benchmark.cells)
    }
    assert exposed == {
        "access_check.AccessCheck.time_checks",
        "bitmap_ops.BitmapOps.time_status",
        "buildup.BuildUp.time_queries",
    }


def test_the_cells_that_are_measured_are_in_the_suites():
    """Each expression finds some: a renamed benchmark would leave a hole."""
    cells = [
        f"{name}({', '.join(map(repr, params))})"
        for name, benchmark in history(1).benchmarks.items()
        for params in benchmark.cells
    ]
    for regex in regressions.CELLS:
        assert [cell for cell in cells if re.search(regex, cell)], regex
