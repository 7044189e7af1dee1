"""A pass of block status over NBD, as a backup makes that is pulled."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from hbitmap_bench.base import scratch
from hbitmap_bench.qemu.account import process_totals
from hbitmap_bench.qemu.builds import QemuBuild, run_tool
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.graph import add_disk, add_filters
from hbitmap_bench.qemu.images import Image
from hbitmap_bench.qemu.nbd import connected, whole_status

EXPORT: Final = "disk"

Client = Callable[[Path], tuple[int, int]]
"""Asks an NBD server's socket for all of the export: requests sent, extents received."""


def ask_in_32_bits(path: Path) -> tuple[int, int]:
    """Our own client."""
    with connected(path, EXPORT) as client:
        return whole_status(client)


def ask_by(qemu_img: Path) -> Client:
    """A build's own client. How many requests it sends it does not tell: 0."""

    def ask(path: Path) -> tuple[int, int]:
        uri = f"nbd+unix:///{EXPORT}?socket={path}"
        told = run_tool([qemu_img, "map", "--output=json", "-f", "raw", uri], timeout_s=None)
        return 0, len(json.loads(told))

    return ask


class Pass(NamedTuple):
    """One pass or build-up: seconds, the daemon's own seconds of processor, requests, extents."""

    elapsed_s: float
    cpu_s: float
    requests: int = 0
    extents: int = 0


def pull(build: QemuBuild, image: Image, client: Client, *, filtered: bool) -> Pass:
    """One pass over the whole export, in a daemon of its own."""
    with Daemon(build) as daemon:
        node = add_disk(daemon, image, None)
        if filtered:
            node = add_filters(daemon, image.image_bytes)
        return pass_over(daemon, node, client)


def pass_over(daemon: Daemon, node: str, client: Client) -> Pass:
    """Export a node, and let the client ask."""
    with scratch.folder() as folder:
        path = folder / "nbd"
        daemon.execute("nbd-server-start", addr={"type": "unix", "data": {"path": str(path)}})
        daemon.execute("block-export-add", type="nbd", id="export", node_name=node, name=EXPORT)
        start_s, before_s = time.perf_counter(), _cpu_s(daemon)
        requests, extents = client(path)
        elapsed_s, cpu_s = time.perf_counter() - start_s, _cpu_s(daemon) - before_s
        daemon.execute("nbd-server-stop")
    return Pass(elapsed_s, cpu_s, requests, extents)


def _cpu_s(daemon: Daemon) -> float:
    """What the daemon has used of processors: other load on the machine is not in it."""
    return process_totals(daemon.pid).cpu_s
