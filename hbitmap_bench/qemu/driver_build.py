"""Compiles the driver of an HBitmap's operations against the objects of a QEMU build.

The build folder is one that meson configured and ninja filled: a whole build, or its
``libqemuutil.a`` and the objects of its hash functions. Compiler, flags and libraries are those
that ninja states for the build's own ``util/hbitmap.c`` and ``qemu-img``. The driver's sources say
``#include "qemu/hbitmap.h"`` and nothing of QEMU is in them.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hbitmap_bench.base.errors import UserError

_HBITMAP: Final = "libqemuutil.a.p/util_hbitmap.c.o"
_PROGRAM: Final = "qemu-img"
"""A program of every build whose libraries include all that an HBitmap needs."""

_NOT_OURS: Final = (
    *("-o", _PROGRAM, "-Wl,--whole-archive", "-Wl,--no-whole-archive"),
    *("-Wl,--start-group", "-Wl,--end-group"),
)
"""Words of its link that are not taken over: its name, and what orders its libraries."""

_STRICT: Final = ("-Werror=implicit-function-declaration", "-Werror=incompatible-pointer-types")
"""A function that is missing, or of another form, must not compile."""


@dataclass(frozen=True, slots=True)
class DriverBuild:
    """A driver's program, and what it can't do: names of operations, with the compiler's words.

    ``compiler`` is the build's own, with the flags that decide what it makes.
    """

    program: Path
    missing: Mapping[str, str]
    compiler: str


def compile_driver(sources: Path, build: Path, folder: Path) -> DriverBuild:
    """Compile the driver in ``sources`` against a build; the program is put into ``folder``.

    An operation that does not compile is left out. Costs some five seconds, and 2 MB of disk.
    Raises ``UserError`` where ``build`` is no built tree, or the driver's own part doesn't compile.
    """
    compiler = _compiler(build)
    folder.mkdir(parents=True, exist_ok=True)
    objects = [folder / "driver.o"]
    if error := _compile(compiler, build, sources / "driver.c", objects[0]):
        raise UserError(f"the driver must compile against {build}, and does not: {error}")
    missing = {}
    for source in sorted((sources / "operations").glob("*.c")):
        compiled = folder / f"{source.stem}.o"
        if error := _compile(compiler, build, source, compiled):
            missing[source.stem] = error
        else:
            objects.append(compiled)
    program = _link(build, objects, folder.absolute() / "driver")
    return DriverBuild(program, missing, _signature(compiler, build))


def _compile(compiler: Sequence[str], build: Path, source: Path, compiled: Path) -> str | None:
    """The first line of errors, or None."""
    return _error([*compiler, *_STRICT, "-c", source.absolute(), "-o", compiled.absolute()], build)


def _link(build: Path, objects: Sequence[Path], program: Path) -> Path:
    """Link with what the objects need of the build's, and no more.

    The build's own objects are put into an archive, of which a linker takes what it needs.
    """
    command = _command(build, _PROGRAM)
    archive = program.with_name("build.a")
    archive.unlink(missing_ok=True)
    paths = [build.absolute() / word for word in command if word.endswith(".o")]
    others = [path for path in paths if path.exists()]
    libraries = [word for word in command[1:] if _is_of_use(word, build)]
    link: list[str | Path] = [command[0], *(path.absolute() for path in objects)]
    link += ["-Wl,--start-group", archive, *libraries, "-Wl,--end-group", "-o", program]
    steps: tuple[list[str | Path], ...] = (["ar", "rcT", archive, *others], link)
    for step in steps:
        if error := _error(step, build):
            raise UserError(f"{build} lacks what an HBitmap needs: run ninja in it ({error})")
    return program


def _is_of_use(word: str, build: Path) -> bool:
    """True for flags and libraries, but for those of the build that were not built."""
    if word.endswith(".o") or word.startswith("@") or word in _NOT_OURS:
        return False
    return not word.endswith((".a", ".fa")) or (build / word).exists()


def _compiler(build: Path) -> list[str]:
    """The compiler and flags of the build's ``hbitmap.c``, without files and warnings as errors."""
    words = iter(_command(build, _HBITMAP))
    kept = []
    for word in words:
        if word in ("-o", "-c", "-MF", "-MQ"):
            next(words)
        elif word not in ("-MD", "-Werror"):
            kept.append(word)
    return kept


def _signature(compiler: Sequence[str], build: Path) -> str:
    """What the compiler calls itself, and its flags of optimization and of the machine."""
    version = _run([*compiler, "--version"], build).stdout.decode().partition("\n")[0]
    return " ".join([version, *(word for word in compiler if re.match("-[Ofm](?!diag)", word))])


def _command(build: Path, target: str) -> list[str]:
    """How ninja makes a target, in words."""
    if not (build / "build.ninja").exists():
        raise UserError(f"a QEMU build is a folder with build.ninja, not {build}: name another")
    said = _run(["ninja", "-t", "commands", "-s", target], build)
    if said.returncode:
        raise UserError(f"ninja must know how {build} makes {target}: {_first_error(said)}")
    return shlex.split(said.stdout.decode())


def _error(command: Sequence[str | Path], folder: Path) -> str | None:
    done = _run(command, folder)
    return _first_error(done) if done.returncode else None


def _run(command: Sequence[str | Path], folder: Path) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, cwd=folder, capture_output=True)
    except OSError as error:
        raise UserError(f"{command[0]} can't be run: {error.strerror}: install it") from error


def _first_error(done: subprocess.CompletedProcess[bytes]) -> str:
    """The first line that speaks of an error, else the first one."""
    lines = (done.stderr + done.stdout).decode(errors="replace").splitlines() or ["nothing said"]
    return next(
        (line for line in lines if ": error:" in line or "undefined reference" in line), lines[0]
    )
