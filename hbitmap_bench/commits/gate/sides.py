"""Which two commits the gate compares, or which one, in two environments."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hbitmap_bench.base import scratch
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.gate.verdict import SideFacts
from hbitmap_bench.commits.project import Project, git
from hbitmap_bench.commits.project_file import FILE, ProjectFile, parse
from hbitmap_bench.commits.sources import committed_files

MAIN_BRANCHES = ("origin/HEAD", "origin/main", "main", "origin/master", "master")
"""Where a change is to go, the first that there is: a clone's remote before its own branch."""

IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (
        ("NAME", "hbitmap-bench"),
        ("EMAIL", "gate@localhost"),
        ("DATE", "2000-01-01T00:00:00Z"),  # one tree gives one commit
    )
}


@dataclass(frozen=True)
class Side:
    """A commit to measure. ``measured`` is ids of what a measurement depends on.

    ``declared`` is the project's file as the commit has it, else as the other side has it.
    """

    facts: SideFacts
    measured: tuple[str, ...]
    declared: ProjectFile

    @property
    def commit(self) -> str:
        """Its hash."""
        return self.facts.commit


def resolve(
    project: Project, base: str | None, head: str | None, *, allow_dirty: bool
) -> tuple[Side, Side]:
    """Base and head as commits; by default the merge base with the main branch, and HEAD.

    Without a ``head``, uncommitted work is refused, or with ``allow_dirty`` measured as a commit of
    its own, which no branch and no index comes to know of. Raises ``UserError``.
    """
    repo = project.root
    head_ref, head_commit, dirty = _head(repo, head, allow_dirty=allow_dirty)
    ref, base_commit = _base(project, base, head_commit)
    if base is None and base_commit == head_commit:
        _refuse_cut_history(repo, head_commit)
    files = [declared_at(project, commit) for commit in (base_commit, head_commit)]
    declared = [file or other or project.declared for file, other in (files, files[::-1])]
    return (
        _side(repo, ref, base_commit, declared[0], dirty=False),
        _side(repo, head_ref, head_commit, declared[1], dirty=dirty),
    )


def resolve_one(project: Project, head: str | None, *, allow_dirty: bool) -> Side:
    """The head alone, as ``resolve`` takes it."""
    ref, commit, dirty = _head(project.root, head, allow_dirty=allow_dirty)
    return _side(
        project.root, ref, commit, declared_at(project, commit) or project.declared, dirty=dirty
    )


def _head(repo: Path, head: str | None, *, allow_dirty: bool) -> tuple[str, str, bool]:
    """What the head is called, its commit, and whether that has work which is in no other."""
    if head is not None and allow_dirty:
        raise UserError("uncommitted work is on no --head: give that or --allow-dirty, not both")
    dirty = head is None and not _is_bare(repo) and bool(git(repo, "status", "--porcelain"))
    if dirty and not allow_dirty:
        raise UserError(
            "the gate measures commits, and the working tree has changes that are in none: commit "
            "them, or measure them as they are by --allow-dirty"
        )
    ref = "HEAD" if head is None else head
    commit = _commit(repo, ref)
    return ref, _commit_of_work(repo) if dirty else commit, dirty


def declared_at(project: Project, commit: str) -> ProjectFile | None:
    """The project's file of a commit; None where it has none. ``UserError`` if it is wrong."""
    path = project.path_of(project.folder / FILE)
    told = content(project.root, commit, path) if path else None
    if told is None:
        return None
    return parse(told.decode(errors="replace"), f"{FILE} of commit {commit[:10]}")


def _base(project: Project, base: str | None, head: str) -> tuple[str, str]:
    """What the base is called, and its commit. An empty name is none, not the default."""
    repo = project.root
    if base is not None:
        return base, _commit(repo, base)
    branch = _main_branch(repo, project.conf["branches"])
    return f"merge base with {branch}", _merge_base(repo, branch, head)


def measured_ids(repo: Path, commit: str, paths: Sequence[str]) -> tuple[str, ...]:
    """Git ids of what a measurement depends on, "" where the commit has it not; and what else."""
    return (*tree_ids(repo, commit, paths), _build_options(repo, commit))


def _build_options(repo: Path, commit: str) -> str:
    """The options of a build that ``pyproject.toml`` may give, as JSON; most of it is not such."""
    settings = content(repo, commit, "pyproject.toml") or b""
    try:
        tools = tomllib.loads(settings.decode()).get("tool", {})
        return json.dumps(tools.get("distutils"), sort_keys=True, default=str)
    except (ValueError, AttributeError):
        return settings.hex()  # no TOML, on which the build will have its word


def content(repo: Path, commit: str, path: str) -> bytes | None:
    """A file of a commit; None where the commit has it not."""
    shown = ["git", "-C", str(repo), "show", f"{commit}:{path}"]
    ran = subprocess.run(shown, capture_output=True)
    return ran.stdout if ran.returncode == 0 else None


def tree_ids(repo: Path, commit: str, paths: Sequence[str]) -> tuple[str, ...]:
    """Git ids of some files, folders and submodules of a commit, "" where it has them not."""
    known = committed_files(repo, [(commit, paths)])
    return tuple(known.get((commit, path)) or _link(repo, commit, path) for path in paths)


def _link(repo: Path, commit: str, path: str) -> str:
    """The commit of a submodule, which is an object of another repository."""
    try:
        return git(repo, "rev-parse", "--verify", "--quiet", f"{commit}:{path}")
    except UserError:
        return ""


def _side(repo: Path, ref: str, commit: str, declared: ProjectFile, *, dirty: bool) -> Side:
    paths = declared.measured.paths
    measured = (
        measured_ids(repo, commit, paths) if paths else (git(repo, "rev-parse", f"{commit}:"),)
    )
    if paths and not measured[0]:
        raise UserError(
            f"the gate measures {paths[0]}, and commit {commit[:10]} ({ref}) has none: "
            "name a commit that has it"
        )
    subject = git(repo, "show", "-s", "--format=%s", commit)
    return Side(SideFacts(ref, commit, subject, dirty), measured, declared)


def _commit(repo: Path, ref: str) -> str:
    try:
        return git(
            repo, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"
        )
    except UserError:
        hint = _shallow_hint(repo) or "see git log for what there is"
        raise UserError(
            f"a commit must be one of this clone, and {ref!r} is none: {hint}"
        ) from None


def _main_branch(repo: Path, configured: Sequence[str]) -> str:
    """Where a change is to go: what the remote says, what asv's configuration says, or a guess."""
    names = [MAIN_BRANCHES[0]]
    names += [place for branch in configured for place in (f"origin/{branch}", branch)]
    for name in (*names, *MAIN_BRANCHES[1:]):
        if _git_succeeds(repo, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"):
            return name
    hint = _shallow_hint(repo) or "name the base by --base"
    raise UserError(
        f"the base is the merge base with the main branch, and there is none of "
        f"{', '.join(MAIN_BRANCHES)}: {hint}"
    )


def _merge_base(repo: Path, branch: str, head: str) -> str:
    try:
        found = git(repo, "merge-base", branch, head)
    except UserError:
        hint = _shallow_hint(repo) or "name a base by --base"
        raise UserError(
            f"the base is where the change left {branch}, and the two have no commit in common: "
            f"{hint}"
        ) from None
    return found


def _refuse_cut_history(repo: Path, head: str) -> None:
    """Raise if the head looks like its own base because the commits before it were not cloned."""
    if hint := _shallow_hint(repo):
        raise UserError(
            f"the base must be a commit before {head[:10]}, where this history ends: {hint}, or "
            "name a base by --base"
        )


def _shallow_hint(repo: Path) -> str:
    is_shallow = (
        _is_repository(repo) and git(repo, "rev-parse", "--is-shallow-repository") == "true"
    )
    return "this clone is shallow: git fetch --unshallow" if is_shallow else ""


def _is_bare(repo: Path) -> bool:
    return git(repo, "rev-parse", "--is-bare-repository") == "true"


def _is_repository(repo: Path) -> bool:
    return _git_succeeds(repo, "rev-parse", "--git-dir")


def _git_succeeds(repo: Path, *arguments: str) -> bool:
    return subprocess.run(["git", "-C", str(repo), *arguments], capture_output=True).returncode == 0


def _commit_of_work(repo: Path) -> str:
    """What the working tree holds, new files too, as a commit on HEAD, by an index of its own."""
    with scratch.folder() as folder:
        index = {"GIT_INDEX_FILE": str(folder / "index")}
        git(repo, "read-tree", "HEAD", env=index)
        git(repo, "add", "--all", ":/", env=index)
        tree = git(repo, "write-tree", env=index)
    return git(repo, "commit-tree", tree, "-p", "HEAD", "-m", "Uncommitted work", env=IDENTITY)
