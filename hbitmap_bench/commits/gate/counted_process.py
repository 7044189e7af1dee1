"""The process whose instructions are counted: it calls benchmarks in their own environment.

``python counted_process.py ORDER`` reads a file of JSON: the folder of the ``suites``, ``tasks``,
which are calls by asv's id of the cell, and a limit in seconds of CPU. It appends a line of JSON a
task to the file ``told``. With 0 calls it finds out what a call costs. Each task has a process of
its own, forked once the suites are imported, as asv does it. It needs asv_runner and the standard
library.
"""

from __future__ import annotations

import ctypes
import gc
import json
import mmap
import os
import pickle
import re
import resource
import signal
import sys
import time
import timeit
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from asv_runner._aux import update_sys_path
from asv_runner.benchmarks.timeraw import TimerawBenchmark
from asv_runner.discovery import get_benchmark_from_name

RUNNING_ON_VALGRIND = 0x1001
DUMP = ord("C") << 24 | ord("T") << 16
START = DUMP | 4
"""Requests to valgrind and callgrind, numbered as in ``valgrind.h`` and ``callgrind.h``."""

REQUEST = bytes.fromhex(
    "4889f8"  # mov rax, rdi: the request and its five arguments
    "31d2"  # xor edx, edx: the answer where nobody listens
    "48c1c703 48c1c70d 48c1c73d 48c1c733"  # rotations of rdi that undo each other, and then
    "4887db"  # xchg rbx, rbx: what valgrind takes for a request
    "4889d0 c3"  # mov rax, rdx; ret
)
"""x86-64: the sequence that valgrind's manual documents for client requests."""

OUTPUT = 1

WALL_LIMIT = 20
"""Seconds for a second of the CPU limit: for benchmarks that wait forever."""


class Callgrind:
    """Speaks to callgrind, if the process runs under it."""

    def __init__(self) -> None:
        every = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        self._page = mmap.mmap(-1, mmap.PAGESIZE, prot=every)
        self._page.write(REQUEST)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
        self._call = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(address)
        self._arguments = (ctypes.c_uint64 * 6)()
        self.mark = self._mark()

    def start(self) -> None:
        """Count from here on; before, code runs several times faster."""
        self.marks(START)
        self.mark()
        self.marks(DUMP)

    def marks(self, request: int) -> None:
        """Let each mark be that request."""
        self._arguments[0] = request

    def _mark(self) -> Callable[[], float]:
        """A timer for ``timeit``: it tells no time, and requests."""
        call, where = self._call, ctypes.addressof(self._arguments)

        def mark() -> float:
            call(where)
            return 0.0

        return mark


def count(benchmark: Any, calls: int) -> dict[str, object]:  # noqa: ANN401 - asv has no types
    """Have callgrind write its counts before and after no call at all, and so many calls.

    What is counted is what asv times: warm calls after a fresh ``setup``, which is not counted, and
    without the collector of cyclic garbage, which ``timeit`` turns off.
    """
    callgrind = Callgrind()
    timer = timeit.Timer(_call(benchmark), timer=callgrind.mark)
    callgrind.marks(RUNNING_ON_VALGRIND)
    timer.timeit(calls)
    _set_up_again(benchmark)
    gc.collect()
    callgrind.start()
    timer.timeit(0)
    timer.timeit(calls)
    return {"pid": os.getpid()}


def cost(benchmark: Any) -> dict[str, object]:  # noqa: ANN401 - asv has no types
    """Seconds of ``setup`` and of a warm call, the share that it waits, and whether calls repeat.

    A call repeats if asv would make several without ``setup`` between them.
    """
    timer = timeit.Timer(_call(benchmark))
    timer.timeit(1)
    setup_s = -time.process_time()
    _set_up_again(benchmark)
    setup_s += time.process_time()
    before = _clocks()
    timer.timeit(1)
    wall, cpu, queued, waits = (now - then for now, then in zip(_clocks(), before, strict=True))
    asleep = max(0.0, wall - cpu - queued)
    return {
        "call_s": cpu,
        "setup_s": setup_s,
        "waits": asleep / (asleep + cpu) if waits else 0.0,
        "repeats": not benchmark._setups and benchmark.number != 1,
    }


def _clocks() -> tuple[float, ...]:
    """Seconds that passed, on a core, and ready for one; and how often the process has waited.

    One that never does has all its time for itself, also where a machine takes cores away.
    """
    waits = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    return time.perf_counter(), time.process_time(), _queued_s(), waits


def _call(benchmark: Any) -> Callable[[], object]:  # noqa: ANN401 - asv has no types
    """What is timed."""
    params, function = benchmark._build_params(), benchmark.func
    return (lambda: function(*params)) if params else function


def _set_up_again(benchmark: Any) -> None:  # noqa: ANN401 - asv has no types
    benchmark.do_teardown()
    benchmark.do_setup()


def _queued_s() -> float:
    """Seconds that this process has been ready to run and had no core."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):  # this kernel does not tell
        return 0.0


def run(order: dict[str, Any], name: str, calls: int) -> dict[str, object]:
    """Call one cell's benchmark, in a process of its own; what there is to tell."""
    benchmark = get_benchmark_from_name(order["suites"], name)
    if isinstance(benchmark, TimerawBenchmark):
        return {"failed": "it runs in a process of its own"}
    benchmark.set_cache(_cache(order, benchmark))
    if benchmark.do_setup():
        return {"failed": "its setup skips it"}
    return count(benchmark, calls) if calls else cost(benchmark)


def _cache(order: dict[str, Any], benchmark: Any) -> object:  # noqa: ANN401 - asv has no types
    """What ``setup_cache`` gives, made once a side, in a folder of its own as asv does it."""
    if benchmark.setup_cache_key is None:
        return None
    folder = Path(order["caches"], re.sub(r"\W", "_", benchmark.setup_cache_key))
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    kept = Path("cache.pickle")
    if not kept.exists():
        kept.write_bytes(pickle.dumps(benchmark.do_setup_cache()))
    return pickle.loads(kept.read_bytes())


def main(path: str) -> None:
    """All tasks of an order, one after the other. Standard output is a file for what they print."""
    order = json.loads(Path(path).read_text())
    told = os.open(order["told"], os.O_WRONLY | os.O_APPEND)
    update_sys_path(order["suites"])
    for name in order["tasks"]:
        with suppress(Exception):  # a task tells by itself
            get_benchmark_from_name(order["suites"], name)
    for name, calls in order["tasks"].items():
        os.ftruncate(OUTPUT, 0)
        os.lseek(OUTPUT, 0, os.SEEK_SET)
        child = os.fork()
        if not child:
            _child(order, name, calls, told)
        _, status = os.waitpid(child, 0)
        if status:
            _tell(told, {"failed": _reason(status)})


def _child(order: dict[str, Any], name: str, calls: int, told: int) -> None:
    """Never returns."""
    status = 1
    try:
        limit = int(order["limit_s"])
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))  # at first it can tell
        signal.alarm(WALL_LIMIT * limit)
        _tell(told, run(order, name, calls))
        status = 0
    except BaseException:  # noqa: BLE001 - whatever a benchmark raises, the parent reads it
        sys.stdout.flush()  # its last line is the reason
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _tell(told: int, what: dict[str, object]) -> None:
    os.write(told, (json.dumps(what) + "\n").encode())


def _reason(status: int) -> str:
    """Why a task failed, in one line."""
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGALRM):
            return "it ran out of time"
        return f"it was killed by signal {os.WTERMSIG(status)}"
    text = os.pread(OUTPUT, os.fstat(OUTPUT).st_size, 0).decode(errors="replace")
    said = [line.strip() for line in text.splitlines() if line.strip()]
    return said[-1] if said else "it failed without a word"


if __name__ == "__main__":
    main(sys.argv[1])
