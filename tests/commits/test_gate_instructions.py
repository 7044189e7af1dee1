"""Instructions of benchmarks of all kinds, by a real callgrind and asv's own discovery."""

import sys
import sysconfig
import venv
from math import inf
from pathlib import Path

import pytest

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.gate import instructions
from hbitmap_bench.commits.gate.suites import Cell

pytestmark = pytest.mark.timeout(900)  # on a busy machine they take their time

TOY = """
def total(numbers):
    found = 0
    for number in numbers:
        found += number
    return found
"""
DEARER = TOY.replace(
    "    return", "    for number in numbers[::32]:\n        found -= number\n    return"
)
"""By one in 32."""

SUITE = """
import math, os, random, threading, time
from toy import total


class Work:
    params = [1000, 4000]

    def setup(self, n):
        self.numbers = list(range(n))

    def time_total(self, n):
        total(self.numbers)
        self.numbers = None  # as if it were used up: each call needs a fresh one

    def time_other(self, n):
        sum(self.numbers)


class Cached:
    def setup_cache(self):
        return list(range(3000))

    def time_cached(self, numbers):
        sorted(numbers)


def time_short():
    print("what a benchmark prints", len("short"))


def time_variable():
    sum(range(int(os.environ["TOY_N"])))


def time_random():
    for _ in range(int(math.exp(random.SystemRandom().uniform(3, 12)))):
        pass


time_random.number = 1


def spin(seconds):
    started = time.perf_counter()
    while time.perf_counter() < started + seconds:
        pass


class Threads:
    def time_threads(self):
        spinning = threading.Thread(target=spin, args=(0.01,))
        spinning.start()
        spinning.join()


def time_waiting():
    time.sleep(0.02)


def time_failing():
    raise RuntimeError("it fails, as it should")


def time_long():
    started = time.process_time()
    while time.process_time() < started + 1:
        pass


def timeraw_apart():
    return "1 + 1"
"""

CELLS = {
    Cell(f"suite.{name}", params): f"suite.{name}-{place}"
    for name, cells in {
        "Work.time_total": [(1000,), (4000,)],
        "Work.time_other": [(1000,), (4000,)],
        "Cached.time_cached": [()],
        "time_short": [()],
        "time_variable": [()],
        "time_random": [()],
        "Threads.time_threads": [()],
        "time_waiting": [()],
        "time_failing": [()],
        "time_long": [()],
        "timeraw_apart": [()],
    }.items()
    for place, params in enumerate(cells)
}


def environment(folder: Path, toy: str) -> Path:
    """The interpreter of one that has this one's packages, and a toy of its own."""
    venv.create(folder)
    python = folder / "bin" / "python"
    version = f"python{sysconfig.get_python_version()}"
    packages = folder / "lib" / version / "site-packages"
    (packages / "toy.py").write_text(toy)
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib"))
    return python


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("instructions")
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "__init__.py").touch()
    (folder / "benchmarks" / "suite.py").write_text(SUITE)
    interpreters = {
        side: instructions.Interpreter(f"the {side}", environment(folder / name, toy), {"TOY_N": n})
        for side, name, toy, n in (("base", "one", TOY, "2000"), ("head", "two", DEARER, "4000"))
    }
    heard = []
    found = instructions.count(
        interpreters, folder / "benchmarks", CELLS, folder / "counts", inf,
        lambda done, total: heard.append((done, total)),
    )  # fmt: skip
    assert heard[0] == (0, 3 * len(found.counted))
    return found


def counted(counts, name, *params):
    return counts.counted[Cell(f"suite.{name}", params)]


@pytest.mark.parametrize("n", [1000, 4000])
def test_what_repeats_is_counted_and_a_dearer_head_is_seen(counts, n):
    base, also, head = counted(counts, "Work.time_total", n)
    assert also == pytest.approx(base, rel=1e-3)
    assert 1.02 < head / base < 1.05
    assert base > 10 * n


@pytest.mark.parametrize(
    "cell", [("Work.time_other", 1000), ("Work.time_other", 4000), ("Cached.time_cached",),
             ("time_short",)],
)  # fmt: skip
def test_what_is_the_same_on_both_sides_counts_the_same(counts, cell):
    base, also, head = counted(counts, *cell)
    assert base > 0
    assert also == pytest.approx(base, rel=1e-3)
    assert head == pytest.approx(base, rel=1e-3)


def test_a_count_is_of_a_call_alone(counts):
    assert 3.7 < counted(counts, "Work.time_other", 4000)[0] / counted(
        counts, "Work.time_other", 1000
    )[0] < 4.1  # fmt: skip


def test_variables_of_the_environment_count(counts):
    base, _, head = counted(counts, "time_variable")
    assert 1.5 < head / base < 2.1


def test_counts_that_depend_on_chance_or_on_threads_are_no_evidence(counts):
    base, also, _ = counted(counts, "time_random")
    assert abs(also / base - 1) > 1e-3
    threads = Cell("suite.Threads.time_threads", ())
    if threads not in counts.left_out:  # on a busy machine, its first thread seems to wait
        base, also, _ = counts.counted[threads]
        assert abs(also / base - 1) > 1e-3


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("time_waiting", "it waits for"),
        ("time_failing", "on the base, RuntimeError: it fails, as it should"),
        ("time_long", "it would take"),
        ("timeraw_apart", "on the base, it runs in a process of its own"),
    ],
)
def test_what_cannot_be_counted_is_told(counts, name, reason):
    assert reason in counts.left_out[Cell(f"suite.{name}", ())]


def test_the_budget_is_for_the_shortest_cells():
    costs = {
        Cell(f"time_{n}", ()): {"base": {"call_s": n, "setup_s": 0, "waits": 0, "repeats": False}}
        for n in (0.03, 0.01, 0.02)
    }
    left_out, calls = instructions._plan(costs, 2.5, lambda _: None)
    assert [cell.benchmark for cell in calls] == ["time_0.01", "time_0.02"]
    (reason,) = left_out.values()
    assert "--instructions" in reason


def test_an_environment_that_does_not_run_is_told(tmp_path):
    head = instructions.Interpreter("the head", Path(sys.executable), {})
    base = instructions.Interpreter("the base", tmp_path / "python", {})
    with pytest.raises(UserError, match="can't be run: No such file"):
        instructions.count(
            {"base": base, "head": head}, tmp_path, {Cell("a", ()): "a-0"},
            tmp_path / "counts", inf, print,
        )  # fmt: skip


def test_without_valgrind_the_remedy_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert "apt install valgrind" in instructions.missing()
    with pytest.raises(UserError, match="apt install valgrind"):
        instructions.require()
