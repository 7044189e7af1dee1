"""Two virtual environments, one for each side, with that commit installed, as asv makes them.

Both have paths of one length and the same packages: the second is a copy of the first, and that one
of asv's own, where there is one. They are kept; a new commit costs building and installing it.
Commits are built in the first one alone, so that no path differs in what is built, and both install
from asv's cache of builds.

Still the two are not one: where the copies of a file lie in memory, for as long as they lie there,
can make one some percent slower, in every round alike. So the sides ``exchange`` environments.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal

from asv.repo import get_repo

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.asv_library import at_work, configuration, environments
from hbitmap_bench.commits.bench import INSTALLED
from hbitmap_bench.commits.gate.sides import Side
from hbitmap_bench.commits.installed import Installed, installed
from hbitmap_bench.commits.project import Project

SideName = Literal["base", "head"]
SIDES: Final[tuple[SideName, SideName]] = ("base", "head")

ENVIRONMENTS: Final = ("one", "two")

BUILD_VARIABLES: Final = ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS", "LDSHARED", "SOURCE_DATE_EPOCH")
"""What changes the compiled code without changing the sources."""

UNFINISHED: Final = "unfinished-"
"""What folders of runs begin with while they are measured."""

KEPT_BUILDS: Final = 16
"""At least; asv's default of two would build a base anew for every change."""

NOT_COPIED: Final = {"project", "asv-build-cache", INSTALLED}


@dataclass(frozen=True)
class Workshop:
    """Where environments, builds and runs are kept: beside asv's own environments.

    The base is in the first environment, and in the second once sides are ``exchanged``. ``place``
    says which environment of the project's matrix is meant.
    """

    project: Project
    place: int = 0
    exchanged: bool = False

    @property
    def folder(self) -> Path:
        """All of it."""
        return self.project.work_dir / "gate"

    @cached_property
    def environments(self) -> tuple[Any, Any]:
        """Both, as asv knows them, not made yet; the second takes what was built in the first."""
        one, two = map(self._environment, ENVIRONMENTS)
        two._cache = one._cache
        return one, two

    @cached_property
    def builder(self) -> Any:  # noqa: ANN401 - asv has no types
        """The first environment, as one where asv builds and keeps a commit, and installs none."""
        nothing: list[str] = []
        builder = self._environment(
            ENVIRONMENTS[0], install_command=nothing, uninstall_command=nothing
        )
        builder._cache = self.environments[0]._cache
        return builder

    def _environment(self, name: str, **changes: object) -> Any:  # noqa: ANN401 - asv has no types
        folder = self.folder / "envs" / _digest(self.project) / name
        kept = max(KEPT_BUILDS, int(self.project.conf.get("build_cache_size", 0)))
        changes |= {"env_dir": str(folder), "build_cache_size": kept}
        return environments(self.project, **changes)[self.place]

    @property
    def name(self) -> str:
        """What asv calls the environment, by its Python and packages."""
        return str(self.environments[0].name)

    def environment(self, side: SideName) -> Any:  # noqa: ANN401 - asv has no types
        """A side's environment, as asv knows it."""
        return self.environments[SIDES.index(side) ^ self.exchanged]

    def python(self, side: SideName) -> Path:
        """The interpreter of a side's environment."""
        return Path(self.environment(side)._path, "bin", "python")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else measures here inside: two would build in one place, and slow each other.

        Raises ``UserError`` if someone does. What killed runs have left is cleared away.
        """
        self.project.make_work_dir()
        self.folder.mkdir(exist_ok=True)
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


def prepare(workshop: Workshop, sides: Mapping[SideName, Side]) -> dict[SideName, Installed]:
    """Bring both environments up to date, and install each side; what is installed then.

    Raises ``UserError`` if an environment can't be made, or a commit not be built or installed.
    """
    _forget_others(workshop)
    own = environments(workshop.project)[workshop.place]
    with at_work(workshop.project, "no virtual environment can be made"):
        for source, environment in zip(
            (own, workshop.environments[0]), workshop.environments, strict=True
        ):
            if source.check_presence() and not environment.check_presence():
                copy_environment(Path(source._path), Path(environment._path))
            environment.create()
    for side in sides.values():
        _install(workshop, workshop.builder, side)
    return _install_both(workshop, sides)


def exchange(
    workshop: Workshop, sides: Mapping[SideName, Side]
) -> tuple[Workshop, dict[SideName, Installed]]:
    """Install each side anew, in the other's environment. Returns where they are now, and what."""
    exchanged = replace(workshop, exchanged=not workshop.exchanged)
    return exchanged, _install_both(exchanged, sides)


def copy_environment(made: Path, to: Path) -> None:
    """Make an environment of another, with its own path in its scripts: a second or two."""
    shutil.rmtree(to, ignore_errors=True)

    def left_out(folder: str, names: list[str]) -> set[str]:
        return NOT_COPIED & {*names} if Path(folder) == made else set()

    shutil.copytree(made, to, symlinks=True, ignore=left_out)
    for path in (to / "pyvenv.cfg", *(to / "bin").iterdir()):
        if path.is_file() and not path.is_symlink():
            text = path.read_bytes()
            path.write_bytes(text.replace(str(made).encode(), str(to).encode()))


def _install_both(workshop: Workshop, sides: Mapping[SideName, Side]) -> dict[SideName, Installed]:
    found = {}
    for name, side in sides.items():
        environment = workshop.environment(name)
        _install(workshop, environment, side)
        with at_work(workshop.project, f"what is installed of the {name} can't be read"):
            found[name] = installed(environment, side.declared.measured, workshop.project)
    return found


def _install(workshop: Workshop, environment: Any, side: Side) -> None:  # noqa: ANN401 - asv has no types
    """Build a commit, unless asv has kept a build of it, and install it, whatever was there.

    In the workshop's ``builder`` it is built alone.
    """
    conf = configuration(workshop.project)
    complaint = f"commit {side.commit[:10]} ({side.facts.ref}) can't be built and installed"
    with at_work(workshop.project, complaint):
        environment._set_installed_commit_hash(None)
        environment.install_project(conf, get_repo(conf), side.commit)


def _forget_others(workshop: Workshop) -> None:
    """Remove environments of another compiler, other flags or another Python than today's."""
    for folder in (workshop.folder / "envs").glob("*"):
        if folder.name != _digest(workshop.project):
            shutil.rmtree(folder, ignore_errors=True)


def _digest(project: Project) -> str:
    """What a build depends on and asv's name of the environment does not tell."""
    made_of = [
        *(str(project.conf[f"{step}_command"]) for step in ("build", "install", "uninstall")),
        *(f"{name}={os.environ.get(name, '')}" for name in BUILD_VARIABLES),
        sys.version,
        platform.machine(),
        _compiler(),
    ]
    return hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:8]


def extract(repo: Path, commit: str, path: str, to: Path) -> None:
    """A commit's files below ``path``, as git archives them. ``UserError`` if it has none."""
    ran = subprocess.run(
        ["git", "-C", str(repo), "archive", commit, "--", path], capture_output=True
    )
    if ran.returncode != 0:
        raise UserError(f"commit {commit[:10]} must have {path}, and has not: name another")
    try:
        with tarfile.open(fileobj=BytesIO(ran.stdout)) as archive:
            # Python before 3.11.4 has no filters, and takes links as they are.
            archive.extraction_filter = _no_outer_links
            archive.extractall(to)
    except tarfile.TarError as error:
        raise UserError(f"commit {commit[:10]} can't be unpacked: {error}") from None


def _no_outer_links(member: tarfile.TarInfo, to: str) -> tarfile.TarInfo | None:
    """The filter for data, but that a link which leads elsewhere is left out, not all refused."""
    try:
        return tarfile.data_filter(member, to)
    except (tarfile.AbsoluteLinkError, tarfile.LinkOutsideDestinationError):
        return None


def _compiler() -> str:
    """What the C compiler that setuptools takes says of itself; "" where there is none."""
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    try:
        ran = subprocess.run([*shlex.split(command), "--version"], capture_output=True, text=True)
    except OSError:
        return ""
    return ran.stdout
