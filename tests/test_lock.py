"""What CI installs: versions in the ranges of pyproject.toml, all with hashes."""

import itertools
import re
import sys
import tomllib
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = ("test.txt", "tox.txt")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def entries(name):
    """The requirements of a lock file, each with its hashes."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    lines = [line for line in text.replace("\\\n", " ").splitlines() if not line.startswith("#")]
    parts = (re.split(r"\s+--hash=", line) for line in lines if line[:1].strip())
    return [(Requirement(spec), hashes) for spec, *hashes in parts]


def locked(name, python):
    """The version of each package that is installed with a Python on Linux."""
    where = {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.0",
    }
    found = {}
    for requirement, _ in entries(name):
        if requirement.marker is None or requirement.marker.evaluate(where):
            package = canonicalize_name(requirement.name)
            assert package not in found, "one version of each"
            (pin,) = requirement.specifier
            found[package] = pin.version
    return found


def wanted(name):
    if name == "tox.txt":
        lines = (ROOT / "requirements" / "tox.in").read_text(encoding="utf-8").splitlines()
        return [Requirement(line) for line in lines if not line.startswith("#")]
    extras = DECLARED["optional-dependencies"].values()
    return [Requirement(one) for one in [*DECLARED["dependencies"], *itertools.chain(*extras)]]


@pytest.mark.parametrize("name", LOCKS)
def test_every_entry_is_pinned_with_hashes_and_no_host_is_named(name):
    found = entries(name)
    assert len(found) > len(wanted(name))
    for requirement, hashes in found:
        assert [pin.operator for pin in requirement.specifier] == ["=="]
        assert requirement.url is None
        assert hashes
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", one.strip()) for one in hashes)
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    assert not re.search("://|--index|--extra|--find|--trusted", text)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", LOCKS)
def test_what_is_locked_is_in_the_ranges(name, python):
    versions = locked(name, python)
    for requirement in wanted(name):
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}: {version}; tox -e lock"


def test_what_the_locked_packages_need_is_locked_too():
    """As far as the same version is installed here, whose metadata tells."""
    python = ".".join(map(str, sys.version_info[:2]))
    versions = locked("test.txt", python)
    known = 0
    for name, version in versions.items():
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if found.version != version:
            continue
        known += 1
        for text in found.requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                held = versions.get(canonicalize_name(needed.name))
                assert held, f"{name} needs {text}: tox -e lock"
                assert needed.specifier.contains(held, prereleases=True), f"{name}: {text}"
    assert known > 20


def test_ci_hands_the_lock_files_to_tox():
    """By a variable: without it, as on a user's machine, tox takes ranges."""
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert tox["testenv:test"]["deps"] == "{env:HBITMAP_BENCH_LOCK:}"
    assert tox["testenv:lint"]["deps"] == "{[testenv:test]deps}"
    assert 'HBITMAP_BENCH_LOCK="-r requirements/test.txt"' in script
    assert "--require-hashes -r requirements/tox.txt" in script
