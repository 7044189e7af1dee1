"""Injected slowdowns: what benchmarks and gates must see, as commits in a scratch clone.

Each replaces exact snippets of ``hbitmap_impl``, so that the answers stay right and the cost rises.
A snippet that the sources no longer have, or have twice, is refused: an injection that changed
nothing would let every check pass. How much slower the ``constant`` ones really are is measured,
interleaved, by::

    python -m hbitmap_bench.checks.injections
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import track
from rich.table import Table

from hbitmap_bench.base import scratch
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.checks.counter_cost import build_core
from hbitmap_bench.commits.pages.npm import install_parts
from hbitmap_bench.commits.project import git

CORE: Final = "hbitmap_impl/hbitmap.pyx"
CHECKS: Final = "hbitmap_impl/access_check.py"

IDENTITY: Final = ("user.name=hbitmap-bench", "user.email=checks@localhost", "commit.gpgSign=false")
"""Whoever runs a check need not have told git a name."""


@dataclass(frozen=True, slots=True)
class Edit:
    """In one file, what stands there exactly once and what it becomes."""

    path: str
    old: str
    new: str

    def edited(self, text: str) -> str:
        """The file's text, edited. Raises ``UserError`` unless the snippet is there once."""
        found = text.count(self.old)
        if found != 1:
            raise UserError(
                f"an injection replaces a snippet that {self.path} has once, and it has "
                f"{self.old.strip().splitlines()[0]!r} {found} times: "
                "adapt hbitmap_bench/checks/injections.py"
            )
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Injection:
    """A slowdown: its name, what it does in a line, and the edits that make it.

    ``dearer`` names the implementations whose cells do what it makes dearer, a great deal or
    hardly, by what the names of their benchmarks begin with: any other cell must stay as it is.
    """

    name: str
    what: str
    edits: tuple[Edit, ...]
    dearer: Mapping[str, frozenset[str]]


_OLD: Final = frozenset({"access"})
_NEW: Final = frozenset({"deny"})
_BOTH: Final = _OLD | _NEW
_DONE: Final = frozenset({"deny_done", "deny_half"})
"""A deny bitmap, and a done bitmap that ``next_zero`` scans: only the suite ``buildup`` has it."""


_QUERIES: Final = "buildup.BuildUp.time_queries"
_WORDS: Final = "buildup.Words."
_CHECKS: Final = "access_check.AccessCheck."
_OPERATIONS: Final = "bitmap_ops.BitmapOps."

_DENY: Final = "        return self._bitmap.next_dirty(offset, length)\n"
_ACCESS: Final = "        return self._bitmap.next_zero(offset, length)\n"

_SCAN: Final = '''\
    def scan_dirty(self, start, count):
        """``next_dirty`` word by word on the last level, as ``next_zero`` has to."""
        cdef int64_t first = as_natural(start, "start"), n = as_natural(count, "count"), bit, last
        cdef const uint64_t *word
        cdef const uint64_t *end
        cdef uint64_t ones
        if first >= self._size or n == 0:
            return -1
        bit = first >> self._granularity
        last = (first + min(n, self._size - first) - 1) >> self._granularity
        word = self.levels[LAST] + (bit >> 6)
        end = self.levels[LAST] + (last >> 6) + 1
        ones = word[0] & from_bit(bit)
        hb_count(self.examined, 1)
        if ones == 0:
            word += 1
            while word != end and word[0] == 0:
                word += 1
            hb_count(self.examined, word - (self.levels[LAST] + (bit >> 6)) - (word == end))
            if word == end:
                return -1
            ones = word[0]
        bit = ((word - self.levels[LAST]) << 6) + hb_ctz(ones)
        return max(bit << self._granularity, first) if bit <= last else -1

'''
_AREA: Final = "    def next_dirty_area(self, start, end, max_dirty_count):\n"

_ZERO: Final = """\
        found = self._first_zero(
            start >> self._granularity, (start + count - 1) >> self._granularity
        )
"""

_FIRST_SET: Final = "        cdef uint64_t rest = self.levels[LAST][bit >> 6] & from_bit(bit)\n"


def _rescan(search: str) -> str:
    """The whole bitmap first; what is found before the range is no answer, so look again."""
    return f"""\
        found = self._bitmap.{search}(0, offset + length)
        if found == -1 or found >= offset:
            return found
        return self._bitmap.{search}(offset, length)
"""


def constant(percent: int) -> Injection:
    """So many percent of a scan's words are read a second time, by the same machine code.

    A slower loop would depend on how the compiler places it: one loop has run at half its speed
    where it lay across a 64-byte line. The first words are read again and not the last ones, since
    those are in a nearer cache. The counter does not tell: what shows must be the time.
    """
    again = f"""\
        cdef int64_t examined = self.examined, first = start >> self._granularity
        cdef int64_t stop = found if found >= 0 else (start + count - 1) >> self._granularity
        self._first_zero(first, first + (stop - first) * {percent} // 100)
        self.examined = examined
"""
    return Injection(
        f"constant-{percent}",
        f"next_zero reads {percent}% of its words twice: {percent}% more time, the same counters",
        (Edit(CORE, _ZERO, _ZERO + again),),
        {_QUERIES: _OLD | _DONE, f"{_CHECKS}time": _OLD, f"{_OPERATIONS}time_status": _BOTH},
    )


INJECTIONS: Final[Mapping[str, Injection]] = {
    injection.name: injection
    for injection in (
        Injection(
            "old-bug",
            "the deny check scans all words of the rest of the disk: quadratic again",
            (
                Edit(CHECKS, _DENY, _DENY.replace("next_dirty", "scan_dirty")),
                Edit(CORE, _AREA, _SCAN + _AREA),
            ),
            {_QUERIES: _NEW | _DONE, _WORDS: _NEW | _DONE, _CHECKS: _NEW},
        ),
        Injection(
            "rescan",
            "each check searches from 0, not from where the query begins: twice the words",
            (
                Edit(CHECKS, _ACCESS, _rescan("next_zero")),
                Edit(CHECKS, _DENY, _rescan("next_dirty")),
            ),
            # With the deny bitmap it is dearer where something is denied before the query.
            {_QUERIES: _OLD, _WORDS: _OLD, _CHECKS: _BOTH},
        ),
        constant(5),
        constant(10),
        constant(20),
        constant(50),
        Injection(
            "word",
            "next_dirty reads the top level's word before all others: a word more a query",
            (
                Edit(
                    CORE,
                    _FIRST_SET,
                    "        cdef uint64_t any_set = UINT64_MAX if self.levels[0][0] else 0\n"
                    + _FIRST_SET.replace("from_bit(bit)", "from_bit(bit) & any_set")
                    + "        hb_count(self.examined, 1)\n",
                ),
            ),
            {
                **{_QUERIES: _NEW | _DONE, _WORDS: _NEW | _DONE, _CHECKS: _NEW},
                f"{_OPERATIONS}time_status": _BOTH,
            },
        ),
    )
}
"""By name. Right answers all of them, and dearer."""


def scratch_clone(repo: Path, where: Path) -> Path:
    """Clone what ``repo`` has checked out, as branch ``main``, into a new folder; that folder.

    What is not committed stays behind. The clone has no remote to push to. Raises ``UserError``
    where git refuses.
    """
    head = git(repo, "rev-parse", "HEAD")
    git(repo, "clone", "--quiet", "--no-checkout", str(repo.resolve()), str(where.resolve()))
    git(where, "checkout", "--quiet", "-B", "main", head)
    git(where, "remote", "remove", "origin")
    return where


def apply(clone: Path, name: str) -> str:
    """Make the injection's edits in a clone and commit them on what is checked out; the hash.

    Raises ``UserError`` for an unknown name, a snippet that is not there exactly once, and where
    git refuses. A refused injection changes nothing.
    """
    if name not in INJECTIONS:
        raise UserError(f"injections are {', '.join(INJECTIONS)}, not {name!r}: choose one of them")
    injection = INJECTIONS[name]
    texts: dict[str, str] = {}
    for edit in injection.edits:
        texts[edit.path] = edit.edited(texts.get(edit.path) or _text(clone / edit.path))
    return commit(clone, f"Inject {name}: {injection.what}", texts)


def _text(path: Path) -> str:
    """A file's text; none where there is no file, so that no snippet is found there."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def commit(clone: Path, subject: str, texts: Mapping[str, str]) -> str:
    """Write files of a clone, by their paths, and commit them; the hash."""
    for path, text in texts.items():
        (clone / path).write_text(text, encoding="utf-8")
    who = [word for setting in IDENTITY for word in ("-c", setting)]
    git(clone, *who, "commit", "--quiet", "--no-verify", "-m", subject, "--", *texts)
    return git(clone, "rev-parse", "HEAD")


def lend_parts(root: Path, clone: Path) -> None:
    """Put a link to the parts of ``root`` where publishing in ``clone`` looks for its own.

    They are installed first, if need be: a missing npm is told at once, not after long work.
    """
    parts = root / ".asv" / "parts"
    install_parts(parts)
    (clone / ".asv").mkdir(exist_ok=True)
    (clone / ".asv" / "parts").symlink_to(parts)


# ---------------------------------------------------------------- how much slower are they?

BITS: Final = 1 << 25
"""Of the bitmap that is scanned: a disk of 2 TiB with 64 KiB clusters, 4 MiB of words."""

SCANS: Final = 8
SAMPLES: Final = 60
PROCESSES: Final = 15

_TIMED: Final = f"""
import importlib.util, json, random, sys, sysconfig
from timeit import Timer
scans = []
for folder in sys.argv[1:]:
    path = f"{{folder}}/hbitmap_impl/hbitmap{{sysconfig.get_config_var('EXT_SUFFIX')}}"
    spec = importlib.util.spec_from_file_location("hbitmap_impl.hbitmap", path)
    core = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(core)
    full = core.HBitmap({BITS})
    full.set(0, {BITS})
    scans.append(Timer("full.next_zero(0)", globals={{"full": full}}))
samples = []
for _ in range({SAMPLES}):
    seconds = [0.0] * len(scans)
    for place in random.sample(range(len(scans)), len(scans)):
        scans[place].timeit(1)  # brings its words near, whoever scanned before
        seconds[place] = scans[place].timeit({SCANS}) / {SCANS}
    samples.append(seconds)
print(json.dumps(samples))
"""


def scan_seconds(cores: Sequence[Path]) -> list[list[float]]:
    """Seconds of scans of a full bitmap: samples x cores, all of them in one new process.

    In each sample the cores scan one after the other, in a random order.
    """
    command = [sys.executable, "-P", "-c", _TIMED, *map(str, cores)]
    ran = subprocess.run(command, check=True, capture_output=True)
    samples: list[list[float]] = json.loads(ran.stdout)
    return samples


def main(repo: Path) -> None:
    """Build the core with and without each ``constant``, and print how their scans compare."""
    names = [name for name in INJECTIONS if name.startswith("constant-")]
    with scratch.folder() as folder:
        clone = scratch_clone(repo, folder / "clone")
        # The base twice, built apart: how far from 1 is its ratio to itself?
        cores = [build_core(clone, folder / f"base-{i}", "") for i in range(2)]
        for name in names:
            git(clone, "checkout", "--quiet", "--detach", "main")
            apply(clone, name)
            cores.append(build_core(clone, folder / name, ""))
        processes = [
            scan_seconds(cores) for _ in track(range(PROCESSES), "scanning", transient=True)
        ]
    table = Table("injection", "ratio (median)", "quartiles over processes", "scan")
    for column, name in enumerate(["base again", *names], start=1):
        # The ratio within a sample, the median of a process, and the spread of those.
        medians = [statistics.median(row[column] / row[0] for row in p) for p in processes]
        low, middle, high = statistics.quantiles(medians, n=4)
        scan_ms = statistics.median(row[column] for p in processes for row in p) * 1e3
        table.add_row(name, f"{middle:.3f}", f"{low:.3f}..{high:.3f}", f"{scan_ms:.3f} ms")
    Console().print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve())
