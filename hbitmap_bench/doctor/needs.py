"""What each command needs, and what is lost without it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import check_folder
from hbitmap_bench.doctor.host import Host

IMAGES_BYTES: Final = 600_000_000
"""Disk that the images of the default ``reproduce`` take."""

_MAY_SAMPLE: Final = 2
"""kernel.perf_event_paranoid up to which users sample their own processes; Debian's is 3."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that is on a host or not. ``find`` tells where or what, None where it is missing.

    ``mend`` is the command, for Debian where packages differ, that brings it.
    """

    name: str
    find: Callable[[Host], str | None]
    mend: str


@dataclass(frozen=True, slots=True)
class Need:
    """A part that a command uses. ``lost`` is what it can't do without; None if it can't run."""

    part: Part
    lost: str | None = None


def _program(name: str, package: str, *others: str) -> Part:
    def find(host: Host) -> str | None:
        found = (shutil.which(one, path=host.path) for one in (name, *others))
        return next(filter(None, found), None)

    return Part(name, find, f"apt install {package}")


def _writable(host: Host) -> str | None:
    try:
        check_folder(host.temporary)
    except UserError:
        return None
    return str(host.temporary)


def _disk(host: Host) -> str | None:
    try:
        free = shutil.disk_usage(host.temporary).free
    except OSError:
        return None
    return f"{free / 1e9:.1f} GB free" if free >= IMAGES_BYTES else None


def _sampling(host: Host) -> str | None:
    text = host.text("proc/sys/kernel/perf_event_paranoid")
    if text is None or (int(text) > _MAY_SAMPLE and os.geteuid() != 0):
        return None
    return f"kernel.perf_event_paranoid = {text}" + (", as root" if os.geteuid() == 0 else "")


def _headers(host: Host) -> str | None:
    path = host.headers / "Python.h"
    return str(path) if path.exists() else None


def _core(host: Host) -> str | None:
    return host.core and Path(host.core).name


_CORE: Final = Part("compiled core", _core, "python -m pip install ., in a clone")
_TEMPORARY: Final = Part("TMPDIR", _writable, "export TMPDIR=FOLDER, one that can be written to")
_DISK: Final = Part("600 MB in TMPDIR", _disk, "export TMPDIR=FOLDER, one with more space")
_DAEMON: Final = _program("qemu-storage-daemon", "qemu-system-common")
_QEMU_IMG: Final = _program("qemu-img", "qemu-utils")
_PERF: Final = _program("perf", "linux-perf")
_SAMPLING: Final = Part(
    "permission to sample", _sampling, f"sudo sysctl kernel.perf_event_paranoid={_MAY_SAMPLE}"
)
_VIRSH: Final = _program("virsh", "libvirt-clients")
_GIT: Final = _program("git", "git")
_COMPILER: Final = _program("cc", "gcc libc6-dev", "gcc", "clang")
_HEADERS: Final = Part("Python's C headers", _headers, "apt install python3-dev")
_VALGRIND: Final = _program("valgrind", "valgrind")
_NPM: Final = _program("npm", "npm")
_CHROMIUM: Final = _program("chromium", "chromium")
_CCACHE: Final = _program("ccache", "ccache")

_COMPILED: Final = "projects with compiled parts, as this one"
_REAL_ROWS: Final = "rows of real builds"
_SHARE: Final = "the scan's share of the time"
_SKIPPED: Final = "tests of it are skipped"
_MEASURING: Final = (Need(_GIT), Need(_COMPILER, _COMPILED), Need(_HEADERS, _COMPILED))
_COUNTING: Final = Need(_VALGRIND, "instructions are not counted")
_REAL: Final = tuple(Need(part, _REAL_ROWS) for part in (_DAEMON, _QEMU_IMG, _DISK))
_BUILDING: Final = tuple(
    _program(name, package)
    for name, package in (
        ("ninja", "ninja-build"), ("pkg-config", "pkg-config libglib2.0-dev libpixman-1-dev"),
        ("flex", "flex"), ("bison", "bison"),
    )
)  # fmt: skip

MAIN: Final = "reproduce"
"""The main job."""

TESTS: Final = "tox -e test"

NEEDS: Final[Mapping[str, tuple[Need, ...]]] = {
    MAIN: (Need(_CORE), Need(_TEMPORARY), *_REAL),
    "releases": (Need(_CORE), Need(_TEMPORARY), Need(_QEMU_IMG), Need(_DISK)),
    "compare": (),
    "predict": (Need(_CORE), Need(_DAEMON, "--verify"), Need(_TEMPORARY, "--qemu and --verify")),
    "profile": (
        *(Need(_CORE), Need(_TEMPORARY), Need(_PERF), Need(_SAMPLING)),
        *(Need(part, "shares of real builds") for part in (_DAEMON, _QEMU_IMG)),
    ),
    "diagnose": (Need(_PERF, _SHARE), Need(_SAMPLING, _SHARE), Need(_VIRSH, "--libvirt")),
    "bench": _MEASURING,
    "show": (Need(_GIT),),
    "trend": (Need(_GIT),),
    "publish": (Need(_GIT), Need(_NPM, "what pages load in a browser, the first time")),
    "gate": (*_MEASURING, _COUNTING),
    "judge": (),
    "calibrate": _MEASURING,
    "qemu-project": (
        Need(_GIT),
        *(Need(part, "builds of QEMU") for part in (_COMPILER, *_BUILDING)),
        Need(_CCACHE, "builds of the gate take longer"),
        _COUNTING,
    ),
    "tournament": (Need(_CORE),),
    TESTS: (
        *(Need(_GIT), Need(_COMPILER), Need(_HEADERS)),
        *(
            Need(part, _SKIPPED)
            for part in (_DAEMON, _QEMU_IMG, _PERF, _SAMPLING, _VALGRIND, _VIRSH, _CHROMIUM)
        ),
    ),
}
"""By command, and of the tests."""
