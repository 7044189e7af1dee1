"""The host that is examined: where programs, kernel files and temporary files are looked for."""

from __future__ import annotations

import os
import sysconfig
import tempfile
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path


def _core() -> str | None:
    """The file of the compiled core; None where there is only its source."""
    spec = find_spec("hbitmap_impl.hbitmap")
    return spec.origin if spec else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """By default this one. ``path`` is as PATH has it; ``root`` has ``proc`` and ``sys``.

    ``headers`` is where Python's C headers are; ``core`` the file of our compiled core.
    """

    path: str = field(default_factory=lambda: os.environ.get("PATH", ""))
    root: Path = Path("/")
    temporary: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    headers: Path = field(default_factory=lambda: Path(sysconfig.get_path("include")))
    core: str | None = field(default_factory=_core)
    cores: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))

    def text(self, name: str) -> str | None:
        """What a file below the root has; None where it can't be read."""
        try:
            return (self.root / name).read_text(errors="replace").strip()
        except OSError:
            return None
