"""Stored results, from asv's files to a verdict: on files in asv's form, and on the real ones."""

import json
import math
import shutil
import subprocess
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits import changes, derived, front, sources
from hbitmap_bench.commits.front_text import render_front
from hbitmap_bench.commits.project_file import FILE
from hbitmap_bench.commits.store import load_histories, param_values
from hbitmap_bench.commits.trend import trends
from hbitmap_bench.commits.trend_text import render_trend
from hbitmap_bench.qemu.geometry import layout

ROOT = Path(__file__).parents[2]
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "benchmarks.json").read_text())
TIB, KIB = 2**40, 2**10
COLUMNS = ["result", "params", "version", "stats_ci_99_a", "stats_ci_99_b"]

SECONDS, QUERIES = "buildup.BuildUp.time_queries", "buildup.BuildUp.track_queries"
WORDS, BYTES = "buildup.Words.track_extra_words_a_query", "memory.Structures.track_bytes"
PEAK = "memory.Peak.peakmem_build_up"


def git(repo, *arguments):
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(repo), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Stored:
    """A repository and results that a test writes, cell by cell."""

    def __init__(self, folder):
        self.repo, self.results = folder / "repo", folder / "results"
        self.repo.mkdir()
        (self.results / "here").mkdir(parents=True)
        git(self.repo, "init", "-q", "-b", "main")
        shutil.copy(ROOT / FILE, self.repo)
        (self.repo / ".git" / "info" / "exclude").write_text(FILE)  # hashes stay the same
        listed = {name: {"name": name, **found} for name, found in GOLDEN.items()}
        (self.results / "benchmarks.json").write_text(json.dumps({**listed, "version": 2}))
        machine = dict.fromkeys(("arch", "cpu", "num_cpu", "os", "ram"), "x")
        stored = json.dumps({**machine, "machine": "here", "version": 1})
        (self.results / "here" / "machine.json").write_text(stored)

    def commit(self, cells, subject="Work", environment="env"):
        """A commit and its result. ``cells``: name -> {params: value or (value, low, high)}."""
        package = self.repo / "hbitmap_impl"
        package.mkdir(exist_ok=True)
        module = package / "bitmap.py"
        module.write_text((module.read_text() if module.exists() else "") + "\n")
        git(self.repo, "add", ".")
        git(self.repo, "commit", "-q", "-m", subject)
        hash_ = git(self.repo, "rev-parse", "HEAD")
        document = {
            "version": 2,
            "commit_hash": hash_,
            "env_name": environment,
            "params": {"machine": "here"},
            "result_columns": COLUMNS,
            "results": {name: row(GOLDEN[name], given) for name, given in cells.items()},
        }
        path = self.results / "here" / f"{hash_[:8]}-{environment}.json"
        path.write_text(json.dumps(document))
        blob = git(self.repo, "rev-parse", "HEAD:hbitmap_impl/bitmap.py")
        sources.write_record(path, hash_, [{"hbitmap_impl/bitmap.py": blob}])
        return hash_

    def load(self):
        (history,) = load_histories(self.results, self.repo)
        return history


def row(benchmark, given):
    places = {}
    for params in np.ndindex(*(len(values) for values in benchmark["params"])):
        named = [values[i] for values, i in zip(benchmark["params"], params, strict=True)]
        places[", ".join(named)] = len(places)
    columns = [[math.nan] * len(places), [None] * len(places), [None] * len(places)]
    for params, value in given.items():
        place = places[", ".join(map(repr, params))]
        for column, number in zip(columns, np.broadcast_to(value, 3).tolist(), strict=True):
            column[place] = number
    result, low, high = columns
    return [result, benchmark["params"], benchmark["version"], low, high]


@pytest.fixture
def stored(tmp_path):
    return Stored(tmp_path)


def timed(cells, scale=1.0):
    """Each cell's seconds with an interval of 2%."""
    return {p: (v * scale, v * scale * 0.99, v * scale * 1.01) for p, v in cells.items()}


def build_ups(exponent, kib=64, sizes=(1, 2, 4, 8, 16)):
    return {("access", tib, kib): 0.001 * tib**exponent for tib in sizes}


def test_values_are_found_where_they_were_put(stored):
    first = stored.commit({SECONDS: {("deny", 4, 128): (2.0, 1.5, 2.5)}, BYTES: {}}, "One")
    second = stored.commit({SECONDS: {}}, "Two <b>")
    history = stored.load()
    assert [commit.hash for commit in history.commits] == [first, second]
    assert [commit.subject for commit in history.commits] == ["One", "Two <b>"]
    benchmark, measured = history.benchmarks[SECONDS], history.measured[SECONDS]
    place = benchmark.place["deny", 4, 128]
    assert measured.value.shape == (2, len(benchmark.cells))
    assert [a[0, place] for a in (measured.value, measured.low, measured.high)] == [2.0, 1.5, 2.5]
    assert np.isfinite(measured.value).sum() == 1


def test_results_of_another_version_or_of_lost_parameters_are_left_out(stored):
    stored.commit({SECONDS: {("deny", 1, 64): 1.0}, WORDS: {("deny", 1, 64): 7}})
    path = stored.results / "benchmarks.json"
    listed = json.loads(path.read_text())
    listed[WORDS]["version"] = "2"
    listed[SECONDS]["params"][1] = ["3", "1"]  # 2 and more are gone, 3 is new
    path.write_text(json.dumps(listed))
    history = stored.load()
    assert not np.isfinite(history.measured[WORDS].value).any()
    benchmark = history.benchmarks[SECONDS]
    (place,) = np.flatnonzero(np.isfinite(history.measured[SECONDS].value[0]))
    assert benchmark.cells[place] == ("deny", 1, 64)


def test_parameters_of_any_kind_are_read():
    stored = ["1", "'a'", "None", "0.5", "[1, 2]", "{'a': 1}", "(1, 2)", "b'x'", "nan", "<f at 0>"]
    (found,) = param_values([stored])
    assert [repr(value) for value in found] == stored
    assert len({*found}) == len(stored)  # a series is found by them


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"version": 2}', "{'"])
def test_a_broken_result_is_refused_and_the_others_are_read(stored, damage):
    stored.commit({SECONDS: {("deny", 1, 64): 1.0}})
    broken = stored.commit({})
    (path,) = stored.results.glob(f"here/{broken[:8]}*.json")
    path.write_text(damage)
    (line,) = stored.load().refused
    assert path.name in line
    assert "changed since" in line
    blob = git(stored.repo, "rev-parse", "HEAD:hbitmap_impl/bitmap.py")
    sources.write_record(path, broken, [{"hbitmap_impl/bitmap.py": blob}])  # checked, and broken
    (line,) = stored.load().refused
    assert "not a result of asv" in line
    assert len(stored.load().commits) == 1


def test_without_results_one_line_tells_what_to_do(stored, tmp_path):
    with pytest.raises(UserError, match="none that can be used.*hbitmap-bench bench"):
        load_histories(stored.results, stored.repo)
    with pytest.raises(UserError, match="no benchmarks.json"):
        load_histories(tmp_path / "nowhere", stored.repo)


def test_environments_are_histories_of_their_own_the_newest_first(stored):
    stored.commit({}, environment="old")
    stored.commit({}, environment="new")
    found = load_histories(stored.results, stored.repo)
    assert [history.environment for history in found] == ["new", "old"]


def test_blocks_are_scaled_to_the_whole_build_up(stored):
    cell = layout(16 * TIB, 64 * KIB, l2_slice_bytes=4 * KIB)
    whole = layout(1 * TIB, 2048 * KIB, l2_slice_bytes=4 * KIB)
    params, small = ("access", 16, 64), ("access", 1, 2048)
    stored.commit(
        {
            SECONDS: {params: (0.5, 0.4, 0.6), small: 0.25},
            QUERIES: {params: 32, small: whole.queries},
            WORDS: {params: 100.5},
        }
    )
    history = stored.load()
    whole_seconds, whole_words = history.declared.derived
    seconds = derived.derive(history, whole_seconds)
    place = history.benchmarks[SECONDS].place
    ends = [array[0, place[params]] for array in (seconds.value, seconds.low, seconds.high)]
    assert ends == pytest.approx([value / 32 * cell.queries for value in (0.5, 0.4, 0.6)])
    assert seconds.value[0, place[small]] == 0.25
    assert derived.is_whole(history, whole_seconds)[0, place[small]]
    assert not derived.is_whole(history, whole_seconds)[0, place[params]]
    words = derived.derive(history, whole_words)
    column = history.benchmarks[WORDS].place[params]
    assert words.value[0, column] == 100.5 * cell.queries


def test_exponents_are_fitted_for_each_commit_over_what_it_has(stored):
    for exponent, sizes in ((2.0, (1, 2, 4, 8, 16)), (1.0, (1, 16)), (1.0, (4,))):
        cells = build_ups(exponent, sizes=sizes)
        queries = {p: layout(p[1] * TIB, 64 * KIB, l2_slice_bytes=4 * KIB).queries for p in cells}
        stored.commit({SECONDS: timed(cells), QUERIES: queries})
    (line,) = derived.exponents(stored.load())
    assert (line.series, line.group, line.quantity) == ("access", (64,), "seconds")
    assert line.value[:2] == pytest.approx([2.0, 1.0])
    assert list(line.n_sizes) == [5, 2, 1]
    assert np.isnan(line.value[2])
    assert np.isfinite(line.low).tolist() == [True, False, False]


def test_the_ratio_of_two_implementations_takes_the_worst_ends(stored):
    cells = {("access", 1, 64): (8.0, 6.0, 9.0), ("deny", 1, 64): (2.0, 1.5, 3.0)}
    stored.commit({SECONDS: cells})
    history = stored.load()
    benchmark, measured = history.benchmarks[SECONDS], history.measured[SECONDS]
    rest, found = derived.ratio_of(benchmark, measured, "implementation", "access", "deny")
    place = rest.index((1, 64))
    assert [a[0, place] for a in (found.value, found.low, found.high)] == [4.0, 2.0, 6.0]
    assert np.isfinite(found.value).sum() == 1


def found_changes(history):
    return [(c.commit.subject, c.params, c.evidence, c.word) for c in changes.changes(history)]


def test_any_difference_of_a_counter_is_a_change(stored):
    cell = ("deny", 16, 64)
    for value, subject in ((7, "A"), (7, "B"), (8, "C"), (7, "D")):
        stored.commit({WORDS: {cell: value}}, subject)
    assert found_changes(stored.load()) == [
        ("D", cell, "exact", "IMPROVED"),
        ("C", cell, "exact", "REGRESSED"),
    ]


def test_a_level_that_stays_is_a_change_and_one_commit_is_unconfirmed(stored):
    cells = build_ups(2.0)
    rng = np.random.default_rng(3)
    levels = [1, 1, 1, 1, 1.3, 1.3, 1.3, 1.3, 1, 1, 1.3, 1, 1, 1.3]
    for i, level in enumerate(levels):
        stored.commit({SECONDS: timed(cells, level * rng.normal(1, 0.003))}, str(i))
    found = found_changes(stored.load())
    for cell in cells:
        assert {(s, e, w) for s, c, e, w in found if c == cell} == {
            ("13", "single", "INCONCLUSIVE"),
            ("10", "single", "INCONCLUSIVE"),
            ("8", "step", "IMPROVED"),
            ("4", "step", "REGRESSED"),
        }


def test_small_changes_of_noisy_costs_do_not_count(stored):
    fast, slow = ("deny", 1, 64), ("deny", 2, 64)
    for i in range(8):
        late = i >= 4
        cells = {fast: 1e-4 * (1.3 if late else 1), slow: 1.0 * (1.09 if late else 1)}
        stored.commit({SECONDS: timed(cells), PEAK: {("deny", 1, 2048): 2e6 * (1.3**late)}})
    assert found_changes(stored.load()) == []


def test_the_verdict_is_the_worst_of_its_cells(stored):
    words, timed_cells = {("deny", 16, 64): 7}, build_ups(2.0)
    base = {WORDS: words, SECONDS: timed(timed_cells)}

    def word_of(cells):
        stored.commit(cells)
        history = stored.load()
        found = front.front_page(history, None).verdict
        assert sum(found.counts.values()) >= sum(map(len, cells.values())) or not found.before
        return found.word

    assert word_of(base) == "INCONCLUSIVE"  # the first one
    assert word_of(base) == "UNCHANGED"
    assert word_of({**base, WORDS: {("deny", 16, 64): 6}}) == "IMPROVED"
    assert word_of({**base, WORDS: {("deny", 16, 64): 8}}) == "REGRESSED"
    assert word_of({WORDS: {("deny", 16, 64): 8}}) == "NOT_MEASURED"
    assert word_of({}) == "NOT_MEASURED"
    assert word_of({}) == "NOT_MEASURED"  # nothing before it, nothing here


def test_words_that_grow_too_fast_are_a_regression(stored):
    cells = {("deny", tib, 64): 7.0 * tib for tib in (1, 2, 4)}
    stored.commit({WORDS: cells})
    stored.commit({WORDS: cells})
    page = front.front_page(stored.load(), None)
    found = page.verdict
    assert found.word == "REGRESSED"
    assert "Words of deny grow with exponent 2.000" in found.reasons[0]
    assert "words of deny grow with exponent 2.000 at 64K" in front.linear(page)
    assert front.linear(page).startswith("No: ")


def test_whether_it_is_linear_is_not_known_without_two_sizes(stored):
    stored.commit({WORDS: {("deny", 1, 64): 7.0, ("deny", 2, 64): 7.0}})
    assert front.linear(front.front_page(stored.load(), None)).startswith("Yes: ")
    stored.commit({WORDS: {("deny", 1, 64): 7.0}})
    assert front.linear(front.front_page(stored.load(), None)).startswith("Not known: ")


def test_the_committed_history_tells_two_from_one(committed):
    (history,) = load_histories(committed / "results", ROOT)
    assert len(history.commits) >= 8
    fitted = {(x.series, x.quantity): x for x in derived.exponents(history)}
    assert fitted["access", "words"].value[-1] == pytest.approx(2, abs=0.001)
    assert fitted["deny", "words"].value[-1] == pytest.approx(1, abs=0.001)


def test_at_80_columns_no_table_breaks_a_name_but_between_its_parts(committed):
    page = StringIO()
    console = Console(file=page, width=80)
    (found,) = trends(committed / "results", ROOT)
    render_front(front.front_page(found.history, None), console)
    render_trend(found, console)
    names = {*found.history.benchmarks, "REGRESSED", "INCONCLUSIVE", "NOT_MEASURED"}
    assert sum(name in page.getvalue() for name in names) > 3
    assert max(map(cell_len, page.getvalue().splitlines())) <= 80
    for word in set(page.getvalue().split()):
        for name in names:
            if "." in word and name.startswith(word) and name != word:
                assert name[len(word)] == "." or word.endswith("_"), word
