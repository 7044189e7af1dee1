"""Injected slowdowns apply to today's sources, build, answer right, and cost what they say.

How much slower they are is measured by ``python -m hbitmap_bench.checks.injections``.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest
from tiny import ROOT, git

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.checks import injections
from hbitmap_bench.checks.counter_cost import build_core
from hbitmap_bench.checks.injections import INJECTIONS, apply, scratch_clone
from hbitmap_impl import contender_bitmaps

# A build-up of 64 GiB with nothing denied, and checks behind a denied cluster.
COSTS = """
import json
import hbitmap_impl
from hbitmap_impl.access_check import AccessBitmap, DenyBitmap
from hbitmap_impl.image import FullImage
from hbitmap_impl.setups import assemble
costs = {"file": hbitmap_impl.__file__}
for name, kind in {"access": AccessBitmap, "deny": DenyBitmap}.items():
    job = assemble(name, FullImage(2**36, 2**16, 2**12))
    queries = job.build_up().queries
    costs[name] = job.check.words_examined / queries
    check = kind(2**36, 2**16)
    check.discard(2**16, 2**16)
    check.first_inaccessible(2**35, 2**35)
    costs[f"{name} behind"] = check.words_examined
print(json.dumps(costs))
"""
WORDS = 2**36 // 2**16 // 64
QUERIES = 2**36 // 2**16 // 512


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return scratch_clone(ROOT, tmp_path_factory.mktemp("injections") / "clone")


@pytest.fixture
def fresh(clone):
    """The clone as it was made, whatever was injected before."""
    git(clone, "checkout", "-q", "-f", "main")
    git(clone, "checkout", "-q", "--detach")
    return clone


def costs(folder):
    """Words a query of either build-up, and of one check behind a denied cluster."""
    ran = run(folder, "-c", COSTS)
    found = json.loads(ran.stdout)
    assert found.pop("file").startswith(str(folder))
    return found


def run(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-P", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )


def assert_right_answers(folder):
    """By the project's own comparisons of checks and bitmaps, but for their counts of words.

    With a sixth of their examples: a search that is wrong is wrong in many of them.
    """
    shutil.copy(contender_bitmaps.__file__, folder / "hbitmap_impl")  # what they import besides
    tests = [
        str(ROOT / "tests" / "impl" / f"test_{name}.py")
        for name in ("access_check", "hbitmap_model")
    ]
    options = ["-q", "-p", "no:cacheprovider", "--hypothesis-profile=few", "-k", "not words"]
    ran = run(folder, "-m", "pytest", *options, *tests)
    assert "passed" in ran.stdout


def test_names():
    names = ["old-bug", "rescan", "constant-5", "constant-10", "constant-20", "constant-50", "word"]
    assert list(INJECTIONS) == names


@pytest.mark.parametrize("name", INJECTIONS)
def test_each_applies_and_is_committed(fresh, name):
    before = git(fresh, "rev-parse", "HEAD")
    assert apply(fresh, name) == git(fresh, "rev-parse", "HEAD")
    assert git(fresh, "rev-parse", "HEAD^") == before
    assert git(fresh, "status", "--porcelain") == ""
    changed = set(git(fresh, "diff", "--name-only", "HEAD^").splitlines())
    assert changed == {edit.path for edit in INJECTIONS[name].edits}
    assert git(fresh, "show", "-s", "--format=%s").startswith(f"Inject {name}: ")


def test_constants_differ_in_their_amount_alone():
    five, ten, twenty = (
        [edit.new.replace(f" {percent} // 100", "") for edit in INJECTIONS[name].edits]
        for percent, name in ((5, "constant-5"), (10, "constant-10"), (20, "constant-20"))
    )
    assert five == ten == twenty


def test_a_scan_of_the_deny_bitmap_and_a_slower_one_of_the_access_bitmap(fresh, tmp_path):
    apply(fresh, "old-bug")
    apply(fresh, "constant-20")
    folder = build_core(fresh, tmp_path / "core", "")
    assert_right_answers(folder)
    found = costs(folder)
    # Every query reads the words from its own to the last: as the access bitmap, which is not
    # counted dearer by what makes it slower.
    assert found["deny"] == found["access"] == (WORDS + 512 // 64) / 2
    assert found["deny behind"] == found["access behind"] == WORDS / 2


def test_a_word_more_and_a_search_from_0(fresh, tmp_path):
    apply(fresh, "word")
    folder = build_core(fresh, tmp_path / "core", "")
    found = costs(folder)
    assert found["deny"] == 7 + 1
    assert found["access"] == (WORDS + 512 // 64) / 2
    apply(fresh, "rescan")  # of Python's part alone
    edit = INJECTIONS["rescan"].edits[0]
    (folder / edit.path).write_text((fresh / edit.path).read_text())
    assert_right_answers(folder)
    again = costs(folder)
    assert again["access"] == WORDS
    assert again["deny"] == found["deny"]  # from 0, nothing is found in as many words
    for name in ("access behind", "deny behind"):
        assert again[name] > found[name]


def test_a_snippet_that_is_gone_is_refused(fresh):
    path = fresh / injections.CHECKS
    path.write_text(path.read_text().replace("next_dirty(offset", "next_dirty( offset"))
    with pytest.raises(UserError, match=r"has 'return self._bitmap.next_dirty.* 0 times: adapt"):
        apply(fresh, "rescan")  # whose other snippet is there
    assert "(0, offset" not in path.read_text()
    path.unlink()
    with pytest.raises(UserError, match="0 times: adapt"):
        apply(fresh, "old-bug")


def test_a_snippet_that_is_there_twice_is_refused(fresh):
    path = fresh / injections.CHECKS
    path.write_text(path.read_text() * 2)
    with pytest.raises(UserError, match="2 times: adapt"):
        apply(fresh, "old-bug")
    assert git(fresh, "rev-parse", "HEAD") == git(fresh, "rev-parse", "main")


def test_two_injections_into_one_place_are_refused(fresh):
    apply(fresh, "old-bug")
    with pytest.raises(UserError, match="0 times"):
        apply(fresh, "rescan")


def test_unknown_names_are_refused(fresh):
    with pytest.raises(UserError, match="injections are old-bug, rescan"):
        apply(fresh, "none")


def test_the_clone_is_of_what_is_checked_out_and_has_no_way_back(clone):
    assert git(clone, "rev-parse", "main") == git(ROOT, "rev-parse", "HEAD")
    assert git(clone, "remote") == ""


def test_no_clone_into_a_folder_that_is_not_empty(tmp_path):
    (tmp_path / "kept").write_text("")
    with pytest.raises(UserError, match="git clone"):
        scratch_clone(ROOT, tmp_path)
    assert (tmp_path / "kept").exists()
