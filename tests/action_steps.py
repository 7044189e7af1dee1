"""The action's own steps, run as GitHub's runner does: in bash, with their variables and outputs.

    runner = Runner(checkout, folder, machine="test")
    runner.run("Measure and judge")
    runner.steps["gate"]["outputs"]["exit-code"]

The steps that are actions of others are not run, nor is the one that installs: the command is the
one that tests call.
"""

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
EXPRESSION = re.compile(r"\$\{\{ (.*?) \}\}")


def told(text):
    """Outputs as a step writes them, a line each or up to a line that ends them."""
    lines = iter(text.splitlines())
    for line in lines:
        if found := re.fullmatch(r"([\w-]+)<<(\w+)", line):
            yield found[1], "\n".join(itertools.takewhile(lambda one: one != found[2], lines))
        else:
            yield line.split("=", 1)


class Runner:
    """One run of the action in a checkout; ``inputs`` replace its defaults."""

    def __init__(self, checkout, folder, api="http://127.0.0.1:9", **inputs):
        self.checkout, self.temp, self.steps = checkout, folder / "temp", {}
        self.given = {name: one["default"] for name, one in ACTION["inputs"].items()}
        self.given |= {name.replace("_", "-"): value for name, value in inputs.items()}
        self.github = {
            "event": {"pull_request": {"number": 7}}, "token": "secret", "run_id": 1,
            "server_url": "https://github.example", "repository": "some/project",
        }  # fmt: skip
        self.variables = {
            "RUNNER_TEMP": str(self.temp), "RUNNER_OS": "Linux", "RUNNER_ARCH": "X64",
            "GITHUB_OUTPUT": str(folder / "output"), "GITHUB_API_URL": api,
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "GITHUB_REPOSITORY": "some/project",
        }  # fmt: skip
        programs = self.temp / "hbitmap-bench" / "bin"
        programs.mkdir(parents=True)
        installed = shutil.which("hbitmap-bench", path=Path(sys.executable).parent)
        assert installed, "tests call the installed command"
        (programs / "hbitmap-bench").symlink_to(installed)

    @property
    def report(self):
        """The verdict's file."""
        return self.temp / "hbitmap-bench" / "gate.md"

    def summary(self):
        """What the job says of itself."""
        return Path(self.variables["GITHUB_STEP_SUMMARY"]).read_text()

    def output(self, step, name):
        """What a step gave, or nothing."""
        return self.steps.get(step, {}).get("outputs", {}).get(name, "")

    def run(self, name):
        """Run a step; what it printed, and its exit code."""
        step, outputs = STEPS[name], Path(self.variables["GITHUB_OUTPUT"])
        outputs.write_text("")
        own = {key: self.filled(value) for key, value in step.get("env", {}).items()}
        ran = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.checkout, env={**os.environ, **self.variables, **own},
            capture_output=True, text=True,
        )  # fmt: skip
        self.steps[step.get("id", name)] = {"outputs": dict(told(outputs.read_text()))}
        return ran

    def filled(self, text):
        """Text with expressions replaced; an output that no step gave is empty."""
        return EXPRESSION.sub(lambda found: str(self._value(found[1])), text)

    def _value(self, path):
        context, *names = path.split(".")
        if context == "steps":
            return self.output(names[0], names[2])
        value = {"inputs": self.given, "github": self.github}[context]
        for name in names:
            value = value[name]
        return self.filled(value) if isinstance(value, str) else value
