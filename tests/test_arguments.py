"""Bad values for every option of every command: one line, exit code 2, nothing begun or written.

Options are found by walking the commands, so that a new one is tried as well. Nothing is measured:
the functions where work begins are replaced by ones that say so.
"""

import contextlib
import importlib
import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import called
from tiny import git, make_repo

from hbitmap_bench.base.printable import MOST_SHOWN, printable
from hbitmap_bench.base.sizes import parse_size
from hbitmap_bench.cli import cli
from hbitmap_bench.qemu_commits.writing import NEEDED
from hbitmap_bench.reproduction.published import published_cells
from hbitmap_bench.reproduction.records import Reproduction

WORK = {
    "hbitmap_bench.reproduction.main": ("measure_model", "measure_qemu"),
    "hbitmap_bench.field.predict.main": ("calibrate_host", "probe"),
    "hbitmap_bench.field.profile.main": ("_of_builds", "_in_process"),
    "hbitmap_bench.field.diagnose.main": ("_watch",),
    "hbitmap_bench.tournament.main": ("play",),
    "hbitmap_bench.commits.bench": ("_run_asv",),
    "hbitmap_bench.commits.gate.main": ("measure",),
    "hbitmap_bench.commits.gate.confirm": ("confirm",),
}
"""Where the work of a command begins."""

STARTED = "measuring has begun"

LONG = "9" * 5000
SIZES = ["", " ", "0", "-1", "10X", "1.5", "0.3K", "1e3", "nan", "0x10", str(2**63), "8192P", LONG]
SIZES += ["1\0", "1\n2", "K"]
REGEXES = ["(", "[", "*", "a{2,1}", "a{99999999999}", "(" * 5000, "(?P<n>a)(?P<n>b)", "\n("]
BUILDS = ["", "=", "=x", "x=", "@1T", "x=missing", "missing", "x=folder", "x=file", "x=/bin/false"]
BUILDS += ["x=/bin/false@0", "n" * 5000, "x=a\nb", f"x={'n' * 5000}", f"{'n' * 5000}@1T", "x=a\0b"]

OWN = {
    "machine": ["", "..", "a/b", "a b", "n" * 65, "a\nb"],
    "profile": ["", "quik", "n" * 5000],
    "names": ["", "fastest", "n" * 5000, "a\nb"],
    "workloads": ["", "empty", "n" * 5000],
    "base": ["", "missing", "--all", "n" * 5000],
    "head": ["", "missing"],
    "commits": ["", "missing..HEAD", "--all", "n" * 5000],
    "env_a": ["", "=", "env:=1", "python=", "n" * 5000, "a\nb"],
    "env_b": ["", "numpy"],
    "domain": [""],
}
"""Of options whose texts mean something to one command alone."""

MORE = {
    ("reproduce", "cluster_sizes"): ["100K", "256", "4M"],
    ("reproduce", "copy_cluster_size"): ["100K", "4K", "2G"],
    ("reproduce", "l2_slice"): ["3K", "256", "128K"],
    ("reproduce", "sizes"): ["8191P"],
    ("reproduce", "qemu_sizes"): ["8191P"],
    ("releases", "sizes"): ["8191P"],
    ("predict", "sizes"): ["8191P"],
    ("predict", "cluster_sizes"): ["100K", "256", "4M"],
    ("profile", "size"): ["8191P"],
    ("profile", "cluster_size"): ["100K"],
    ("tournament", "sizes"): ["1G", "2050M", "17T"],
    ("qemu-project", "out"): ["repo/within", "a b", "folder"],
}
"""Sizes and places that a command refuses by a rule of its own."""


class Option(NamedTuple):
    command: str
    parameter: click.Parameter

    def __str__(self):
        return f"{self.command} {self.parameter.opts[0]}"

    def given(self, value):
        """The command line that has this option alone, and what it needs beside it."""
        name = self.parameter.name
        if isinstance(self.parameter, click.Argument):
            before, after = ARGUMENTS.get((self.command, name), ((), ()))
            words = ["--", *before, value, *after]
        else:
            words = [f"{self.parameter.opts[0]}={value}", *OTHERS.get(self.command, [])]
        return [self.command, *NEEDS.get((self.command, name), ()), *words]


DAEMON = str(shutil.which("qemu-storage-daemon"))
OTHERS = {
    "releases": [f"a={DAEMON}", f"b={DAEMON}"],
    "compare": ["a.json", "b.json"],
    "judge": ["folder"],
}
"""Arguments that a command needs beside an option."""

ARGUMENTS = {
    ("compare", "a"): ((), ("b.json",)),
    ("compare", "b"): (("a.json",), ()),
    ("releases", "builds"): ((), (f"b={DAEMON}",)),
}
"""Arguments before and after one."""

NEEDS = {
    **{("predict", name): ["--size=1G"] for name in ("cluster_sizes", "build", "json_path")},
    **{("profile", name): ["--no-qemu"] for name in ("size", "figure", "json_path")},
    **{("diagnose", name): [f"--pid={os.getpid()}"] for name in ("seconds", "json_path")},
    ("diagnose", "metrics_path"): [f"--pid={os.getpid()}"],
    ("predict", "csv_path"): ["--fleet=folder"],
    **{("qemu-project", name): ["--repo=repo"] for name in ("out", "jobs", "limit_s")},
    ("qemu-project", "builds_bytes"): ["--repo=repo"],
    **{("reproduce", name): ["--no-qemu"] for name in ("out_dir", "json_path", "seed")},
    **{("reproduce", name): ["--no-qemu"] for name in ("sizes", "cluster_sizes", "l2_slice")},
    ("reproduce", "copy_cluster_size"): ["--no-qemu"],
}
"""Options that a command needs beside one."""

OPTIONS = [
    Option(name, parameter)
    for name, command in cli.commands.items()
    for parameter in command.params
    if not getattr(parameter, "is_flag", False)
]


def is_size(option):
    return getattr(option.parameter.type, "func", None) is parse_size


def is_number(option):
    return isinstance(option.parameter.type, (type(click.INT), type(click.FLOAT)))


def bad_values(option):
    kind, metavar = option.parameter.type, option.parameter.metavar or ""
    more = MORE.get((option.command, option.parameter.name), [])
    if is_size(option):
        return SIZES + more
    if is_number(option):
        return numbers(kind)
    if isinstance(kind, click.Path):
        return places(kind) + more
    if isinstance(kind, click.Choice):
        return ["", "nothing", "n" * 5000, "a\nb"]
    if metavar == "REGEX":
        return REGEXES
    return BUILDS if "PATH" in metavar else OWN.get(option.parameter.name, [])


def numbers(kind):
    found = ["", "10X", "1 2", "1\0", "one\ntwo", "1e", "n" * 5000]
    if getattr(kind, "min", None) is not None:
        found += [str(kind.min - 1), "-1", str(-(2**63) - 1), "-inf"]
    if getattr(kind, "max", None) is not None:
        found += [str(kind.max + 1), str(2**63), LONG, "inf"]
    return [*found, "nan"]


def places(kind):
    """Names that lead nowhere, root's included, and files of the wrong kind."""
    found = ["", "a\0b", "file/below", "n" * 300, "n" * 5000, "/proc/none/there", "loop/below"]
    if not kind.dir_okay:
        found += ["folder", "folder\nof lines"]
    if not kind.file_okay:
        found += ["file", "loop"]
    if kind.exists or (kind.dir_okay and kind.file_okay):
        found += ["missing", "missing/below", "loop"]
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project of asv's with one commit, and around its files what may be named by mistake."""
    folder = tmp_path_factory.mktemp("arguments") / "project"
    make_repo(folder, {})
    (folder / "file").write_text("in the way")
    (folder / "folder").mkdir()
    (folder / "folder\nof lines").mkdir()
    (folder / "loop").symlink_to("loop")
    text = Reproduction.of_this_run(published_cells(), ()).to_json()
    for name in ("a.json", "b.json"):
        (folder / name).write_text(text)
    qemu = folder / "repo"
    for name in NEEDED:
        (qemu / name).parent.mkdir(parents=True, exist_ok=True)
        (qemu / name).touch()
    git(qemu, "init", "-q")
    git(qemu, "add", ".")
    git(qemu, "commit", "-q", "-m", "QEMU's files, all empty")
    (folder / ".git" / "info" / "exclude").write_text("*\n")
    return folder


@pytest.fixture(scope="module", autouse=True)
def nothing_is_measured():
    def start(*_, **__):
        raise AssertionError(STARTED)

    with pytest.MonkeyPatch.context() as patch:
        for module, names in WORK.items():
            for name in names:
                patch.setattr(importlib.import_module(module), name, start)
        patch.delenv("HBITMAP_BENCH_MACHINE", raising=False)
        yield


def files(folder):
    """Every file and folder, git's own left out, with what changes when it is written."""
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        for name in (*folders, *names):
            path = Path(place, name)
            about = path.lstat()
            found[path] = about.st_size, about.st_mtime_ns if name in names else 0
    return found


def refuse(option, value, project):
    before = files(project.parent)
    done = called(*option.given(value), cwd=project)
    assert done.code == 2, (str(option), value[:40], done)
    assert done.out in ("", "Reading results\n")  # of publish, which shows how far it is
    (line,) = done.errors.splitlines()
    assert line.startswith("hbitmap-bench: ")
    assert len(line) < MOST_SHOWN + 100
    rule, colon, remedy = line.removeprefix("hbitmap-bench: ").partition(": ")
    assert rule, line
    assert colon, line
    assert remedy, line
    assert "the system refused" not in line, "which gives no remedy"
    assert is_named(value, line), line
    assert files(project.parent) == before


def is_named(value, line):
    """Whether a value or a part of it is in a line, whatever quotes are around; numbers as such."""
    parts = [plain(part)[:20] for part in re.split("[=@/]", value)]
    for number in (int, float):
        with contextlib.suppress(ValueError):
            parts.append(str(number(value)))
    return not any(parts) or any(part in plain(line) for part in parts if part)


def plain(text):
    return re.sub(r"[\\'\"]", "", printable(text.strip()))


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_known_bad_values_are_refused(option, project):
    for value in bad_values(option):
        refuse(option, value, project)


def test_every_kind_of_option_is_tried():
    untried = {str(option) for option in OPTIONS if not bad_values(option)}
    assert untried == set()


SIZE = re.compile(r"\s*\d+(\.\d+)?[KMGTP]?(I?B)?\s*", re.IGNORECASE)
texts = st.text(max_size=9) | st.from_regex(r"\A-?[0-9.]{1,30}[A-Za-z%]{0,3}\Z")
not_sizes = texts.filter(lambda text: not SIZE.fullmatch(text))
too_large = st.integers(2**63, 2**80).map(str) | st.integers(8192, 10**12).map("{}P".format)


@settings(max_examples=150)
@given(st.sampled_from([one for one in OPTIONS if is_size(one)]), not_sizes | too_large)
def test_what_is_no_size_is_refused(project, option, value):
    refuse(option, value, project)


def is_valid(kind, text):
    try:
        kind.convert(text, None, None)
    except click.UsageError:
        return False
    return True


@settings(max_examples=150)
@given(st.data())
def test_what_is_no_number_is_refused(project, data):
    option = data.draw(st.sampled_from([one for one in OPTIONS if is_number(one)]))
    kind = option.parameter.type
    refuse(option, data.draw(texts.filter(lambda text: not is_valid(kind, text))), project)


names = st.sampled_from(["folder", "file", "loop", "missing", "a.json", "repo", "HEAD", "deny"])
words = st.sampled_from(["1", "0", "-1", "64K", "10T", "1G", "x=y", "-", "--", "nan", "quick"])
LOCAL = st.text(st.characters(blacklist_characters="/.", blacklist_categories=["Cs"]), max_size=5)


@settings(max_examples=80)
@given(st.data())
def test_any_command_line_gets_a_line_or_an_answer(project, data):
    """Whatever is given, valid or not: no mistake of ours, but that measuring would begin."""
    command = data.draw(st.sampled_from(sorted(cli.commands)))
    options = [one.parameter for one in OPTIONS if one.command == command]
    value = names | words | LOCAL
    line = [command]
    for option in data.draw(st.lists(st.sampled_from(options), max_size=3)):
        flag = [] if isinstance(option, click.Argument) else [option.opts[0]]
        if option.name != "domain":  # asks libvirt, which takes its time
            line += [*flag, data.draw(value)]
    done = called(*line, cwd=project)
    assert done.code in (0, 1, 2)
    if STARTED not in done.errors:
        assert "a mistake of its own" not in done.errors, done.errors
        assert "Traceback" not in done.errors
