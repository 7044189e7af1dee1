"""Are the README's commands green on a bare machine of today? Debian's, made by debootstrap.

Run it as root, where debootstrap is installed (a quarter of an hour and 5 GB of disk a machine)::

    tox -e fresh-machines
    tox -e fresh-machines -- trixie forky

Each machine is a chroot with Python, a C compiler and git alone. In it ``.ci/run`` of a clone of
HEAD installs the rest, and runs both commands. The exit code is 1 when one of the machines is not
green. A chroot's mounts and processes are in namespaces of their own: they end with it, however it
ends. Certificates and settings of pip and npm are brought along.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import click
from rich.table import Table

from hbitmap_bench.base import scratch
from hbitmap_bench.base.children import kill_group, running
from hbitmap_bench.base.consoles import table_console
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.program import run_to_exit

MIRROR: Final = "http://deb.debian.org/debian"
BARE: Final = "python3-venv,python3-dev,gcc,libc6-dev,git,ca-certificates"
BROUGHT: Final = (
    *("/etc/resolv.conf", "/usr/local/share/ca-certificates", "/etc/ssl/certs/ca-certificates.crt"),
    *("/etc/pip.conf", "/etc/xdg/pip", "~/.config/pip", "~/.npmrc"),
)
_ENVIRONMENT: Final = re.compile(r"(PIP|NPM_CONFIG|NODE_EXTRA|SSL_CERT)_\w+|\w+_(proxy|PROXY)")


class Machine(NamedTuple):
    """A suite of Debian's; with ``backports`` it takes all that those have."""

    suite: str
    backports: bool = False


MACHINES: Final = {
    "bookworm": Machine("bookworm"),
    "trixie": Machine("trixie"),
    "trixie-backports": Machine("trixie", backports=True),
    "forky": Machine("forky"),
}

_NAMESPACES: Final = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")

_MAKE: Final = """
root=$1 debs=$2 suite=$3 checkout=$4; shift 4
debootstrap --variant=minbase --cache-dir="$debs" --include="$BARE" "$suite" "$root" "$MIRROR" \
    /usr/share/debootstrap/scripts/sid
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount --bind "$debs" "$root/var/cache/apt/archives"
for path; do
    mkdir -p "$root$(dirname "$path")" && cp -rLT "$path" "$root$path"
done
if [ "$BACKPORTS" ]; then
    echo "deb $MIRROR $suite-backports main" >> "$root/etc/apt/sources.list"
    printf 'Package: *\\nPin: release n=%s\\nPin-Priority: 500\\n' "$suite-backports" \
        > "$root/etc/apt/preferences.d/backports"
fi
# A mirror of a coming release may lag behind by weeks; its signature is checked all the same.
echo 'Acquire::Check-Valid-Until "false";' > "$root/etc/apt/apt.conf.d/mirror-may-lag"
git -c safe.directory='*' clone -q "$checkout" "$root/srv/hbitmap-bench"
exec chroot "$root" bash -c '
    cd /srv/hbitmap-bench && bash .ci/run && status=0 || status=$?
    python3 --version && echo "GCC $(gcc -dumpfullversion)" && qemu-storage-daemon --version
    exit $status'
"""
"""By ``sh -e``, in namespaces of its own, where process 1 is this one."""

_FOUND: Final = {
    "Python": r"^Python ([\d.]+)",
    "GCC": r"^GCC ([\d.]+)",
    "QEMU": r"^qemu-storage-daemon version ([\d.]+)",
    "first command": r"^first command: (\w+ in \d+ s)",
    "second command": r"^second command: (\w+ in \d+ s)",
    "passed": r"^(\d+) passed, \d+ failed",
    "failed": r"^\d+ passed, (\d+) failed",
    "skipped": r"^skipped tests: (\d+)",
}
"""Columns, and where the output has what stands in them."""


class Outcome(NamedTuple):
    """What a machine printed last for each column, and its exit code."""

    name: str
    found: dict[str, str]
    exit_code: int
    elapsed_s: float


def run(name: str, folder: Path, checkout: Path) -> Outcome:
    """Make a machine in a folder, run ``.ci/run`` in it, and remove it. Prints what that prints."""
    start_s = time.monotonic()
    debs = folder / "debs"
    (debs / "partial").mkdir(parents=True, exist_ok=True)
    root = folder / name
    suite, backports = MACHINES[name]
    arguments: list[str | Path] = [root, debs, suite, checkout, *_brought()]
    found: dict[str, str] = {}
    with running(
        [*_NAMESPACES, "sh", "-ec", _MAKE, "sh", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_environment(backports),
        end=_end,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            text = line.decode(errors="replace")
            print(text, end="", flush=True)
            found |= columns(text)
        exit_code = process.wait()
    shutil.rmtree(root, ignore_errors=True)  # what a machine can't remove is the folder's
    return Outcome(name, found, exit_code, time.monotonic() - start_s)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill process 1, with which the kernel ends all of the machine, before ``unshare`` returns."""
    with suppress(OSError, subprocess.TimeoutExpired):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        for child in children.split():
            os.kill(int(child), signal.SIGKILL)
            process.wait(10)
    kill_group(process)


def _brought() -> Iterator[Path]:
    paths = (Path(name).expanduser() for name in BROUGHT)
    return (path for path in paths if path.exists())


def _environment(backports: bool) -> dict[str, str]:
    own = {"BARE": BARE, "MIRROR": MIRROR, "BACKPORTS": "yes" if backports else ""}
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    kept = {name: value for name, value in os.environ.items() if _ENVIRONMENT.fullmatch(name)}
    return {**kept, **own, "PATH": path, "HOME": "/root", "LANG": "C.UTF-8"}


def columns(line: str) -> dict[str, str]:
    """What a line of the output says for columns of the table."""
    matches = {column: re.search(pattern, line) for column, pattern in _FOUND.items()}
    return {column: match[1] for column, match in matches.items() if match}


def table(outcomes: Sequence[Outcome]) -> Table:
    """A machine a row; a dash where it did not come so far."""
    shown = Table("machine", *_FOUND, "minutes", "green")
    for one in outcomes:
        cells = [one.found.get(column, "-") for column in _FOUND]
        green = "no" if one.exit_code else "yes"
        shown.add_row(one.name, *cells, f"{one.elapsed_s / 60:.0f}", green)
    return shown


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(MACHINES)))
def main(names: tuple[str, ...]) -> int:
    """Print how each machine fares, one at a time; all of them without NAMES."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise UserError("machines are made by root and debootstrap: install it, and run it as root")
    outcomes = []
    with scratch.folder() as folder:
        for name in names or MACHINES:
            outcomes.append(run(name, folder, Path.cwd()))
            table_console().print(table(outcomes))
    return int(any(one.exit_code for one in outcomes))


if __name__ == "__main__":
    run_to_exit(main)
