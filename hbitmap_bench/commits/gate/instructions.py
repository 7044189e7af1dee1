"""Instructions of a call of each timed cell, counted by callgrind.

They hardly depend on what else the machine does, and show what no clock on a shared machine can.
They do not tell of caches, waiting, system calls or other processes, so they stand beside the
times. The CPU that callgrind shows to programs may lack the newest vector instructions.

The base is counted twice: threads, clocks, I/O and randomness make the two counts differ.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any, Final

from hbitmap_bench.base.children import running
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.gate.environments import SIDES, SideName, Workshop
from hbitmap_bench.commits.gate.suites import Cell, Plan, place_of

PROCESSES: Final[Mapping[str, SideName]] = {"base": "base", "also": "base", "head": "head"}
"""What is counted, side by side. The names are of one length, since paths lie in memory."""

SCRIPT: Final = "counted_process.py"

CALLGRIND: Final = (
    "valgrind", "--tool=callgrind", "--command-line-only=yes", "--vgdb=no", "--fair-sched=try",
    "--instr-atstart=no", "--callgrind-out-file=%p", "--log-file=valgrind.log",
)  # fmt: skip

PINNED: Final = {
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",  # a module that is compiled here is compiled on either side
    **{
        f"{library}_NUM_THREADS": "1"
        for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR", "NUMBA", "RAYON")
    },
}

SHORT_S: Final = 1e-3
LEAST_CALL_S: Final = 1e-6
"""Calls shorter than ``SHORT_S`` are counted in numbers that together take as long, where they may;
none is taken for shorter than ``LEAST_CALL_S``."""

SLOWDOWN: Final = 60
SETUP_SLOWDOWN: Final = 12
"""Of code that callgrind counts, and of code that runs in valgrind before; as measured."""

CELL_LIMIT_S: Final = 30.0
"""Of CPU, for a cell of a side: some half a second of calls."""

BUDGET_S: Final = 100.0
"""Of CPU, for all cells of a side, where nobody has asked for instructions."""

MOST_WAITING: Final = 0.5
"""Of a call's time: beyond, instructions are not what it takes its time for."""

POLL_S: Final = 0.1

Told = Mapping[str, Any]
"""What a process tells of a cell; ``failed`` is why there is nothing else."""


@dataclass(frozen=True)
class Interpreter:
    """What a side, which is ``called`` so, is counted in; ``variables`` are asv's matrix's."""

    called: str
    path: Path
    variables: Mapping[str, str]


def interpreters(workshop: Workshop) -> dict[SideName, Interpreter]:
    """Those of both sides."""
    return {
        side: Interpreter(
            workshop.called(side), workshop.python(side), workshop.environment(side).env_vars
        )
        for side in SIDES
    }


@dataclass(frozen=True)
class Counts:
    """Instructions a call, by cell: of the base, of the base once more, of the head.

    ``left_out`` are the cells that were not counted, and why.
    """

    counted: Mapping[Cell, tuple[float, float, float]]
    left_out: Mapping[Cell, str]


def missing() -> str | None:
    """What instructions can't be counted here for; None if nothing."""
    if shutil.which("valgrind") is None:
        return "valgrind is not on PATH: apt install valgrind"
    if platform.machine() != "x86_64":
        return f"they are counted on x86_64, and this is {platform.machine()}"
    return None


def require() -> None:
    """Raise ``UserError`` where instructions can't be counted."""
    if reason := missing():
        raise UserError(f"--instructions needs valgrind on x86_64, and {reason}")


def timed(plan: Plan) -> dict[Cell, str]:
    """Cells of a plan that can be counted, and asv's ids of them."""
    described = {found["name"]: found for found in plan.described}
    return {
        cell: f"{cell.benchmark}-{place_of(described[cell.benchmark], cell)}"
        for cell in plan.cells
        if plan.benchmarks[cell.benchmark].kind == "time"
    }


def count(
    interpreters: Mapping[SideName, Interpreter],
    suites: Path,
    cells: Mapping[Cell, str],
    folder: Path,
    budget_s: float,
    progress: Callable[[int, int], object],
) -> Counts:
    """Count cells, which are given with asv's ids, in ``folder``, which is new.

    ``progress`` is told how many of how many are done. Costs some 60 times a call and 24 times its
    setup, thrice. Raises ``UserError`` where an interpreter does not run, ``KeyboardInterrupt``.
    """
    folder.mkdir()
    shutil.copy(Path(__file__).with_name(SCRIPT), folder)  # else modules here hide others' modules
    processes = _Processes(interpreters, suites, folder)
    costs = processes.run(SIDES, (), dict.fromkeys(cells.values(), 0), lambda _: None)
    left_out, calls = _plan(dict(zip(cells, costs, strict=True)), budget_s, processes.failure)
    tasks = {cells[cell]: n for cell, n in calls.items()}
    n_counts = len(tasks) * len(PROCESSES)
    told = processes.run(PROCESSES, CALLGRIND, tasks, lambda done: progress(done, n_counts))
    counted = {}
    for (cell, n), found in zip(calls.items(), told, strict=True):
        if reason := processes.failure(found):
            left_out[cell] = reason
        else:
            base, also, head = (_counted(folder / one, found[one]["pid"], n) for one in PROCESSES)
            counted[cell] = base, also, head
    return Counts(counted, left_out)


@dataclass(frozen=True)
class _Processes:
    """Processes that call benchmarks, each in a folder of its name."""

    interpreters: Mapping[SideName, Interpreter]
    suites: Path
    folder: Path

    def run(
        self,
        names: Collection[str],
        under: Sequence[str],
        tasks: Mapping[str, int],
        progress: Callable[[int], object],
    ) -> list[dict[str, Told]]:
        """Start them all and wait; what each tells of each task, which is calls by asv's id."""
        if not tasks:
            return []
        with ExitStack() as stack:
            started = [stack.enter_context(self._started(name, under, tasks)) for name in names]
            while any(process.poll() is None for process in started):
                progress(sum(len(self._told(name)) for name in names))
                sleep(POLL_S)
        told = {name: self._told(name) for name in names}
        for name, lines in told.items():
            if len(lines) != len(tasks):
                raise UserError(
                    f"suites must run in the environment of {self._called(name)}"
                    f"{' under callgrind' if under else ''}, and don't: {self._last_words(name)}"
                )
        return [dict(zip(told, lines, strict=True)) for lines in zip(*told.values(), strict=True)]

    @contextmanager
    def _started(
        self, name: str, under: Sequence[str], tasks: Mapping[str, int]
    ) -> Iterator[subprocess.Popen[bytes]]:
        side, place = PROCESSES[name], self.folder / name
        place.mkdir(exist_ok=True)
        order = {
            "suites": str(self.suites),
            "caches": str(self.folder / f"{side}-caches"),
            "told": str(place / "told"),
            "limit_s": 2 * CELL_LIMIT_S,
            "tasks": tasks,
        }
        (place / "order").write_text(json.dumps(order), encoding="utf-8")
        (place / "told").write_text("")
        command: list[str | Path] = [
            *under,
            self.interpreters[side].path,
            self.folder / SCRIPT,
            place / "order",
        ]
        variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | PINNED
        variables |= self.interpreters[side].variables  # last: they may be what is compared
        with (
            (place / "output").open("w+b") as output,
            running(command, stdout=output, stderr=output, cwd=place, env=variables) as process,
        ):
            yield process

    def failure(self, told: Mapping[str, Told]) -> str | None:
        """Why a process has no number of a cell."""
        for name, one in told.items():
            if "failed" in one:
                return f"on {self._called(name)}, {one['failed']}"
        return None

    def _called(self, name: str) -> str:
        return self.interpreters[PROCESSES[name]].called

    def _told(self, name: str) -> list[Told]:
        """Line by line; the last one may be half written."""
        text = (self.folder / name / "told").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def _last_words(self, name: str) -> str:
        logs = [self.folder / name / log for log in ("valgrind.log", "output")]
        text = "\n".join(log.read_text(errors="replace") for log in logs if log.exists())
        return ([line.strip() for line in text.splitlines() if line.strip()] or ["no word"])[-1]


def _plan(
    costs: Mapping[Cell, Mapping[str, Told]],
    budget_s: float,
    failure: Callable[[Mapping[str, Told]], str | None],
) -> tuple[dict[Cell, str], dict[Cell, int]]:
    """Cells that are left out, and why; of the others how many calls are counted."""
    left_out: dict[Cell, str] = {}
    calls: dict[Cell, int] = {}
    seconds: dict[Cell, float] = {}
    for cell, told in costs.items():
        if reason := failure(told) or _futile(told["base"]):
            left_out[cell] = reason
            continue
        calls[cell] = n = _calls(told["base"])
        seconds[cell] = sum(
            SLOWDOWN * n * one["call_s"] + SETUP_SLOWDOWN * 2 * one["setup_s"]
            for one in told.values()
        ) / len(told)  # fmt: skip
        if seconds[cell] > CELL_LIMIT_S:
            left_out[cell] = (
                f"it would take {seconds[cell]:.0f} s, and the limit is {CELL_LIMIT_S:.0f} s"
            )
    for cell in sorted(calls.keys() - left_out, key=seconds.__getitem__):
        budget_s -= seconds[cell]
        if budget_s < 0:
            left_out[cell] = "the budget is spent on shorter cells: ask by --instructions"
    return left_out, {cell: n for cell, n in calls.items() if cell not in left_out}


def _futile(cost: Told) -> str | None:
    if cost["waits"] > MOST_WAITING:
        return f"it waits for {cost['waits']:.0%} of its time"
    return None


def _calls(cost: Told) -> int:
    """A power of two, so that it hardly depends on how long a call takes today."""
    if not cost["repeats"]:
        return 1
    call_s = max(cost["call_s"], LEAST_CALL_S)
    return 1 << max(math.ceil(math.log2(SHORT_S / call_s)), 0)


def _counted(folder: Path, pid: int, calls: int) -> float:
    """Instructions of a call: some calls less none, as callgrind wrote them at each mark."""
    none, some = (_total(folder / f"{pid}.{part}") for part in (2, 4))
    return (some - none) / calls


def _total(path: Path) -> int:
    found = re.search(r"^totals: (\d+)$", path.read_text(errors="replace"), re.MULTILINE)
    if found is None:
        raise UserError(f"callgrind must write its totals into {path}, and has not: measure again")
    return int(found[1])
