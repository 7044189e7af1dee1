"""Two virtual environments, one for each side, with that commit installed, as asv makes them.

Both have paths of one length and the same packages: the second is a copy of the first, and that one
of asv's own, where there is one. They are kept; a new commit costs building and installing it.
Commits are built in the first one alone, so that no path differs in what is built, and both install
from asv's cache of builds.

Still the two are not one: where the copies of a file lie in memory, for as long as they lie there,
can make one some percent slower, in every round alike. So the sides ``exchange`` environments.

Where two ``variants`` are compared the environments themselves differ, and can't be exchanged: each
of the two has two copies of its own, and its own cache of builds. The sides exchange places then,
so that either is measured in its first copy and in its second. What belongs to a path belongs to
neither side; what belongs to one copy of a file counts for half of a side's rounds, and no longer
for both sides alike.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
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
from hbitmap_bench.commits.built_by import built_by
from hbitmap_bench.commits.gate.sides import Side
from hbitmap_bench.commits.gate.variants import Variant, resolved
from hbitmap_bench.commits.gate.verdict import EnvironmentFacts
from hbitmap_bench.commits.installed import Installed, installed
from hbitmap_bench.commits.project import Project

SideName = Literal["base", "head"]
SIDES: Final[tuple[SideName, SideName]] = ("base", "head")

ENVIRONMENTS: Final = ("one", "two")

UNFINISHED: Final = "unfinished-"
"""What folders of runs begin with while they are measured."""

VARIANT: Final = "variant-"
"""What folders of environments begin with that are compared with others."""

NOT_COPIED: Final = {"project", "asv-build-cache", INSTALLED}


@dataclass(frozen=True)
class Workshop:
    """Where environments, builds and runs are kept: beside asv's own environments.

    The base is in the first environment, and in the second once sides are ``exchanged``. ``place``
    says which environment of the project's matrix is meant, unless two ``variants`` are compared.
    """

    project: Project
    place: int = 0
    exchanged: bool = False
    variants: tuple[Variant, Variant] | None = None

    @property
    def folder(self) -> Path:
        """All of it."""
        return self.project.work_dir / "gate"

    def variant(self, side: SideName) -> Variant | None:
        """What a side is of two that are compared."""
        return self.variants[SIDES.index(side)] if self.variants else None

    def called(self, side: SideName) -> str:
        """A side in a sentence."""
        return str(self.variant(side) or f"the {side}")

    @cached_property
    def copies(self) -> dict[SideName, tuple[Any, Any]]:
        """Both environments, as asv knows them, not made yet; of variants, both of each side.

        The second takes what was built in the first.
        """
        if self.variants:
            return {side: self._copies(side) for side in SIDES}
        return dict.fromkeys(SIDES, self._copies("base"))

    def builder(self, side: SideName) -> Any:  # noqa: ANN401 - asv has no types
        """The first environment, as one where asv builds and keeps a commit, and installs none."""
        nothing: list[str] = []
        builder = self._environment(
            side, ENVIRONMENTS[0], install_command=nothing, uninstall_command=nothing
        )
        builder._cache = self.copies[side][0]._cache
        return builder

    def own(self, side: SideName) -> Any:  # noqa: ANN401 - asv has no types
        """Asv's own environment of the same packages, which may be made; None if it has none."""
        if variant := self.variant(side):
            return environments(variant.configured)[0] if variant.configured else None
        return environments(self.project)[self.place]

    def folder_of(self, side: SideName) -> Path:
        """Where a side's environments are, which depends on all that a build depends on."""
        return self.folder / "envs" / _digest(self.project, self.variant(side))

    def _copies(self, side: SideName) -> tuple[Any, Any]:
        one, two = (self._environment(side, name) for name in ENVIRONMENTS)
        two._cache = one._cache
        return one, two

    def _environment(self, side: SideName, name: str, **changes: object) -> Any:  # noqa: ANN401 - asv has no types
        changes["env_dir"] = str(self.folder_of(side) / name)
        variant = self.variant(side)
        project, place = (variant.project, 0) if variant else (self.project, self.place)
        return environments(project, **changes)[place]

    @property
    def name(self) -> str:
        """What asv calls the environment, by its Python and packages; of variants, that of A."""
        return str(self.copies["base"][0].name)

    def environment(self, side: SideName) -> Any:  # noqa: ANN401 - asv has no types
        """A side's environment, as asv knows it."""
        return self.copies[side][SIDES.index(side) ^ self.exchanged]

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
    for name in SIDES if workshop.variants else SIDES[:1]:
        variant = workshop.variant(name)
        made = f"{variant} can't be made" if variant else "no virtual environment can be made"
        with at_work(workshop.project, made):
            _make(workshop, name)
    for name, side in sides.items():
        _install(workshop, name, workshop.builder(name), side)
    return _install_both(workshop, sides)


def _make(workshop: Workshop, side: SideName) -> None:
    """Make a side's copies, the first of asv's own environment, if there is one."""
    source = workshop.own(side)
    for environment in workshop.copies[side]:
        if source and source.check_presence() and not environment.check_presence():
            copy_environment(Path(source._path), Path(environment._path))
            environment.save_info_file(environment._path)  # variables may differ
        environment.create()
        source = environment


def compared(
    workshop: Workshop, packages: Mapping[SideName, Installed]
) -> dict[SideName, EnvironmentFacts]:
    """What the two variants have come to be.

    Raises ``UserError`` where that is one and the same, or not what was asked for.
    """
    found = {}
    for name, variant in zip(SIDES, workshop.variants or (), strict=True):
        with at_work(workshop.project, f"what {variant} is can't be read"):
            found[name] = resolved(variant, workshop.environment(name))
    base, head = found["base"], found["head"]
    if packages["base"].files == packages["head"].files and base == replace(
        head, name=base.name, options=base.options
    ):
        raise UserError(
            f"two environments are compared, and A and B have turned out to be the same (Python "
            f"{base.python}, packages, variables, installed files): name another version or value"
        )
    return found


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
        _install(workshop, name, environment, side)
        with at_work(
            workshop.project, f"what is installed of {workshop.called(name)} can't be read"
        ):
            found[name] = installed(environment, side.declared.measured, workshop.project)
    return found


def _install(workshop: Workshop, name: SideName, environment: Any, side: Side) -> None:  # noqa: ANN401 - asv has no types
    """Build a commit, unless asv has kept a build of it, and install it, whatever was there.

    In the workshop's ``builder`` it is built alone.
    """
    conf = configuration(workshop.project)
    where = f" in {workshop.called(name)}" if workshop.variants else ""
    complaint = f"commit {side.commit[:10]} ({side.facts.ref}) can't be built and installed{where}"
    with at_work(workshop.project, complaint):
        environment._set_installed_commit_hash(None)
        environment.install_project(conf, get_repo(conf), side.commit)


def _forget_others(workshop: Workshop) -> None:
    """Remove environments of another compiler, other flags or another Python than today's.

    Of variants, those of other ones; the project's own stay beside them, and the other way round.
    """
    kept = {workshop.folder_of(side).name for side in SIDES}
    for folder in (workshop.folder / "envs").glob("*"):
        is_variant = folder.name.startswith(VARIANT)
        if is_variant == bool(workshop.variants) and folder.name not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def _digest(project: Project, variant: Variant | None) -> str:
    """What a build depends on and asv's name of the environment does not tell.

    Of a variant all that it is made of: asv's name leaves requirements out that it has by itself.
    """
    variables = {**os.environ, **(variant.variables if variant else {})}
    *flags, compiler = built_by(variables)
    made_of = [
        *(str(project.conf[f"{step}_command"]) for step in ("build", "install", "uninstall")),
        *flags,
        sys.version,
        platform.machine(),
        compiler,
        *([repr([variant.options, project.conf["matrix"]])] if variant else []),
    ]
    digest = hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:8]
    return f"{VARIANT}{digest}" if variant else digest


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
