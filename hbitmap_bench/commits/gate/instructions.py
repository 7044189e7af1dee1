"""Instructions of the compiled core on fixed work, counted by callgrind.

They repeat to the instruction, whatever else the machine does, and see what no clock on a shared
machine can. They say nothing about caches, and so stand beside the times, not for them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from hbitmap_bench.base.children import running
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.sources import blob_id

WORK: Final = {
    "next_zero, a full bitmap": ("b = HBitmap(2**24); b.set(0, 2**24)", 20, "b.next_zero(0)"),
    "next_dirty, an empty bitmap": ("b = HBitmap(2**24)", 20_000, "b.next_dirty(0)"),
    "next_dirty, the longest way": (
        "b = HBitmap(2**24); b.set(2**24 - 1, 1)", 20_000, "b.next_dirty(0)",
    ),
    "set, one by one": ("b = HBitmap(2**24); i = iter(range(20_000))", 20_000, "b.set(next(i), 1)"),
    "reset, one by one": (
        "b = HBitmap(2**24); b.set(0, 2**24); i = iter(range(20_000))", 20_000,
        "b.reset(next(i), 1)",
    ),
    "status, half full": (
        "b = HBitmap(2**24); b.set(0, 2**23)", 20, "b.status(0, 2**24)",
    ),
    "invert": ("b = HBitmap(2**24)", 4, "b.invert()"),
    "merge": ("b = HBitmap(2**24); c = b.copy(); c.set(0, 2**24)", 4, "b.merge(c)"),
}  # fmt: skip
"""Setup, number of calls, and the call; its method in the core is what is counted."""


IMPORTED: Final = """
import sys
import hbitmap_impl.hbitmap
print(*(m.__file__ for name, m in sys.modules.items() if name.split(".")[0] == "hbitmap_impl"),
      sep="\\n")
"""


def count_both(base: Path, head: Path) -> dict[str, tuple[int, int]]:
    """Instructions of each piece of work by two interpreters, which have the package installed.

    Costs some ten seconds a piece. Raises ``UserError`` without valgrind.
    """
    require_valgrind()
    counts = {}
    for name in WORK:
        with _counting(base, name) as first, _counting(head, name) as second:  # they mind no noise
            counts[name] = _counted(first, name), _counted(second, name)
    return counts


def check_installed(python: Path, package: Mapping[str, str]) -> None:
    """Raise ``UserError`` unless what an interpreter imports is of that package, by blob ids."""
    ran = subprocess.run([str(python), "-c", IMPORTED], cwd="/", capture_output=True, text=True)
    paths = [Path(line) for line in ran.stdout.splitlines()]
    names = {f"{path.parent.name}/{path.name}": blob_id(path.read_bytes()) for path in paths}
    if not names or any(package.get(name) != blob for name, blob in names.items()):
        raise UserError(
            f"{python} must have the package of its commit, and has another: nothing is counted"
        )


def count(python: Path, name: str) -> int:
    """Instructions of a piece of work, all its calls, from entry into the core to return."""
    with _counting(python, name) as process:
        return _counted(process, name)


def _counting(python: Path, name: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Callgrind at a piece of work; killed if that is not awaited."""
    setup, calls, line = WORK[name]
    code = f"from hbitmap_impl.hbitmap import HBitmap; {setup}\nfor _ in range({calls}): {line}"
    method = line.split(".")[1].split("(")[0]
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command += ["--collect-atstart=no", f"--toggle-collect=__pyx_pw_*HBitmap_*{method}"]
    return running(
        [*command, str(python), "-c", code], cwd=Path("/"),
        env={"PYTHONHASHSEED": "0", "PATH": os.environ.get("PATH", os.defpath)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def _counted(process: subprocess.Popen[bytes], name: str) -> int:
    """What callgrind says in the end."""
    errors = process.communicate()[1].decode(errors="replace")
    found = re.search(r"Collected : (\d+)", errors)
    if process.returncode != 0 or found is None or found[1] == "0":
        own = [line for line in errors.splitlines() if line and not line.startswith("==")]
        said = (own or ["nothing"])[-1]  # not valgrind's own lines
        raise UserError(f"callgrind must count {name!r}, and did not: it said {said}")
    return int(found[1])


def require_valgrind() -> None:
    """Raise ``UserError`` where valgrind is missing."""
    if shutil.which("valgrind") is None:
        raise UserError(
            "--instructions needs valgrind, and it is not on PATH: apt install valgrind, or leave "
            "--instructions out"
        )
