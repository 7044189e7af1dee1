"""Two virtual environments, one for each side, with that commit's wheel in it.

Both have paths of one length and the same packages, pinned as asv's configuration pins them.
They are kept, and only brought up to date: a new commit costs building and installing its wheel.

Still the two are not one: where the copies of a file lie in memory, for as long as they lie there,
can make one some percent slower, in every round alike. So the sides ``exchange`` environments.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Final, Literal

from hbitmap_bench.base import scratch
from hbitmap_bench.base.children import kill_group, running
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.gate.sides import Side
from hbitmap_bench.commits.project import Project
from hbitmap_bench.commits.sources import COMPILED, blob_id

SideName = Literal["base", "head"]
SIDES: Final[tuple[SideName, SideName]] = ("base", "head")

ENVIRONMENTS: Final = ("one", "two")

BUILD_VARIABLES: Final = ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS", "LDSHARED", "SOURCE_DATE_EPOCH")
"""What changes the compiled code without changing the sources."""

UNFINISHED: Final = "unfinished-"
"""What folders of runs begin with while they are measured."""

KEPT_WHEELS: Final = 64

STOP_S: Final = 5
"""A build's time to end when it is interrupted."""

PIPS: Final = re.compile(r"subprocess-exited-with-error|did not run successfully")
"""pip's own words around those of the build that failed."""

PLACE: Final = re.compile(r"[^\s:]+:\d+:\d+: (?!warning|note)")
"""How Cython and C compilers say where and what is wrong; before it they only say that it is."""


@dataclass(frozen=True)
class Workshop:
    """Where environments, wheels and runs are kept: beside asv's own environments.

    The base is in the first environment, and in the second once sides are ``exchanged``.
    """

    project: Project
    exchanged: bool = False

    @property
    def folder(self) -> Path:
        """All of it."""
        return self.project.env_dir.parent / "gate"

    def python(self, side: SideName) -> Path:
        """The interpreter of a side's environment."""
        name = ENVIRONMENTS[SIDES.index(side) ^ self.exchanged]
        return self.folder / "envs" / name / "bin" / "python"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else measures here inside: two would build in one place, and slow each other.

        Raises ``UserError`` if someone does. What killed runs have left is cleared away.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"one gate measures in a clone at a time, and one does in {self.folder}: wait "
                    "for it, or clone anew"
                ) from None
            for left in self.folder.glob(f"runs/{UNFINISHED}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield

    @property
    def requirements(self) -> list[str]:
        """What both environments have, as asv's configuration pins it."""
        matrix = self.project.conf["matrix"]
        assert isinstance(matrix, dict)
        pins = {name.removeprefix("pip+"): versions[0] for name, versions in matrix["req"].items()}
        return [f"{name}=={version}" for name, version in pins.items()]


def prepare(workshop: Workshop, sides: Mapping[SideName, Side]) -> dict[SideName, Path]:
    """Bring both environments up to date; each side's wheel. ``UserError`` if a build fails."""
    for name in SIDES:
        _environment(workshop, name)
    wheels = {name: wheel(workshop, side) for name, side in sides.items()}
    _install_both(workshop, wheels)
    return wheels


def exchange(workshop: Workshop, wheels: Mapping[SideName, Path]) -> Workshop:
    """Install each side anew, in the other's environment; some 4 s. Returns where they are now."""
    exchanged = replace(workshop, exchanged=not workshop.exchanged)
    _install_both(exchanged, wheels)
    return exchanged


def package_files(wheel_path: Path, package: str) -> dict[str, str]:
    """A wheel's files of a package but for what it is compiled from, by git blob id."""
    with zipfile.ZipFile(wheel_path) as archive:
        return {
            name: blob_id(archive.read(name))
            for name in archive.namelist()
            if name.startswith(f"{package}/") and name.endswith((".py", ".pyi", *COMPILED))
        }


def wheel(workshop: Workshop, side: Side) -> Path:
    """The wheel of a commit, built in one place for all, so that no path differs in what is built.

    Kept by the sources, compiler flags, interpreter and pinned packages that it is made of.
    """
    folder = workshop.folder / "wheels" / _digest(workshop, side)
    if built := sorted(folder.glob("*.whl")):
        folder.touch()  # so that it is not forgotten for the other side's
        return built[0]
    sources = workshop.folder / "build"
    shutil.rmtree(sources, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with scratch.folder(folder.parent) as unfinished, ExitStack() as stack:
        stack.callback(shutil.rmtree, sources, ignore_errors=True)
        extract(workshop.project.root, side.commit, ".", sources)
        command = [str(workshop.python("head")), "-m", "pip", "wheel", "--quiet", "--no-deps"]
        command += ["--no-build-isolation", "-w", str(unfinished), str(sources)]
        _run(command, f"the wheel of commit {side.commit[:10]} ({side.facts.ref}) can't be built")
        folder.mkdir(exist_ok=True)
        for path in unfinished.glob("*.whl"):
            path.replace(folder / path.name)
    _forget_old(folder.parent)
    return next(folder.glob("*.whl"))


def extract(repo: Path, commit: str, path: str, to: Path) -> None:
    """A commit's files below ``path``, as git archives them. ``UserError`` if it has none."""
    ran = subprocess.run(
        ["git", "-C", str(repo), "archive", commit, "--", path], capture_output=True
    )
    if ran.returncode != 0:
        raise UserError(f"commit {commit[:10]} must have {path}, and has not: name another")
    try:
        with tarfile.open(fileobj=BytesIO(ran.stdout)) as archive:
            archive.extractall(to, filter=_no_outer_links)
    except tarfile.TarError as error:
        raise UserError(f"commit {commit[:10]} can't be unpacked: {error}") from None


def _no_outer_links(member: tarfile.TarInfo, to: str) -> tarfile.TarInfo | None:
    """The filter for data, but that a link which leads elsewhere is left out, not all refused."""
    try:
        return tarfile.data_filter(member, to)
    except (tarfile.AbsoluteLinkError, tarfile.LinkOutsideDestinationError):
        return None


def _environment(workshop: Workshop, side: SideName) -> None:
    """Make an environment, unless it has what it should."""
    python = workshop.python(side)
    stamp, wanted = _stamp(workshop, side), _made_of(workshop)
    folder = stamp.parent
    if python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    # pip apart: venv would keep to itself why it could not be installed, as on a full disk.
    complaint = "no virtual environment can be made"
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], complaint)
    _run([str(python), "-m", "ensurepip", "--default-pip"], complaint)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*command, *workshop.requirements], "the pinned packages can't be installed")
    stamp.write_text(wanted, encoding="utf-8")  # last: without it the folder is made anew


def _install_both(workshop: Workshop, wheels: Mapping[SideName, Path]) -> None:
    """Put each side's wheel into its environment, whatever was there before.

    Without its stamp meanwhile: what pip has not ended is made anew.
    """
    for side, path in wheels.items():
        stamp, made_of = _stamp(workshop, side), _made_of(workshop)
        stamp.unlink(missing_ok=True)
        command = [str(workshop.python(side)), "-m", "pip", "install", "--quiet", "--no-deps"]
        command += ["--force-reinstall", "--disable-pip-version-check", str(path)]
        _run(command, f"{path.name} can't be installed")
        stamp.write_text(made_of, encoding="utf-8")


def _stamp(workshop: Workshop, side: SideName) -> Path:
    return workshop.python(side).parent.parent / "made-of.json"


def _made_of(workshop: Workshop) -> str:
    return json.dumps([sys.version, *workshop.requirements])


def _digest(workshop: Workshop, side: Side) -> str:
    made_of = [
        *side.measured,
        *(f"{name}={os.environ.get(name, '')}" for name in BUILD_VARIABLES),
        sys.version,
        platform.machine(),
        _compiler(),
        *workshop.requirements,
    ]
    return hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:16]


def _compiler() -> str:
    """What the C compiler that setuptools takes says of itself; "" where there is none."""
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    try:
        ran = subprocess.run([*shlex.split(command), "--version"], capture_output=True, text=True)
    except OSError:
        return ""
    return ran.stdout


def _forget_old(folder: Path) -> None:
    kept = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in kept[KEPT_WHEELS:]:
        shutil.rmtree(path)


def _run(command: Sequence[str], complaint: str) -> None:
    """Run a tool; the first error that it names, if it fails."""
    code, output = _run_to_end(command)
    if code != 0:
        said = [line.strip() for line in output.splitlines() if line.strip()]
        errors = [line for line in said if "error" in line.lower() and not PIPS.search(line)]
        places = [line for line in said if PLACE.match(line)]
        raise UserError(f"{complaint}: {(places or errors or said or ['no reason given'])[0]}")


def _run_to_end(command: Sequence[str]) -> tuple[int, str]:
    """Exit code and output. If it is interrupted, so is all that it started, as compilers by pip.

    Interrupted politely, pip removes its temporary folders.
    """
    with running(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, end=_end_group
    ) as process:
        output, _ = process.communicate()
    return process.returncode, output.decode(errors="replace")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children: politely, and after a few seconds at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    kill_group(process)
