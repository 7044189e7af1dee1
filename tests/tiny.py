"""A repository of its own for tests: a small package, suites for it, and asv's configuration."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asv import util

from hbitmap_bench.commits.asv_library import environments
from hbitmap_bench.commits.gate.environments import copy_environment
from hbitmap_bench.commits.project import find_project

ROOT = Path(__file__).parent.parent
COMMAND = Path(sys.executable).with_name("hbitmap-bench")

SETUP = "from setuptools import setup\nsetup(name='tiny', packages=['hbitmap_impl'])\n"
PUT = """\
import shutil, sys, sysconfig, zipfile
place = sysconfig.get_path("purelib")
shutil.rmtree(f"{place}/hbitmap_impl", ignore_errors=True)
zipfile.ZipFile(sys.argv[1]).extractall(place)
"""
"""Installs a wheel, as pip does in ten times as long."""

DECLARED = """
[measured]
paths = ["hbitmap_impl", "setup.py", "setup.cfg"]
imports = "hbitmap_impl"
reviewed = "tests/golden/benchmarks.json"
"""


def git(repo: Path, *arguments: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(repo), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(repo: Path, files: dict[str, str], subject: str) -> str:
    for name, text in files.items():
        (repo / name).parent.mkdir(exist_ok=True)
        (repo / name).write_text(text)
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", subject)
    return git(repo, "rev-parse", "HEAD")


def make_repo(repo: Path, suites: dict[str, str], made: Path | None = None) -> None:
    """The first commit: the package reads 7 words; ``suites`` are modules of benchmarks.

    asv's environment is a copy of that of the repository ``made``, if one is given.
    """
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    files = {
        "asv.conf.json": json.dumps(configuration()),
        "setup.py": SETUP,
        "put.py": PUT,
        ".gitignore": ".asv/\n__pycache__/\nreports/html/\n",
        "hbitmap_impl/__init__.py": "",
        "hbitmap_impl/words.py": "WORDS = 7\n",
        "benchmarks/__init__.py": "",
        "benchmarks/common.py": (ROOT / "benchmarks" / "common.py").read_text(),
        "hbitmap-bench.toml": DECLARED,
        **{f"benchmarks/{name}.py": text for name, text in suites.items()},
    }
    commit(repo, files, "Begin")
    if made:
        copy_environment(Path(environment(made)._path), Path(environment(repo)._path))


def environment(repo: Path) -> Any:
    """asv's, whether it is made or not."""
    (found,) = environments(find_project(repo))
    return found


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def configuration() -> dict:
    """The project's own configuration, but for what a pure package does not need; and quicker."""
    conf = util.load_json(str(ROOT / "asv.conf.json"), js_comments=True)
    pinned = conf["matrix"]["req"]
    return {
        **conf,
        "project": "tiny",
        "build_command": ["python setup.py -q bdist_wheel -d {build_cache_dir}"],
        "install_command": ["python put.py {wheel_file}"],
        "matrix": {"req": {name: pinned[name] for name in ("setuptools", "pip+asv_runner")}},
    }


def bench(repo: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return _run(repo, "bench", *arguments)


def gate(repo: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return _run(repo, "gate", *arguments, **env)


def _run(repo: Path, command: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    words = [COMMAND, command, "--machine", "test", *arguments]
    variables = {**os.environ, **env}
    return subprocess.run(words, cwd=repo, capture_output=True, text=True, env=variables)


def run_folder(ran: subprocess.CompletedProcess[str]) -> Path:
    """Where a gate says that it has stored its run."""
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("Stored in ")]
    return Path(line.removeprefix("Stored in ").split(": ")[0])
