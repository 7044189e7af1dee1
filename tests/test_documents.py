"""What the texts promise: links that lead to files, commands and options that are there."""

import re
import shlex
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path

import click
import pytest

from hbitmap_bench.cli import cli

ROOT = Path(__file__).parent.parent
TEXTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)[^)]*\)")
COMMAND = re.compile(r"^ +(?:\S*/)?hbitmap-bench (\S.*)$", re.M)


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(text):
    links = LINK.findall(text.read_text(encoding="utf-8"))
    assert [link for link in links if not (text.parent / link).exists()] == []


def commands():
    for text in TEXTS:
        for line in COMMAND.findall(text.read_text(encoding="utf-8").replace("\\\n", " ")):
            yield pytest.param(line, id=f"{text.name}-{line}")


@pytest.mark.parametrize("line", [*commands()])
def test_every_command_has_the_options_that_a_text_gives_it(line):
    line = re.sub(r"\$\([^)]*\)", "", line)
    name, *words = shlex.split(line, comments=True)
    if name.startswith("--"):
        return
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known | {"--help"}


def test_every_environment_of_tox_that_a_text_names_is_there():
    tox = ConfigParser()
    tox.read(ROOT / "tox.ini")
    named = {
        name
        for text in TEXTS
        for names in re.findall(r"tox -e ([\w,-]+)", text.read_text(encoding="utf-8"))
        for name in names.split(",")
    }
    assert {f"testenv:{name}" for name in named} <= set(tox.sections())


def test_the_readme_is_short_and_names_every_page():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) < 120
    pages = {path.name for path in TEXTS[1:]}
    assert {name for name in pages if f"{name})" not in readme} == set()


def test_rooms_are_those_that_contributing_names():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = declared["tool"]["setuptools"]["packages"]
    rooms = {name.split(".")[1] for name in packages if name.startswith("hbitmap_bench.")}
    told = set(re.findall(r"`hbitmap_bench/(\w+)/`", (ROOT / "CONTRIBUTING.md").read_text()))
    assert told == rooms


def test_pytest_as_a_module_takes_the_installed_package():
    """Of this folder the bitmap is not compiled; ``python -m`` puts it first."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only"]
    ran = subprocess.run(
        [*command, "tests/impl/test_access_check.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
