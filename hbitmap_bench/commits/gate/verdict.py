"""What the gate says: a finding for each cell, and one judgement of the whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from hbitmap_bench.commits.changes import Word
from hbitmap_bench.commits.gate.thresholds import Threshold
from hbitmap_bench.commits.series import Params, cell_name

Evidence = Literal["exact", "time", "memory", "counter", "growth", "instructions"]

NOISY_EVIDENCE: Final[Mapping[str, Evidence]] = {
    "time": "time", "peakmemory": "memory", "track": "counter", "memory": "counter",
}  # fmt: skip
"""By asv's kind of benchmark, where it is not exact."""

Outcome = Literal["PASSED", "REGRESSED", "NOT_JUDGED", "SAME_CODE"]

EXIT_CODES: dict[Outcome, int] = {"PASSED": 0, "SAME_CODE": 0, "REGRESSED": 1, "NOT_JUDGED": 2}


@dataclass(frozen=True)
class Override:
    """A regression that a commit's message allows: of a benchmark or a cell, and why."""

    name: str
    reason: str
    commit: str

    def allows(self, finding: Finding) -> bool:
        """Whether it is for this finding."""
        return finding.word == "REGRESSED" and self.name in (finding.benchmark, finding.cell)

    def __str__(self) -> str:
        return f"{self.reason} (commit {self.commit[:10]})"


@dataclass(frozen=True)
class Finding:
    """One cell's verdict, by one kind of evidence.

    ``before`` and ``after`` are the base's and the head's value in ``unit``, None where there is
    none. ``ratio`` is after over before, with ``interval``, its one-sided bounds at ``level``,
    where the evidence is noisy; of growth, value, difference and interval are exponents and there
    is no ratio. ``resolvable`` is the smallest relative change that it would have shown.
    ``reason`` is one sentence. ``command`` measures the cell alone, again. ``allowed`` says by what
    commit and why a regression is none of the outcome's.
    """

    benchmark: str
    params: Params
    evidence: Evidence
    word: Word
    unit: str
    before: float | None
    after: float | None
    ratio: float | None
    interval: tuple[float, float] | None
    level: float | None
    resolvable: float | None
    reason: str
    command: str
    allowed: str | None = None

    @property
    def cell(self) -> str:
        """As asv names it: ``suite.Class.method('deny', 16, 64)``."""
        return cell_name(self.benchmark, self.params)


@dataclass(frozen=True)
class Attached:
    """What a program of the project said of a regression: ``text`` is of one cell, on the head.

    ``benchmark`` is what has regressed.
    """

    benchmark: str
    cell: str
    title: str
    text: str


@dataclass(frozen=True)
class EnvironmentFacts:
    """What a side was measured in, where environments are compared: ``name`` is A or B.

    ``options`` are what was asked for; ``python``, ``packages`` (versions by canonical names) and
    ``variables`` (of asv's matrix) what came of it.
    """

    name: str
    options: tuple[str, ...]
    python: str
    packages: Mapping[str, str]
    variables: Mapping[str, str]


@dataclass(frozen=True)
class SideFacts:
    """One side: what was asked for (``ref``), and the commit that was measured for it.

    ``dirty`` says that the commit holds what the working tree had, committed or not.
    ``environment`` is there where two of them are compared, and the commit is that of both sides.
    """

    ref: str
    commit: str
    subject: str
    dirty: bool
    environment: EnvironmentFacts | None = None


@dataclass(frozen=True)
class RunFacts:
    """Where, what and how long. ``rounds`` of the passes; none where nothing was timed.

    ``more_rounds`` were added to the first pass, of those cells alone in which much could hide.
    ``environment`` is asv's name of it, where the project has several; else empty.
    """

    base: SideFacts
    head: SideFacts
    profile: str
    bench: str | None
    machine: Mapping[str, str]
    created: str
    rounds: tuple[int, ...]
    elapsed_s: float
    more_rounds: int = 0
    environment: str = ""

    @property
    def names(self) -> tuple[str, str]:
        """What the sides are called."""
        one, two = self.base.environment, self.head.environment
        return (one.name, two.name) if one and two else ("base", "head")

    @property
    def sides(self) -> tuple[str, str]:
        """The same in a sentence."""
        one, two = self.names
        return (one, two) if self.base.environment else (f"the {one}", f"the {two}")

    @property
    def columns(self) -> tuple[str, str]:
        """What is written over, or behind, their numbers."""
        one, two = self.names
        return (f"in {one}", f"in {two}") if self.base.environment else ("before", "after")


@dataclass(frozen=True)
class Judgement:
    """The whole. ``reasons`` are sentences, the weightiest first; findings in order of weight.

    ``band`` is the relative change taken for noise, ``band_source`` where it comes from.
    ``new`` names the cells that only the head has, which nothing can be compared with.
    ``overrides`` are all that the change declares, whether anything of them regressed or not.
    ``not_counted`` names the timed cells whose instructions tell nothing, and why. ``attached`` is
    what the project has to say of regressions.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    run: RunFacts
    findings: tuple[Finding, ...]
    new: tuple[str, ...]
    band: float
    band_source: str
    thresholds: tuple[Threshold, ...]
    not_counted: Mapping[str, str]
    overrides: tuple[Override, ...] = ()
    attached: tuple[Attached, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 passed, 1 regressed, 2 not judged."""
        return EXIT_CODES[self.outcome]

    @property
    def counts(self) -> Mapping[Word, int]:
        """How many findings are each word."""
        return Counter(finding.word for finding in self.findings)
