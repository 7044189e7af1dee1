"""Lets a scratch repository publish pages with the parts that this one has."""

from __future__ import annotations

from pathlib import Path

from hbitmap_bench.html.parts import install_parts


def lend_parts(root: Path, scratch: Path) -> None:
    """Put a link to the parts of ``root`` where publishing in ``scratch`` looks for its own.

    They are installed first, if need be: a missing npm is told at once, not after long work.
    """
    parts = root / ".asv" / "parts"
    install_parts(parts)
    (scratch / ".asv").mkdir(exist_ok=True)
    (scratch / ".asv" / "parts").symlink_to(parts)
