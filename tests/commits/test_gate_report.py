"""Reports of the gate: whole ones against golden files, hostile text in each format, JSON's fields.

``PYTHONPATH=tests python tests/commits/test_gate_report.py`` writes the golden files anew:
read their diff before committing it.
"""

import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from html.parser import HTMLParser
from io import BytesIO, StringIO, TextIOWrapper
from math import inf, nan
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from synthetic_gate import (
    FACTS,
    allowed,
    finding,
    judgement,
    not_judged,
    passed,
    regressed,
    same_code,
)
from synthetic_history import DECLARED

from hbitmap_bench.base.printable import printable
from hbitmap_bench.commits.gate import verdict_markdown
from hbitmap_bench.commits.gate.commands import FORMATS
from hbitmap_bench.commits.gate.steepness import thresholds
from hbitmap_bench.commits.gate.verdict import (
    Attached,
    Finding,
    Judgement,
    RunFacts,
    SideFacts,
)
from hbitmap_bench.commits.gate.verdict_entries import entries
from hbitmap_bench.commits.gate.verdict_formats import render, render_all
from hbitmap_bench.commits.gate.verdict_text import print_text
from hbitmap_bench.commits.gate.verdict_words import (
    change_words,
    entry_lines,
    others_words,
    resolution,
    resolution_lines,
    title,
)

GOLDEN = Path(__file__).parents[1] / "golden"
JUDGEMENTS = {
    "regressed": regressed,
    "passed": passed,
    "allowed": allowed,
    "not-judged": not_judged,
    "same-code": same_code,
}
HOSTILE = (
    "[bold red]x[/] |p| `b` ``c`` <img src=x onerror=alert(1)> </code></details> &amp; %0A "
    "::error::forged\n::error title=y::z\r a:b,c $x$ @someone ~~s~~ *e* _u_ [l](http://h) \\ \\| "
    "\x1b[31m\x07 \u202e \u2028 \udc80 end"
)


def text_page(found: Judgement, width: int, encoding: str = "utf-8") -> str:
    written = TextIOWrapper(BytesIO(), encoding=encoding, newline="")
    print_text(found, Console(file=written, width=width, color_system=None, force_terminal=False))
    written.flush()
    return written.buffer.getvalue().decode(encoding)


def golden_pages() -> dict[str, Callable[[], str]]:
    pages: dict[str, Callable[[], str]] = {}
    for name, make in JUDGEMENTS.items():
        pages[f"gate-{name}-80.txt"] = lambda make=make: text_page(make(), 80)
        pages[f"gate-{name}.md"] = lambda make=make: render(make(), "markdown")
        pages[f"gate-{name}.github.txt"] = lambda make=make: render(make(), "github")
    pages["gate-regressed.junit.xml"] = lambda: render(regressed(), "junit")
    pages["gate-regressed.json"] = lambda: render(regressed(), "json")
    return pages


@pytest.mark.parametrize("name", golden_pages())
def test_golden(name):
    assert golden_pages()[name]() == (GOLDEN / name).read_text(encoding="utf-8")


# ---------------------------------------------------------------- what every format says


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", JUDGEMENTS)
def test_each_format_says_outcome_exit_code_and_sides(form, name):
    found = JUDGEMENTS[name]()
    page = render(found, form)
    assert found.outcome in page
    assert page.endswith("\n")
    for side in (found.run.base, found.run.head):
        assert side.commit[:10] in page
        assert side.subject in page
    assert re.search(rf"exit.code\"?:? {found.exit_code}\b", page)


@pytest.mark.parametrize("form", FORMATS)
def test_findings_that_matter_have_numbers_kind_and_command(form):
    kinds = ("exact", "time", "memory", "growth", "instructions")
    for kind in kinds:
        one = finding("REGRESSED", kind, command=f"measure-{kind}-alone")
        page = render(judgement("REGRESSED", [one]), form)
        assert f"measure-{kind}-alone" in page
        if form != "json":
            for words in change_words(one).split(" before, ")[0].removeprefix("exponent "), "after":
                assert words in page
            assert {"exact": "exact counter", "memory": "peak memory"}.get(kind, kind) in page


@pytest.mark.parametrize("form", ["text", "json", "markdown"])
def test_every_threshold_is_printed_with_value_unit_and_reason(form):
    every = thresholds(DECLARED)
    page = render(replace(regressed(), thresholds=every), form)
    if form == "json":
        listed = json.loads(page)["thresholds"]
        assert listed == [{f.name: getattr(t, f.name) for f in fields(t)} for t in every]
        return
    flat = " ".join(page.split())
    for threshold in every:
        reason = (
            verdict_markdown._text(threshold.reason) if form == "markdown" else threshold.reason
        )
        assert reason in flat
        assert threshold.name in flat
        assert threshold.unit in flat
    for value in ("0.01", "0.00005", "1,048,576"):
        assert value in flat


def test_unchanged_cells_are_counted_and_not_listed():
    same = [finding("UNCHANGED", params=("deny", tib, 64)) for tib in range(1, 8)]
    for form in ("text", "markdown", "github"):
        page = render(judgement("PASSED", same), form)
        assert "('deny', 1, 64)" not in page
    assert re.search(r"^time +0 +0 +0 +0 +7$", render(judgement("PASSED", same), "text"), re.M)


def test_same_code_is_said_plainly_and_nothing_else():
    page = render(same_code(), "text")
    assert "nothing was timed" in page
    for absent in ("Thresholds", "could show", "Verdicts"):
        assert absent not in page


@pytest.mark.parametrize(
    ("outcome", "words", "said"),
    [
        ("PASSED", ["UNCHANGED"], "no change in performance detected"),
        ("PASSED", ["UNCHANGED", "IMPROVED"], "performance has improved"),
        ("PASSED", ["UNCHANGED", "INCONCLUSIVE"], "no regression detected"),
        ("REGRESSED", ["REGRESSED", "IMPROVED"], "performance has regressed"),
        ("NOT_JUDGED", ["NOT_MEASURED"], "this run can't say whether performance has changed"),
    ],
)
def test_headline(outcome, words, said):
    found = judgement(outcome, [finding(word) for word in words])
    for form in ("text", "github"):
        assert said in render(found, form).splitlines()[0]


def test_a_change_too_small_for_three_digits_is_still_seen():
    one = finding("REGRESSED", "exact", before=4194432.0, after=4194433.0, ratio=4194433 / 4194432)
    assert change_words(one) == (
        "4,194,432 words/query before, 4,194,433 words/query after: 1.000000238x"
    )


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((1.1, 1.3), "1.100..1.300x"),
        ((0.0, 1.3), "under 1.300x"),
        ((1.1, inf), "over 1.100x"),
        ((0.0, inf), "no bounds: too few rounds"),
    ],
)
def test_open_intervals(interval, said):
    assert said in change_words(finding("REGRESSED", interval=interval))


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_allowed_is_in_every_format_and_is_no_error(form):
    page = render(allowed(), form).replace("\\_", "_")
    assert "REGRESSED" in page
    for override in allowed().overrides:
        for said in (override.name, override.reason, override.commit[:10]):
            assert said in " ".join(page.split())
    if form == "github":
        assert [line.split(" ")[0] for line in page.splitlines()] == ["::notice", "::warning"]
    if form == "text":
        assert "the change says so" in page.splitlines()[0]


# ---------------------------------------------------------------- one cause, one entry


def risen(n, **fields):
    """A rise of one word a query, in n cells; the last rose the most."""
    return [
        finding(
            "REGRESSED", "exact", ("deny", tib, 64), "buildup.Words.track_words",
            after=7 + tib / 10, ratio=1 + tib / 70, reason="the counter rose",
            command=f"measure-{tib}", **fields,
        )
        for tib in range(1, n + 1)
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["text", "markdown", "github"])
def test_cells_of_one_benchmark_are_one_entry(form):
    found = judgement("REGRESSED", risen(22))
    page = render(found, form).replace("%2C", ",")
    assert page.count("track_words('deny', 22, 64)") == (2 if form == "markdown" else 1)
    assert "and 21 more cells: 1.014x to 1.300x" in page
    assert "('deny', 21, 64)" not in page
    assert "measure-22" in page
    assert page.count("the counter rose") == 1
    if form != "github":
        assert "verdict.json" in page
    assert len(json.loads(render(found, "json"))["findings"]) == 22


def test_other_evidence_of_the_same_benchmark_is_in_its_entry():
    grown = finding("REGRESSED", "growth", ("deny", 64), "buildup.Words.track_words")
    slower = [finding("REGRESSED", params=("deny", tib, 64)) for tib in (1, 2)]
    (words_entry, time_entry) = entries([*risen(3), *slower, grown])
    assert title(words_entry) == (
        "REGRESSED by exact counter, growth: buildup.Words.track_words('deny', 3, 64)"
    )
    assert entry_lines(words_entry)[1:] == [
        "and 2 more cells: 1.014x to 1.029x",
        "the counter rose",
        "growth, ('deny', 64): exponent 1.000 before, 2.010 after: +1.010 (1.970..2.040)",
    ]
    assert entry_lines(time_entry)[1] == "and 1 more cell: 1.199x"


@pytest.mark.parametrize(
    ("word", "clearest", "others"),
    [
        ("REGRESSED", {"ratio": 1.4, "interval": (1.3, 1.5)},
         [{"ratio": 1.5, "interval": (1.1, 1.9)}, {"ratio": 1.2, "interval": (1.19, 1.21)}]),
        ("IMPROVED", {"ratio": 0.7, "interval": (0.6, 0.8)},
         [{"ratio": 0.6, "interval": (0.3, 0.9)}, {"ratio": 0.85, "interval": (0.84, 0.86)}]),
        ("INCONCLUSIVE", {"ratio": 1.0, "interval": (0.5, 2.0)},
         [{"ratio": 1.2, "interval": (1.0, 1.3)}, {"ratio": 0.9, "interval": (0.8, 1.3)}]),
    ],
)  # fmt: skip
def test_the_clearest_cell_comes_first(word, clearest, others):
    found = [finding(word, params=(i,), **fields) for i, fields in enumerate([*others, clearest])]
    (entry,) = entries(found)
    assert entry.clearest == found[-1]
    assert entry.parts[0].others == tuple(found[:-1])


def test_a_counter_that_was_nothing_is_clearer_than_any_ratio():
    from_nothing = finding("REGRESSED", "exact", (1,), before=0.0, ratio=None)
    doubled = finding("REGRESSED", "exact", (2,), ratio=2.0)
    (entry,) = entries([doubled, from_nothing])
    assert entry.clearest == from_nothing
    assert others_words(entry.parts[0]) == "and 1 more cell: 2.000x"


def test_what_was_not_measured_is_an_entry_for_each_reason():
    reasons = ("it failed on the head: no such file",) * 3 + ("it ran out of time",)
    missing = [finding("NOT_MEASURED", params=(i,), reason=r) for i, r in enumerate(reasons)]
    first, second = entries(missing)
    assert entry_lines(first) == ["and 2 more cells", reasons[0]]
    assert entry_lines(second) == [reasons[-1]]


# ---------------------------------------------------------------- what the run could resolve


def resolving(*changes):
    cells = [
        finding("UNCHANGED", params=("deny", i, 64), resolvable=c) for i, c in enumerate(changes)
    ]
    return judgement("PASSED", cells)


def test_resolution_is_median_and_worst_over_time_cells():
    found = resolution(resolving(0.05, 0.09, 0.06), "time")
    assert (found.n_cells, found.n_unresolved, found.median, found.worst) == (3, 0, 0.06, 0.09)
    assert found.worst_cell == "buildup.BuildUp.time_queries('deny', 1, 64)"
    assert resolution(resolving(0.05), "memory") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ((0.05, 0.09, 0.06), "6.0% in the median of 3 cells and 9.0% in the worst, buildup"),
        ((0.05, inf, 0.06), "6.0% in the median of 3 cells; 1 could show none, such as buildup"),
        ((inf, inf, 0.06), "could show no change at all in 2 of 3 cells"),
        ((0.05,), "5.0% in buildup.BuildUp.time_queries('deny', 0, 64)"),
    ],
)
def test_resolution_in_words(changes, said):
    assert said in resolution_lines(resolving(*changes))[0]


def test_nothing_judged_resolves_nothing():
    assert resolution_lines(judgement("NOT_JUDGED", [])) == []


# ---------------------------------------------------------------- JSON


def names(kind):
    return {field.name for field in fields(kind)}


@pytest.mark.parametrize("name", JUDGEMENTS)
def test_json_has_every_field(name):
    found = JUDGEMENTS[name]()
    document = json.loads(render(found, "json"), parse_constant=lambda name: pytest.fail(name))
    assert names(Judgement) <= set(document)
    assert set(document) - names(Judgement) == {
        "schema", "kind", "exit_code", "counts", "counts_by_evidence", "resolution",
    }  # fmt: skip
    assert names(RunFacts) - {"environment"} == set(document["run"])  # of one among several
    sides = (set(document["run"][side]) for side in ("base", "head"))
    assert all(side == names(SideFacts) - {"environment"} for side in sides)  # of two
    assert document["exit_code"] == found.exit_code
    assert document["run"]["head"]["commit"] == found.run.head.commit
    assert len(document["findings"]) == len(found.findings)
    for listed, one in zip(document["findings"], found.findings, strict=True):
        assert set(listed) == names(Finding) | {"cell"}
        for key in names(Finding):
            value = getattr(one, key)
            if isinstance(value, tuple):
                value = [None if end in (inf, -inf) else end for end in value]
            assert listed[key] == (None if value == inf else value)


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_what_is_attached_stands_with_what_regressed_alone(form):
    """Line for line; neither with what is allowed, nor with another benchmark."""
    told = Attached("a.b", "a.b(1)", "Profile", "the first line\n  71.2%  the second")
    other = replace(told, benchmark="c.d", text="of another")
    for allowed_by, times in ((None, 1), ("a reason", 0)):
        one = finding("REGRESSED", benchmark="a.b", params=(1,), allowed=allowed_by)
        page = render(judgement("REGRESSED", [one], attached=(told, other)), form)
        if form == "json":
            attached = json.loads(page)["attached"]
            assert [(a["cell"], a["title"]) for a in attached] == [("a.b(1)", "Profile")] * 2
            assert attached[0]["text"] == told.text
            continue
        assert page.count("  71.2%  the second\n") == times
        assert page.count("Profile: a.b") == times
        assert "of another" not in page


def test_json_counts_sum_up():
    document = json.loads(render(regressed(), "json"))
    assert document["counts"] == {
        "REGRESSED": 8, "NOT_MEASURED": 1, "INCONCLUSIVE": 1, "IMPROVED": 1, "UNCHANGED": 2,
    }  # fmt: skip
    by_kind = document["counts_by_evidence"]
    for word, count in document["counts"].items():
        assert sum(counts[word] for counts in by_kind.values()) == count


def test_json_has_null_for_what_is_not_finite():
    one = finding("INCONCLUSIVE", interval=(-inf, inf), ratio=nan, resolvable=inf)
    (listed,) = json.loads(render(judgement("NOT_JUDGED", [one]), "json"))["findings"]
    assert (listed["interval"], listed["ratio"], listed["resolvable"]) == ([None, None], None, None)


def test_json_is_ascii():
    assert render(hostile(), "json").isascii()


# ---------------------------------------------------------------- JUnit


def cases(page):
    """Of each test its name and result, None of one that passes."""
    return {
        f"{case.get('classname')}.{case.get('name')}": next(
            (one.tag for one in case if one.tag != "system-out"), None
        )
        for case in ElementTree.fromstring(page).iter("testcase")
    }


@pytest.mark.parametrize(
    ("word", "outcome", "result", "verdict"),
    [("REGRESSED", "REGRESSED", "failure", "failure"), ("UNCHANGED", "PASSED", None, None),
     ("NOT_MEASURED", "NOT_JUDGED", "error", "error"), ("IMPROVED", "PASSED", None, None),
     ("INCONCLUSIVE", "NOT_JUDGED", "skipped", "error")],
)  # fmt: skip
def test_a_benchmark_is_a_test_and_so_is_the_verdict(word, outcome, result, verdict):
    same = finding("UNCHANGED", params=("deny", 1, 64))
    page = render(judgement(outcome, [finding(word), same]), "junit")
    assert cases(page) == {
        "hbitmap-bench gate.verdict": verdict, "buildup.BuildUp.time_queries": result,
    }  # fmt: skip
    (suite,) = ElementTree.fromstring(page)
    assert suite.get("tests") == "2"
    counted = {one: int(suite.get(one)) for one in ("failures", "errors", "skipped")}
    assert counted == {
        "failures": [result, verdict].count("failure"), "errors": [result, verdict].count("error"),
        "skipped": [result, verdict].count("skipped"),
    }  # fmt: skip


def test_several_judgements_are_suites_of_one_document():
    page = ElementTree.fromstring(render_all([regressed(), passed()], "junit"))
    assert [bool(suite.findall("testcase/failure")) for suite in page] == [True, False]


def test_what_is_allowed_passes_in_junit_and_says_so():
    page = render(allowed(), "junit")
    assert set(cases(page).values()) == {None}
    assert "(allowed)" in page


def test_hostile_text_in_junit():
    page = render(hostile(), "junit")
    assert page.isascii()
    texts = [text for one in ElementTree.fromstring(page).iter() for text in (one.text or "",)]
    assert sum(printable(HOSTILE) in text for text in texts) >= 2


# ---------------------------------------------------------------- text of others


def hostile() -> Judgement:
    """The same text everywhere where others write."""
    side = SideFacts(HOSTILE, "a" * 40, HOSTILE, dirty=True)
    run = replace(
        FACTS, base=side, head=side, profile=HOSTILE, bench=HOSTILE, created=HOSTILE,
        machine={"machine": HOSTILE, "cpu": HOSTILE, "ram": HOSTILE, "num_cpu": HOSTILE},
        rounds=(12,),
    )  # fmt: skip
    found = [
        finding(
            word,
            benchmark=HOSTILE,
            params=(HOSTILE,),
            reason=HOSTILE,
            command=HOSTILE,
            unit=HOSTILE,
        )
        for word in ("REGRESSED", "NOT_MEASURED", "INCONCLUSIVE", "IMPROVED", "UNCHANGED")
    ]
    return judgement(
        "REGRESSED", found, run=run, new=(HOSTILE,), band_source=HOSTILE,
        reasons=(f"the reason: {HOSTILE}",),
        attached=(Attached(HOSTILE, HOSTILE, HOSTILE, HOSTILE),),
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [80, 200])
def test_hostile_text_on_a_terminal(width, encoding):
    page = text_page(hostile(), width, encoding)
    assert "[bold red]x[/]" in page
    assert not [c for c in page if not (c.isprintable() or c == "\n")]
    starts = [line.lstrip() for line in page.splitlines()]
    assert not any(line.startswith("::error title=y::z") for line in starts)


class Page(HTMLParser):
    """Tags and text of rendered Markdown."""

    def __init__(self):
        super().__init__()
        self.tags: set[str] = set()
        self.rows: list[int] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        assert all(name == "style" or (tag, name) == ("code", "class") for name, _ in attrs)
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append(0)
        elif tag in ("td", "th"):
            self.rows[-1] += 1

    def handle_data(self, data):
        self.text += data


def rendered(markdown: str) -> Page:
    """As GitHub reads it: tables, strikethrough, HTML let through."""
    page = Page()
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    page.feed(reader.render(markdown))
    return page


def test_hostile_text_in_markdown():
    page = rendered(render(hostile(), "markdown"))
    assert page.tags == {
        "h2", "h3", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "code", "pre",
        "details", "summary", "br", "span",
    }  # fmt: skip
    assert set(page.rows) == {2, 8, 6, 4}
    assert printable(HOSTILE) in page.text
    assert page.text.count("<img src=x onerror=alert(1)>") > 10


@given(st.text() | st.text(alphabet="|`\\ <&*_~$@[]#x\n"))
def test_any_text_survives_markdown(text):
    words, code = verdict_markdown._text(text), verdict_markdown._code(text)
    page = rendered(f"| a | b |\n| --- | --- |\n| x{words}x | y{code}y |\n\n- z {words} z\n")
    assert page.rows == [2, 2]
    assert "em" not in page.tags
    flat = " ".join(printable(text).split())
    expected = f"a b x{printable(text)}x y{printable(text)}y z {printable(text)} z"
    assert "".join(page.text.split()) == "".join(expected.split()), flat


def test_hostile_text_in_workflow_commands():
    lines = render(hostile(), "github").split("\n")
    assert lines.pop() == ""
    assert len(lines) == 5
    for line in lines:
        assert re.fullmatch(r"::(error|warning|notice) title=[^:,\r\n]*::[^\r\n]*", line)
        message = line.split("::", 2)[2]
        decoded = message.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
        assert printable(HOSTILE) in decoded


@pytest.mark.parametrize("form", ["text", "markdown", "github"])
def test_a_long_reason_is_shortened(form):
    one = finding("NOT_MEASURED", reason="it failed: " + "x" * 2_000_000)
    found = judgement("NOT_JUDGED", [one], reasons=("y" * 2_000_000,))
    assert len(render(found, form)) < 20_000


# ---------------------------------------------------------------- limits of GitHub


def test_a_summary_stays_below_what_github_takes():
    many = [finding("REGRESSED", benchmark=f"suite.time_{i}") for i in range(5000)]
    found = judgement("REGRESSED", many, new=tuple(f"cell {i}" for i in range(5000)))
    page = render(found, "markdown")
    assert len(page.encode()) < 2**20
    assert "4800 more benchmarks are not listed here" in page
    assert "4800 more: the JSON report has them all" in page


@pytest.mark.parametrize(("n", "n_shown"), [(9, 9), (10, 8), (5000, 8)])
def test_annotations_say_how_many_are_left_out(n, n_shown):
    many = [finding("REGRESSED", benchmark=f"suite.time_{i}") for i in range(n)]
    many += [finding("INCONCLUSIVE", benchmark=f"other.time_{i}") for i in range(3)]
    lines = render(judgement("REGRESSED", many), "github").splitlines()
    errors = [line for line in lines if line.startswith("::error")]
    assert len(errors) <= 10
    assert sum("title=REGRESSED by time" in line for line in errors) == n_shown
    assert sum(line.startswith("::warning") for line in lines) == 3
    if n > n_shown:
        assert f"::{n - n_shown} more" in errors[-1]


def test_new_cells_are_named_on_a_terminal_up_to_a_number():
    found = judgement("PASSED", [finding("UNCHANGED")], new=tuple(f"cell-{i}" for i in range(25)))
    page = render(found, "text")
    assert "cell-19" in page
    assert "cell-20" not in page
    assert "and 5 more" in page


def test_a_command_is_on_one_line_in_a_narrow_terminal():
    command = "hbitmap-bench gate --bench " + "x" * 200
    page = StringIO()
    found = judgement("REGRESSED", [finding("REGRESSED", command=command)])
    print_text(found, Console(file=page, width=80))
    assert command in page.getvalue()


if __name__ == "__main__":
    for file_name, make_page in golden_pages().items():
        (GOLDEN / file_name).write_text(make_page(), encoding="utf-8")
