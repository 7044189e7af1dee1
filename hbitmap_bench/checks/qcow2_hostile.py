"""Do hostile images do any harm? Seeded changes of real ones, QEMU's word on them, and fuzzing.

Run it where Debian's qemu-utils is installed (about half an hour)::

    tox -e qcow2-hostile
    tox -e qcow2-hostile -- --inputs 2000 --compare 200 --fuzz-seconds 20

1. Real images are changed by seed, where it hurts, and everything is done with each: no crash, no
   hang, no exception but the one for broken images, no more than 200 MB.
2. Some of them go to ``qemu-img info`` and ``qemu-img map`` too: the same yes or no, and the same
   extents. What differs must have one of the reasons that are stated here.
3. atheris makes more, guided by coverage.

The exit code is 1 when any of that is broken.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

import click
from rich.console import Console
from rich.progress import track

from hbitmap_bench.base import scratch
from hbitmap_bench.checks.hostile import Mutator, exercise, make_seeds
from hbitmap_impl.host_file import HostFile, ImageError
from hbitmap_impl.image_file import Extent
from hbitmap_impl.qcow2 import Qcow2Image
from hbitmap_impl.qcow2_header import read_header

MAX_BYTES: Final = 200 * 10**6
HANG_S: Final = 10
_CHUNK: Final = 250
_MAP_BYTES: Final = 4 * 2**20  # of the disk: an image may claim an exbibyte

BITMAPS: Final = "stored bitmaps are broken: QEMU refuses the image, we refuse the bitmaps alone"
SNAPSHOTS: Final = "the snapshot table is broken: QEMU refuses the image, we never read it"


# ---------------------------------------------------------------- everything is done with each


class Tally(NamedTuple):
    """What came of some inputs, and what the worst of them took."""

    opened: int
    refused: int
    slowest_s: float
    peak_bytes: int

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(
            self.opened + other.opened,
            self.refused + other.refused,
            max(self.slowest_s, other.slowest_s),
            max(self.peak_bytes, other.peak_bytes),
        )


class Broken(Exception):  # noqa: N818 - an event
    """An input did harm; the text names it."""


def run_inputs(folder: Path, first: int, n: int) -> Tally:
    """Exercise the inputs of these numbers, in this process. What one raises comes out, named."""
    mutator, path = Mutator(folder), folder / f"input-{first}"
    opened, slowest_s = 0, 0.0
    try:
        for number in range(first, first + n):
            path.write_bytes(mutator.image(number))
            start_s = time.perf_counter()
            with _Watch(number):
                opened += exercise(path)
            slowest_s = max(slowest_s, time.perf_counter() - start_s)
    finally:
        path.unlink(missing_ok=True)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Tally(opened, n - opened, slowest_s, peak_bytes)


class _Watch:
    """A context for one input: ends a hang, and puts the number to whatever is raised."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, self._end)
        signal.alarm(HANG_S)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        signal.alarm(0)
        if error is not None:
            error.add_note(f"with input {self._number}")

    @staticmethod
    def _end(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not done after {HANG_S} s")


def run_seeded(folder: Path, n_inputs: int, console: Console) -> Tally:
    """All inputs, in a process of its own: a crash must not be ours. Raises ``Broken``."""
    total = Tally(0, 0, 0.0, 0)
    chunks = range(0, n_inputs, _CHUNK)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        for first in track(chunks, "seeded inputs", console=console, transient=True):
            done = pool.submit(run_inputs, folder, first, min(_CHUNK, n_inputs - first))
            try:
                total = total.plus(done.result())
            except BrokenProcessPool as error:
                raise Broken(f"inputs {first} to {first + _CHUNK - 1}: a crash") from error
    if total.peak_bytes > MAX_BYTES:
        raise Broken(f"{total.peak_bytes / 1e6:.0f} MB, over {MAX_BYTES / 1e6:.0f}")
    return total


# ---------------------------------------------------------------- QEMU's word


class Difference(NamedTuple):
    """Where we and a command of qemu-img disagree; no reason is an unexplained one."""

    number: int
    command: str
    ours: str
    theirs: str
    reason: str


def compare(folder: Path, number: int, qemu_img: str) -> list[Difference]:
    """Differences between us and QEMU about the input of a number."""
    path = folder / f"compared-{number}"
    length = f"--max-length={_MAP_BYTES}"
    path.write_bytes(Mutator(folder).image(number))
    try:
        pairs = [
            ("info", _our_info(path), _their_info(path, qemu_img)),
            ("map", _our_map(path), _ask(path, qemu_img, "map", "--output=json", length)),
        ]
        return [
            Difference(number, command, str(ours)[:300], str(theirs)[:300], _reason(path, theirs))
            for command, ours, theirs in pairs
            if ours != theirs and not (isinstance(ours, str) and isinstance(theirs, str))
        ]
    finally:
        path.unlink()


Answer = list[dict[str, object]] | str
"""Extents (none for info), or why there are none."""


def _our_info(path: Path) -> Answer:
    try:
        with HostFile(path) as file:
            read_header(file)
    except ImageError as error:
        return str(error)
    return []


def _our_map(path: Path) -> Answer:
    try:
        with Qcow2Image(path) as image:
            extents = [extent._asdict() for extent in image.map(0, _MAP_BYTES)]
    except ImageError as error:
        return str(error)
    return [{k: v for k, v in one.items() if v is not None} for one in extents]


def _their_info(path: Path, qemu_img: str) -> Answer:
    answer = _ask(path, qemu_img, "info")
    return [] if isinstance(answer, list) else answer


def _ask(path: Path, qemu_img: str, *command: str) -> Answer:
    argv: list[str | Path] = [qemu_img, *command, "-f", "qcow2", path]
    try:
        done = subprocess.run(argv, capture_output=True, timeout=HANG_S, cwd=path.parent)
    except subprocess.TimeoutExpired:
        return f"qemu-img {command[0]} has hung"
    if done.returncode:
        return done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
    extents = json.loads(done.stdout) if command[0] == "map" else []
    return [_known(one) for one in extents if one["length"]]  # an empty disk has an empty extent


def _known(extent: dict[str, object]) -> dict[str, object]:
    """Without the fields that newer versions add."""
    return {name: extent[name] for name in Extent._fields if name in extent}


def _reason(path: Path, theirs: Answer) -> str:
    """Why QEMU says no where we say yes; nothing if that is not known."""
    if not isinstance(theirs, str):
        return ""
    if re.search("snapshot", theirs, re.IGNORECASE):
        return SNAPSHOTS
    return BITMAPS if _bitmaps_are_broken(path) else ""


def _bitmaps_are_broken(path: Path) -> bool:
    try:
        with Qcow2Image(path) as image:
            for stored in image.bitmaps():
                if not stored.in_use:
                    image.load_bitmap(stored)
    except ImageError:
        return True
    return False


# ---------------------------------------------------------------- fuzzing


def fuzz(folder: Path, seconds: int, console: Console) -> str:
    """Let atheris run for so long; what it says of its runs. Raises ``Broken``."""
    corpus = folder / "corpus"
    corpus.mkdir()
    for seed in folder.iterdir():
        if seed.is_file() and seed.stat().st_size <= 2**16:
            (corpus / seed.name).write_bytes(seed.read_bytes())
    options = {
        "max_total_time": seconds,
        "max_len": 2**16,
        "timeout": HANG_S,
        "rss_limit_mb": MAX_BYTES // 2**20,
        "print_final_stats": 1,
        "artifact_prefix": f"{folder}/",
    }
    argv = [sys.executable, "-P", "-m", "hbitmap_bench.checks.fuzz_target", str(folder)]
    argv += [f"-{name}={value}" for name, value in options.items()]
    with console.status(f"fuzzing for {seconds} s"):
        done = subprocess.run(
            [*argv, str(corpus)], capture_output=True, text=True, errors="replace", cwd=folder
        )
    if done.returncode:
        raise Broken(f"fuzzing ended with {done.returncode}:\n{done.stderr[-3000:]}")
    found = re.findall(r"stat::(\w+):\s+(\d+)", done.stderr)
    coverage = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", done.stderr)
    return f"{dict(found)}, coverage, features and corpus at the end: {coverage[-1:]}"


# ---------------------------------------------------------------- the report


@click.command()
@click.option("--inputs", default=100_000, show_default=True, type=click.IntRange(1))
@click.option("--compare", "compared", default=2000, show_default=True, type=click.IntRange(0))
@click.option("--fuzz-seconds", default=600, show_default=True, type=click.IntRange(0))
@click.option("--qemu-img", default="qemu-img", show_default=True)
@click.option("--qemu-io", default="qemu-io", show_default=True)
def main(inputs: int, compared: int, fuzz_seconds: int, qemu_img: str, qemu_io: str) -> None:
    """Print what hostile images did; exit with 1 if any did harm, or differs without a reason."""
    console = Console(highlight=False, soft_wrap=True)
    if fuzz_seconds and find_spec("atheris") is None:
        raise click.ClickException("fuzzing needs atheris: pip install it, or --fuzz-seconds 0")
    with scratch.folder() as folder:
        make_seeds(folder, qemu_img, qemu_io)
        try:
            tally = run_seeded(folder, inputs, console)
            console.print(
                f"{inputs} seeded inputs: {tally.opened} opened, {tally.refused} refused; "
                f"slowest {tally.slowest_s:.2f} s, peak {tally.peak_bytes / 1e6:.0f} MB"
            )
            unexplained = report_differences(folder, compared, qemu_img, console)
            if fuzz_seconds:
                console.print(f"fuzzed: {fuzz(folder, fuzz_seconds, console)}")
        except Broken as error:
            raise click.ClickException(str(error)) from error
    sys.exit(1 if unexplained else 0)


def report_differences(folder: Path, n: int, qemu_img: str, console: Console) -> int:
    """Compare the first inputs with QEMU, and print how often which reason holds."""
    numbers = track(range(n), "QEMU's word", console=console, transient=True)
    found = [one for number in numbers for one in compare(folder, number, qemu_img)]
    reasons = Counter((one.command, one.reason) for one in found)
    console.print(f"{n} inputs compared with qemu-img info and map: {len(found)} differences")
    for (command, reason), times in sorted(reasons.items()):
        console.print(f"  {times} of {command}: {reason or 'UNEXPLAINED'}")
    unexplained = [one for one in found if not one.reason]
    for one in unexplained[:20]:
        console.print(f"  input {one.number}, {one.command}: {one.ours} | {one.theirs}")
    return len(unexplained)


if __name__ == "__main__":
    main()
