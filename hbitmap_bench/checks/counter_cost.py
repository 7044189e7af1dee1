"""What does the counter ``words_examined`` cost? Instructions, with it and compiled out.

Run it where valgrind is installed, with the folder of the sources::

    tox -e instructions

The core is built twice from the same sources, and callgrind counts a fixed piece of work in each.
Counts repeat, whatever else the machine is doing. The exit code is 1 when a promise is broken:
under 1% more on a full scan, at most 8 more on a ``next_dirty``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from hbitmap_bench.base import scratch
from hbitmap_bench.checks.core_build import compile_module

SCAN: Final = "full.next_zero(0)"
SCAN_CALLS: Final = 20
DIRTY_CALLS: Final = 20_000

# An empty bitmap (one load a level) and the longest way up and down that 2**24 bits have.
WORK: Final = {
    SCAN: ("full = HBitmap(2**20); full.set(0, 2**20)", SCAN_CALLS),
    "empty.next_dirty(0)": ("empty = HBitmap(2**24)", DIRTY_CALLS),
    "last.next_dirty(0)": ("last = HBitmap(2**24); last.set(2**24 - 1, 1)", DIRTY_CALLS),
}

MAX_SCAN_SHARE: Final = 0.01
MAX_DIRTY_MORE: Final = 8


def build_core(sources: Path, folder: Path, macros: str) -> Path:
    """Copy the package's sources into a folder of their own, and compile them there."""
    shutil.copytree(
        sources / "hbitmap_impl",
        folder / "hbitmap_impl",
        ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__"),
    )
    compile_module(folder, "hbitmap_impl.hbitmap", macros)
    return folder


def instructions(folder: Path, line: str) -> float:
    """Instructions of one call, from its entry into the compiled core to its return."""
    setup, calls = WORK[line]
    code = f"from hbitmap_impl.hbitmap import HBitmap; {setup}\nfor _ in range({calls}): {line}"
    method = line.split(".")[1].split("(")[0]
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command += ["--collect-atstart=no", f"--toggle-collect=__pyx_pw_*HBitmap_*{method}"]
    done = subprocess.run(
        [*command, sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONHASHSEED": "0", "PYTHONPATH": str(folder)},
        check=True,
        capture_output=True,
        text=True,
    )
    match = re.search(r"Collected : (\d+)", done.stderr)
    if match is None or match[1] == "0":
        raise SystemExit(f"valgrind counted nothing: {done.stderr[-200:]}")
    return int(match[1]) / calls


def keeps_promise(line: str, counted: float, bare: float) -> bool:
    """True if the counter costs no more than promised."""
    if line == SCAN:
        return counted / bare - 1 < MAX_SCAN_SHARE
    return counted - bare <= MAX_DIRTY_MORE


def main(sources: Path) -> int:
    """Print the table; 1 if a promise is broken."""
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is missing: install it (Debian: apt-get install valgrind)")
    table = Table("a call of", "with the counter", "without", "more", "share", "")
    broken = 0
    with scratch.folder() as folder:
        counted_core = build_core(sources, folder / "counted", "")
        bare_core = build_core(sources, folder / "bare", '("HBITMAP_NO_COUNTERS", "1")')
        for line in WORK:
            counted, bare = (instructions(core, line) for core in (counted_core, bare_core))
            kept = keeps_promise(line, counted, bare)
            broken += not kept
            table.add_row(
                line,
                f"{counted:,.1f}",
                f"{bare:,.1f}",
                f"{counted - bare:+.1f}",
                f"{counted / bare - 1:+.3%}",
                "kept" if kept else "BROKEN",
            )
    Console().print(table)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()))
