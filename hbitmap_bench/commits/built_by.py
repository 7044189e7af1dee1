"""By what commits are built: asv keeps a build by its commit alone."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from hbitmap_bench.base.output import write_atomic
from hbitmap_bench.commits.project import Project

VARIABLES: Final = ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS", "LDSHARED", "SOURCE_DATE_EPOCH")
"""What changes the compiled code without changing the sources."""

MARK: Final = "built-by.txt"
"""Beside asv's environments: by what its builds were made that are kept."""


def built_by(variables: Mapping[str, str]) -> list[str]:
    """Flags, and what the C compiler calls itself; that is ``cc`` where none is named."""
    flags = [f"{name}={variables.get(name, '')}" for name in VARIABLES]
    return [*flags, _compiler(variables.get("CC"))]


def forget_other_builds(project: Project, made: Iterable[Any]) -> None:
    """Remove asv's builds that another compiler, or other flags, have made.

    ``made`` are the project's environments. What is installed there is installed anew.
    """
    mark = project.make_work_dir() / MARK
    now = "\n".join(built_by(os.environ)) + "\n"
    if mark.exists() and mark.read_text() != now:
        for environment in made:
            shutil.rmtree(environment._cache._path, ignore_errors=True)
            if Path(environment._path).is_dir():
                environment._set_installed_commit_hash(None)
    write_atomic(mark, now.encode())


def _compiler(named: str | None) -> str:
    """What the C compiler that setuptools takes says of itself; "" where there is none."""
    command = named or sysconfig.get_config_var("CC") or "cc"
    try:
        ran = subprocess.run([*shlex.split(command), "--version"], capture_output=True, text=True)
    except OSError:
        return ""
    return ran.stdout
