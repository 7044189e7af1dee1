"""A project that asv measures: its configuration, the repository it measures, what it declares."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from asv import util
from asv.config import Config
from asv.plugins.git import Git

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.reading import MOST_WRITTEN_BYTES, read_text
from hbitmap_bench.commits.project_file import ProjectFile, read

CONFIGURATIONS: Final = ("asv.conf.json", "asv.conf.jsonc")


@dataclass(frozen=True)
class Project:
    """A project that asv measures. All paths are absolute.

    ``folder`` has the configuration, ``conf`` is what it says, asv's defaults filled in. ``root``
    is the repository whose commits are measured, perhaps a bare one; ``own`` says whether the
    configuration lies in it, so that commits have suites and the project's file of their own.
    """

    folder: Path
    root: Path
    own: bool
    conf: Mapping[str, Any]
    declared: ProjectFile

    @property
    def results_dir(self) -> Path:
        """Where results are kept."""
        return _normal(self.folder / str(self.conf["results_dir"]))

    @property
    def env_dir(self) -> Path:
        """Where asv keeps environments and wheels."""
        return _normal(self.folder / str(self.conf["env_dir"]))

    @property
    def work_dir(self) -> Path:
        """Where we keep what is ours: beside asv's environments, if they have a folder for it."""
        beside = self.env_dir.parent
        is_inside = beside != self.folder and beside.is_relative_to(self.folder)
        return beside if is_inside else self.env_dir / "hbitmap-bench"

    def make_work_dir(self) -> Path:
        """Make it, unseen by git."""
        folder = self.work_dir
        folder.mkdir(parents=True, exist_ok=True)
        top = folder if folder == self.env_dir.parent else self.env_dir
        if not (top / ".gitignore").exists():
            (top / ".gitignore").write_text("*\n")
        return folder

    @property
    def html_dir(self) -> Path:
        """Where pages are built."""
        return _normal(self.folder / str(self.conf["html_dir"]))

    @property
    def benchmark_dir(self) -> Path:
        """The suites, in the working tree."""
        return (self.folder / str(self.conf["benchmark_dir"])).resolve()

    def path_of(self, path: Path) -> str | None:
        """A path as the repository's commits have it; None for what lies outside of it."""
        if not self.own or not path.is_relative_to(self.root):
            return None
        return path.relative_to(self.root).as_posix()


def find_project(folder: Path) -> Project:
    """The project that a folder is in: asv's configuration is there, or further up in the clone.

    A remote ``repo`` is cloned beside asv's environments, and fetched anew. Raises ``UserError``
    where there is no configuration, or none that can be used.
    """
    path = configuration_path(folder)
    if path is None:
        if clone_of(folder) is None:
            raise UserError(
                f"benchmarks measure commits, and {folder} is in no git clone: go to one"
            )
        raise UserError(
            f"benchmarks need asv.conf.json, and {folder} and what is above it has none: go to its "
            "folder"
        )
    conf = _configuration(path)
    root = _repository(path.parent, conf)
    own = clone_of(path.parent) == root
    return Project(path.parent, root, own, conf, read(path.parent))


class Source(NamedTuple):
    """Stored results, the repository whose commits they are of, and what the project declares."""

    results_dir: Path
    root: Path
    declared: ProjectFile


def source_of(repo: Path, results_dir: Path | None) -> Source:
    """What is read in a folder; ``results_dir`` is needed where asv has no configuration there."""
    if results_dir is not None and configuration_path(repo) is None:
        return Source(results_dir, repo, read(repo))
    project = find_project(repo)
    return Source(results_dir or project.results_dir, project.root, project.declared)


def _normal(path: Path) -> Path:
    """Without ``..``, links left as they are."""
    return Path(os.path.normpath(path))


def configuration_path(folder: Path) -> Path | None:
    """The configuration of a folder: the nearest, up to the top of the clone that it is in."""
    folder = folder.resolve()
    top = clone_of(folder) or folder
    for place in (folder, *folder.parents):
        found = [place / name for name in CONFIGURATIONS if (place / name).exists()]
        if len(found) > 1:
            raise UserError(f"asv has one configuration, and {place} has two: remove one")
        if found:
            return found[0]
        if place == top:
            return None
    return None


def clone_of(folder: Path) -> Path | None:
    """The top of the clone that a folder is in, a bare repository itself; None without one."""
    try:
        if git(folder, "rev-parse", "--is-bare-repository") == "true":
            return Path(git(folder, "rev-parse", "--absolute-git-dir"))
        return Path(git(folder, "rev-parse", "--show-toplevel")).resolve()
    except UserError:
        return None


def _configuration(path: Path) -> dict[str, Any]:
    """What a file says, with asv's defaults for the rest. Raises ``UserError``."""
    try:
        read_text(path, MOST_WRITTEN_BYTES)  # asv reads a file of any size and depth
        told = util.load_json(str(path), js_comments=True)
        conf = Config.from_json(_of_its_types(dict(told)))
    except (OSError, ValueError, TypeError, RecursionError, util.UserError) as error:
        raise UserError(f"{path} must be asv's JSON, and is not ({error}): mend it") from None
    return {**vars(conf), "branches": [name for name in conf.branches if name]}


def _of_its_types(told: dict[str, Any]) -> dict[str, Any]:
    """What a configuration says. Raises ``TypeError`` where asv's default is of another type."""
    for key, default in {**vars(Config()), "repo": ""}.items():
        kind = (int, float) if isinstance(default, float) else type(default)
        if default is not None and key in told and not isinstance(told[key], kind):
            raise TypeError(f"{key} is {told[key]!r}")
    return told


def _repository(folder: Path, conf: Mapping[str, Any]) -> Path:
    """The repository that the configuration names; a mirror of it where it is remote."""
    repo = str(conf["repo"])
    if conf["dvcs"] not in (None, "git"):
        raise UserError(
            f"commits are git's, and asv.conf.json has dvcs {conf['dvcs']!r}: measure a git clone"
        )
    if (folder / repo).is_dir():
        found = clone_of(folder / repo)
        if found is None:
            raise UserError(
                f"repo of asv.conf.json must be a git repository, and {repo!r} is none: mend it"
            )
        return found
    name = f"mirror-{hashlib.sha256(repo.encode()).hexdigest()[:8]}"  # another one has its own
    mirror = folder / str(conf["env_dir"]) / name
    try:
        mirrored = Git(repo, str(mirror))
        mirrored.pull()
    except (util.ProcessError, util.UserError, OSError) as error:
        raise UserError(
            f"repo of asv.conf.json must be a git repository, and {repo!r} can't be cloned: {error}"
        ) from None
    return mirror.resolve()


def git(repo: Path, *arguments: str, env: dict[str, str] | None = None) -> str:
    """What git prints, without the last line's end; its complaint as a ``UserError``."""
    ran = subprocess.run(
        ["git", "-C", str(repo), *arguments],
        capture_output=True, text=True, errors="replace",
        env=None if env is None else {**os.environ, **env},
    )  # fmt: skip
    if ran.returncode != 0:
        said = ran.stderr.strip().splitlines() or ["it gave no reason"]
        raise UserError(f"git {arguments[0]} failed: {said[0]}")
    return ran.stdout.removesuffix("\n")  # a folder may have spaces in its name
