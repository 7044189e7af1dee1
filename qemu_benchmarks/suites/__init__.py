"""Suites that measure the QEMU that is installed in their environment."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = Path(sys.prefix, "bin", "hbitmap-bench-sample")


def sample(*words: object) -> dict[str, Any]:
    """One sample, by the program that the build's install has put here. Raises what it says."""
    ran = subprocess.run([COMMAND, *map(str, words)], capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError((ran.stderr.strip().splitlines() or ["it gave no reason"])[-1])
    return json.loads(ran.stdout)


def value(name: str, *words: object) -> float:
    """A number of one sample; NaN, which stands for not measured, where the build lacks a part."""
    found = sample(*words).get(name)
    return float("nan") if found is None else found
