"""asv used as a library: silent, in a project's own folder, its errors as ours, in one line."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any, Final

from asv import environment, runner, util
from asv.benchmarks import Benchmarks
from asv.config import Config
from asv.console import log

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.project import Project

MADE: Final = "virtualenv"
"""The kind of environment that is made."""

EXISTING: Final = "existing"
"""The kind that is taken as it is: the Python that runs us, with what is installed there."""

KEPT_BUILDS: Final = 16
"""At least; by asv's default of two a base is built anew for each change, a commit each round."""

PIPS: Final = re.compile(
    r"subprocess-exited-with-error|did not run successfully|: (started|finished with status)"
)
"""pip's own words around those of the build that failed."""

COMPLAINT: Final = re.compile(r"error|^fatal: ", re.IGNORECASE)
"""How programs say what is wrong, and how git does."""

RAISED: Final = re.compile(r"[\w.]*(Error|Exception)(:|$)")
"""How Python ends a traceback."""

PLACE: Final = re.compile(r"[^\s:]+:\d+:\d+: (?!warning|note)")
"""How Cython and C compilers say where and what is wrong; before it they only say that it is."""


Key = tuple[str, str | None]
"""``("python", None)``, ``("req", NAME)``, ``("env", NAME)`` or ``("env_nobuild", NAME)``."""

Combination = dict[Key, str]
"""An environment of the matrix: values by key."""


def configuration(project: Project, **changes: object) -> Config:
    """The configuration of a project, all paths absolute, more builds kept, with some changes."""
    conf = {**project.conf, "repo": str(project.root), "dvcs": "git"}
    conf |= {"benchmark_dir": str(project.benchmark_dir), "env_dir": str(project.env_dir)}
    conf["build_cache_size"] = max(KEPT_BUILDS, int(conf.get("build_cache_size", 0)))
    conf["branches"] = conf["branches"] or [None]  # asv's word for the default
    found: Config = Config.from_json({**conf, **changes})
    return found


def git_variables(project: Project) -> dict[str, str]:
    """Environment variables of asv, whose git leaves out submodules where a project says so.

    asv checks out all of them. A build may still ask for some: by name git brings them.
    """
    if project.declared.measured.submodules:
        return {}
    place = int(os.environ.get("GIT_CONFIG_COUNT", "0"))  # behind what the user has set
    return {
        "GIT_CONFIG_COUNT": str(place + 1),
        f"GIT_CONFIG_KEY_{place}": "submodule.active",
        f"GIT_CONFIG_VALUE_{place}": ":(exclude)*",
    }


@contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    """Have more environment variables meanwhile."""
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def at_work(project: Project, complaint: str) -> Iterator[None]:
    """Use asv in the project's folder, as its command does. Raises ``UserError`` for its errors.

    ``complaint`` begins that line; the first error that a program of asv's has named ends it.
    """
    handler = logging.NullHandler()  # without one, Python prints what asv logs
    logging.getLogger().addHandler(handler)
    log._last_dot = math.inf  # it prints one for each half second
    try:
        with chdir(project.folder), _environment(git_variables(project)):
            yield
    except util.ProcessError as error:
        if error.retcode == util.TIMEOUT_RETCODE:
            raise UserError(f"{complaint}: it ran out of time") from None
        said = first_error("\n".join([error.stdout, error.stderr]))
        raise UserError(f"{complaint}: {said}") from None
    except util.UserError as error:
        if str(error) == "Interrupted.":  # what asv makes of Ctrl-C
            raise KeyboardInterrupt from None
        raise UserError(f"{complaint}: {first_error(str(error))}") from None
    finally:
        logging.getLogger().removeHandler(handler)


def first_error(output: str) -> str:
    """The line that says best what went wrong: a place in a source, else what Python raised."""
    said = [line.strip() for line in output.splitlines() if line.strip()]
    places = [line for line in said if PLACE.match(line)]
    raised = [line for line in said if RAISED.match(line)][::-1]
    errors = [line for line in said if COMPLAINT.search(line) and not PIPS.search(line)]
    return (places or raised or errors or said or ["no reason given"])[0]


def combinations(project: Project) -> list[Combination]:
    """The environments of the project's matrix, as asv's words for what they are made of."""
    conf = configuration(project)
    with at_work(project, "asv can't make environments"):
        return list(environment.iter_matrix(MADE, conf.pythons, conf))


def environments(project: Project, **changes: object) -> list[Any]:
    """The environments of the project's matrix, not made yet: asv's objects.

    Raises ``UserError`` for kinds that are not made here, and where a Python is missing: what can't
    be measured is not left out in silence.
    """
    kind = project.conf["environment_type"] or MADE
    if kind == EXISTING:
        raise UserError(
            f"an {EXISTING} environment holds one build, and several commits are to be measured: "
            f'set environment_type to "{MADE}" in asv.conf.json, with what it needs in matrix.req'
        )
    if kind != MADE:
        raise UserError(
            f"environments are made by {MADE}, and asv.conf.json has environment_type {kind!r}: "
            f'set it to "{MADE}", with what it needs in matrix.req'
        )
    conf = configuration(project, environment_type=MADE, **changes)
    wanted = [one["python", None] for one in combinations(project)]
    with at_work(project, "asv can't make environments"):
        found = list(environment.get_environments(conf, None, verbose=False))
    lacking = [python for python in dict.fromkeys(map(str, wanted)) if not _has(python)]
    if lacking:
        raise UserError(
            f"asv makes environments for Python {', '.join(lacking)}, and there is none on PATH: "
            "install it, or name another (pythons or include in asv.conf.json)"
        )
    if not found:
        raise UserError(
            "asv's matrix must give environments, and gives none: mend matrix, include and exclude "
            "in asv.conf.json"
        )
    return found


def _has(python: str) -> bool:
    by_name: Any = environment.get_environment_class_by_name(MADE)
    return by_name._find_python(python) is not None


def discover(
    environment: Any,  # noqa: ANN401 - asv has no types
    suites: Path,
) -> list[dict[str, Any]]:
    """Descriptions of the benchmarks in ``suites``, as an environment imports them.

    To be called ``at_work``. Raises asv's errors.
    """
    Benchmarks.check_tree(str(suites))
    with tempfile.TemporaryDirectory() as folder:  # noqa: TID251 - in a folder for all
        told = Path(folder, "benchmarks.json")
        command = [runner.BENCHMARK_RUN_SCRIPT, "discover", str(suites), str(told)]
        environment.run(command, cwd=folder, env={**os.environ, **environment.env_vars})
        found: list[dict[str, Any]] = json.loads(told.read_text(encoding="utf-8"))
    default = environment._default_benchmark_timeout  # as asv fills it in before it runs them
    return [{**one, "timeout": one.get("timeout") or default} for one in found]
