"""Run by the Python of an environment: tells what is installed of a project, by git blob id.

``installed_files.py NAME [PATTERN...]`` prints JSON: a folder, the blob ids of files by their paths
in it, and what is wrong, if anything is. With patterns, files below the environment are meant; else
those of distributions that were installed from a local build, as pip says in ``direct_url.json``,
or of the one with that name. Python 3.8 and later.

Where ``HBITMAP_BENCH_EVIDENCE`` names a folder, the same is put there, with the commit that asv has
installed; and the exit code is 1 if anything is wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

MADE_HERE = (".pyc", ".pth")
RECORDS = re.compile(r"\.(dist|egg)-info\b")


def tell(name: str, patterns: list[str]) -> dict[str, object]:
    """What is installed."""
    return declared(patterns) if patterns else distributed(name)


def declared(patterns: list[str]) -> dict[str, object]:
    """Files below the environment."""
    folder = Path(sys.prefix)
    files: dict[str, str] = {}
    wrong = ""
    for pattern in patterns:
        paths = [path for path in folder.glob(pattern) if path.is_file()]
        files.update({str(path.relative_to(folder)): blob_id(path) for path in paths})
        if not paths:
            wrong = f"{pattern!r} of [measured] files is not below the environment"
    return {"folder": str(folder), "files": files, "wrong": wrong}


def distributed(name: str) -> dict[str, object]:
    """Files of the distributions that are meant."""
    every = list(metadata.distributions())
    local = [one for one in every if "file:" in (one.read_text("direct_url.json") or "")]
    named = [one for one in every if normal(one.metadata["Name"] or "") == normal(name)]
    folder = os.path.realpath(sysconfig.get_paths()["purelib"])
    meant = local or named
    files: dict[str, str] = {}
    for one in meant:
        files.update(digests(one, folder))
    return {"folder": folder, "files": files, "wrong": wrong(name, meant, bool(files))}


def wrong(name: str, meant: list[metadata.Distribution], has_files: bool) -> str:
    """Why nothing can be told; empty where all can."""
    if not meant:
        return f"nothing that was built from the project is installed, nor {name!r}"
    for one in meant:
        if '"editable": true' in (one.read_text("direct_url.json") or ""):
            return f"{one.metadata['Name']!r} is installed editable, so that it has no files"
    return "" if has_files else f"{name!r} is installed and says of no file that it is its own"


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def digests(one: metadata.Distribution, folder: str) -> dict[str, str]:
    """Blob ids of a distribution's files, without what is made on its way here."""
    found = {}
    for file in one.files or []:
        path = Path(str(one.locate_file(file)))
        if path.is_file() and not RECORDS.search(str(file)) and path.suffix not in MADE_HERE:
            found[os.path.relpath(path.resolve(), folder)] = blob_id(path)
    return found


def blob_id(path: Path) -> str:
    """The id that git gives a file."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def testify(told: dict[str, object], folder: str) -> None:
    """Put it where it is collected: the same again is the same file."""
    paper = json.dumps({**told, "commit": os.environ.get("ASV_COMMIT")}, sort_keys=True)
    target = Path(folder, hashlib.sha1(paper.encode()).hexdigest())
    unfinished = target.with_suffix(f".{os.getpid()}")
    unfinished.write_text(paper)
    unfinished.replace(target)


def main() -> None:
    """Tell, and end by an exit code."""
    told = tell(sys.argv[1], sys.argv[2:])
    print(json.dumps(told))
    if folder := os.environ.get("HBITMAP_BENCH_EVIDENCE"):
        testify(told, folder)
        sys.exit(str(told["wrong"]) or 0)


if __name__ == "__main__":
    main()
