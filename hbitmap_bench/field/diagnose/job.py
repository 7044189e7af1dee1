"""A backup job of somebody else's QEMU, and the chain of block nodes that it reads through."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from hbitmap_bench.field.diagnose.peek import Asked
from hbitmap_bench.qemu.detect import FILTERS, classify
from hbitmap_bench.qemu.filters import Detected
from hbitmap_bench.qemu.graph import COPY_CLUSTER_BYTES, unnamed_counts

CBW, SNAPSHOT_ACCESS = FILTERS
_BACKUP: Final = "backup"
_READS_THROUGH: Final = "file"
_COPIES_TO: Final = "target"
_PROTOCOL: Final = re.compile(r"[\w+-]+:")  # json: and nbd:// are no files
FILES: Final = ("file", "host_device")
"""Drivers of files and of block devices."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as QMP tells it; ``done`` and ``total`` are its progress, mostly in bytes."""

    name: str
    kind: str
    status: str
    done: int
    total: int
    speed: int = 0
    paused: bool = False
    io_status: str = "ok"
    error: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A block node; ``first_count`` is that of its first unnamed bitmap, in bytes.

    ``second_count`` is that of the second one: of a copy-before-write filter, the done bitmap.
    """

    name: str
    driver: str
    size: int
    file: Path | None
    cluster_bytes: int | None
    l2_entry_bytes: int
    bit_bytes: int
    first_count: int | None
    second_count: int | None = None


@dataclass(frozen=True, slots=True)
class View:
    """Jobs and nodes at one time. ``chain`` is what the first backup job reads through, top first.

    ``fleecing`` is what lies under the filter's target, top first: where overwritten clusters are
    read from. ``chain_is_known`` is False where this QEMU does not tell which node lies over which:
    the chain is then all nodes that could be in it. ``runs_guest`` is True for a virtual machine:
    its process also reads for its guest.
    """

    jobs: tuple[Job, ...]
    chain: tuple[Node, ...]
    chain_is_known: bool
    runs_guest: bool = False
    fleecing: tuple[Node, ...] = ()

    @property
    def job(self) -> Job | None:
        """The backup job: of several, one that stands at 0."""
        backups = [job for job in self.jobs if job.kind == _BACKUP]
        return min(backups, key=lambda job: job.done > 0, default=None)

    def node(self, *drivers: str) -> Node | None:
        """The topmost node of the chain with one of these drivers."""
        return next((node for node in self.chain if node.driver in drivers), None)

    @property
    def filter(self) -> Node | None:
        """The copy-before-write filter that a snapshot-access node reads through."""
        drivers = [node.driver for node in self.chain]
        if SNAPSHOT_ACCESS not in drivers:
            return None
        first = drivers.index(SNAPSHOT_ACCESS) + 1 if self.chain_is_known else 0
        return next((node for node in self.chain[first:] if node.driver == CBW), None)

    @property
    def done_part(self) -> float:
        """Which part of the disk the guest has overwritten since the filter was put there."""
        found = self.filter
        if found is None or not found.size or not found.second_count:
            return 0.0
        return min(found.second_count / found.size, 1.0)

    @property
    def detected(self) -> Detected | None:
        """The algorithm of that filter; None without one."""
        found = self.filter
        return None if found is None else classify(found.first_count, found.size)


def look(peek: Asked) -> View:
    """Ask for jobs, nodes and graph. Raises ``NoAnswerError``."""
    runs_guest = peek.ask("query-status") is not None  # a storage daemon does not know this
    jobs = jobs_of(peek)
    nodes = {node.name: node for node in _nodes(peek.ask("query-named-block-nodes", flat=True))}
    graph = peek.ask("x-debug-query-block-graph")
    names = _chain(graph, View(jobs, (), True).job)
    if names is None:
        return View(jobs, tuple(nodes.values()), False, runs_guest)
    chain = tuple(nodes[name] for name in names if name in nodes)
    view = View(jobs, chain, True, runs_guest)
    if view.filter is None:
        return view
    below = _names_below(graph, view.filter.name, _COPIES_TO)
    return replace(view, fleecing=tuple(nodes[name] for name in below if name in nodes))


def jobs_of(peek: Asked) -> tuple[Job, ...]:
    """The jobs alone."""
    block = {one["device"]: one for one in peek.ask("query-block-jobs") or []}
    return tuple(_job(one, block.get(one["id"], {})) for one in peek.ask("query-jobs") or [])


def _job(told: dict[str, Any], block: dict[str, Any]) -> Job:
    return Job(
        name=told["id"],
        kind=told["type"],
        status=told["status"],
        done=told["current-progress"],
        total=told["total-progress"],
        speed=block.get("speed", 0),
        paused=block.get("paused", False),
        io_status=block.get("io-status", "ok"),
        error=told.get("error", ""),
    )


def _nodes(told: Iterable[dict[str, Any]] | None) -> list[Node]:
    listed = list(told or [])
    return [_node(one, unnamed_counts(listed, one["node-name"])) for one in listed]


def _node(told: dict[str, Any], counts: Sequence[int]) -> Node:
    image = told.get("image", {})
    details = image.get("format-specific", {}).get("data", {})
    bits = [bitmap["granularity"] for bitmap in told.get("dirty-bitmaps", [])]
    name = image.get("filename", "")
    return Node(
        name=told["node-name"],
        driver=told["drv"],
        size=image.get("virtual-size", 0),
        file=Path(name) if name and not _PROTOCOL.match(name) else None,
        cluster_bytes=image.get("cluster-size"),
        l2_entry_bytes=16 if details.get("extended-l2") else 8,
        bit_bytes=bits[0] if bits else COPY_CLUSTER_BYTES,
        first_count=counts[0] if counts else None,
        second_count=counts[1] if len(counts) > 1 else None,
    )


def _chain(graph: dict[str, Any] | None, job: Job | None) -> list[str] | None:
    """Names from the job's node down; None where the graph does not say."""
    if graph is None or job is None:
        return None
    return _names_below(graph, job.name, "main node", "block-job") or None


def _names_below(
    graph: dict[str, Any], name: str, edge: str, kind: str = "block-driver"
) -> list[str]:
    """Names from the node at the end of a thing's edge down, as far as each reads through one."""
    things = {one["id"]: one for one in graph["nodes"]}
    below = {(one["parent"], one["name"]): one["child"] for one in graph["edges"]}
    found = [i for i, one in things.items() if (one["type"], one["name"]) == (kind, name)]
    place = below.get((found[0], edge)) if found else None
    names: list[str] = []
    while place is not None and things[place]["name"] not in names:
        names.append(things[place]["name"])
        place = below.get((place, _READS_THROUGH))
    return names
