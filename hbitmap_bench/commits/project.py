"""A checkout with asv's configuration: where it keeps what, and what its commits measure."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asv import util

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.project_file import ProjectFile, read


@dataclass(frozen=True)
class Project:
    """A checkout with asv's configuration. All paths are absolute."""

    root: Path
    conf: Mapping[str, object]
    declared: ProjectFile

    @property
    def results_dir(self) -> Path:
        """Where results are kept."""
        return self.root / str(self.conf["results_dir"])

    @property
    def env_dir(self) -> Path:
        """Where asv keeps environments and wheels."""
        return self.root / str(self.conf["env_dir"])


def find_project(folder: Path) -> Project:
    """The project that a folder is in. Raises ``UserError`` where there is none."""
    try:
        root = git(folder, "rev-parse", "--show-toplevel")
    except UserError:
        raise UserError(
            f"benchmarks measure commits, and {folder} is in no git clone: go to one"
        ) from None
    path = Path(root, "asv.conf.json")
    if not path.exists():
        raise UserError(f"benchmarks need asv.conf.json, and {root} has none: go to a clone")
    try:
        conf = util.load_json(str(path), js_comments=True)
    except (ValueError, util.UserError) as error:
        raise UserError(f"{path} must be JSON, and can't be read: {error}") from None
    return Project(Path(root), conf, read(Path(root)))


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
