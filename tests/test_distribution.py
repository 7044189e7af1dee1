"""The distributions: a wheel from the source distribution alone runs where nothing else is."""

import os
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The source distribution of this checkout, and the wheel that was built from it."""
    clean, out = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("distributions")
    files = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
    for name in files.rstrip("\0").split("\0"):
        (clean / name).parent.mkdir(parents=True, exist_ok=True)
        (clean / name).write_bytes((ROOT / name).read_bytes())
    command = ["-m", "build", "--no-isolation", "--outdir", str(out), str(clean)]
    subprocess.run([sys.executable, *command], check=True)
    (source,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return source, wheel


def test_the_source_distribution_has_the_sources_and_nothing_made_of_them(distributions):
    source, _ = distributions
    with tarfile.open(source) as archive:
        names = {Path(name).name for name in archive.getnames()}
    assert {"hbitmap.pyx", "qcow2_entries.pyx", "setup.py", "LICENSE"} <= names
    assert not {"hbitmap.c", "qcow2_entries.c"} & names


def test_an_index_takes_the_distributions(distributions):
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *distributions], check=True)


@pytest.mark.timeout(900)  # an environment is made, and what the package needs is installed
def test_the_wheel_runs_in_an_empty_environment_outside_of_any_clone(distributions, tmp_path):
    environment, told = tmp_path / "environment", tmp_path / "told"
    venv.create(environment)
    tools = environment / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(tools / "python")]
    # No bytecode: what runs here imports a small part of what is installed.
    subprocess.run([*pip, "install", "-q", "--no-compile", distributions[1]], check=True)
    for command, shown in (
        (["reproduce", "--no-qemu", "--size", "1T", "--out", told], "1T"),
        (["predict", "--size", "1T"], "1T"),
        (["diagnose", "--pid", str(os.getpid()), "--seconds", "1"], "diagnosis"),
        (["doctor"], "reproduce"),
    ):
        words = [tools / "hbitmap-bench", *command]
        done = subprocess.run(words, cwd="/", capture_output=True, text=True, check=True)
        assert shown in done.stdout
    assert (told / "reproduction.md").exists()
    assert not Path("/hbitmap-bench-report").exists()
