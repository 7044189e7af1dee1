"""Is the core as fast as QEMU's own C? Op by op, in one interleaved run against a built QEMU.

Run it with the folder of a QEMU build, and see it written to ``reports/kernels.md`` and ``.json``::

    tox -e kernels -- BUILD

The core's source is compiled with loops behind it that call it from C, as the driver's loops call
QEMU's functions: what is compared is neither Python nor a process. What a call from Python takes
stands beside it. In each round both sides do the same work on the same bits, one after the other,
first one, then the other; the ratio is the median over rounds of CPU time, with its 95% interval.
A row beside which other processes worked is disturbed: it is measured again, and if it stays so, no
aim is judged by it. The exit code is 1 when an aim is missed.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import statistics
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Final, Protocol

import click
import numpy as np
from numpy.typing import NDArray

from hbitmap_bench.base import scratch
from hbitmap_bench.base.consoles import table_console
from hbitmap_bench.base.drawing import Table, show, to_markdown
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.host import commit_of_sources, host_facts
from hbitmap_bench.base.medians import median_interval
from hbitmap_bench.base.output import check_folder, write_atomic
from hbitmap_bench.base.program import run_to_exit
from hbitmap_bench.checks.core_build import compile_module
from hbitmap_bench.qemu.account import process_totals
from hbitmap_bench.qemu.driver import Driver, Words, started, two_bitmaps
from hbitmap_bench.qemu.driver_build import compile_driver

N: Final = 167_772_160
"""Bits of a 10 TiB disk at 64 KiB clusters, as in ``checks/speed.py``."""

STEP: Final = 512
"""Bits that a query asks for: what qcow2 answers at once."""

WARM_ROUNDS: Final = 1
FAITHFUL: Final = (0.95, 1.05)
"""The aim of the scan of a full bitmap: it must cost what QEMU's costs."""

AT_MOST: Final = 1.0
"""The aim of all else: no slower than QEMU's."""

MAX_OTHERS: Final = 0.1
"""Cores that other processes may use beside a row; the two sides together use one."""

ATTEMPTS: Final = 3
"""How often a disturbed row is measured at most."""

DENSITIES: Final = ("0", "0.5", "1", "last bit")
"""What slot 1 holds; 0.5 is random."""


@dataclass(frozen=True, slots=True)
class Row:
    """Work to compare: ``n`` calls of an operation, each ``step`` items on, after ``renew``."""

    name: str
    density: str
    n: int
    step: int
    work: Words
    renew: tuple[Words, ...] = ()
    aim: tuple[float, float] = (0.0, AT_MOST)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row's ratios, ours over QEMU's, and the ns of a call: ours, QEMU's, ours from Python.

    ``others_cores`` is how many cores other processes, or a hypervisor, used meanwhile.
    """

    name: str
    density: str
    calls: int
    aim: tuple[float, float]
    ratios: tuple[float, ...]
    ours_ns: float
    theirs_ns: float
    python_ns: float | None
    others_cores: float

    @property
    def ratio(self) -> float:
        """The median."""
        return statistics.median(self.ratios)

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the median."""
        found = median_interval(self.ratios)
        assert found, "there are rounds enough"
        return found

    @property
    def verdict(self) -> str:
        """Of the aim, which is missed where the whole interval lies outside of it."""
        low, high = self.interval
        if self.others_cores > MAX_OTHERS:
            return "disturbed"
        return "kept" if low <= self.aim[1] and high >= self.aim[0] else "MISSED"


class Side(Protocol):
    """Whoever holds bitmaps in slots and does the driver's commands."""

    def ask(self, *words: str | int) -> Any:  # noqa: ANN401
        """Do a command once."""

    def cpu_ns(self, n: int, step: int, *words: str | int) -> int:
        """CPU time of n calls of an operation."""


# ---------------------------------------------------------------- our side


def build_core(sources: Path, folder: Path) -> Any:  # noqa: ANN401
    """Compile the core of a checkout with the loops behind it, as ``setup.py`` does; the module."""
    parts = ("hbitmap_impl/hbitmap.pyx", "hbitmap_bench/checks/core_loops.pxi")
    text = "".join((sources / part).read_text() for part in parts)
    (folder / "core_with_loops.pyx").write_text(text)
    shutil.copy(sources / "hbitmap_impl/hbitmap.pxd", folder / "core_with_loops.pxd")
    compile_module(folder, "core_with_loops")
    sys.path.insert(0, str(folder))
    return importlib.import_module("core_with_loops")


def random_words(n: int) -> NDArray[np.uint64]:
    """The first outputs of the generator SplitMix64 from seed 0, as the driver's ``shuffle``."""
    z = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class Core:
    """Our core, doing the driver's commands; ``module`` is what ``build_core`` gave."""

    def __init__(self, module: Any) -> None:  # noqa: ANN401
        self._module = module
        self._slots: dict[int, Any] = {}

    def ask(self, *words: str | int) -> object:
        """Do a command once; not all of them give what the driver's give."""
        name, slot, *rest = words
        if name == "new":
            self._slots[int(slot)] = self._module.HBitmap(*rest)
            return None
        bitmap = self._slots[int(slot)]
        if name == "shuffle":
            (size,) = rest
            return bitmap.deserialize_part(random_words(int(size) // 64), 0, size, finish=True)
        if name == "count":
            return [bitmap.count]
        return getattr(bitmap, str(name))(*self._arguments(str(name), rest))

    def cpu_ns(self, n: int, step: int, *words: str | int) -> int:
        """CPU time of n calls from C."""
        name, slot, *rest = words
        loop = getattr(self._module, f"loop_{name}")
        bitmap, arguments = self._slots[int(slot)], self._arguments(str(name), rest)
        return _timed(lambda: loop(bitmap, n, step, *arguments))

    def python_ns(self, n: int, step: int, *words: str | int) -> int:
        """CPU time of n calls from Python."""
        name, slot, *rest = words
        method = getattr(self._slots[int(slot)], str(name))
        moving = 2 if name == "next_dirty_area" else 1
        columns = [_moved(int(start), n, step) for start in rest[:moving]]
        calls = map(method, *columns, *map(repeat, rest[moving:]))
        return _timed(lambda: deque(calls, maxlen=0))

    def _arguments(self, name: str, words: Sequence[str | int]) -> list[Any]:
        return [self._slots[int(word)] for word in words] if name == "merge" else list(words)


def _moved(start: int, n: int, step: int) -> Iterable[int]:
    return range(start, start + n * step, step)


def _timed(work: Callable[[], object]) -> int:
    start_ns = time.thread_time_ns()
    work()
    return time.thread_time_ns() - start_ns


# ---------------------------------------------------------------- the work


def rows(density: str, bits: int) -> Iterator[Row]:
    """All work on bitmaps of one density."""
    yield from _searches(density, bits)
    if density != "last bit":
        yield from _updates(density, bits)


def _searches(density: str, bits: int) -> Iterator[Row]:
    if density == "1":
        whole: Words = ("next_zero", 1, 0, bits)
        yield Row("next_zero, the whole", density, 50, 0, whole, aim=FAITHFUL)
    for name in ("next_zero", "next_dirty", "next_dirty_area", "status"):
        work = (name, 1, 0, STEP, STEP) if name == "next_dirty_area" else (name, 1, 0, STEP)
        yield Row(f"{name}, 512 bits", density, bits // STEP, STEP, work)
    if density in ("0.5", "1"):
        yield Row("iteration, the whole", density, 1, 0, ("iterate", 1, 0, bits))


def _updates(density: str, bits: int) -> Iterator[Row]:
    """Each on slot 0, which is made like slot 1 before."""
    like_1: tuple[Words, ...] = (("truncate", 0, bits), ("reset_all", 0), ("merge", 0, 1))
    for name in ("set", "reset"):
        yield Row(f"{name}, nearly all bits", density, 1, 0, (name, 0, 1, bits - 2), like_1)
        yield Row(f"{name}, every 512th bit", density, bits // STEP, STEP, (name, 0, 0, 1), like_1)
    merges = 1 if density != "0" else 100_000  # of nothing: so short that clocks would be measured
    yield Row("merge", density, merges, 0, ("merge", 0, 1), like_1)
    for word, step in (("more", 64), ("fewer", -64)):
        work = ("truncate", 0, bits + step)
        truncates = min(10_000, bits // 128)
        yield Row(f"truncate, 64 bits {word}", density, truncates, step, work, like_1)


def fill(sides: Sequence[Side], density: str, bits: int) -> None:
    """Make slots 0 and 1 anew, and give slot 1 bits of a density."""
    for side in sides:
        for words in two_bitmaps(density, bits):
            side.ask(*words)


def measure(core: Core, theirs: Driver, row: Row, rounds: int) -> Outcome:
    """Both sides in turn, again while it is disturbed; the least disturbed attempt."""
    outcomes: list[Outcome] = []
    while len(outcomes) < ATTEMPTS and all(one.verdict == "disturbed" for one in outcomes):
        outcomes.append(_measure(core, theirs, row, rounds))
    _require_same(core, theirs, row)
    return min(outcomes, key=lambda one: one.others_cores)


def _measure(core: Core, theirs: Driver, row: Row, rounds: int) -> Outcome:
    """The first round is for the caches and not kept."""
    pairs = []
    start_s, others_s = time.perf_counter(), _others_s(theirs.pid)
    for number in range(WARM_ROUNDS + rounds):
        sides: list[Side] = [core, theirs]
        spent = {side: _once(side, row) for side in sides[:: 1 if number % 2 else -1]}
        pairs.append((spent[core], spent[theirs]))
    others_cores = (_others_s(theirs.pid) - others_s) / (time.perf_counter() - start_s)
    pairs = pairs[WARM_ROUNDS:]
    ours_ns, theirs_ns = (statistics.median(column) / row.n for column in zip(*pairs, strict=True))
    ratios = tuple(ours / other for ours, other in pairs)
    from_python = _from_python(core, row) if row.step == STEP else None
    return Outcome(
        row.name, row.density, row.n, row.aim, ratios, ours_ns, theirs_ns, from_python, others_cores
    )


def _others_s(pid: int) -> float:
    """Seconds of the host's cores that neither this process nor the other one has had."""
    ticks = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
    user, nice, system, _idle, _iowait, irq, softirq, steal = ticks
    busy_s = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return busy_s - process_totals(pid).cpu_s - time.process_time()


def _once(side: Side, row: Row) -> int:
    for words in row.renew:
        side.ask(*words)
    return side.cpu_ns(row.n, row.step, *row.work)


def _from_python(core: Core, row: Row) -> float:
    for words in row.renew:
        core.ask(*words)
    return core.python_ns(row.n, row.step, *row.work) / row.n


def _require_same(core: Core, theirs: Side, row: Row) -> None:
    slot = row.work[1]
    if core.ask("count", slot) != theirs.ask("count", slot):
        raise UserError(f"{row.name!r} must do the same on both sides, and does not: a fault")


# ---------------------------------------------------------------- the report


@dataclass(frozen=True, slots=True)
class Kernels:
    """All outcomes, what was compared, and where."""

    qemu: str
    missing: Mapping[str, str]
    compilers: Mapping[str, str]
    commit: str | None
    host: Mapping[str, str | int | None]
    bits: int
    outcomes: tuple[Outcome, ...]


def table(kernels: Kernels) -> Table:
    """A line an outcome."""
    return Table(
        f"Our core over the C of QEMU {kernels.qemu}, CPU time (measured)",
        ("operation", "density", "ours / QEMU", "95% interval", "aim", "", "ours, a call",
         "QEMU, a call", "ours from Python", "others' cores"),
        tuple(map(_cells, kernels.outcomes)),
        n_labels=2,
        grouped=False,
    )  # fmt: skip


def _cells(outcome: Outcome) -> tuple[str, ...]:
    low, high = outcome.interval
    least, most = outcome.aim
    return (
        outcome.name,
        outcome.density,
        f"{outcome.ratio:.3f}",
        f"{low:.3f}..{high:.3f}",
        f"{least:.2f}..{most:.2f}" if least else f"<= {most:.2f}",
        outcome.verdict,
        _time(outcome.ours_ns),
        _time(outcome.theirs_ns),
        "" if outcome.python_ns is None else _time(outcome.python_ns),
        f"{outcome.others_cores:.2f}",
    )


def _time(ns: float) -> str:
    return f"{ns / 1e6:,.3f} ms" if ns >= 1e5 else f"{ns:,.1f} ns"


def page(kernels: Kernels) -> str:
    """``kernels.md``: what was done, the table, and what was left out."""
    verdicts = Counter(one.verdict for one in kernels.outcomes)
    rounds = len(kernels.outcomes[0].ratios)
    built = "\n".join(f"- {who}: {how}" for who, how in kernels.compilers.items())
    host = kernels.host
    lacking = "".join(f"\n- {name} is missing: {why}" for name, why in kernels.missing.items())
    return f"""\
# Our core over QEMU's C

Made by `tox -e kernels -- BUILD`. All numbers are measured, in {rounds} interleaved rounds of one
run: in each, both sides do the same calls from C on the same {kernels.bits:,} bits, one after the
other. The ratio is the median of CPU time, ours over QEMU's. A time *from Python* is that of the
same calls through the package. An aim is missed where the whole interval lies outside of it. A row
is *disturbed* where other processes used more than {MAX_OTHERS} cores meanwhile, at each of
{ATTEMPTS} attempts: its ratio is shown, and no aim is judged by it.

Aims kept: {verdicts["kept"]} of {verdicts.total()}. Missed: {verdicts["MISSED"]}. Not judged, since
their rows are disturbed: {verdicts["disturbed"]}.

{to_markdown(table(kernels))}

{built}
- commit {kernels.commit}; {host["cpu_model"]}, {host["cores"]} cores, {host["os"]}{lacking}
"""


def as_json(kernels: Kernels) -> str:
    """``kernels.json``: everything, with ratios round by round."""
    return json.dumps({"source": "measured", **asdict(kernels)}, indent=1) + "\n"


def compare(
    sources: Path, build: Path, rounds: int, say: Callable[[str], object], bits: int = N
) -> Kernels:
    """Compile both sides, and measure all rows on bitmaps of so many bits, a multiple of 512."""
    with scratch.folder() as folder:
        made = compile_driver(sources / "qemu_benchmarks" / "driver", build, folder / "driver")
        core = Core(build_core(sources, folder))
        outcomes = []
        with started(made.program) as theirs:
            for density in DENSITIES:
                fill([core, theirs], density, bits)
                for row in rows(density, bits):
                    say(f"{row.name}, density {density}")
                    outcomes.append(measure(core, theirs, row, rounds))
            (version,) = theirs.ask("version")
    host = host_facts()
    compilers = {"ours": f"{host['compiler']} -O3", "QEMU's": made.compiler}
    return Kernels(
        version, made.missing, compilers, commit_of_sources(), host, bits, tuple(outcomes)
    )


@click.command()
@click.argument("build", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--sources", default=Path(), type=click.Path(path_type=Path), help="Of the core.")
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(6))
@click.option("--out", default=Path("reports"), show_default=True, type=click.Path(path_type=Path))
def main(build: Path, sources: Path, rounds: int, out: Path) -> int:
    """Print the table and write the report; 1 if an aim is missed."""
    check_folder(out)
    console = table_console()
    kernels = compare(sources, build, rounds, lambda words: click.echo(words, err=True))
    out.mkdir(parents=True, exist_ok=True)
    for name, text in (("kernels.md", page(kernels)), ("kernels.json", as_json(kernels))):
        write_atomic(out / name, text.encode())
    show(console, table(kernels))
    return int(any(one.verdict == "MISSED" for one in kernels.outcomes))


if __name__ == "__main__":
    run_to_exit(main)
