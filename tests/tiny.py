"""A repository of its own for tests: a small package, suites for it, and asv's configuration."""

import json
import subprocess
import sys
from pathlib import Path

from asv import util

ROOT = Path(__file__).parent.parent
COMMAND = Path(sys.executable).with_name("hbitmap-bench")

SETUP = "from setuptools import setup\nsetup(name='tiny', packages=['hbitmap_impl'])\n"
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


def make_repo(repo: Path, suites: dict[str, str]) -> None:
    """The first commit: the package reads 7 words; ``suites`` are modules of benchmarks."""
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    files = {
        "asv.conf.json": json.dumps(configuration()),
        "setup.py": SETUP,
        ".gitignore": ".asv/\n__pycache__/\nreports/html/\n",
        "hbitmap_impl/__init__.py": "",
        "hbitmap_impl/words.py": "WORDS = 7\n",
        "benchmarks/__init__.py": "",
        "benchmarks/common.py": (ROOT / "benchmarks" / "common.py").read_text(),
        "hbitmap-bench.toml": DECLARED,
        **{f"benchmarks/{name}.py": text for name, text in suites.items()},
    }
    commit(repo, files, "Begin")


def configuration() -> dict:
    """The project's own configuration, but for what a pure package does not need."""
    conf = util.load_json(str(ROOT / "asv.conf.json"), js_comments=True)
    pinned = conf["matrix"]["req"]
    keep = ("setuptools", "pip+asv_runner")
    return {**conf, "matrix": {"req": {name: pinned[name] for name in keep}}}


def bench(repo: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, "bench", "--machine", "test", *arguments]
    return subprocess.run(command, cwd=repo, capture_output=True, text=True)
