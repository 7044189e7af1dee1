"""The published pages as files: what is in them, and that what comes from data stays text."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from synthetic_history import HOSTILE, history

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.front_part import added_part
from hbitmap_bench.base.wording import amount, before_after, times
from hbitmap_bench.commits.front import front_page
from hbitmap_bench.commits.pages import data, front_rows
from hbitmap_bench.commits.pages.suite_page import cell_table
from hbitmap_bench.commits.pages.writer import OWN, PARTS, suite_pages, write_pages
from hbitmap_bench.commits.series import Benchmark, Measured

ROOT = Path(__file__).parents[2]
SUITES = ("buildup.html", "access_check.html", "bitmap_ops.html", "memory.html")
SECONDS = "buildup.BuildUp.time_queries"


@pytest.fixture
def parts(tmp_path):
    """Stand-ins: no browser reads them here."""
    folder = tmp_path / "node_modules"
    for part in PARTS.values():
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        (folder / part).write_text("// part\n")
    return folder


@pytest.fixture
def publish(tmp_path, parts, committed):
    stored = added_part(committed)

    def publish(*histories, part=stored):
        folder = tmp_path / f"html{len(list(tmp_path.iterdir()))}"
        write_pages(folder, [front_page(h, part) for h in histories], parts)
        return folder

    return publish


class Page(HTMLParser):
    """Elements as (tag, attributes), and the text outside of them."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, words):
        self.words.append(words)

    def all(self, tag, key):
        return [found[key] for name, found in self.elements if name == tag and key in found]


def read_script(path, name):
    """The value that a script of data puts under a name."""
    text = path.read_text(encoding="ascii")
    prefix = f'(globalThis.hbitmapData ??= {{}})["{name}"] = '
    assert text.startswith(prefix)
    assert text.endswith(";\n")
    return json.loads(text.removeprefix(prefix).removesuffix(";\n"))


def without(found, *names):
    """A history without some benchmarks' numbers."""
    nan = {name: replace_all(found.measured[name]) for name in names or found.measured}
    return replace(found, measured={**found.measured, **nan})


def replace_all(measured):
    return Measured(*[measured.value * np.nan] * 3)


def test_all_pages_are_there_and_every_local_link_leads_somewhere(publish, committed):
    folder = publish(history(), history(3, seed=2))
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.html"))
    (other,) = {path.split("/")[0] for path in found if "/" in path}
    names = (*SUITES, "index.html")
    texts = [path.stem for path in added_part(committed).documents]
    assert "reproduction" in texts
    assert found == sorted([
        *names, *(f"{other}/{name}" for name in names), *(f"{text}.html" for text in texts)
    ])  # fmt: skip
    for path in folder.rglob("*.html"):
        page = Page(path)
        links = page.all("a", "href") + page.all("script", "src") + page.all("img", "src")
        links += [href for href in page.all("link", "href") if href != "data:,"]
        for link in links:
            target = link.split("#")[0]
            if target and "asv/" not in target:
                assert (path.parent / target).is_file(), f"{link} in {path}"


def test_nothing_comes_from_another_host_or_is_inline(publish):
    for path in publish(history()).rglob("*.html"):
        page = Page(path)
        addresses = [v for _, found in page.elements for v in found.values() if v and "//" in v]
        assert addresses == []
        assert all("src" in found for tag, found in page.elements if tag == "script")
        assert not any(tag == "style" or "style" in found for tag, found in page.elements)
        assert not any(key.startswith("on") for _, found in page.elements for key in found)
        (policy,) = [f["content"] for t, f in page.elements if f.get("http-equiv")]
        assert policy.startswith("default-src 'none'; script-src 'self' file:; style-src 'self'")


def test_text_from_data_stays_text(publish):
    found = history(3, text=HOSTILE)
    found = replace(found, environment=HOSTILE, refused=(HOSTILE,))
    folder = publish(found, history(2, text=HOSTILE))
    for path in folder.rglob("*.html"):
        page = Page(path)
        assert not any(tag == "img" and f["src"] == "x" for tag, f in page.elements)
        assert not any("onerror" in f for _, f in page.elements)
    front = Page(folder / "index.html").text
    assert front.count("</script><img src=x") >= 5  # machine, environment, refusal, subjects
    for path in folder.rglob("data/*.js"):
        assert not re.search(r"[<>&\u2028]", path.read_text(encoding="ascii"))
    commits = read_script(folder / "data" / "index.js", "index")["commits"]
    assert commits[0]["subject"].endswith(HOSTILE)


def test_a_script_holds_the_numbers_of_its_benchmark(publish):
    found = history(4, measured=0.5)
    folder = publish(found)
    held = read_script(folder / "data" / f"{SECONDS}.js", SECONDS)
    measured = found.measured[SECONDS]
    for end in ("value", "low", "high"):
        stored = np.array(
            [[np.nan] * 4 if row is None else row for row in held[end]], dtype=float
        ).T
        np.testing.assert_allclose(stored, getattr(measured, end), rtol=1e-5)
    names = [p["name"] for p in held["parameters"]]
    assert names == ["implementation", "image_tib", "cluster_kib"]
    assert held["slopes"] == {}, "cells of unlike shares of a build-up have no common line"


def test_growth_and_ratio_of_whole_build_ups_are_those_of_derived(publish):
    found = history(3)
    front = front_page(found, None)
    held = read_script(publish(found) / "data" / "buildup.seconds.js", "buildup.seconds")
    places = {params: i for i, params in enumerate(found.benchmarks[SECONDS].cells)}
    for line in front.exponents:
        if line.quantity == "seconds":
            fits = held["slopes"]["image_tib"][str(places[line.series, 1, *line.group])]
            np.testing.assert_allclose([f[1] for f in fits], line.value)
            np.testing.assert_allclose([f[2] for f in fits], line.low)
    ratio = held["ratio"]
    assert ratio["parameters"][0]["values"] == ["access / plain", "deny / plain", "access / deny"]
    access, plain = (held["value"][places[i, 1, 64]] for i in ("access", "plain"))
    expected = [a / p for a, p in zip(access, plain, strict=True)]
    np.testing.assert_allclose(ratio["value"][0], expected, rtol=1e-4)


def test_each_declared_growth_that_was_measured_has_a_plot_of_its_own(publish):
    found = history(2)
    (first, *others) = found.declared.growth
    growth = (first, *others, replace(first, title="Again", by=()), replace(first, of="no.suite"))
    folder = publish(replace(found, declared=replace(found.declared, growth=growth)))
    drawn = read_script(folder / "data" / "exponents.js", "exponents")
    named = [one.quantity for one in (first, *others)]
    assert list(drawn["plots"]) == [*named, f"{first.quantity}-{len(named)}"]
    assert {line["plot"] for line in drawn["lines"]} == {*drawn["plots"]}
    page = Page(folder / "index.html")
    ids = [found["id"] for tag, found in page.elements if found.get("class") == "plot"]
    assert ids == list(drawn["plots"])
    rows = page.text.split("Newest exponents")[1].split("Regressions and improvements")[0]
    assert "Again" in rows


def test_every_cell_has_a_row_with_a_link_to_itself(publish):
    found = history(2)
    pages = {page.name: page for page in suite_pages(found, ())}
    folder = publish(found)
    for suite in pages.values():
        links = set(Page(folder / suite.file).all("a", "href"))
        for panel in suite.panels:
            table = cell_table(panel, found.commits)
            assert len(table.rows) == len(panel.grid.cells) == table.n_measured
            assert {row.href for row in table.rows} <= links
            assert len({row.href for row in table.rows}) == len(table.rows)


def test_a_cell_says_what_is_newest_what_was_before_and_what_is_missing():
    found = history(3)
    value = found.measured[SECONDS].value
    value[2, 0] = np.nan  # not at the newest commit
    value[1, 1] = np.nan  # not at the one before
    value[:, 2] = np.nan
    value[:2, 3] = np.nan  # at the newest alone
    (panel,) = [p for p in suite_pages(found, ())[0].panels if p.name == SECONDS]
    old, gap, never, new = cell_table(panel, found.commits).rows[:4]
    assert old.commit == found.commits[1].hash[:10]
    assert (gap.commit, gap.before) == (found.commits[2].hash[:10], amount(value[0, 1], "seconds"))
    assert (never.value, never.commit, never.change) == ("-", "", "-")
    assert (new.before, new.change) == ("-", "-")


def test_changes_lead_to_the_cell_here_and_on_the_page_of_asv(publish):
    found = history(6, regression=(3, 2.0))
    rows = front_rows.change_list(front_page(found, None)).shown
    row = next(r for r in rows if r.benchmark == SECONDS)
    assert (row.word, row.commit) == ("REGRESSED", found.commits[3])
    assert row.href.startswith(f"buildup.html#{SECONDS}?view=commits&p-implementation=deny&")
    assert row.href.endswith(f"&commit={found.commits[3].hash[:10]}")
    assert row.asv.startswith(f"{SECONDS}?machine=bench&p-implementation=%27deny%27&p-image_tib=")
    assert row.asv.endswith(f"&commits={found.commits[3].hash}")
    page = Page(publish(found) / "index.html")
    assert {row.href for row in rows} <= set(page.all("a", "href"))
    assert found.commits[3].subject in page.text


@pytest.mark.parametrize("word", ["INCONCLUSIVE", "NOT_MEASURED"])
def test_an_open_verdict_says_that_it_is_no_pass(publish, word):
    front = front_page(history(3), None)
    front = replace(front, verdict=replace(front.verdict, word=word))
    assert front_rows.VERDICTS[word].startswith("not a pass")


def test_one_commit_without_reproduction_says_what_is_missing(publish):
    folder = publish(history(1), part=None)
    text = Page(folder / "index.html").text
    assert "INCONCLUSIVE not a pass" in text
    assert "The only commit measured." in text
    assert "One commit is measured. Changes show from the second one on." in text
    assert "No reproduction on record" in text


def test_a_benchmark_without_parameters_has_one_cell(publish):
    found = history(2)
    only = Benchmark("other.time_it", "time", "seconds", "1", (), ())
    measured = Measured(*(np.array([[1.0], [2.0]]) * f for f in (1, 0.9, 1.1)))
    found = replace(
        found,
        benchmarks={**found.benchmarks, only.name: only},
        measured={**found.measured, only.name: measured},
    )
    page = Page(publish(found) / "other.html")
    assert page.all("a", "href")[-1] == "#other.time_it?view=commits"
    assert "2.000 s 1.800 s to 2.200 s" in page.text


def test_a_history_without_any_number_still_has_pages(publish):
    folder = publish(without(history(2)))
    assert "No exponent: no commit has a build-up measured" in Page(folder / "index.html").text
    held = read_script(folder / "data" / f"{SECONDS}.js", SECONDS)
    assert set(held["value"]) == {None}
    assert "0 of 270 cells measured" in Page(folder / "buildup.html").text


def test_the_front_page_has_reproduction_rows_by_source_and_the_committed_figures(
    publish, committed
):
    folder = publish(history(2))
    page = Page(folder / "index.html")
    sources = {f["class"].split()[-1] for t, f in page.elements if "source" in f.get("class", "")}
    assert {"published", "model", "qemu"} <= sources
    assert "cbw + snap + patches (deny bitmap)" in page.text
    drawn = {path.name for path in (committed / "reports").glob("*.png")} | {"two-searches.svg"}
    assert {path.name for path in (folder / "figures").iterdir()} == drawn
    captions = {f["src"]: f["alt"] for t, f in page.elements if t == "img"}
    assert "figures/two-searches.svg" in captions
    assert set(captions) == {f"figures/{name}" for name in drawn if "tournament" not in name}
    assert all(len(caption) > 40 for caption in captions.values())


def test_committed_texts_have_pages_with_their_figures(publish):
    folder = publish(history(2))
    linked = [href for href in Page(folder / "index.html").all("a", "href") if "/" not in href]
    reports = ("reproduction.html", "kernels.html", "second-path.html", "releases.html")
    for name in (*reports, "problem.html", "project-file.html"):
        assert name in linked
        page = Page(folder / name)
        for source in page.all("img", "src"):
            assert (folder / source).is_file()
    assert "So the patches leave a second long search" in Page(folder / "second-path.html").text


def test_refused_results_are_told_on_top_and_listed(publish):
    found = replace(history(2), refused=("here/abc.json: no side record",))
    text = Page(publish(found) / "index.html").text
    assert "Stored results refused: 1." in text
    assert "here/abc.json: no side record" in text


def test_other_histories_are_linked_both_ways(publish):
    first, second = history(3), replace(history(2), environment="other env")
    folder = publish(first, second, second)
    front = Page(folder / "index.html")
    others = [href for href in front.all("a", "href") if href.startswith("on-")]
    assert len(set(others)) == 2
    for href in others:
        back = Page(folder / href).all("a", "href")
        assert "../index.html" in back


def test_missing_parts_are_named(tmp_path):
    with pytest.raises(UserError, match="d3/dist/d3.min.js"):
        write_pages(tmp_path / "html", [front_page(history(1), None)], tmp_path)


def test_assets_are_all_copied():
    folder = ROOT / "hbitmap_bench" / "commits" / "pages" / "assets"
    assert sorted(path.name for path in folder.iterdir()) == sorted(OWN)


def test_numbers_that_are_not_finite_are_null():
    values = np.array([1.0, np.nan, np.inf, -np.inf, 1 / 3, 1e300, 0.0])
    assert json.loads(data.numbers(values)) == [1, None, None, None, 0.333333, 1e300, 0]
    assert data.numbers(np.array([np.nan])) == "null"
    with pytest.raises(ValueError, match="not JSON compliant"):
        data.safe_json(np.nan)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.23e-3, "seconds", "1.230 ms"),
        (5e-8, "seconds", "50.00 ns"),
        (18030.4, "seconds", "18,030 s"),
        (20.5 * 2**20, "bytes", "20.50 MiB"),
        (429_498_040_320, "words", "429.5 G words"),
        (7, "words/query", "7 words/query"),
        (2.63, "x", "2.630x"),
        (999.97, "x", "1,000x"),
        (0, "seconds", "0"),
        (float("nan"), "seconds", "-"),
    ],
)
def test_amounts(value, unit, text):
    assert amount(value, unit) == text


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (34086160.0, 34086168.0, ("34,086,160 bytes", "34,086,168 bytes")),
        (2.0**20, 2.0**21, ("1.000 MiB", "2.000 MiB")),
        (2.0**20, 2.0**20, ("1.000 MiB", "1.000 MiB")),
    ],
)
def test_a_change_never_looks_like_none(before, after, shown):
    assert before_after(before, after, "bytes") == shown


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        (math.inf, "from 0"),
        (1.0, "1x"),
        (34_087_280 / 34_087_272, "1.0000002x"),
        (0.9996, "0.9996x"),
        (0.5214, "0.521x"),
        (2331.4, "2,331x"),
    ],
)
def test_ratios(ratio, shown):
    assert times(ratio) == shown
