"""The driver of an HBitmap's operations, running: it answers, times and counts instructions.

Commands and answers are told in ``qemu_benchmarks/driver/driver.c``, an operation's arguments in
its file beside it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, cast

from hbitmap_bench.base.children import running
from hbitmap_bench.base.errors import UserError

Words = Sequence[str | int]
"""A command, such as ``("set", 0, 100, 10)``: 10 items from 100 on in the bitmap of slot 0."""

_COLLECTED: Final = re.compile(r"Collected : (\d+)")


class Driver:
    """A driver that runs. A command that it can't do ends it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._stdin, self._stdout = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def ask(self, *words: str | int) -> list[Any]:
        """Give a command; its answer. Costs some 20 us more than the operation.

        Raises ``UserError`` with the driver's last line where it has ended.
        """
        try:
            self._stdin.write(_line(words))
            self._stdin.flush()
            line = self._stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise UserError(f"the driver ended at {' '.join(map(str, words))!r}: {self._last()}")
        answer: list[Any] = json.loads(line)
        return answer

    def cpu_ns(self, n: int, step: int, *words: str | int) -> int:
        """CPU time of ``n`` calls of an operation; call i has ``i * step`` added to its start."""
        (elapsed_ns,) = self.ask("time", n, step, *words)
        return int(elapsed_ns)

    def _last(self) -> str:
        errors = cast(IO[bytes], self._process.stderr).read()
        lines = errors.decode(errors="replace").splitlines()
        return lines[-1] if lines else f"exit code {self._process.wait()}"


@contextmanager
def started(program: Path) -> Iterator[Driver]:
    """Run a driver; it is killed at the end."""
    pipe = subprocess.PIPE
    with running([program], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield Driver(process)
        finally:
            with suppress(BrokenPipeError):  # it has ended, and has not read all
                cast(IO[bytes], process.stdin).close()


def two_bitmaps(density: str, bits: int) -> list[Words]:
    """Commands that make slots 0 and 1 anew, and give slot 1 bits of a density."""
    contents: dict[str, Words] = {
        "0": ("reset_all", 1),
        "0.5": ("shuffle", 1, bits),
        "1": ("set", 1, 0, bits),
        "last bit": ("set", 1, bits - 1, 1),
    }
    return [("new", 0, bits, 0), ("new", 1, bits, 0), contents[density]]


def instructions(program: Path, before: Iterable[Words], n: int, step: int, work: Words) -> int:
    """Instructions of ``n`` calls of an operation, counted by callgrind after commands ``before``.

    The driver's loop is in it, a few instructions a call. Counts repeat to a few. Costs a second,
    and fifty times what the commands take. Raises ``UserError`` without valgrind, or where the
    driver ends early.
    """
    if shutil.which("valgrind") is None:
        raise UserError("instructions need valgrind, and it is not on PATH: apt install valgrind")
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command += ["--collect-atstart=no", "--toggle-collect=measured", str(program)]
    script = b"".join(map(_line, [*before, ("time", n, step, *work)]))
    done = subprocess.run(command, input=script, capture_output=True)
    errors = done.stderr.decode(errors="replace")
    found = _COLLECTED.search(errors)
    if done.returncode or found is None or found[1] == "0":
        own = [line for line in errors.splitlines() if line and not line.startswith("==")]
        raise UserError(
            f"callgrind must count {work[0]!r}, and did not: {(own or ['nothing'])[-1]}"
        )
    return int(found[1])


def _line(words: Words) -> bytes:
    return (" ".join(map(str, words)) + "\n").encode()
