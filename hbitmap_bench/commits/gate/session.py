"""One session: asv measures both sides of every cell in turn, round after round.

asv is used as a library, so that base and head of a cell follow each other within half a second:
by its command, a switch costs a second, and a whole benchmark lies between the two. Every round
starts asv's fork server anew on either side, since processes of one server share where their code
and data lie. Which cell comes when, and which side first, changes with the round; and halfway
through a pass the sides exchange environments, so that what belongs to a copy of a file belongs to
neither side.

After each process, what it says it imported is compared with the side's wheel, before its sample
counts. Each round and side has a results folder of its own, as asv stores it.
"""

from __future__ import annotations

import json
import math
import platform
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from asv import runner, util
from asv.benchmarks import Benchmarks
from asv.config import Config
from asv.environment import ExistingEnvironment
from asv.repo import NoRepository
from asv.results import Results

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.interrupt import uninterrupted
from hbitmap_bench.commits import sources
from hbitmap_bench.commits.bench import EVIDENCE
from hbitmap_bench.commits.gate.environments import SIDES, SideName, Workshop, exchange
from hbitmap_bench.commits.gate.suites import Cell

ENVIRONMENT: Final = "gate"
"""What results call it: both sides have the same."""

SAMPLING: Final = {"rounds": 1, "repeat": [2, 8, 0.05], "warmup_time": 0.02}
"""asv's attributes for a process of a noisy cell: two samples or more, eight of a short call."""

ONCE: Final = {"rounds": 1, "repeat": 1, "warmup_time": 0.0}


@dataclass(frozen=True)
class Failure:
    """A process that gave no number, and asv's reason."""

    side: SideName
    cell: str
    reason: str


@dataclass
class Session:
    """Measures cells of both sides, and remembers what failed: that is not tried again."""

    workshop: Workshop
    wheels: Mapping[SideName, Path]
    commits: Mapping[SideName, str]
    packages: Mapping[SideName, Mapping[str, str]]
    machine: Mapping[str, str]
    suites: Path
    described: Mapping[str, Mapping[str, Any]]
    failures: dict[tuple[SideName, Cell], Failure] = field(default_factory=dict)
    imported: dict[SideName, dict[str, sources.Imported]] = field(
        default_factory=lambda: {side: {} for side in SIDES}
    )

    def exchange(self) -> None:
        """Measure each side in the other's environment from here on, freshly installed."""
        self.workshop = exchange(self.workshop, self.wheels)

    def measure_round(
        self, cells: Sequence[Cell], folder: Path, number: int, told: Callable[[], object]
    ) -> None:
        """One round over the cells into ``folder/base`` and ``folder/head``; ``told`` after each.

        ``number`` seeds the order. Raises ``KeyboardInterrupt``, and ``UserError`` where what was
        imported is not the side's commit.
        """
        order = list(cells)
        random.Random(number).shuffle(order)
        results = {side: self._results(side) for side in SIDES}
        with self._servers(folder, _in_turn(number)) as servers:
            for place, cell in enumerate(order):
                for side in _in_turn(place + number):
                    if (side, cell) not in self.failures:
                        self._visit(side, cell, servers[side], results[side], folder)
                told()
        for side in SIDES:
            self._save(side, results[side], folder / side)

    def _visit(
        self,
        side: SideName,
        cell: Cell,
        server: Any,  # noqa: ANN401 - asv has no types
        results: Results,
        folder: Path,
    ) -> None:
        """Run one cell once on one side."""
        evidence = folder / f"evidence-{side}"
        for left in evidence.iterdir():
            left.unlink()  # of one that failed after it had told
        benchmark = self.described[cell.benchmark]
        place = _place(benchmark, cell)
        sampling = ONCE if benchmark["type"] == "track" else SAMPLING
        started = datetime.now(UTC)
        with _interruptible():
            found = runner.run_benchmark(
                benchmark, server, profile=False, selected_idx=[place], extra_params=sampling
            )
        results.add_result(
            benchmark, found, started_at=started, record_samples=True, selected_idx=[place]
        )
        if found.result[place] is None:
            self.failures[side, cell] = Failure(side, cell.name, _reason(found))
        elif not _is_skipped(found.result[place]):
            self._check(side, cell, evidence)

    def _check(self, side: SideName, cell: Cell, evidence: Path) -> None:
        """Compare what the process imported with the wheel."""
        papers = [path.read_text(encoding="utf-8") for path in sorted(evidence.iterdir())]
        told = [json.loads(paper)["files"] for paper in papers]
        if not all(told) or not told:
            raise UserError(
                f"every process must tell what it imported, and that of {cell.name} told nothing: "
                "let its suite call testify() in setup, once it has imported what it measures"
            )
        for files in told:
            for name, blob in files.items():
                if self.packages[side].get(name) != blob:
                    raise UserError(
                        f"{name} as imported by {cell.name} is not that of the {side}, commit "
                        f"{self.commits[side][:10]}: nothing of this run can be trusted"
                    )
            self.imported[side][json.dumps(files, sort_keys=True)] = files

    @contextmanager
    def _servers(self, folder: Path, order: Iterable[SideName]) -> Iterator[dict[SideName, Any]]:
        """Asv's fork server of either side, and the folders where their processes testify."""
        with ExitStack() as stack:
            servers = {}
            for side in order:
                evidence = folder / f"evidence-{side}"
                evidence.mkdir(parents=True)
                stack.callback(shutil.rmtree, evidence)
                with uninterrupted():  # or nobody could end what asv has started
                    servers[side] = self._server(side, evidence)
                    stack.callback(servers[side].close)
                with _interruptible():
                    servers[side].preimport()
            yield servers

    def _server(self, side: SideName, evidence: Path) -> Any:  # noqa: ANN401 - asv has no types
        variables = {EVIDENCE: str(evidence), "ASV_COMMIT": self.commits[side]}
        environment = environment_of(self.workshop, side, variables)
        try:
            with _interruptible():
                return runner.ForkServer(environment, str(self.suites))
        except RuntimeError as error:
            raise UserError(
                f"asv measures by a server with a socket in {tempfile.gettempdir()}, and that did "
                f"not start ({error}): set TMPDIR to a short path on a disk with room"
            ) from None

    def _results(self, side: SideName) -> Results:
        return Results(
            dict(self.machine),
            {},
            self.commits[side],
            0,
            platform.python_version(),
            ENVIRONMENT,
            {},
        )

    def _save(self, side: SideName, results: Results, folder: Path) -> None:
        """Store as asv does, with a side record of what was imported."""
        (folder / self.machine["machine"]).mkdir(parents=True)
        results.save(str(folder))
        (path,) = sources.result_paths(folder)
        if self.imported[side]:  # else every process failed or skipped, and there is no number
            sources.write_record(path, self.commits[side], self.imported[side].values())


def discover(workshop: Workshop, suites: Path) -> list[dict[str, Any]]:
    """Asv's descriptions of the benchmarks in ``suites``. Raises ``UserError`` if it finds none."""
    conf = _configuration(workshop, suites)
    environment = environment_of(workshop, "head", {})
    with _interruptible():
        found = Benchmarks.discover(conf, NoRepository(), [environment], [None])
    if not found:
        raise UserError("the head's suites must have benchmarks, and asv found none")
    return [dict(benchmark) for benchmark in found.values()]


def environment_of(
    workshop: Workshop, side: SideName, variables: Mapping[str, str]
) -> ExistingEnvironment:
    """A side's environment as asv knows it, with variables for its processes."""
    tagged = {("nobuild", name): value for name, value in variables.items()}
    conf = _configuration(workshop, workshop.folder)
    return ExistingEnvironment(conf, str(workshop.python(side)), {}, tagged)


def _configuration(workshop: Workshop, suites: Path) -> Config:
    conf = {**workshop.project.conf, "repo": str(workshop.project.root)}
    conf["benchmark_dir"] = str(suites)
    configuration: Config = Config.from_json(conf)
    return configuration


@contextmanager
def _interruptible() -> Iterator[None]:
    """Asv makes an error of its own out of Ctrl-C: make it Ctrl-C again."""
    try:
        yield
    except util.UserError as error:
        if str(error) == "Interrupted.":
            raise KeyboardInterrupt from None
        raise UserError(f"asv could not run benchmarks: {_first_line(str(error))}") from None


def _in_turn(number: int) -> tuple[SideName, SideName]:
    """Both sides, the base first where the number is odd."""
    return SIDES if number % 2 else (SIDES[1], SIDES[0])


def _place(benchmark: Mapping[str, Any], cell: Cell) -> int:
    """Index of a cell among all of its benchmark, the last parameter varying fastest."""
    place = 0
    for values, value in zip(benchmark["params"], cell.params, strict=True):
        place = place * len(values) + values.index(repr(value))
    return place


def _is_skipped(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _reason(found: Any) -> str:  # noqa: ANN401 - asv has no types
    """Why a benchmark failed, in one line."""
    if found.errcode == util.TIMEOUT_RETCODE:
        return "it ran out of time"
    if found.errcode < 0:
        return f"it was killed by signal {-found.errcode}"
    lines = [line.strip() for line in found.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"it ended with exit code {found.errcode}"


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
