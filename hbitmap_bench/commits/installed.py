"""What is installed in an environment: the files that a sample is measured on, by git blob id.

By default those of the distributions that asv has installed from the project's own build; where
the project declares files, those below the environment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.project import Project
from hbitmap_bench.commits.project_file import FILE, Measured
from hbitmap_bench.commits.sources import COMPILED, blob_id

SCRIPT: Final = Path(__file__).with_name("installed_files.py")
"""Run by the environment's own Python, which may be another version; it needs nothing else."""

SOURCES: Final = (".py", ".pyi", *COMPILED)


@dataclass(frozen=True)
class Installed:
    """Files by their paths in a folder of an environment, with the blob ids that they had."""

    folder: Path
    files: Mapping[str, str]

    def changed(self) -> str | None:
        """A file that is not as it was, if there is one. Reads all of them."""
        for name, blob in self.files.items():
            try:
                if blob_id((self.folder / name).read_bytes()) != blob:
                    return name
            except OSError:
                return name
        return None


def installed(environment: Any, measured: Measured, project: Project) -> Installed:  # noqa: ANN401 - asv has no types
    """What an environment of asv's has installed of a project.

    Raises ``UserError`` where that can't be told, and asv's errors.
    """
    command = ["-I", str(SCRIPT), str(project.conf["project"]), *measured.files]
    told = json.loads(environment.run(command, cwd="/"))
    if told["wrong"]:
        raise UserError(f"{told['wrong']}: name what is built in [measured] files of {FILE}")
    return Installed(Path(told["folder"]), _of_package(told["files"], measured.imports))


def _of_package(files: Mapping[str, str], package: str | None) -> dict[str, str]:
    """The files of a package that is imported, without what it is compiled from; else all."""
    if package is None:
        return dict(files)
    return {
        name: blob
        for name, blob in files.items()
        if name.startswith(f"{package}/") and name.endswith(SOURCES)
    }
