"""What pages load that others wrote: from npm, when pages are built, never committed.

Versions and sha512 digests are in ``parts/package-lock.json``. npm checks them, and takes packages
from the registry and the cache that its own settings name.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from importlib import resources
from pathlib import Path
from typing import Final

from hbitmap_bench.errors import UserError

MANIFESTS: Final = ("package.json", "package-lock.json")
INSTALL: Final = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
REMEDY: Final = "run it by tox -e publish, which brings npm, once where a package registry answers"


def install_parts(cache_dir: Path) -> Path:
    """The folder ``node_modules`` with all parts; from the cache, if it is there.

    The cache is keyed by the lock file, and filled in one piece: an interrupted or refused install
    leaves nothing. Raises ``UserError`` where npm is missing or fails.
    """
    source = resources.files("hbitmap_bench.html") / "parts"
    manifests = {name: (source / name).read_bytes() for name in MANIFESTS}
    digest = hashlib.sha256(b"".join(manifests.values())).hexdigest()[:16]
    target = cache_dir / digest
    if not target.is_dir():
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=cache_dir) as folder:
            work = Path(folder) / "parts"
            work.mkdir()
            for name, content in manifests.items():
                (work / name).write_bytes(content)
            _run_npm(work)
            work.rename(target)
    return target / "node_modules"


def _run_npm(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"pages need parts from npm, and npm is not on PATH: {REMEDY}")
    ran = subprocess.run([npm, *INSTALL], cwd=folder, capture_output=True, text=True)
    if ran.returncode != 0:
        complaint = " ".join(ran.stderr.split()) or "no message"
        raise UserError(f"pages need parts from npm, and npm ci failed ({complaint}): {REMEDY}")
