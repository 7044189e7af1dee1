"""Two environments of one project, A and B: what ``--env-a`` and ``--env-b`` change of its matrix.

======================  =======================================================================
``python=VERSION``      another Python
``PACKAGE=VERSION``     another version of a requirement of the matrix, or one that it has not
``env:NAME=VALUE``      a variable of the build and of the benchmarks, unless the matrix has it in
                        ``env_nobuild``: then of the benchmarks alone
======================  =======================================================================

What no option names is as asv's configuration has it, in each environment of its matrix.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.asv_library import Combination, Key, combinations
from hbitmap_bench.commits.gate.verdict import EnvironmentFacts
from hbitmap_bench.commits.project import Project

VARIABLE: Final = re.compile(r"env:([A-Za-z_]\w*)=(.*)", re.DOTALL)
REQUIREMENT: Final = re.compile(r"([A-Za-z0-9][\w.-]*)=([A-Za-z0-9]\S*)")

TELL: Final = """
import json, os, sys
from importlib import metadata
named = (one for one in metadata.distributions() if one.metadata["Name"])
packages = {one.metadata["Name"]: one.version for one in named}
print(json.dumps([sys.version.split()[0], packages, dict(os.environ)]))
"""


@dataclass(frozen=True)
class Variant:
    """An environment to compare: A or B, as ``options`` say it, the one of ``project``'s matrix.

    ``configured`` has what the options are applied to, where that has the same Python and packages.
    """

    name: str
    options: tuple[str, ...]
    project: Project
    configured: Project | None

    @property
    def variables(self) -> dict[str, str]:
        """Those of the build."""
        return {name: value for name, (value,) in self.project.conf["matrix"]["env"].items()}

    def __str__(self) -> str:
        return f"environment {self.name} ({', '.join(self.options) or 'as configured'})"


def variants(
    project: Project, a: Sequence[str], b: Sequence[str]
) -> tuple[tuple[Variant, Variant], ...]:
    """A and B, of each environment of the project's matrix in which the two differ.

    Raises ``UserError`` for options that say nothing, and where none differs.
    """
    changes = _changes(a), _changes(b)
    made: list[tuple[Combination, Combination]] = []
    pairs = []
    for combination in combinations(project):
        one, two = (_changed(combination, change) for change in changes)
        if one != two and (one, two) not in made:
            made.append((one, two))
            configured = _only(project, combination)
            pairs.append(
                (
                    _variant("A", a, _only(project, one), configured),
                    _variant("B", b, _only(project, two), configured),
                )
            )
    if not pairs:
        raise UserError(
            "two environments are compared, and by --env-a and --env-b A and B are the same: name "
            "another version or value"
        )
    return tuple(pairs)


def resolved(variant: Variant, environment: Any) -> EnvironmentFacts:  # noqa: ANN401 - asv has no types
    """What an environment that is made has come to be.

    Raises ``UserError`` where that is not what the options say, and asv's errors.
    """
    variables = dict(environment.env_vars)
    given = {**os.environ, **variables}
    python, packages, told = json.loads(environment.run(["-I", "-c", TELL], cwd="/", env=given))
    found: dict[str, str] = {
        canonicalize_name(name): version for name, version in sorted(packages.items())
    }
    for (kind, name), value in _changes(variant.options).items():
        if kind == "req" and not _is_version(found.get(str(name)), value):
            raise UserError(
                f"{variant} is to have {name} {value}, and asv has installed "
                f"{found.get(str(name), 'none')}: name what else requires it too"
            )
        if kind == "env" and told.get(name) != value:
            raise UserError(f"{variant} can't be made, since asv itself sets {name}: leave it out")
    return EnvironmentFacts(variant.name, variant.options, python, found, variables)


def _changes(options: Sequence[str]) -> dict[Key, str]:
    """Options by what they change, packages by their canonical names."""
    found: dict[Key, str] = {}
    for option in options:
        key, value = _change(option)
        if key in found:
            raise UserError(f"an environment has one of each, and {option!r} is a second: drop one")
        found[key] = value
    return found


def _change(option: str) -> tuple[Key, str]:
    if variable := VARIABLE.fullmatch(option):
        return ("env", variable[1]), variable[2]
    if requirement := REQUIREMENT.fullmatch(option):
        name, value = requirement.groups()
        return ("python", None) if name == "python" else ("req", canonicalize_name(name)), value
    raise UserError(
        f"an environment is changed by python=VERSION, PACKAGE=VERSION or env:NAME=VALUE, and "
        f"{option!r} is none of them: see gate --help"
    )


def _changed(combination: Combination, changes: Mapping[Key, str]) -> Combination:
    """An environment of the matrix with some changes, under the matrix's own keys."""
    found = dict(combination)
    for (kind, name), value in changes.items():
        own = [key for key in combination if _plain(key) == (kind, name)]
        # "pip+", so that it takes the place of what asv requires by itself
        new = (kind, f"pip+{name}" if kind == "req" else name)
        found[own[0] if own else new] = value
    return found


def _plain(key: Key) -> Key:
    """A key of the matrix as options have it."""
    kind, name = key
    if kind == "req":
        return kind, canonicalize_name(str(name).removeprefix("pip+"))
    return kind.removesuffix("_nobuild"), name


def _variant(name: str, options: Sequence[str], project: Project, configured: Project) -> Variant:
    packages = [(p.conf["pythons"], p.conf["matrix"]["req"]) for p in (project, configured)]
    same = packages[0] == packages[1]
    return Variant(name, tuple(options), project, configured if same else None)


def _only(project: Project, combination: Combination) -> Project:
    """The project as if its matrix had one environment."""
    matrix: dict[str, dict[str | None, list[str]]] = {"req": {}, "env": {}, "env_nobuild": {}}
    for (kind, name), value in combination.items():
        if kind in matrix:
            matrix[kind][name] = [value]
    python = [combination["python", None]]
    conf = {**project.conf, "pythons": python, "matrix": matrix, "include": [], "exclude": []}
    return replace(project, conf=conf)


def _is_version(found: str | None, asked: str) -> bool:
    """Whether what was asked for is there; of what is no version, such as a URL, any is."""
    try:
        return found is not None and SpecifierSet(f"=={asked}").contains(found, prereleases=True)
    except InvalidSpecifier:
        return True
