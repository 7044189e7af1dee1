"""A QEMU process, as ``/proc`` shows it: its QMP sockets, how busy it is, where it reads.

Only files of ``/proc`` are read. Those of a process of somebody else are closed to all but root:
what can't be read is None.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_POSITION: Final = re.compile(r"^pos:\s*(\d+)$", re.MULTILINE)
_READ: Final = re.compile(r"^rchar: (\d+)$", re.MULTILINE)
_LISTENING: Final = "00010000"  # __SO_ACCEPTCON among the flags in /proc/net/unix
_WAITING, _ACCEPTED = "02", "03"  # SS_CONNECTING, SS_CONNECTED among the states there

# A storage daemon's monitors speak QMP unless told else, a virtual machine's do not.
_DEFAULT_MODES: Final = {"monitor": "control", "mon": "readline"}


@dataclass(frozen=True, slots=True)
class Usage:
    """Totals since the process began, in seconds and bytes; None where they can't be read.

    ``waited_s`` is how long each of its threads stood ready without a processor.
    """

    cpu_s: float
    waited_s: Mapping[int, float]
    read_bytes: int | None


def is_qemu(pid: int) -> bool:
    """Whether the process is a QEMU, by its program's name or by a QMP socket that it serves.

    Started through a loader, a wrapper or valgrind, it has the name of that.
    """
    return program(pid).startswith(("qemu", "kvm")) or bool(qmp_sockets(pid))


def program(pid: int) -> str:
    """The name of the program that the process runs; empty if it is gone."""
    return (_text(pid, "comm") or "").strip()


def with_uuid(uuid: str) -> int | None:
    """The virtual machine with this UUID, by its command line, as libvirt writes it."""
    for entry in Path("/proc").glob("[0-9]*"):
        options = (_text(int(entry.name), "cmdline") or "").split("\0")
        if ("-uuid", uuid) in pairwise(options):
            return int(entry.name)
    return None


def state(pid: int) -> str | None:
    """``R`` running, ``S`` asleep, ``D`` waiting for a disk, ``T`` stopped; None if it is gone."""
    fields = _stat(pid)
    return fields[0] if fields else None


def usage(pid: int) -> Usage | None:
    """What the process has used so far; None if it is gone."""
    fields = _stat(pid)
    if not fields:
        return None
    read = _READ.search(_text(pid, "io") or "")
    return Usage(
        cpu_s=(int(fields[11]) + int(fields[12])) * _TICK_S,
        waited_s=_waited_s(pid),
        read_bytes=int(read[1]) if read else None,
    )


def qmp_sockets(pid: int) -> list[Path]:
    """Unix sockets that the process serves QMP on, by its command line, if it listens there now.

    Those without a client come first. Those that were handed to it as open files, as libvirt does,
    have no path there.
    """
    options = (_text(pid, "cmdline") or "").split("\0")
    n_clients = _listening(pid)
    with suppress(OSError):
        folder = Path(f"/proc/{pid}/cwd").readlink()
        served = [path for path in _served(options) if path in n_clients]
        return [folder / path for path in sorted(served, key=n_clients.__getitem__)]
    return []


def is_held(pid: int, name: str) -> bool:
    """Whether one client of its socket is served, while another waits to be accepted.

    ``name`` is what the socket is bound to, as ``getpeername`` has it.
    """
    clients = [row for row in _sockets(pid) if row[7] == name and row[3] != _LISTENING]
    served = {f"socket:[{row[6]}]" for row in clients if row[5] == _ACCEPTED}
    return any(row[5] == _WAITING for row in clients) and not served.isdisjoint(_opened(pid))


def readers(pid: int, path: Path) -> list[int]:
    """The process's open files that are this one, named as the process names it.

    Its folders may not be ours: it may run in a container.
    """
    found = []
    with suppress(OSError):
        wanted = _seen_from(pid, path).stat()
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(entry.stat(), wanted):
                    found.append(int(entry.name))
    return sorted(found)


def may_read(pid: int, path: Path) -> bool:
    """Whether the process has the file open, or its open files can't be seen."""
    return bool(readers(pid, path)) or not os.access(f"/proc/{pid}/fd", os.R_OK)


def position(pid: int, number: int) -> int | None:
    """Where an open file stands, in bytes. Reads leave it alone in QEMU; seeks for data move it."""
    match = _POSITION.search(_text(pid, f"fdinfo/{number}") or "")
    return int(match[1]) if match else None


def _seen_from(pid: int, path: Path) -> Path:
    """Where we find a path of the process, relative or not."""
    if path.is_absolute():
        return Path(f"/proc/{pid}/root", *path.parts[1:])
    return Path(f"/proc/{pid}/cwd") / path


def _served(options: list[str]) -> Iterator[str]:
    """The socket paths of monitors in control mode, from options such as ``-qmp unix:PATH``."""
    chardevs: dict[str, str] = {}
    wanted = []
    for option, value in pairwise(options):
        name, fields = option.lstrip("-"), _fields(value)
        if name == "chardev" and "path" in fields:
            chardevs[fields.get("id", "")] = fields["path"]
        elif name in ("qmp", "qmp-pretty") and value.startswith("unix:"):
            yield value.removeprefix("unix:").split(",")[0]
        elif name in ("qmp", "qmp-pretty"):
            wanted.append(value.removeprefix("chardev:"))
        elif fields.get("mode", _DEFAULT_MODES.get(name)) == "control":
            wanted.append(fields.get("chardev", ""))
    yield from (chardevs[name] for name in wanted if name in chardevs)


def _fields(value: str) -> dict[str, str]:
    """``a,b=c,d=e`` as QEMU reads it; a doubled comma is one that belongs to a value."""
    parts = value.replace(",,", "\0").split(",")
    pairs = (part.replace("\0", ",").partition("=") for part in parts)
    return {name: text for name, equals, text in pairs if equals}


def _listening(pid: int) -> dict[str, int]:
    """How many clients each path has that is listened on. An accepted socket shows it too."""
    named = _sockets(pid)
    uses = Counter(row[7] for row in named)
    return {row[7]: uses[row[7]] - 1 for row in named if row[3] == _LISTENING}


def _sockets(pid: int) -> list[list[str]]:
    """Unix sockets with a name: address, uses, protocol, flags, type, state, inode, name."""
    rows = [line.split(maxsplit=7) for line in (_text(pid, "net/unix") or "").splitlines()]
    return [row for row in rows if len(row) == 8]


def _opened(pid: int) -> Iterator[str]:
    """What its open files link to, as far as that can be seen."""
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                yield str(entry.readlink())


def _waited_s(pid: int) -> dict[int, float]:
    found = {}
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):  # a thread that has just ended
                found[int(task.name)] = int((task / "schedstat").read_text().split()[1]) / 1e9
    return found


def _stat(pid: int) -> list[str]:
    """The fields behind the name, which may hold spaces: the state is the first."""
    return (_text(pid, "stat") or "").rpartition(")")[2].split()


def _text(pid: int, name: str) -> str | None:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return None
