"""Measure commits by asv, and store what was really measured on them.

The newest commit that the history has is measured again in each session, as its anchor.
asv stores into a staging folder, with a home folder of its own. Only results that were measured on
the commit's own files go from there to the project's results, each with its side record.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO

from asv import util
from asv.results import get_filename
from rich.console import Console

from hbitmap_bench.base import scratch
from hbitmap_bench.base.children import kill_group, running
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.interrupt import uninterrupted
from hbitmap_bench.base.output import check_folder, deliver, folder_as_text, write_atomic
from hbitmap_bench.commits import installed, sources
from hbitmap_bench.commits.asv_library import (
    EXISTING,
    configuration,
    environments,
    first_error,
    git_variables,
)
from hbitmap_bench.commits.built_by import forget_other_builds
from hbitmap_bench.commits.machine import machine_fields
from hbitmap_bench.commits.project import Project, find_project, git
from hbitmap_bench.commits.project_file import Kind, Profile
from hbitmap_bench.commits.sessions import Sessions, measured_again, new_session, write_anchor

EVIDENCE = "HBITMAP_BENCH_EVIDENCE"
"""The folder where measuring processes tell what they imported, and installs what they left."""

CONFIGURATION: Final = "asv.conf.json"

INSTALLED: Final = "asv-install-status.json"
"""Where an environment of asv's says which commit is installed."""

PROGRESS = re.compile(r"\[|·+ \w")
"""Lines of asv's that tell how far it is; rows of its tables have neither form."""

TURN: Final = re.compile(r"^.*· For .* commit ([0-9a-f]+)\b.* \(round (\d+)/(\d+)\):$", re.M)
"""asv begins with a commit: its abbreviated hash, the round, and how many there are."""

LOG: Final = "bench.log"
"""What asv prints, in the work folder."""

HASH_LENGTH: Final = 8
"""Of a hash in the names of asv's result files."""

STOP_S = 20
"""asv's time to end its processes when it is interrupted."""


def bench(
    folder: Path, *, profile: str, machine: str, commits: Sequence[str], more: Sequence[str] = ()
) -> int:
    """Measure a range of commits, or the new ones; asv's exit code, 0 if nothing failed.

    ``more`` are arguments of ``asv run``, which go behind the profile's. Raises
    ``UserError`` where there is nothing to measure, and for results that are refused, once the
    others are stored.
    """
    project = find_project(folder)
    fields = machine_fields(machine, project.results_dir)
    console = Console(soft_wrap=True, highlight=False)
    rescued = rescue(project, console)
    # what can't be made is told before anything is measured
    made = [] if is_existing(project) else environments(project)
    known = _measured(project, machine, [one.name for one in made])
    chosen = (
        [_installed_commit(project, commits)]
        if is_existing(project)
        else [c for c in commits_to_measure(project, known, commits) if c not in rescued]
    )
    sampling = asv_arguments(project.declared.profile(profile))
    if not chosen:
        console.print(
            f"Nothing to measure: no commit since the newest result of {machine} changes "
            f"{project.declared.measured_words}. Name commits, such as HEAD~20..HEAD, to measure "
            "them again.",
            markup=False,
        )
        return 0
    check_folder(project.results_dir / machine, "make it writable")
    forget_other_builds(project, made)
    anchor = anchor_of(project, known, chosen)
    refused: list[str] = []
    with scratch.folder(project.make_work_dir()) as staging:
        (project.work_dir / LOG).unlink(missing_ok=True)  # or it spoke of results that are copied
        prepare(project, staging, fields, anchor)
        for one in made:  # what is told of a commit is told as it is installed
            Path(one._path, INSTALLED).unlink(missing_ok=True)
        middle = len(chosen) // 2  # an anchor at an end would be off most where a machine drifts
        ordered = [*chosen[:middle], *filter(None, [anchor]), *chosen[middle:]]
        if anchor:
            console.print(
                f"{anchor[:10]} is measured again beside them, as the anchor that links this "
                "session's seconds to those before",
                markup=False,
            )
        with scratch.for_all():
            code = _run_asv(project, staging, fields, [*sampling, *more], ordered)

        def write(results_dir: Path) -> None:
            stored, refused[:] = store(project, staging, machine, results_dir, anchor)
            told = f"{stored} of {len(chosen)} commits stored in {results_dir / machine}"
            console.print(told, markup=False)

        as_text = partial(folder_as_text, staging / "results")
        deliver([(project.results_dir, write)], lambda: None, as_text)
    if refused:
        raise UserError("; ".join(["results that can't be trusted were not stored", *refused]))
    return code


def rescue(project: Project, console: Console) -> set[str]:
    """Store what runs that were killed have measured to the end; hashes of these commits.

    A run's results are a session of their own. A commit is at its end where asv has gone on to
    another one in the last round.
    """
    done = finished(project.work_dir / LOG)
    if not done:
        return set()
    stored: set[str] = set()
    for staging in scratch.abandoned(project.work_dir):
        for path in (staging / "results").glob("*/*-*.json"):
            if path.name[:HASH_LENGTH] not in done:
                path.unlink()
        stored |= _store_rescued(project, staging)
    if stored:
        console.print(
            f"{len(stored)} commits of a run that was killed are stored, and not measured again"
        )
    return stored


def finished(log: Path) -> set[str]:
    """Abbreviated hashes of the commits that asv has measured in the last round."""
    with suppress(OSError):
        found = [match.groups() for match in TURN.finditer(log.read_text(encoding="utf-8"))]
        return {one[:HASH_LENGTH] for one, number, rounds in found[:-1] if number == rounds}
    return set()


def _store_rescued(project: Project, staging: Path) -> set[str]:
    """Store the results of a run that was killed, as it would have itself."""
    anchors = [util.load_json(str(path)) for path in (staging / "anchor").glob("*-*.json")]
    anchor = anchors[0]["commit_hash"] if anchors else None
    before = {*project.results_dir.glob("*/*-*.json")}
    for folder in (staging / "results").glob("*/"):
        store(project, staging, folder.name, project.results_dir, anchor)
    added = {*project.results_dir.glob("*/*-*.json")} - before
    return {str(util.load_json(str(path))["commit_hash"]) for path in added}


def asv_arguments(profile: Profile) -> list[str]:
    """What ``asv run`` is told of a profile; and to keep the samples, for whoever judges them."""
    arguments = ["--record-samples"]
    if profile.repeat:
        arguments += ["-a", f"repeat=({','.join(map(str, profile.repeat))})"]
    if profile.rounds:
        arguments += ["-a", f"rounds={profile.rounds}"]
    for regex in profile.cells:
        arguments += ["--bench", regex]
    return arguments


def commits_to_measure(
    project: Project, known: Callable[[str], bool], commits: Sequence[str] = ()
) -> list[str]:
    """Hashes, oldest first, of commits that changed what is measured.

    Of a range, all; of several names or one tag, these, whatever they changed; else those that
    none which is ``known``, by a valid result, comes after. Where there is none, the newest alone:
    a whole history is only measured if someone asks for it. Raises ``UserError``.
    """
    paths = project.declared.measured.paths
    for name in commits:
        if name.startswith("-"):  # such as git log's --output, which writes a file
            raise UserError(
                f"commits are named as git does, and {name!r} is an option: name some, such as "
                "HEAD~20..HEAD"
            )
    if len(commits) > 1 or any(_is_tag(project, one) for one in commits):
        named = [git(project.root, "rev-parse", "--verify", f"{one}^{{commit}}") for one in commits]
        ordered = git(project.root, "log", "--no-walk=sorted", "--format=%H", *named)
        return ordered.split()[::-1]

    def changing(*which: str) -> list[str]:
        return git(project.root, "log", "--topo-order", "--format=%H", *which, "--", *paths).split()

    changed = changing(*(commits or ["HEAD"]))
    if commits:
        if not changed:
            raise UserError(
                f"only commits that change {project.declared.measured_words} measure anything "
                f"new, and {commits[0]!r} has none: name a longer range"
            )
        return changed[::-1]
    measured = [commit for commit in changed if known(commit)]
    return (changing("HEAD", "--not", *measured) if measured else changed[:1])[::-1]


def _is_tag(project: Project, name: str) -> bool:
    """Whether a name is a tag's, and not a range: git would take it for all that is before it."""
    try:
        git(project.root, "show-ref", "--verify", "--quiet", f"refs/tags/{name}")
    except UserError:
        return False
    return True


def anchor_of(project: Project, known: Callable[[str], bool], chosen: Sequence[str]) -> str | None:
    """The newest ``known`` commit that the history keeps as it is; None where it keeps none.

    An existing environment has one commit installed, and can measure no other.
    """
    if is_existing(project):
        return None
    found = git(project.root, "log", "--topo-order", "--format=%H", "HEAD", chosen[-1]).splitlines()
    return next((c for c in found if c not in chosen and known(c)), None)


def _measured(project: Project, machine: str, made: Sequence[str]) -> Callable[[str], bool]:
    """A function: whether a commit has a valid result of this machine. Hashes all results once.

    It must be of one of the environments that are ``made``: those of another matrix tell nothing
    of these.
    """
    refused = sources.refusals(project.results_dir, project.root)
    paths = {*(project.results_dir / machine).glob("*-*.json")} - {*refused}

    def known(commit: str) -> bool:
        names = (get_filename(machine, commit, name) for name in made)
        return any(project.results_dir / name in paths for name in names)

    return known


def is_existing(project: Project) -> bool:
    """Whether what is installed already is measured, and nothing is built."""
    return bool(project.conf["environment_type"] == EXISTING)


def _installed_commit(project: Project, commits: Sequence[str]) -> str:
    """The commit that an existing environment is said to hold: HEAD, with nothing changed."""
    if commits or git(project.root, "status", "--porcelain", "--untracked-files=no"):
        raise UserError(
            "an existing environment is measured as it is, for HEAD without changes: name no "
            "commits, and commit what is changed, or set environment_type to virtualenv"
        )
    return git(project.root, "rev-parse", "HEAD")


def prepare(
    project: Project, staging: Path, fields: Mapping[str, str], anchor: str | None = None
) -> None:
    """Give asv a configuration, the machine, and the results that it may add to.

    Those of the anchor are not among them: it is measured beside what is stored of it.
    """
    conf = vars(configuration(project, results_dir=str(staging / "results")))
    if project.declared.measured.kind == "installed" and not is_existing(project):
        conf["install_command"] = [*_install_command(conf), _telling(project)]
    (staging / CONFIGURATION).write_text(json.dumps(conf))
    (staging / "evidence").mkdir()
    (staging / "home").mkdir()
    (staging / "anchor").mkdir()
    machine_file = staging / "home" / ".asv-machine.json"
    machine_file.write_text(json.dumps({fields["machine"]: dict(fields), "version": 1}))
    if project.results_dir.is_dir():
        refused = sources.refusals(project.results_dir, project.root)
        left_out = {path.name for path in refused}
        stood = {path.name for path in _files_of(project, fields["machine"], anchor)}
        for name in stood:
            shutil.copy2(project.results_dir / fields["machine"] / name, staging / "anchor")
        shutil.copytree(
            project.results_dir,
            staging / "results",
            ignore=lambda _, names: [name for name in names if name in left_out | stood],
        )


def _files_of(project: Project, machine: str, commit: str | None) -> list[Path]:
    """The results of a commit, and their side records."""
    if commit is None:
        return []
    return list((project.results_dir / machine).glob(f"{commit[:HASH_LENGTH]}-*"))


def _install_command(conf: Mapping[str, Any]) -> list[str]:
    """The project's own, else asv's default."""
    given = conf["install_command"]
    if given is None:
        return ["in-dir={env_dir} python -m pip install {wheel_file} --force-reinstall"]
    return [given] if isinstance(given, str) else list(given)


def _telling(project: Project) -> str:
    """The command that tells what an install has left, which asv runs by the environment's Python.

    asv formats it and splits it into words: what it does not need to change is quoted for both.
    """
    words = ["-I", str(installed.SCRIPT), str(project.conf["project"])]
    words += project.declared.measured.files
    quoted = (shlex.quote(word).replace("{", "{{").replace("}", "}}") for word in words)
    return f"python {' '.join(quoted)}"


def store(
    project: Project, staging: Path, machine: str, results_dir: Path, anchor: str | None
) -> tuple[int, list[str]]:
    """Copy results that asv has made or changed, with side records: how many; others' reasons.

    Made or changed: not as they are in the project's folder. They are written to ``results_dir``,
    the anchor's record before them: without it they would be apart from all others.
    """
    evidence = _evidence(staging / "evidence")
    kind = project.declared.measured.kind
    session = new_session()
    accepted, refused = [], []
    for path in sorted((staging / "results" / machine).glob("*-*.json")):
        known = project.results_dir / machine / path.name
        if known.exists() and known.read_bytes() == path.read_bytes():
            continue
        commit = str(util.load_json(str(path))["commit_hash"])
        wrong = _untrusted(project, commit, evidence.get(commit, []))
        if wrong:
            refused.append(wrong)
        else:
            is_new = commit != anchor or not sources.recorded(staging / "anchor" / path.name)
            accepted.append((is_new, path, commit))
    stored = set()
    for is_new, path, commit in sorted(accepted):
        known = project.results_dir / machine / path.name
        files = [paper["files"] for paper in evidence[commit]]
        (results_dir / machine).mkdir(parents=True, exist_ok=True)
        if not is_new:
            stood = staging / "anchor" / path.name
            ours = sources.recorded_sessions(stood)
            write_anchor(results_dir / machine, session, stood, path, ours, kind, files)
            continue
        with uninterrupted():
            _store_result(known, path, results_dir / machine, (commit, session), (kind, files))
        stored.add(commit)
    if anchor and anchor not in [commit for *_, commit in accepted]:
        refused.append(
            f"the anchor {anchor[:10]} was not measured, so seconds of this session can't be "
            "compared with those before: see to it that it builds, and measure the commits again"
        )
    for name in ("benchmarks.json", f"{machine}/machine.json") if stored else ():
        write_atomic(results_dir / name, (staging / "results" / name).read_bytes())
    return len(stored), refused


def _store_result(
    known: Path,
    new: Path,
    folder: Path,
    of: tuple[str, str],
    found: tuple[Kind, Sequence[sources.Imported]],
) -> None:
    """Copy a result, which may be stored already in part, with its side record."""
    (commit, session), (kind, files) = of, found
    sessions: Sessions = {session: None}
    before = sources.recorded(known)
    if before:
        old = sources.recorded_sessions(known)
        sessions = measured_again(session, old, *(util.load_json(str(p)) for p in (known, new)))
    write_atomic(folder / new.name, new.read_bytes())
    files = _distinct([*before, *files])
    sources.write_record(folder / new.name, commit, files, kind, sessions)


def _untrusted(project: Project, commit: str, papers: Sequence[Mapping[str, Any]]) -> str | None:
    """Why a commit's processes did not measure the commit, if so."""
    if not papers:
        return f"commit {commit[:10]}: nothing was measured, it was not built or lacks all parts"
    imported = [paper["files"] for paper in papers]
    if project.declared.measured.kind == "installed":
        return _untold(commit, papers)
    wheels = sorted(project.env_dir.glob(f"*/asv-build-cache/{commit}/*.whl"))
    if not wheels:
        return f"commit {commit[:10]}: its wheel is not in {project.env_dir}"
    wanted = [(commit, files) for files in imported]
    known = sources.committed_files(project.root, wanted)
    for files in imported:
        wrong = sources.difference(files, commit, known)
        if wrong:
            return wrong
        wrongs = [sources.difference_from_wheel(files, wheel) for wheel in wheels]
        if all(wrongs):  # one environment each; the files are those of one of them
            return wrongs[0]
    return None


def _untold(commit: str, papers: Sequence[Mapping[str, Any]]) -> str | None:
    """What is wrong with what installs of a commit told: each environment has one build of it."""
    for paper in papers:
        if paper["wrong"]:
            return f"commit {commit[:10]}: {paper['wrong']}"
    if len({paper["folder"] for paper in papers}) < len(papers):
        return f"commit {commit[:10]}: its installed files were not always the same"
    return None


def _evidence(folder: Path) -> dict[str, list[Mapping[str, Any]]]:
    """What processes imported or installs left, by the commit that asv had installed for them."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    papers = [path for path in folder.iterdir() if not path.suffix]  # with one, it is unfinished
    for path in sorted(papers):
        told = json.loads(path.read_text(encoding="utf-8"))
        found.setdefault(told["commit"], []).append(told)
    return found


def _distinct(imported: Sequence[sources.Imported]) -> list[sources.Imported]:
    """Each set of files once."""
    return [files for i, files in enumerate(imported) if files not in imported[:i]]


def _run_asv(
    project: Project,
    staging: Path,
    fields: Mapping[str, str],
    arguments: Sequence[str],
    commits: Sequence[str],
) -> int:
    """``asv run`` over commits, its rounds interleaved among them."""
    hashes = staging / "commits"
    hashes.write_text("\n".join(commits))
    command = [sys.executable, "-P", "-m", "hbitmap_bench.commits.asv_here"]
    command += [str(staging / CONFIGURATION), str(project.folder), "run"]
    command += [*arguments, "--show-stderr", "--machine", fields["machine"]]
    command += (
        ["--set-commit-hash", *commits]
        if is_existing(project)
        else [f"HASHFILE:{hashes}", "--interleave-rounds"]
    )
    environment = {
        **os.environ,
        "HOME": str(staging / "home"),
        "VIRTUALENV_NO_PERIODIC_UPDATE": "1",  # it would look for newer packages beside, each time
        EVIDENCE: str(staging / "evidence"),
        **git_variables(project),
    }
    log = project.work_dir / LOG
    _tell_existing(project, environment, commits)
    with (
        log.open("w", buffering=1, encoding="utf-8") as kept,  # a killed run is rescued by it
        running(
            command, cwd=project.folder, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, end=_end,
        ) as asv,
    ):  # fmt: skip
        _show_progress(asv, kept)
        code = asv.wait()
    _tell_existing(project, environment, commits)
    if code:
        said = first_error(log.read_text(encoding="utf-8"))
        why = "" if PROGRESS.match(said) else f", {said}"
        print(f"asv ended with {code}, which says that something failed{why}: see {log}")
    return code


def _tell_existing(
    project: Project, environment: Mapping[str, str], commits: Sequence[str]
) -> None:
    """Tell what an existing environment has installed: there is no install to do it."""
    if is_existing(project):
        command = [sys.executable, "-I", str(installed.SCRIPT), str(project.conf["project"])]
        subprocess.run(
            [*command, *project.declared.measured.files],
            env={**environment, "ASV_COMMIT": commits[0]}, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip


def _show_progress(asv: subprocess.Popen[bytes], kept: TextIO) -> None:
    """Show asv's progress. Its tables, a row for each cell that there could be, go to the log."""
    for line in map(bytes.decode, asv.stdout or ()):
        kept.write(line)
        if PROGRESS.match(line):
            print(line, end="", flush=True)


def _end(asv: subprocess.Popen[bytes]) -> None:
    """Interrupt asv, unless it has ended: it ends its benchmark. After a while, kill all."""
    asv.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        asv.wait(STOP_S)
    kill_group(asv)
