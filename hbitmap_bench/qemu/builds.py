"""A QEMU build: a qemu-storage-daemon, its version, and the qemu-img that belongs to it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hbitmap_bench.base.children import running
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.sizes import parse_size

DAEMON: Final = "qemu-storage-daemon"
_VERSION: Final = re.compile(rf"{DAEMON} version (\S+)")
_TOOL_TIMEOUT_S: Final = 30


@dataclass(frozen=True, slots=True)
class QemuBuild:
    """One build to measure, up to an image size; rows of two builds never share a column."""

    label: str
    path: Path
    version: str
    largest_bytes: int | None = None

    @property
    def name(self) -> str:
        """How messages call it, such as ``qemu 7.2.22``."""
        return f"qemu {self.label}"


def parse_build(text: str) -> QemuBuild:
    """Read ``[LABEL=]PATH[@SIZE]``; without a label the build is called after its version.

    SIZE is that of the largest image that it is measured with. Runs ``PATH --version``. Raises
    ``UserError`` where PATH is no qemu-storage-daemon.
    """
    labelled = "=" in text and not _is_there(text)  # a path may hold an equals sign itself
    label, _, path_text = text.partition("=") if labelled else ("", "", text)
    limited = "@" in path_text and not _is_there(path_text)  # and so may an at sign
    path_text, _, size = path_text.rpartition("@") if limited else (path_text, "", "")
    if not path_text or (labelled and not label) or (limited and not size):
        raise UserError(
            f"a build is [LABEL=]PATH[@SIZE], not {text!r}: try patched=/opt/qemu/bin/{DAEMON}"
        )
    path = _executable(path_text)
    found = version(path)
    return QemuBuild(label or found, path, found, parse_size(size) if limited else None)


def find_daemon() -> Path | None:
    """The ``qemu-storage-daemon`` on PATH, or None."""
    found = shutil.which(DAEMON)
    return None if found is None else Path(found)


def version(path: Path) -> str:
    """The version that ``PATH --version`` states, such as ``7.2.22``."""
    try:
        match = _VERSION.search(run_tool([path, "--version"]))
    except UserError as error:
        raise UserError(f"{error}: name the path of a {DAEMON}") from error
    if match is None:
        raise UserError(f"{path} --version names no {DAEMON}: name the path of one")
    return match[1]


def find_qemu_img(daemon: Path | None = None) -> Path:
    """The ``qemu-img`` beside the daemon, else the one on PATH; ``UserError`` without either."""
    if daemon is not None and os.access(beside := daemon.resolve().with_name("qemu-img"), os.X_OK):
        return beside
    found = shutil.which("qemu-img")
    if found is None:
        raise UserError("qemu-img is needed to make images, and is not on PATH: install qemu-utils")
    return Path(found)


def run_tool(argv: Sequence[str | Path], timeout_s: float | None = _TOOL_TIMEOUT_S) -> str:
    """What a tool prints. Raises ``UserError`` with its last line of errors where it fails.

    The tool, and whatever it has started, is killed when anything interrupts the wait.
    """
    with running(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            out, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise UserError(f"{argv[0]} has not ended for {timeout_s} s and was killed") from error
    if process.returncode:
        lines = _text(errors).strip().splitlines() or [f"exit code {process.returncode}"]
        raise UserError(f"{Path(argv[0]).name} failed: {lines[-1]}")
    return _text(out)


def _text(output: bytes) -> str:
    return output.decode(errors="replace")


def _is_there(text: str) -> bool:
    return os.path.exists(text)  # noqa: PTH110 - no error for a name that is too long


def _executable(text: str) -> Path:
    found = shutil.which(text)
    if found is None:
        raise UserError(f"{text} is no program that can be run: name the path of a {DAEMON}")
    return Path(found)
