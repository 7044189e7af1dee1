"""Side records: which files of the measured package a stored result was really measured on.

asv installs a commit's wheel and believes that it is what runs. Where a project's suites tell which
files of its package a process imported, as git blob ids, they are compared with the commit's own
files, those compiled with the wheel that was built from it, before a result is stored. Else the
files are recorded that an install of the commit has left. Beside ``<commit>-<environment>.json``
then stands ``....sources``; a result without a valid one is refused, by ``bench`` and by everything
that reads stored results.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final, get_args

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import write_atomic
from hbitmap_bench.base.reading import read_bytes, read_json
from hbitmap_bench.commits.project_file import Kind
from hbitmap_bench.commits.sessions import (
    Sessions,
    anchor_paths,
    are_sessions,
    is_commit,
    read_anchor,
)

SCHEMA = 1
SUFFIX = ".sources"
"""Not ``.json``: asv takes every JSON file in the folder for a result."""

COMPILED = (*EXTENSION_SUFFIXES, ".so", ".pyd")
NOT_RESULTS = {"machine.json", "benchmarks.json"}

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

Imported = Mapping[str, str]
"""Path of a file in the package, such as ``hbitmap_impl/image.py``, to its git blob id."""


def blob_id(data: bytes) -> str:
    """The id that git gives a file of these contents."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def result_paths(results_dir: Path) -> Iterator[Path]:
    """The result files of asv, those of all machines."""
    yield from (p for p in sorted(results_dir.glob("*/*.json")) if p.name not in NOT_RESULTS)


def refusals(results_dir: Path, repo: Path) -> dict[Path, str]:
    """Files of results and of anchors that must not be used, each with the reason in one line.

    Costs one hash of each file and one git process for all. Raises ``UserError`` where ``repo``
    is no git repository.
    """
    refused: dict[Path, str] = {}
    commits: dict[Path, str] = {}
    imported: dict[Path, Sequence[Imported]] = {}
    for path in result_paths(results_dir):
        try:
            commits[path], imported[path] = read_record(path, kinds=("imported",))
        except (OSError, ValueError) as error:
            refused[path] = str(error)
    for path in anchor_paths(results_dir):
        try:
            anchor = read_anchor(path)
            commits[path], imported[path] = anchor.commit, anchor.imported
        except (OSError, ValueError) as error:
            refused[path] = str(error)
    known = committed_files(
        repo, ((commits[path], _sources(files)) for path, files in imported.items())
    )
    for path, sets in imported.items():
        wrong = [_unknown(commits[path], known)]
        wrong += [difference(files, commits[path], known) for files in sets]
        if said := next(filter(None, wrong), None):
            refused[path] = said
    return refused


def write_record(
    result: Path,
    commit: str,
    found: Iterable[Imported],
    kind: Kind = "imported",
    sessions: Sessions | None = None,
) -> None:
    """Put the side record beside a result; what was found has been checked by the caller."""
    record = {
        "schema": SCHEMA,
        "commit": commit,
        "result_sha256": _sha256(result),
        kind: [dict(sorted(files.items())) for files in found],
        **({"sessions": sessions} if sessions else {}),
    }
    write_atomic(result.with_suffix(SUFFIX), (json.dumps(record, indent=1) + "\n").encode())


def recorded(result: Path) -> list[Imported]:
    """The files of a result's side record; nothing where there is no valid one."""
    try:
        return list(read_record(result)[1])
    except (OSError, ValueError):
        return []


def recorded_sessions(result: Path) -> Sessions:
    """The sessions of a result whose side record is valid."""
    record = read_json(result.with_suffix(SUFFIX))
    found: Sessions = record.get("sessions", {})
    return found


def committed_files(
    repo: Path, wanted: Iterable[tuple[str, Iterable[str]]]
) -> dict[tuple[str, str], str]:
    """Blob ids of (commit, path), by one git process; what a commit has not got is left out.

    The path ``""`` stands for the commit itself.
    """
    keys = list(dict.fromkeys((c, path) for c, paths in wanted for path in ("", *sorted(paths))))
    names = [f"{commit}:{path}" if path else f"{commit}^{{commit}}" for commit, path in keys]
    git = ["git", "-C", str(repo), "cat-file", "--batch-check"]
    ran = subprocess.run(git, input="\n".join([*names, ""]).encode(), capture_output=True)
    if ran.returncode != 0:
        raise UserError(f"results belong to a git repository, and {repo} is none: name its clone")
    answers = (line.split() for line in ran.stdout.decode().splitlines())
    found = zip(keys, answers, strict=True)
    return {key: words[0] for key, words in found if words[-1].isdigit()}


def difference(files: Imported, commit: str, known: Mapping[tuple[str, str], str]) -> str | None:
    """What is wrong with imported files, compared with the commit's; None if nothing is."""
    if said := _unknown(commit, known):
        return said
    if not files:
        return "no process told what it imported"
    for path in sorted(_sources([files])):
        if known.get((commit, path)) != files[path]:
            return f"{path} as imported is not that of commit {commit[:10]}"
    return None


def _unknown(commit: str, known: Mapping[tuple[str, str], str]) -> str | None:
    return None if (commit, "") in known else f"commit {commit[:10]} is not in this repository"


def difference_from_wheel(files: Imported, wheel: Path) -> str | None:
    """Whether the compiled files are those of the wheel that was built from the commit."""
    with zipfile.ZipFile(wheel) as archive:
        for path in sorted(set(files) - _sources([files])):
            if path not in archive.namelist() or blob_id(archive.read(path)) != files[path]:
                return f"{path} as imported is not that of {wheel.name}"
    return None


def _sources(imported: Iterable[Imported]) -> set[str]:
    """The files that are in a commit as they are imported: all that are not compiled."""
    return {path for files in imported for path in files if not path.endswith(COMPILED)}


def read_record(result: Path, kinds: Sequence[Kind] = KINDS) -> tuple[str, Sequence[Imported]]:
    """The commit of a result's side record, and its files of some kinds.

    Raises ``ValueError`` or ``OSError`` if there is none, or none that belongs to this result.
    """
    try:
        record = read_json(result.with_suffix(SUFFIX))
    except FileNotFoundError:
        raise ValueError(f"no side record {result.stem}{SUFFIX} beside it") from None
    except ValueError as error:
        raise ValueError(f"its side record {result.stem}{SUFFIX} is not JSON ({error})") from None
    if not _is_record(record):
        raise ValueError(f"its side record is not one of schema {SCHEMA}")
    if not result.name.startswith(record["commit"][:7]):
        raise ValueError(f"its side record is of another commit, {record['commit'][:10]}")
    if record["result_sha256"] != _sha256(result):
        raise ValueError("changed since it was measured and checked")
    return record["commit"], [files for kind in kinds for files in record.get(kind, [])]


def _is_record(record: object) -> bool:
    """Whether decoded JSON has the shape that ``write_record`` gives."""
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        return False
    commit, (sets, *others) = record.get("commit"), [record[k] for k in KINDS if k in record] or [0]
    return (
        is_commit(commit)
        and isinstance(record.get("result_sha256"), str)
        and not others
        and isinstance(sets, list)
        and bool(sets)
        and all(isinstance(files, dict) for files in sets)
        and all(isinstance(blob, str) for files in sets for blob in files.values())
        and not any("\n" in path for files in sets for path in files)  # git is asked line by line
        and are_sessions(record.get("sessions", {}))
    )


def _sha256(path: Path) -> str:
    """Digest of a file's contents."""
    return hashlib.sha256(read_bytes(path)).hexdigest()
