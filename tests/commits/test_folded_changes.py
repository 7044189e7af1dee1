"""Lists of changes: the largest first, slight ones folded away and counted, on stored results."""

import math
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic_history import history

from hbitmap_bench.commits.changes import FOLDED_SHARE, fold_words, folded, weight
from hbitmap_bench.commits.front import front_page
from hbitmap_bench.commits.front_text import change_table
from hbitmap_bench.commits.pages.writer import PARTS, write_pages
from hbitmap_bench.commits.store import load_histories
from hbitmap_bench.commits.trend import trend
from hbitmap_bench.commits.trend_text import commit_table, series_table

ROOT = Path(__file__).parents[2]
SLIGHT = "34,087,280 bytes"
"""What six rows of the stored history rose to, from eight bytes less."""


@pytest.fixture(scope="module")
def stored(committed):
    (found,) = load_histories(committed / "results", ROOT)
    return found


@pytest.fixture(scope="module")
def front(stored):
    return front_page(stored, None)


@dataclass
class Ratio:
    ratio: float


def test_a_change_weighs_as_much_up_as_down():
    ratios = [math.inf, 0.0, 2.0, 0.5, 1.0]
    assert [weight(Ratio(ratio)) for ratio in ratios] == [
        math.inf, math.inf, math.log(2), math.log(2), 0
    ]  # fmt: skip


def test_the_stated_share_itself_is_shown():
    at, below = Ratio(1 + FOLDED_SHARE), Ratio(1 + FOLDED_SHARE * 0.99)
    assert folded([at, below, Ratio(0.5)]) == ((at, Ratio(0.5)), (below,))


def test_a_folded_verdict_is_counted():
    assert fold_words(["REGRESSED"]) == "1 change of less than 1%: 1 REGRESSED"
    words = ["IMPROVED", "REGRESSED", "REGRESSED"]
    assert fold_words(words) == "3 changes of less than 1%: 2 REGRESSED, 1 IMPROVED"
    assert fold_words([]) == ""


def test_counters_and_noisy_costs_stand_in_one_order(front):
    weights = [weight(change) for change in front.changes]
    assert weights == sorted(weights, reverse=True)
    assert len({change.benchmark.is_exact for change in front.changes}) == 2


def test_the_terminal_lists_what_matters_and_counts_the_rest(front):
    table = change_table(front)
    shown, slight = folded(front.changes)
    assert len(table.rows) == len(shown)
    assert not any(SLIGHT in row for row in table.rows)
    words = fold_words(change.word for change in slight)
    assert "REGRESSED" in words
    assert f"Not listed here, {words}; the pages have all." in table.notes


def test_slight_changes_alone_are_no_empty_history(front):
    _, slight = folded(front.changes)
    table = change_table(replace(front, changes=slight))
    assert table.rows == ()
    assert len(table.notes) == 1


def test_a_trend_counts_slight_regressions_and_still_names_their_commit(stored):
    found = trend(stored, ROOT)
    table = series_table(found)
    assert not any(SLIGHT in cell for row in table.rows for cell in row)
    assert any("less than 1%" in note and "REGRESSED" in note for note in table.notes)
    bad = {one.first_bad.hash[:10] for one in found.standing}
    assert {row[0] for row in commit_table(found).rows} == bad


class Rows(HTMLParser):
    """The verdicts of rows, by whether they are folded away, and the fold's line."""

    def __init__(self, text):
        super().__init__()
        self.folds, self.is_summary, self.line = False, False, ""
        self.words = {False: [], True: []}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.folds |= found.get("id") == "folded"
        self.is_summary = found.get("id") == "folded-summary"
        if "data-word" in found:
            self.words[self.folds].append(found["data-word"])

    def handle_endtag(self, tag):
        self.is_summary = False
        self.folds &= tag != "details"

    def handle_data(self, data):
        self.line += data if self.is_summary else ""


@pytest.fixture
def rows(tmp_path):
    for part in PARTS.values():
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / part).write_text("// part\n")

    def rows(front):
        folder = tmp_path / "html"
        write_pages(folder, [front], tmp_path)
        return Rows((folder / "index.html").read_text())

    return rows


def test_the_page_folds_what_is_slight(front, rows):
    found = rows(front)
    shown, slight = folded(front.changes)
    assert found.words[False] == [change.word for change in shown]
    assert found.words[True] == [change.word for change in slight]
    assert found.line == fold_words(found.words[True])


def test_a_page_without_slight_changes_has_no_fold(rows):
    found = rows(front_page(history(6, regression=(3, 2.0)), None))
    assert found.words[False]
    assert (found.words[True], found.line) == ([], "")
