"""The check of two sessions: what it makes of a clone, and what it calls right."""

import io

import pytest
from rich.console import Console
from tiny import git

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.checks import two_sessions
from hbitmap_bench.commits.project import find_project

SEAM = {
    "before": {"hash": "f"}, "linked": 2, "unlinked": 0, "hides": 0.03, "hides_at_worst": 0.05,
}  # fmt: skip
DOUBT = {"benchmark": "a.time", "params": {}, "why": "creeps"}


@pytest.fixture
def project(tmp_path):
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / "asv.conf.json").write_text('{"version": 1, "repo": ".", "project": "a"}')
    (tmp_path / "a.py").write_text("def run():\n    pass\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "Start")
    return find_project(tmp_path)


def step(commit, state="stands"):
    return {
        "commit": {"hash": commit}, "state": state, "benchmark": "a.time", "params": {},
        "ratio": 1.2,
    }  # fmt: skip


def found(regressions, improvements=()):
    return {
        "regressions": regressions, "improvements": list(improvements), "series": 2,
        "doubts": [DOUBT], "seams": [SEAM],
    }  # fmt: skip


def test_one_commit_alone_changes_what_runs(project):
    made = two_sessions.make_commits(project, "a.py:run")
    assert len(set(made)) == 2 * two_sessions.A_SESSION
    slower = [one for one in made if "+run = _slower(run)" in git(project.root, "show", one)]
    assert slower == [made[two_sessions.SLOWER_AT]]
    assert git(project.root, "rev-parse", "HEAD") == made[-1]
    with pytest.raises(UserError, match=r"the clone must have b\.py, and has not"):
        two_sessions.make_commits(project, "b.py:run")


def test_right_is_the_one_step_in_every_series_and_no_other():
    assert two_sessions.found_right(found([step("c"), step("c")]), "c")
    assert not two_sessions.found_right(found([step("c")]), "c")
    assert not two_sessions.found_right(found([step("c"), step("d")]), "c")
    assert not two_sessions.found_right(found([step("c"), step("c"), step("d", "undone")]), "c")
    assert not two_sessions.found_right(found([step("c")] * 2, [step("c", "improved")]), "c")


def test_every_step_doubt_and_seam_is_told():
    text = io.StringIO()
    history = found([step("c")], [step("f", "improved")])
    two_sessions.tell(history, "abcdef", Console(file=text, width=200))
    assert text.getvalue().splitlines() == [
        "commit 2: stands a.time {} 1.2",
        "commit 5: improved a.time {} 1.2",
        "in doubt: a.time {}: creeps",
        "seam before commit 5: 2 series linked, 0 not; hides 3.0% in the middle, 5.0% at worst",
    ]
