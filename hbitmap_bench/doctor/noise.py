"""What disturbs measurements on a host, as far as its kernel tells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from hbitmap_bench.doctor.host import Host

_CPU: Final = "sys/devices/system/cpu"
_STEAL_FIELD: Final = 8  # of the line "cpu" in /proc/stat, whose name is field 0
_GUEST_FIELD: Final = 9  # from here on time that is counted in others already
_AVERAGE: Final = re.compile(r"^some .*avg60=([\d.]+)", re.MULTILINE)
_AVAILABLE: Final = re.compile(r"^MemAvailable:\s*(\d+) kB$", re.MULTILINE)

_MOST_STEAL: Final = 0.01
_MOST_LOAD: Final = 0.5
_MOST_PRESSURE: Final = 5.0
_LEAST_BYTES: Final = 2 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """One source. ``seen`` is None where the kernel does not tell, and so is ``noisy``.

    ``expect`` is what it does to measurements where it is noisy; ``mend`` the command against it.
    """

    name: str
    seen: str | None
    noisy: bool | None
    expect: str
    mend: str


def noises(host: Host) -> list[Noise]:
    """All sources. Reads some twenty small files."""
    return [
        _governor(host), _turbo(host), _cores(host), _load(host),
        _steal(host), _pressure(host), _huge_pages(host), _memory(host),
    ]  # fmt: skip


def _governor(host: Host) -> Noise:
    paths = (host.root / _CPU).glob("cpu[0-9]*/cpufreq/scaling_governor")
    found = sorted({host.text(str(path)) or "" for path in paths})
    return Noise(
        name="governor",
        seen=", ".join(found) or None,
        noisy=found != ["performance"] if found else None,
        expect="seconds change with the clock rate",
        mend="sudo cpupower frequency-set -g performance",
    )


def _turbo(host: Host) -> Noise:
    no_turbo, boost = host.text(f"{_CPU}/intel_pstate/no_turbo"), host.text(f"{_CPU}/cpufreq/boost")
    is_on = no_turbo == "0" if no_turbo is not None else boost == "1" if boost else None
    off = "1" if no_turbo is not None else "0"
    name = "intel_pstate/no_turbo" if no_turbo is not None else "cpufreq/boost"
    return Noise(
        name="turbo",
        seen=None if is_on is None else "on" if is_on else "off",
        noisy=is_on,
        expect="the first seconds run faster than the rest",
        mend=f"echo {off} | sudo tee /{_CPU}/{name}",
    )


def _cores(host: Host) -> Noise:
    return Noise(
        name="cores",
        seen=str(host.cores),
        noisy=host.cores < 2,
        expect="a daemon shares its core with what measures it",
        mend="taskset -cp 0-1 $$, or a machine with two",
    )


def _load(host: Host) -> Noise:
    load = (host.text("proc/loadavg") or "").split()
    return Noise(
        name="load",
        seen=load[0] if load else None,
        noisy=float(load[0]) > _MOST_LOAD if load else None,
        expect="runs wait for a core: rows are repeated, or marked as disturbed",
        mend="end what runs: ps -eo pcpu,pid,args --sort=-pcpu | head",
    )


def _steal(host: Host) -> Noise:
    fields = (host.text("proc/stat") or "").partition("\n")[0].split()
    ticks = [int(field) for field in fields[1:_GUEST_FIELD]]
    total = sum(ticks)
    share = ticks[-1] / total if total and len(ticks) == _STEAL_FIELD else None
    return Noise(
        name="steal",
        seen=None if share is None else f"{share:.1%} since boot",
        noisy=None if share is None else share > _MOST_STEAL,
        expect="the hypervisor takes time: wall seconds grow, CPU seconds less",
        mend="none from inside: a machine whose cores are its own",
    )


def _pressure(host: Host) -> Noise:
    texts = {name: host.text(f"proc/pressure/{name}") for name in ("cpu", "io", "memory")}
    found = {name: match for name, text in texts.items() if (match := _AVERAGE.search(text or ""))}
    return Noise(
        name="pressure",
        seen=", ".join(f"{name} {match[1]}%" for name, match in found.items()) or None,
        noisy=any(float(m[1]) > _MOST_PRESSURE for m in found.values()) if found else None,
        expect="tasks of the host wait for it: rows are marked as disturbed",
        mend="end what runs; boot with psi=1 where it is not seen",
    )


def _huge_pages(host: Host) -> Noise:
    text = host.text("sys/kernel/mm/transparent_hugepage/enabled") or ""
    chosen = re.search(r"\[(\w+)\]", text)
    return Noise(
        name="huge pages",
        seen=chosen[1] if chosen else None,
        noisy=chosen[1] == "always" if chosen else None,
        expect="bitmaps lie in huge pages in one run, and not in the next",
        mend="echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
    )


def _memory(host: Host) -> Noise:
    match = _AVAILABLE.search(host.text("proc/meminfo") or "")
    available = int(match[1]) * 1024 if match else None
    return Noise(
        name="memory",
        seen=None if available is None else f"{available / 2**30:.1f} GiB available",
        noisy=None if available is None else available < _LEAST_BYTES,
        expect="metadata (160 MB a TiB) leaves the page cache: the disk is measured, too",
        mend="hbitmap-bench reproduce --qemu-size 512G, or free some memory",
    )
