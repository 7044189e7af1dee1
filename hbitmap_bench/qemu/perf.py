"""Which function has the time? Samples of a running process, taken by ``perf``.

The event is the kernel's own CPU clock, which needs no hardware counters and so works in virtual
machines too. A sample falls only where the process runs: shares are of CPU time, and a process that
sleeps has none.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from hbitmap_bench.base import scratch
from hbitmap_bench.base.children import kill_group, start
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.interrupt import stop_like_ctrl_c, uninterrupted
from hbitmap_bench.qemu.builds import run_tool

FREQUENCY_HZ: Final = 997
"""Samples a second of CPU time: a prime, so that nothing periodic keeps step with it."""

FIELDS: Final = "tid,event,ip,sym,dso"
"""What is asked of ``perf script``."""

_STACK_BYTES: Final = 512
"""Of the stack's top, as far as a leaf function's caller."""

_WAIT_S: Final = 20.0
_POLL_S: Final = 0.05
_PARANOID: Final = Path("/proc/sys/kernel/perf_event_paranoid")
_HOW: Final = "apt install linux-perf (Debian) or linux-tools-generic (Ubuntu)"

# 4711  cpu-clock:u:  55cf1a0de5e5 hbitmap_next_zero (/usr/bin/qemu-storage-daemon)
# With callers, the function and who called it stand on lines of their own behind the colon.
_SAMPLE: Final = re.compile(r"\s*(?P<thread>\d+)\s+cpu-clock(?P<limit>:\w+)?:(?P<leaf>.*)")
_FRAME: Final = re.compile(r"\s+[0-9a-f]+ (?P<symbol>.+) \((?P<file>.*)\)\s*")
_DENIED: Final = re.compile(r"limited|denied|not permitted|permission", re.IGNORECASE)

# What builds put behind a file's name: the interpreter's mark, versions.
_FILE_SUFFIX: Final = re.compile(
    r"(\.cpython-[\w-]+|\.abi3)(?=\.so)|(?<=\.so)\..*|\.kallsyms(?=\])"
)

# What compilers and linkers put behind a name: hot and cold parts, symbol versions.
_SUFFIX: Final = re.compile(r"(@@?[\w.]+|\.(isra|constprop|part|cold|lto_priv)(\.\d+)*)+$")
_CYTHON: Final = re.compile(r"__pyx_(?:f|pw|pf)_")
_LENGTH: Final = re.compile(r"\d+")


UNNAMED: Final = "[unknown]"
"""perf's word for an address that the file's symbol table does not name."""


class PerfMissingError(UserError):
    """There is no perf, or the kernel does not let it look: the text says how to get it."""


@dataclass(frozen=True, slots=True)
class Samples:
    """How many samples fell into each (function, file); kernel functions only if permitted.

    ``threads`` has the same by thread. ``callers`` has, by thread, how many samples fell into each
    (function, function that called it); none where callers were not recorded.
    """

    counts: Mapping[tuple[str, str], int]
    with_kernel: bool
    frequency_hz: int = FREQUENCY_HZ
    threads: Mapping[int, Mapping[tuple[str, str], int]] = field(default_factory=dict)
    callers: Mapping[int, Mapping[tuple[str, str], int]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All samples."""
        return sum(self.counts.values())

    def share(self, function: str) -> float | None:
        """A function's share of the CPU time, in whatever file; None without a sample at all."""
        found = sum(n for (name, _), n in self.counts.items() if name == function)
        return found / self.total if self.total else None


def require_perf() -> None:
    """Raise ``PerfMissingError`` where perf is not on PATH."""
    if shutil.which("perf") is None:
        raise PerfMissingError(f"profiling needs perf, and it is not on PATH: {_HOW}")


class Recording:
    """perf, attached to a process and not sampling until it is told to."""

    def __init__(self, pid: int, folder: Path, frequency_hz: int, *, callers: bool) -> None:
        self._data, self._errors = folder / "data", folder / "errors"
        self._control, self._answers = _fifo(folder / "control"), _fifo(folder / "answers")
        command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(frequency_hz)]
        command += ["--call-graph", f"dwarf,{_STACK_BYTES}"] if callers else []
        command += ["-D", "-1", f"--control=fifo:{folder / 'control'},{folder / 'answers'}"]
        with self._errors.open("wb") as errors:
            self.process = start(
                [*command, "-p", str(pid), "-o", self._data],
                stdout=subprocess.DEVNULL, stderr=errors,
            )  # fmt: skip
        self._pid, self._frequency_hz = pid, frequency_hz

    def close(self) -> None:
        """End perf, whatever it is doing."""
        kill_group(self.process)
        os.close(self._control)
        os.close(self._answers)

    def enable(self) -> None:
        """Sample from now on. Raises ``PerfMissingError`` where the kernel refuses."""
        self._tell("enable")

    def samples(self) -> Samples:
        """Stop sampling, and read what was sampled."""
        with suppress(PerfEndedError):  # the process, and perf with it, has ended by itself
            self._tell("disable")
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(_WAIT_S)
        except subprocess.TimeoutExpired as error:
            raise UserError(f"perf has not written its samples for {_WAIT_S:.0f} s") from error
        fields = ["--no-inline", "-F", FIELDS]
        text = run_tool(["perf", "script", "-f", "-i", self._data, *fields], timeout_s=None)
        return replace(parse(text), frequency_hz=self._frequency_hz)

    def _tell(self, what: str) -> None:
        os.write(self._control, f"{what}\n".encode())
        deadline_s = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline_s:
            if select.select([self._answers], [], [], _POLL_S)[0]:
                os.read(self._answers, 64)
                return
            if self.process.poll() is not None:
                raise _refusal(self._pid, self._errors.read_text(errors="replace"))
        raise UserError(f"perf has not answered for {_WAIT_S:.0f} s: is it older than 5.9?")


class PerfEndedError(UserError):
    """perf has ended, mostly since the process has."""


@contextmanager
def recording(
    pid: int, frequency_hz: int = FREQUENCY_HZ, *, callers: bool = False
) -> Iterator[Recording]:
    """Attach perf to a process; inside, ``enable`` it, and ask for ``samples`` in the end.

    With ``callers`` each sample also tells who called the function, where perf can unwind the
    stack: distributions build without frame pointers, so that it takes a copy of the stack's top.

    Nothing is left behind, whatever ends the block. Costs 0.1 s at the start, and in the end some
    30 us a sample. Raises ``PerfMissingError`` where there is no perf.
    """
    require_perf()
    with ExitStack() as stack:
        stack.enter_context(stop_like_ctrl_c())
        folder = stack.enter_context(scratch.folder())
        with uninterrupted():  # or nobody could end what has just been started
            recorder = Recording(pid, folder, frequency_hz, callers=callers)
            stack.callback(recorder.close)
        yield recorder


def parse(text: str) -> Samples:
    """Read what ``perf script -F`` prints for ``FIELDS``: a line a sample, or a frame. O(n)."""
    threads: defaultdict[int, Counter[tuple[str, str]]] = defaultdict(Counter)
    callers: defaultdict[int, Counter[tuple[str, str]]] = defaultdict(Counter)
    with_kernel = True
    for thread, limit, frames in _samples(text):
        with_kernel = limit is None
        threads[thread][frames[0]] += 1
        if len(frames) > 1:
            callers[thread][frames[0][0], frames[1][0]] += 1
    counts = sum(threads.values(), Counter[tuple[str, str]]())
    return Samples(dict(counts), with_kernel, threads=dict(threads), callers=dict(callers))


_Sample = tuple[int, str | None, list[tuple[str, str]]]
"""Thread, perf's mark of a limit, frames (function, file) with the innermost first."""


def _samples(text: str) -> list[_Sample]:
    found: list[_Sample] = []
    for line in text.splitlines():
        head = _SAMPLE.fullmatch(line)
        if head:
            found.append((int(head["thread"]), head["limit"], []))
        frame = _FRAME.fullmatch(head["leaf"] if head else line)
        if frame and found:
            found[-1][2].append((readable(frame["symbol"]), _file(frame["file"])))
    return [sample for sample in found if sample[2]]


def _file(path: str) -> str:
    """``hbitmap.so``, ``libc.so``, ``[kernel]``."""
    return _FILE_SUFFIX.sub("", Path(path).name)


def readable(symbol: str) -> str:
    """A symbol without what compilers add: ``hbitmap.HBitmap._next_zero``. O(n).

    Cython puts together the lengths and names of package, module, class and function; our package
    is left out.
    """
    symbol = _SUFFIX.sub("", symbol)
    match = _CYTHON.match(symbol)
    if match is None:
        return symbol
    return ".".join(_parts(symbol[match.end() :])).removeprefix("hbitmap_impl.")


def _parts(mangled: str) -> list[str]:
    """``12hbitmap_impl_7hbitmap_set`` as its names; the last has no length, or a number."""
    parts = []
    while match := _LENGTH.match(mangled):
        end = match.end() + int(match[0])
        if mangled[end : end + 1] != "_":
            break
        parts.append(mangled[match.end() : end])
        mangled = mangled[end + 1 :]
    return [*parts, mangled.lstrip("0123456789")]


def _fifo(path: Path) -> int:
    """A named pipe, opened at both ends at once, so that neither side waits for the other."""
    os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK)


def _refusal(pid: int, errors: str) -> UserError:
    if not Path(f"/proc/{pid}").exists():
        return PerfEndedError(f"process {pid} is gone: there is nothing to sample")
    if _DENIED.search(errors):
        return PerfMissingError(f"perf may not look at process {pid}: {_permission()}")
    lines = [line for line in errors.strip().splitlines() if line] or ["it said nothing"]
    if "not found for kernel" in errors:  # a wrapper without the program of this kernel
        return PerfMissingError(f"this perf does not run ({lines[0]}): {_HOW}")
    return PerfEndedError(f"perf ended: {lines[-1]}")


def _permission() -> str:
    """How to get permission: what stands in the way depends on where we run."""
    try:
        level = f"is {_PARANOID.read_text().strip()}"
    except OSError:
        level = "can't be read"
    remedy = f"run as root, or as the process's owner with {_PARANOID.name} (it {level}) at most 2"
    if in_container():
        remedy += "; a container needs --cap-add PERFMON and a seccomp profile that permits it"
    return remedy


def in_container() -> bool:
    """Whether this looks like a container: its marks, or a filter on our system calls."""
    if any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")):
        return True
    with suppress(OSError):
        return "Seccomp:\t2" in Path("/proc/self/status").read_text()
    return False
