"""Judgements as JUnit XML, which GitLab, Jenkins and others show as results of tests.

A judgement is a suite: the verdict is a test, and so is each benchmark, by the weightiest of what
its cells say. A regression is a failure; what was not measured, and a verdict that is none, is an
error; what is INCONCLUSIVE is skipped. A regression that is allowed passes, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from hbitmap_bench.base.printable import printable
from hbitmap_bench.commits.changes import Word
from hbitmap_bench.commits.gate import verdict_words as words
from hbitmap_bench.commits.gate.verdict import Judgement, Outcome
from hbitmap_bench.commits.gate.verdict_entries import Entry, entries

NAME: Final = "hbitmap-bench gate"

OUTCOMES: Final[dict[Outcome, str]] = {"REGRESSED": "failure", "NOT_JUDGED": "error"}
RESULTS: Final[dict[Word, str]] = {
    "REGRESSED": "failure", "NOT_MEASURED": "error", "INCONCLUSIVE": "skipped",
}  # fmt: skip
COUNTED: Final = {"failure": "failures", "error": "errors", "skipped": "skipped"}
"""Attributes of a suite, by the elements that they count."""


def to_junit(judgements: Sequence[Judgement]) -> str:
    """XML of one document, in ASCII."""
    root = Element("testsuites", name=NAME)
    for judgement in judgements:
        root.append(_suite(judgement))
    indent(root, " ")
    return f"{tostring(root, encoding='us-ascii', xml_declaration=True).decode('ascii')}\n"


def _suite(judgement: Judgement) -> Element:
    run = judgement.run
    suite = Element("testsuite", name=NAME, timestamp=printable(run.created))
    suite.set("time", f"{run.elapsed_s:.3f}")
    properties = SubElement(suite, "properties")
    facts = [*words.facts(run), ("outcome", judgement.outcome)]
    facts += [("allowed", f"{one.name}: {one}") for one in judgement.overrides]
    for name, value in facts:
        SubElement(properties, "property", name=name, value=printable(value))
    suite.append(_verdict(judgement))
    by_benchmark: dict[str, list[Entry]] = {}
    for entry in entries(judgement.findings):
        by_benchmark.setdefault(entry.clearest.benchmark, []).append(entry)
    suite.extend(_benchmark(name, found, run.columns) for name, found in by_benchmark.items())
    suite.set("tests", str(1 + len(by_benchmark)))
    for element, attribute in COUNTED.items():
        suite.set(attribute, str(len(suite.findall(f"testcase/{element}"))))
    return suite


def _verdict(judgement: Judgement) -> Element:
    case = Element("testcase", classname=NAME, name="verdict")
    said = f"{judgement.outcome}: {words.headline(judgement)}"
    lines = [*map(words.shortened, judgement.reasons), *words.resolution_lines(judgement)]
    _tell(case, OUTCOMES.get(judgement.outcome), said, [said, *lines])
    return case


def _benchmark(name: str, found: Sequence[Entry], columns: words.Columns) -> Element:
    """A test of a benchmark, whose entries come in order of weight."""
    suite, _, short = printable(name).rpartition(".")
    case = Element("testcase", classname=suite or NAME, name=short)
    results = [None if one.clearest.allowed else RESULTS.get(one.word) for one in found]
    worst = next(filter(None, results), None)
    told = (_lines(entry, columns) for entry in found if entry.word != "UNCHANGED")
    lines = list(chain.from_iterable(told))
    _tell(case, worst, words.title(found[results.index(worst)]), lines)
    return case


def _lines(entry: Entry, columns: words.Columns) -> list[str]:
    return [words.title(entry), *words.entry_lines(entry, columns), entry.clearest.command]


def _tell(case: Element, result: str | None, message: str, lines: Iterable[str]) -> None:
    """A result with its message; what passes has the lines as its output, if there are any."""
    text = "\n".join(map(printable, lines))
    if result is not None:
        SubElement(case, result, message=printable(message), type=message.split(" ")[0]).text = text
    elif text:
        SubElement(case, "system-out").text = text
