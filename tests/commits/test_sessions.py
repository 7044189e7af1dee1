"""Several sessions in one history: chained by their anchors, on files in asv's form."""

import io
import json
import re
import shutil

import numpy as np
import pytest
from rich.console import Console
from test_history import GOLDEN, QUERIES, SECONDS, WORDS, Stored, build_ups, git, row, timed

from hbitmap_bench.commits import sessions, sources
from hbitmap_bench.commits.front import front_page
from hbitmap_bench.commits.front_text import render_front
from hbitmap_bench.commits.pages.writer import _index, suite_pages
from hbitmap_bench.commits.trend import trend
from hbitmap_bench.commits.trend_json import to_json
from hbitmap_bench.commits.trend_text import render_trend

CELLS = {("deny", tib, 64): 0.02 * tib for tib in (1, 2, 4, 8, 16)}
NOISE = 0.004


class Nights(Stored):
    """Sessions of commits, each with its own speed; ``true`` is what the code costs."""

    def __init__(self, folder, seed=1):
        super().__init__(folder)
        self.rng = np.random.default_rng(seed)
        self.last = None
        """The newest commit: its hash, what it costs, its session."""

    def cells(self, scale, width=0.01):
        """Every cell measured with noise of its own."""
        noisy = {
            p: v * scale * np.exp(NOISE * self.rng.standard_normal()) for p, v in CELLS.items()
        }
        return {SECONDS: {p: (v, v * (1 - width), v * (1 + width)) for p, v in noisy.items()}}

    def night(self, session, speed, costs, *, anchor=True, width=0.01):
        """A session: its anchor, and a commit for each of ``costs``; their hashes."""
        if anchor and self.last:
            self.anchor(session, speed, width)
        found = []
        for cost in costs:
            hash_ = self.commit(self.cells(cost * speed, width))
            if session:
                self.assign(hash_, {session: None})
            self.last = (hash_, cost, session)
            found.append(hash_)
        return found

    def path(self, hash_):
        (path,) = (self.results / "here").glob(f"{hash_[:8]}-*.json")
        return path

    def assign(self, hash_, owners):
        path = self.path(hash_)
        sources.write_record(path, hash_, sources.recorded(path), sessions=owners)

    def anchor(self, session, speed, width):
        hash_, cost, owner = self.last
        old = self.path(hash_)
        new = self.repo.parent / old.name
        found = {
            name: row(GOLDEN[name], given)
            for name, given in self.cells(cost * speed, width).items()
        }
        new.write_text(json.dumps({**json.loads(old.read_text()), "results": found}))
        known = {owner: None} if owner else {}
        sessions.write_anchor(
            self.results / "here", session, old, new, known, "imported", sources.recorded(old)
        )


@pytest.fixture
def nights(tmp_path):
    return Nights(tmp_path)


def steps(history, repo):
    """First bad commits of what trend found, and what it is unsure of."""
    found = trend(history, repo)
    return {one.first_bad.hash for one in found.found}, found


def shown(history, repo):
    """What show and trend print at 80 columns."""
    text = io.StringIO()
    console = Console(file=text, width=80)
    render_front(front_page(history, None), console)
    render_trend(trend(history, repo), console)
    return " ".join(text.getvalue().split())


# ---------------------------------------------------------------- two sessions


def test_a_step_in_a_slow_second_session_is_found_and_no_other(nights):
    nights.night("", 1.0, [1.0] * 5)
    second = nights.night("20260102", 2.5, [1.0, 1.0, 1.2, 1.2, 1.2], width=0.03)
    history = nights.load()
    found, judged = steps(history, nights.repo)
    assert found == {second[2]}
    assert len(judged.standing) == len(CELLS)
    assert judged.doubts == ()
    assert [one.ratio for one in judged.standing] == pytest.approx([1.2] * len(CELLS), abs=0.03)
    (seam,) = history.seams
    assert (seam.place, seam.n_linked, seam.n_unlinked) == (5, len(CELLS), 0)
    assert 0.03 < seam.resolves <= seam.worst < 0.07  # 1% and 3%, both at their worst ends
    assert f"Seam before {second[0][:10]}: seconds of 5 series are chained" in shown(
        history, nights.repo
    )


def test_seconds_stay_those_of_the_first_session_and_counters_as_they_are(nights):
    nights.night("", 1.0, [1.0] * 3)
    nights.night("20260102", 4.0, [1.0] * 3)
    hash_ = nights.commit({**nights.cells(4.0), WORDS: {("deny", 1, 64): 7}})
    nights.assign(hash_, {"20260102": None})
    history = nights.load()
    places = [history.benchmarks[SECONDS].place[params] for params in CELLS]
    ratio = history.measured[SECONDS].value[-1, places] / list(CELLS.values())
    assert ratio == pytest.approx(np.ones(5), abs=0.03)
    raw = history.unchained().measured[SECONDS].value[-1, places] / list(CELLS.values())
    assert raw == pytest.approx(np.full(5, 4.0), rel=0.03)
    assert np.nanmax(history.measured[WORDS].value) == 7


def test_a_step_across_the_seam_shows_where_the_anchor_tells_it_from_the_session(nights):
    nights.night("", 1.0, [1.0] * 5)
    second = nights.night("20260102", 0.4, [1.3] * 5)
    assert steps(nights.load(), nights.repo)[0] == {second[0]}


def test_a_step_that_the_seam_hides_does_not_show_and_the_seam_says_so(nights):
    nights.night("", 1.0, [1.0] * 5)
    nights.night("20260102", 1.7, [1.2] * 5, width=0.2)
    history = nights.load()
    assert steps(history, nights.repo)[0] == set()
    assert history.seams[0].resolves > 0.2
    assert trend(history, nights.repo).exit_code == 0


def test_a_session_that_was_blind_is_not_judged(nights):
    """Its seam may hide half as much again, whatever the commits in it show of each other."""
    nights.night("", 1.0, [1.0] * 5)
    nights.night("20260102", 1.7, [1.2] * 5, width=0.4)
    judged = trend(nights.load(), nights.repo)
    assert judged.exit_code == 2
    (reason,) = judged.reasons
    assert "5 series may have risen by 50% unseen at the newest seam" in reason


def test_a_rise_that_shows_across_a_blind_seam_is_counted_once(nights):
    nights.night("", 1.0, [1.0] * 5)
    nights.night("20260102", 1.7, [4.0], width=0.4)
    counts = front_page(nights.load(), None).verdict.counts
    assert counts["INCONCLUSIVE"] == len(CELLS)  # at this commit alone
    assert counts["UNCHANGED"] == 0


def test_growth_within_a_commit_is_that_of_its_own_session(nights):
    cells = build_ups(2.0)
    queries = {(i, tib, kib): tib * 2**21 / kib for i, tib, kib in cells}
    first = nights.commit({SECONDS: timed(cells), QUERIES: queries})
    nights.last = (first, 1.0, "")
    nights.anchor("20260102", 3.0, 0.05)  # measures other cells: links none of these
    second = nights.commit({SECONDS: timed(cells, 3.0), QUERIES: queries})
    nights.assign(second, {"20260102": None})
    history = nights.load()
    assert history.seams[0].n_unlinked == len(cells)
    page = front_page(history, None)
    (line,) = (x for x in page.exponents if x.quantity == "seconds")
    assert line.value == pytest.approx([2.0, 2.0])


# ---------------------------------------------------------------- what can't be linked


def unlinked(nights, why):
    """A second session of another speed stands apart, and the step in it is found all the same."""
    history = nights.load()
    found, judged = steps(history, nights.repo)
    assert found == {nights.second[2]}
    assert history.seams[0].n_unlinked == len(CELLS)
    assert judged.exit_code == 1
    assert "series have no anchor" in shown(history, nights.repo)
    assert why in " ".join(history.refused)


@pytest.fixture
def apart(nights):
    nights.night("", 1.0, [1.0] * 5)
    nights.second = nights.night("20260102", 2.5, [1.0, 1.0, 1.2, 1.2, 1.2])
    (nights.record,) = (nights.results / "here").glob("*.session")
    return nights


def test_a_session_whose_anchor_is_gone_stands_apart(apart):
    apart.record.unlink()
    unlinked(apart, "")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"result"', '"result "', "changed since it was measured"),
        ('{"schema"', "", "no session's record"),
    ],
)
def test_an_anchor_that_was_changed_is_refused(apart, old, new, why):
    apart.record.write_text(apart.record.read_text().replace(old, new, 1))
    unlinked(apart, why)


def test_an_anchor_of_another_machine_links_nothing(apart):
    elsewhere = apart.results / "there"
    elsewhere.mkdir()
    shutil.move(apart.record, elsewhere)
    unlinked(apart, "")


def test_the_newest_commit_alone_behind_an_unlinked_seam_is_not_judged(nights):
    nights.night("", 1.0, [1.0] * 5)
    nights.night("20260102", 2.5, [1.0], anchor=False)
    history = nights.load()
    judged = trend(history, nights.repo)
    assert judged.exit_code == 2
    assert "no anchor links the sessions" in judged.reasons[0]
    page = front_page(history, None)
    assert page.changes == ()
    assert page.verdict.word == "INCONCLUSIVE"
    assert page.verdict.counts["INCONCLUSIVE"] == len(CELLS)
    assert "5 cells can't be compared" in page.verdict.reasons[0]


# ---------------------------------------------------------------- many sessions


def test_a_commit_a_night_for_forty_nights_is_one_flat_series(nights):
    speeds = np.exp(0.3 * nights.rng.standard_normal(40))
    nights.night("", 1.0, [1.0])
    for night, speed in enumerate(speeds):
        nights.night(f"2026{night:04d}", speed, [1.0], width=0.03)
    history = nights.load()
    found, judged = steps(history, nights.repo)
    assert (found, judged.doubts) == (set(), ())
    assert len(history.seams) == 40
    text = shown(history, nights.repo)
    assert text.count("Seam before") == 6  # three in each
    assert "40 seams in all. Their errors add up" in text


def test_a_step_among_nights_is_found_at_its_commit(nights):
    nights.night("", 1.0, [1.0])
    hashes = []
    for night in range(16):
        speed = 2.0 if night % 2 else 0.8
        hashes += nights.night(f"2026{night:04d}", speed, [1.0 if night < 9 else 1.3])
    assert steps(nights.load(), nights.repo)[0] == {hashes[9]}


def test_sessions_that_share_an_anchor_are_linked_through_it(nights):
    nights.night("", 1.0, [1.0] * 3)
    common = nights.last
    nights.night("20260102", 2.0, [1.0] * 2)
    nights.last = common
    nights.night("20260103", 0.5, [1.0] * 2)
    history = nights.load()
    assert steps(history, nights.repo)[0] == set()
    first, second = history.seams
    assert second.resolves > first.resolves  # through both anchors


# ---------------------------------------------------------------- one session, and parts of one


def test_one_named_session_is_shown_as_one_without_a_name(tmp_path):
    said = []
    for name in ("", "20260102"):
        folder = tmp_path / f"in {name}"
        folder.mkdir()
        nights = Nights(folder)
        nights.night(name, 1.0, [1.0, 1.0, 1.2, 1.2])
        history = nights.load()
        hashes = {commit.hash: str(i) for i, commit in enumerate(history.commits)}
        found = json.dumps([shown(history, nights.repo), to_json([trend(history, nights.repo)])])
        for hash_, number in hashes.items():
            found = found.replace(hash_, number).replace(hash_[:10], number)
        said.append(re.sub(r"T[0-9:+]{14}", "", found))  # of commits a second later
    assert said[0] == said[1]
    assert "seam" not in said[0].lower()


def test_cells_that_were_not_measured_again_keep_their_session():
    def stored(*results):
        samples = [[value] for value in results]
        return {
            "result_columns": ["result", "params", "samples"],
            "results": {"time_a": [list(results), [["1", "2", "3"]], samples]},
        }

    known = {"one": None}
    changed = sessions.measured_again("two", known, stored(1.0, 2.0, 3.0), stored(1.0, 2.5, 3.5))
    assert changed == {"one": {"time_a": [0]}, "two": {"time_a": [1, 2]}}
    assert sessions.owners(changed, "time_a", 3) == ["one", "two", "two"]
    whole = sessions.measured_again("three", changed, stored(1.0, 2.5, 3.5), stored(4.0, 5.0, 6.0))
    assert whole == {"three": None}
    first = sessions.measured_again("two", {}, stored(1.0, 2.0, 3.0), stored(1.0, 2.0, 3.5))
    assert sessions.owners(first, "time_a", 3) == ["", "", "two"]


# ---------------------------------------------------------------- pages


def test_pages_mark_seams_and_compare_within_a_commit_what_it_measured(nights):
    nights.night("", 1.0, [1.0] * 2)
    nights.night("20260102", 3.0, [1.0] * 2)
    history = nights.load()
    suites = suite_pages(history, front_page(history, None).exponents)
    marks = [commit.get("seam", False) for commit in _index(history, suites)["commits"]]
    assert marks == [False, False, True, False]


def test_json_has_seams_with_what_they_hide(nights):
    nights.night("", 1.0, [1.0] * 2)
    second = nights.night("20260102", 3.0, [1.0] * 2)
    (found,) = json.loads(to_json([trend(nights.load(), nights.repo)]))["histories"]
    (seam,) = found["seams"]
    assert seam["before"]["hash"] == second[0]
    assert (seam["linked"], seam["unlinked"]) == (5, 0)
    assert 0.01 < seam["hides"] <= seam["hides_at_worst"] < 0.1


def test_an_anchor_of_a_commit_that_git_does_not_know_is_refused(apart):
    record = json.loads(apart.record.read_text())
    del record["sha256"]
    record["commit"] = "0" * 40
    apart.record.write_text(json.dumps({**record, "sha256": sessions._digest(record)}))
    unlinked(apart, "is not in this repository")
    assert git(apart.repo, "status", "--porcelain") == ""
