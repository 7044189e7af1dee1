"""What is left of a ``reproduce`` that is killed or interrupted at a random moment? Nothing may be.

Run it where Debian's qemu-system-common and qemu-utils are installed::

    tox -e kills
    tox -e kills -- --kills 25 --interrupts 25 --seed 7

One run is left alone: it makes the image that all use, and tells how long a run takes. Each other
one gets SIGKILL, or SIGINT to its whole process group as Ctrl-C sends it, at a moment within that
time. The exit code is 1 if a process is left two seconds later, if a folder in TMPDIR survives the
start of the next command (an interrupted run must remove its own), or if an exit code is not that
of the signal: 130, or SIGINT itself where it comes before the program handles it.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from hbitmap_bench.base import scratch
from hbitmap_bench.base.children import running
from hbitmap_bench.base.consoles import table_console
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.program import run_to_exit

COMMAND: Final = Path(sys.executable).with_name("hbitmap-bench")
MARK: Final = "HBITMAP_BENCH_KILLS"
"""The environment variable by which all processes of a run are found."""

DEATH_S: Final = 2.0
"""How soon all processes of a killed run must be gone."""

HANG_S: Final = 60.0

EXPECTED: Final = {signal.SIGKILL: {-signal.SIGKILL}, signal.SIGINT: {130, -signal.SIGINT}}
"""Exit codes by signal."""


@dataclass(frozen=True, slots=True)
class Left:
    """What a run left: processes, folders in TMPDIR, and those left by the next command's start.

    ``was_done`` says that its exit code was decided before the signal came.
    """

    number: signal.Signals
    code: int
    was_done: bool
    processes: int
    folders: int
    folders_later: int
    words: str

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left, and the exit code is that of the signal if it came in time."""
        folders = self.folders if self.number == signal.SIGINT else self.folders_later
        ended_well = self.was_done or self.code in EXPECTED[self.number]
        return ended_well and not (self.processes or folders)


@dataclass(frozen=True, slots=True)
class Place:
    """The folders of all runs, and the image's size as the command takes it."""

    folder: Path
    size: str

    @property
    def tmpdir(self) -> Path:
        """TMPDIR of the runs: what is left in it is theirs."""
        return self.folder / "tmp"

    @property
    def command(self) -> list[str | Path]:
        """One short run: its model takes no time, its rows are real."""
        command: list[str | Path] = [COMMAND, "reproduce", "--size", "64G"]
        command += ["--qemu-size", self.size, "--image-dir", self.folder / "images"]
        return [*command, "--out", self.folder / "reports"]

    def environment(self, mark: str) -> dict[str, str]:
        """Of a run whose processes are found by this mark."""
        return {**os.environ, "TMPDIR": str(self.tmpdir), MARK: mark}


def whole_run_s(place: Place) -> float:
    """Seconds of a run that is left alone, once the image is there."""
    for _ in range(2):
        start_s = time.monotonic()
        done = subprocess.run(
            place.command, env=place.environment("none"), capture_output=True, text=True
        )
        if done.returncode:
            raise UserError(f"a run fails unharmed: {done.stderr.strip().splitlines()[-1]}")
    return time.monotonic() - start_s


def harm(place: Place, number: signal.Signals, moment_s: float) -> Left:
    """Start a run, send it the signal at the moment, and see what is left."""
    mark = secrets.token_hex(8)
    errors = place.folder / "errors"
    with (
        errors.open("wb") as stderr,
        running(
            place.command, stdout=subprocess.DEVNULL, stderr=stderr, env=place.environment(mark)
        ) as process,
    ):
        time.sleep(moment_s)
        was_done = _is_done(process)
        _send(process, number)
        code = process.wait(HANG_S)
        processes = _count_after(mark, DEATH_S)
    folders = _count(place.tmpdir)
    if folders:
        subprocess.run([COMMAND, "--version"], env=place.environment("none"), capture_output=True)
    words = errors.read_text(errors="replace")
    return Left(number, code, was_done, processes, folders, _count(place.tmpdir), words)


def _is_done(process: subprocess.Popen[bytes]) -> bool:
    """Whether its exit code is decided: it has ended, or hears no more requests to stop."""
    if process.poll() is not None:
        return True
    status = Path(f"/proc/{process.pid}/status").read_text()
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(ignored.split()[1], 16) >> (signal.SIGINT - 1) & 1)


def _send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the process alone; Ctrl-C to its process group."""
    if process.poll() is None and number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)  # none if it has ended


def _count_after(mark: str, patience_s: float) -> int:
    """How many processes with the mark are there still, if not none before."""
    deadline_s = time.monotonic() + patience_s
    while (left := _processes(mark)) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return len(left)


def _processes(mark: str) -> list[Path]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # gone, or somebody else's
            if f"{MARK}={mark}".encode() in path.read_bytes():
                found.append(path)
    return found


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def table(runs: Sequence[Left]) -> Table:
    """A row for each signal. Of what is left it counts the runs that left any."""
    titles = (f"processes after {DEATH_S:.0f} s", "folders", "folders after the next start")
    shown = Table("signal", "runs", "exit codes", *titles, title="Runs that left something")
    for number in EXPECTED:
        chosen = [run for run in runs if run.number == number]
        codes = Counter("done before" if run.was_done else str(run.code) for run in chosen)
        left = [(run.processes, run.folders, run.folders_later) for run in chosen]
        shown.add_row(
            number.name,
            str(len(chosen)),
            ", ".join(f"{code}: {n}" for code, n in sorted(codes.items())),
            *(str(sum(map(bool, column))) for column in zip(*left, strict=True)),
        )
    return shown


@click.command()
@click.option("--kills", default=100, show_default=True, type=click.IntRange(0))
@click.option("--interrupts", default=100, show_default=True, type=click.IntRange(0))
@click.option("--size", default="256G", show_default=True, help="Of the image. 160 MB of disk a T.")
@click.option("--seed", default=1, show_default=True, help="Of the moments, and of their order.")
def main(kills: int, interrupts: int, size: str, seed: int) -> int:
    """Harm many runs, and print what they left; some ten minutes."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in the background: runs inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    numbers = [signal.SIGKILL] * kills + [signal.SIGINT] * interrupts
    chance = random.Random(seed)
    chance.shuffle(numbers)
    runs = []
    with scratch.folder() as folder:
        place = Place(folder, size)
        place.tmpdir.mkdir()
        whole_s = whole_run_s(place)
        for number in track(numbers, f"runs of {whole_s:.1f} s", console=Console(stderr=True)):
            runs.append(harm(place, number, chance.uniform(0, whole_s)))
            if not runs[-1].is_clean:
                print(runs[-1])
    table_console().print(table(runs))
    return 0 if all(run.is_clean for run in runs) else 1


if __name__ == "__main__":
    run_to_exit(main)
