"""What a measurement's host and sources are, without anything that names its owner."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np

_COMPILER_MARK = re.compile(rb"(GCC: \([^)\0]*\) [\w.]+|[\w ]*clang version [\w.~+-]+)")


def host_facts() -> dict[str, str | int | None]:
    """Processor, cores this process may use, memory, system, and the versions that matter.

    No host name, user or path. ``None`` where the system does not tell.
    """
    return {
        "cpu_model": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "os": _os_name(),
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "compiler": compiler_of_core(),
    }


def commit_of_sources() -> str | None:
    """Commit that this package was built from, ``-dirty`` where files differed then.

    An installed package carries it; in a checkout git tells. ``None`` where neither is there: a
    virtual environment inside some other project's checkout has no commit of ours.
    """
    here = Path(__file__)
    built_in = here.with_name("commit.txt")
    if built_in.exists():
        return built_in.read_text(encoding="utf-8") or None
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None
    return _git(here.parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def compiler_of_core() -> str | None:
    """Compiler that built ``hbitmap_impl``'s core, as it signed the object file.

    Read from the file, since the core may be a wheel that was built elsewhere.
    """
    try:
        spec = find_spec("hbitmap_impl.hbitmap")
        data = Path(spec.origin).read_bytes() if spec and spec.origin else b""
    except (ImportError, OSError):
        return None
    mark = _COMPILER_MARK.search(data)
    return mark[1].decode(errors="replace") if mark else None


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command, or ``None`` where it fails or git is missing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_model() -> str | None:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or None
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return model[1] if model else platform.processor() or None


def _os_name() -> str | None:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return None
