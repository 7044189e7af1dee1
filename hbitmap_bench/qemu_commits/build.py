"""Builds one commit of QEMU: asv's build command, run in the checkout of that commit.

Only what the suites measure is built: the storage daemon, ``qemu-img``, and the driver of HBitmap's
operations against the same objects. That happens in a folder of its own, which is removed; the
programs lie in asv's cache of builds in the end, all of them or none.

A commit that does not compile is recorded with the compiler's first line, by compiler and flags,
and fails at once the next time. Where configure fails, a library may be missing here, which is no
fault of the commit: that is told, and tried again the next time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from hbitmap_bench.base import scratch
from hbitmap_bench.base.children import kill_group, running
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import write_atomic
from hbitmap_bench.base.program import run_to_exit
from hbitmap_bench.qemu.builds import DAEMON
from hbitmap_bench.qemu.driver_build import compile_driver

CONFIGURE: Final = (
    "--without-default-features", "--enable-tools", "--disable-system", "--disable-user",
    "--disable-docs",
)  # fmt: skip

PROGRAMS: Final = {DAEMON: f"storage-daemon/{DAEMON}", "qemu-img": "qemu-img"}
"""By name, where a build has them: ninja's targets."""

DRIVER: Final = "hbitmap-driver"
BUILT: Final = "programs"
"""The folder in asv's cache of a build."""

STOP_S: Final = 10
"""A step's time to end what it has started."""

KEPT_LINES: Final = 4000
"""Of what a build prints, the last: an error is among them."""


class NotConfiguredError(UserError):
    """Configure failed: maybe for the commit, maybe for what is not installed."""


def build(source: Path, cache: Path, driver: Path | None, jobs: int, limit_s: float) -> None:
    """Build the commit that is checked out in ``source`` and put its programs into ``cache``.

    A build that has no driver is kept without it: what old commits lack is not measured. Costs some
    two minutes of two cores without ccache, and 15 MB in ``cache``. Raises ``UserError`` with the
    first line of errors, of configure a ``NotConfiguredError``, and where it takes longer than
    ``limit_s``.
    """
    with scratch.folder() as folder:
        if error := _run([source / "configure", *CONFIGURE], folder, limit_s):
            raise NotConfiguredError(error)
        if error := _run(["ninja", "-j", str(jobs), *PROGRAMS.values()], folder, limit_s):
            raise UserError(error)
        unfinished = cache / f"unfinished-{BUILT}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for name, path in PROGRAMS.items():
            _strip(folder / path, unfinished / name)
        if driver is not None:
            _add_driver(driver, folder, unfinished)
        shutil.rmtree(cache / BUILT, ignore_errors=True)
        unfinished.rename(cache / BUILT)


def _strip(program: Path, to: Path) -> None:
    """Without debug information, which is nine tenths of it; symbols stay, for profiles."""
    if subprocess.run(["strip", "--strip-debug", "-o", to, program]).returncode:
        shutil.copy2(program, to)  # a script, say


def _add_driver(sources: Path, folder: Path, to: Path) -> None:
    try:
        found = compile_driver(sources, folder, folder / "driver")
    except UserError as error:
        print(f"no driver of HBitmap's operations: {error}", file=sys.stderr)
        return
    shutil.copy2(found.program, to / DRIVER)


def _run(command: list[str | Path], folder: Path, limit_s: float) -> str | None:
    """A step of the build, in a process group that ends with us: its first line of errors, if any.

    Raises ``UserError`` where it takes too long.
    """
    variables = {**os.environ, "CC": compiler()}
    log = folder / "build.log"
    try:
        with (
            log.open("wb") as output,
            running(
                command,
                cwd=folder,
                env=variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                end=_end,
            ) as process,
        ):
            code = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        raise UserError(
            f"a build may take {limit_s:.0f} s, and {Path(command[0]).name} has not ended: it was "
            "stopped"
        ) from None
    return first_error(log.read_text(errors="replace")) if code else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Terminate a step, then kill it: ninja alone knows its jobs, each in a group of its own."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    kill_group(process)


def first_error(log: str) -> str:
    """The first line of a build's log that speaks of an error, else its last one."""
    lines = [line.strip() for line in log.splitlines()[-KEPT_LINES:] if line.strip()]
    errors = [line for line in lines if "error:" in line.lower()]
    return (errors or lines[-1:] or ["the build failed without a word"])[0]


def compiler() -> str:
    """The C compiler of builds, through ccache where that is there."""
    named = os.environ.get("CC", "cc")
    return f"ccache {named}" if shutil.which("ccache") and "ccache" not in named else named


def keep_ccache(folder: Path) -> None:
    """Let ccache find what other builds have compiled, in a folder of its own if none is named.

    Each build has a folder of its own, which debug information names. HOME is one of the
    measurement's, which is removed.
    """
    given = {"CCACHE_DIR": str(folder), "CCACHE_MAXSIZE": "1G", "CCACHE_NOHASHDIR": "1"}
    for name, value in given.items():
        os.environ.setdefault(name, value)


def record_of(failures: Path, commit: str) -> Path:
    """Where the failure of a commit is told, by what a build depends on besides."""
    depends_on = "\0".join([compiler(), os.environ.get("CFLAGS", ""), *CONFIGURE])
    return failures / f"{commit}-{hashlib.sha256(depends_on.encode()).hexdigest()[:8]}.txt"


@click.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("cache", type=click.Path(file_okay=False, path_type=Path))
@click.option("--commit", required=True, help="Which commit is checked out in SOURCE.")
@click.option(
    "--failures", required=True, type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the records of commits that don't build. Remove one to try again.",
)  # fmt: skip
@click.option(
    "--driver", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the driver's sources.",
)  # fmt: skip
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, type=click.IntRange(1))
@click.option(
    "--limit", "limit_s", default=1800.0, show_default=True, type=click.FloatRange(1),
    help="Seconds that configure, and then ninja, may take.",
)  # fmt: skip
def main(
    source: Path, cache: Path, commit: str, failures: Path, driver: Path | None, jobs: int,
    limit_s: float,
) -> None:  # fmt: skip
    """Build the QEMU commit in SOURCE and put its programs into CACHE. This runs its code."""
    record = record_of(failures, commit)
    if record.exists():
        raise UserError(
            f"commit {commit[:10]} did not build before: error: {record.read_text().strip()}; "
            f"remove {record} to try again"
        )
    if shutil.which("ninja") is None:  # which is no failure of the commit
        raise UserError("builds need ninja, and it is not on PATH: install ninja-build")
    keep_ccache(failures.absolute().with_name("ccache"))
    try:
        build(source, cache, driver, jobs, limit_s)
    except NotConfiguredError as error:
        raise UserError(
            f"commit {commit[:10]} can't be configured: {error}; install what it needs, if that is "
            "missing: it is tried again the next time"
        ) from None
    except UserError as error:
        failures.mkdir(parents=True, exist_ok=True)
        write_atomic(record, f"{error}\n".encode())
        raise UserError(f"commit {commit[:10]} does not build: error: {error}") from None


if __name__ == "__main__":
    run_to_exit(main)
