"""One session: asv measures both sides of every cell in turn, round after round.

asv is used as a library, so that base and head of a cell follow each other within half a second:
by its command, a switch costs a second, and a whole benchmark lies between the two. Every round
starts asv's fork server anew on either side, since processes of one server share where their code
and data lie. Which cell comes when, and which side first, changes with the round; and halfway
through a pass the sides exchange environments, so that what belongs to a copy of a file belongs to
neither side.

After each process, what it says it imported is compared with what is installed, before its sample
counts; where suites do not tell, installed files are compared with themselves after each round.
Each round and side has a results folder of its own, as asv stores it.
"""

from __future__ import annotations

import copy
import json
import math
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from asv import runner, util
from asv.results import Results

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.interrupt import uninterrupted
from hbitmap_bench.commits import asv_library, sources
from hbitmap_bench.commits.bench import EVIDENCE
from hbitmap_bench.commits.gate.environments import SIDES, SideName, Workshop, exchange
from hbitmap_bench.commits.gate.sides import Side
from hbitmap_bench.commits.gate.suites import Cell, place_of
from hbitmap_bench.commits.installed import Installed
from hbitmap_bench.commits.store import decode_benchmark

ENVIRONMENT: Final = "gate"
"""What results call it: both sides have the same."""

SAMPLING: Final = {"rounds": 1, "repeat": [2, 8, 0.05], "warmup_time": 0.02}
"""asv's attributes for a process of a noisy cell: two samples or more, eight of a short call."""

MORE_CALLS: Final = 3 / 2
"""Of a long benchmark: two samples and the first call, where asv takes two calls in its timeout."""

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
    sides: Mapping[SideName, Side]
    packages: Mapping[SideName, Installed]
    machine: Mapping[str, str]
    suites: Path
    described: Mapping[str, Mapping[str, Any]]
    failures: dict[tuple[SideName, Cell], Failure] = field(default_factory=dict)
    imported: dict[SideName, dict[str, sources.Imported]] = field(
        default_factory=lambda: {side: {} for side in SIDES}
    )
    caches: dict[tuple[SideName, str], tuple[str | None, str | None]] = field(default_factory=dict)
    """What ``setup_cache`` of a suite has left on a side: a folder, or why there is none."""

    def exchange(self) -> None:
        """Measure each side in the other's environment from here on, freshly installed."""
        self.workshop, self.packages = exchange(self.workshop, self.sides)

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
            self._check_installed(side)
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
        place = place_of(benchmark, cell)
        is_exact = decode_benchmark(benchmark).is_exact
        sampling = ONCE if is_exact else SAMPLING
        if not is_exact:
            benchmark = {**benchmark, "timeout": benchmark["timeout"] * MORE_CALLS}
        started = datetime.now(UTC)
        with self._at_work():
            cache, failed = self._cache(side, benchmark, server)
            found = (
                runner.fail_benchmark(benchmark, stderr=failed)
                if failed
                else runner.run_benchmark(
                    benchmark, server, profile=False, selected_idx=[place], extra_params=sampling,
                    cwd=cache,
                )
            )  # fmt: skip
        results.add_result(
            benchmark, found, started_at=started, record_samples=True,
            selected_idx=[place] if benchmark["params"] else None,
        )  # fmt: skip
        if found.result[place] is None:
            self.failures[side, cell] = Failure(side, cell.name, _reason(found))
        elif not _is_skipped(found.result[place]):
            self._check(side, cell, evidence)

    def _cache(
        self,
        side: SideName,
        benchmark: Mapping[str, Any],
        server: Any,  # noqa: ANN401 - asv has no types
    ) -> tuple[str | None, str | None]:
        """The folder that ``setup_cache`` of a benchmark has filled, if it has one; or a reason."""
        key = benchmark.get("setup_cache_key")
        if key is None:
            return None, None
        if (side, key) not in self.caches:
            timeout = benchmark.get("setup_cache_timeout", benchmark["timeout"])
            made = server.create_setup_cache(benchmark["name"], timeout, "{}")
            self.caches[side, key] = made
        return self.caches[side, key]

    def forget_caches(self) -> None:
        """Remove what suites have left."""
        for folder, _ in self.caches.values():
            shutil.rmtree(folder or "", ignore_errors=True)
        self.caches.clear()

    def _check_installed(self, side: SideName) -> None:
        """Raise ``UserError`` if a round was not measured on what was installed of its commit."""
        package = self.packages[side]
        if name := package.changed():
            raise UserError(
                f"{name} is not as it was installed of {self.workshop.called(side)}, commit "
                f"{self.sides[side].commit[:10]}: nothing of this run can be trusted"
            )
        if self.sides[side].declared.measured.kind == "installed":
            self.imported[side]["installed"] = package.files

    def _check(self, side: SideName, cell: Cell, evidence: Path) -> None:
        """Compare what the process says that it imported with what is installed."""
        if self.sides[side].declared.measured.kind == "installed":
            return
        papers = [path.read_text(encoding="utf-8") for path in sorted(evidence.iterdir())]
        told = [json.loads(paper)["files"] for paper in papers]
        if not all(told) or not told:
            raise UserError(
                f"every process must tell what it imported, and that of {cell.name} told nothing: "
                "let its suite call testify() in setup, once it has imported what it measures"
            )
        for files in told:
            for name, blob in files.items():
                if self.packages[side].files.get(name) != blob:
                    raise UserError(
                        f"{name} as imported by {cell.name} is not that of "
                        f"{self.workshop.called(side)}, commit {self.sides[side].commit[:10]}: "
                        f"nothing of this run can be trusted"
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
                with self._at_work():
                    servers[side].preimport()
            yield servers

    def _server(self, side: SideName, evidence: Path) -> Any:  # noqa: ANN401 - asv has no types
        variables = {EVIDENCE: str(evidence), "ASV_COMMIT": self.sides[side].commit}
        environment = environment_of(self.workshop, side, variables)
        spawns = self.workshop.project.conf["launch_method"] == "spawn"
        launcher = runner.Spawner if spawns else runner.ForkServer
        try:
            with self._at_work():
                return cast(Any, launcher)(environment, str(self.suites))
        except RuntimeError as error:
            raise UserError(
                f"asv measures by a server with a socket in {tempfile.gettempdir()}, and that did "
                f"not start ({error}): set TMPDIR to a short path on a disk with room"
            ) from None

    def _at_work(self) -> AbstractContextManager[None]:
        return asv_library.at_work(self.workshop.project, "asv could not run benchmarks")

    def _results(self, side: SideName) -> Results:
        return Results(
            dict(self.machine),
            {},
            self.sides[side].commit,
            0,
            self.workshop.environment(side).python,
            ENVIRONMENT,
            {},
        )

    def _save(self, side: SideName, results: Results, folder: Path) -> None:
        """Store as asv does, with a side record of what was imported."""
        (folder / self.machine["machine"]).mkdir(parents=True)
        results.save(str(folder))
        (path,) = sources.result_paths(folder)
        if self.imported[side]:  # else every process failed or skipped, and there is no number
            kind = self.sides[side].declared.measured.kind
            sources.write_record(path, self.sides[side].commit, self.imported[side].values(), kind)


def discover(workshop: Workshop, side: SideName, suites: Path) -> list[dict[str, Any]]:
    """Descriptions of the benchmarks in ``suites``, which a side's environment imports.

    Raises ``UserError`` if it can't import them, or finds none.
    """
    called = workshop.called(side)
    complaint = f"the suites of {called} can't be imported"
    with asv_library.at_work(workshop.project, complaint):
        found = asv_library.discover(environment_of(workshop, side, {}), suites)
    if not found:
        raise UserError(f"the suites of {called} must have benchmarks, and asv found none")
    return found


def environment_of(
    workshop: Workshop,
    side: SideName,
    variables: Mapping[str, str],
) -> Any:  # noqa: ANN401 - asv has no types
    """A side's environment, with more variables for its processes."""
    found = copy.copy(workshop.environment(side))
    more = {("nobuild", name): value for name, value in variables.items()}
    found._tagged_env_vars = {**found._tagged_env_vars, **more}
    return found


def _in_turn(number: int) -> tuple[SideName, SideName]:
    """Both sides, the base first where the number is odd."""
    return SIDES if number % 2 else (SIDES[1], SIDES[0])


def _is_skipped(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _reason(found: Any) -> str:  # noqa: ANN401 - asv has no types
    """Why a benchmark failed, in one line: what it printed may come after what it raised."""
    if found.errcode == util.TIMEOUT_RETCODE:
        return "it ran out of time"
    if found.errcode < 0:
        return f"it was killed by signal {-found.errcode}"
    lines: list[str] = [line.strip() for line in found.stderr.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("asv: setup_cache failed")]
    raised: list[str] = [line for line in lines if asv_library.RAISED.match(line)]
    return (raised or lines or [f"it ended with exit code {found.errcode}"])[-1]
