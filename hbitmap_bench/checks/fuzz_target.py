"""What atheris runs with images of its own making, guided by coverage. Started by qcow2_hostile.

    python -m hbitmap_bench.checks.fuzz_target FOLDER [libFuzzer's options and corpus folders]

An exception that is no ``ImageError`` ends it, as do a hang and too much memory. FOLDER holds the
files that images may refer to.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["hbitmap_impl"]):
    from hbitmap_bench.checks.hostile import exercise


def main() -> None:
    """Fuzz until one of libFuzzer's limits is reached."""
    path = Path(sys.argv.pop(1)) / "fuzzed"

    def run(content: bytes) -> None:
        path.write_bytes(content)
        exercise(path)

    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
