"""Releases side by side: what is called slower, by which rounds, and what is not judged."""

from dataclasses import replace

import numpy as np
import pytest

from hbitmap_bench.base.medians import LEAST, median_interval
from hbitmap_bench.qemu.account import Run
from hbitmap_bench.reproduction.records import CellRecord, Reproduction
from hbitmap_bench.reproduction.releases import changes
from hbitmap_bench.reproduction.report.releases_page import conclusions, render_markdown, write
from hbitmap_bench.reproduction.rows import _with_seconds as with_seconds

TIB = 2**40
ROUNDS = 8
BUSY = "a busy host"


def rows(build, plain_s, check_s, *, seed, size=TIB, detected="access", disturbed=()):
    """Both rows of a build and size: seconds of every round, with 1% of noise of their own."""
    rng = np.random.default_rng(seed)
    found = []
    for setup, seconds in (("plain", plain_s), (detected, plain_s + check_s)):
        noisy = seconds * (1 + 0.01 * rng.standard_normal(ROUNDS))
        runs = [
            Run(wall_s=s, cpu_s=s, disturbed=BUSY if place in disturbed else None)
            for place, s in enumerate(noisy)
        ]
        empty = CellRecord(
            source="qemu", setup=setup, image_bytes=size, cluster_bytes=65536,
            copy_cluster_bytes=65536, l2_slice_bytes=4096, mode="measured", build=build,
            detected=detected, runs=tuple(runs),
        )  # fmt: skip
        found.append(with_seconds(empty, runs))
    return found


def verdicts(cells):
    return {
        (one.old.build, one.new.build, one.part, one.old.image_bytes // TIB): one.verdict
        for one in changes(cells)
    }


def test_each_release_is_held_against_the_one_before_it_part_by_part():
    cells = [
        *rows("7", 1.0, 3.0, seed=1), *rows("7", 2.0, 12.0, seed=2, size=2 * TIB),
        *rows("8", 1.2, 3.0, seed=3), *rows("8", 2.4, 12.0, seed=4, size=2 * TIB),
        *rows("9", 1.2, 0.1, seed=5, detected="deny"),
        *rows("9", 2.4, 0.2, seed=6, size=2 * TIB, detected="deny"),
    ]  # fmt: skip
    found = verdicts(cells)
    assert {found["7", "8", "plain path", tib] for tib in (1, 2)} == {"slower"}
    assert {found["7", "8", "check", tib] for tib in (1, 2)} == {"not told apart"}
    assert {found["8", "9", "plain path", tib] for tib in (1, 2)} == {"not told apart"}
    assert {found["8", "9", "check", tib] for tib in (1, 2)} == {"faster"}
    assert len(found) == 8
    said = "\n".join(conclusions(changes(cells)))
    assert "Slower: the plain path from 7 to 8 at 1T by +" in said
    assert "Faster: the check from 8 to 9 at 1T by -" in said
    assert "changes from access to deny" in said
    assert "No build is shown" not in said


def test_where_nothing_is_slower_it_is_said_with_what_may_hide():
    cells = [*rows("7", 1.0, 3.0, seed=1), *rows("8", 1.0, 3.0, seed=2)]
    first, second = conclusions(changes(cells))
    assert first.startswith("No build is shown")
    assert second.startswith(
        "Not told apart: 2 of 2, which are undecided. Noise could hide a rise of"
    )


@pytest.mark.parametrize("n_disturbed", [0, 1, 2, 3, ROUNDS])
def test_a_disturbed_round_is_left_out_and_too_few_rounds_judge_nothing(n_disturbed):
    """A disturbed run of either release takes its round from both."""
    old = rows("7", 1.0, 3.0, seed=1)
    new = rows("8", 1.5, 3.0, seed=2, disturbed=range(n_disturbed))
    plain, check = changes([*old, *new])
    left = ROUNDS - n_disturbed
    assert len(plain.differences_s) == len(check.differences_s) == left
    assert plain.verdict == ("slower" if left >= LEAST else "not judged")
    said = "\n".join(conclusions([plain, check]))
    assert ("Not judged" in said) == (left < LEAST)
    assert "No build is shown" not in said


def test_a_build_that_is_limited_to_a_size_is_compared_up_to_it():
    cells = [
        *rows("7", 1.0, 3.0, seed=1), *rows("7", 2.0, 9.0, seed=2, size=2 * TIB),
        *rows("8", 1.0, 3.0, seed=3),
    ]  # fmt: skip
    assert {size for *_, size in verdicts(cells)} == {1}


def test_a_build_without_the_filter_is_compared_on_the_plain_path_alone(tmp_path):
    plain, filtered = rows("6", 1.0, 3.0, seed=1)
    empty = replace(filtered, runs=(), cpu_s=None, elapsed_s=None, interval_s=None,
                    interval_kind=None, detected=None, setup="access")  # fmt: skip
    cells = [replace(plain, detected=None), empty, *rows("7", 1.0, 3.0, seed=2)]
    (only,) = changes(cells)
    assert only.part == "plain path"
    said = "\n".join(conclusions([only]))
    assert "algorithm" not in said
    assert "Not judged" not in said
    write(Reproduction.of_this_run(cells, ()), tmp_path)


@pytest.mark.parametrize("part", ["plain", "filtered"])
def test_nothing_is_made_of_a_row_that_a_build_has_failed_in(tmp_path, part):
    """A check is over the plain row, and goes with it; runs before are said, and no more."""
    old = rows("7", 1.0, 3.0, seed=1)
    place = ["plain", "filtered"].index(part)
    old[place] = replace(old[place], cpu_s=None, elapsed_s=None, interval_s=None,
                         interval_kind=None, failed="qemu 7 ended | killed")  # fmt: skip
    cells = [*old, *rows("8", 1.5, 3.0, seed=2)]
    assert {one.part for one in changes(cells)} == ({"plain path"} if part == "filtered" else set())
    found = Reproduction.of_this_run(cells, (), command="again")
    page, data = write(found, tmp_path)
    text = page.read_text()
    assert text == render_markdown(Reproduction.load(data))
    assert f"{ROUNDS} runs before): qemu 7 ended \\| killed" in text
    assert "    again\n" in text
    assert "\\| killed" not in "\n".join(conclusions(changes(cells)))


def test_builds_without_a_size_in_common_are_not_compared():
    cells = [*rows("7", 1.0, 3.0, seed=1), *rows("8", 1.0, 3.0, seed=2, size=2 * TIB)]
    (said,) = conclusions(changes(cells))
    assert said.startswith("Nothing is compared")


def test_the_interval_of_a_median_holds_it_in_at_least_95_of_a_hundred():
    rng = np.random.default_rng(7)
    held = [low <= 1 <= high for low, high in map(median_interval, rng.exponential(
        1 / np.log(2), (1000, ROUNDS)))]  # fmt: skip
    assert np.mean(held) >= 0.95
    assert median_interval([1.0] * (LEAST - 1)) is None


def test_the_page_says_what_was_measured_and_its_data_is_read_again(tmp_path):
    cells = [*rows("7", 1.0, 3.0, seed=1), *rows("8|x", 1.2, 3.0, seed=2, disturbed=range(ROUNDS))]
    found = Reproduction.of_this_run(cells, ())
    page, data = write(found, tmp_path)
    text = page.read_text()
    assert text == render_markdown(Reproduction.load(data))
    assert "(measured)" in text
    assert "disturbed, and nothing is derived from it: qemu 8|x".replace("|", "\\|") in text
    assert "Not judged" in text
