"""Which algorithm has a build, and has it the parts at all? Asked of the build, never believed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.filters import Detected
from hbitmap_bench.qemu.graph import add_null_disk, first_unnamed_count

PROBE_BYTES: Final = 64 * 2**20
_DISK: Final = "probe-disk"
_TARGET: Final = "probe-target"
_FILTER: Final = "probe-cbw"

JOB: Final = "blockdev-backup"
FILTERS: Final = ("copy-before-write", "snapshot-access")


def detect_algorithm(daemon: Daemon) -> Detected:
    """Put a copy-before-write filter without a bitmap over a 64 MiB null disk, and look.

    Its first unnamed bitmap is the access bitmap, full at the start, or the deny bitmap, empty at
    the start. The probe's nodes are removed again, unless it fails, which ends the daemon. Raises
    ``QmpError`` where the build has no such filter.
    """
    names = [add_null_disk(daemon, name, PROBE_BYTES) for name in (_DISK, _TARGET)]
    daemon.execute(
        "blockdev-add",
        driver="copy-before-write",
        node_name=_FILTER,
        file=_DISK,
        target=_TARGET,
    )
    nodes = daemon.execute("query-named-block-nodes")
    for name in (_FILTER, *names):
        daemon.execute("blockdev-del", node_name=name)
    return classify(first_unnamed_count(nodes, _FILTER))


def classify(first_count: int | None, image_bytes: int = PROBE_BYTES) -> Detected:
    """What the count (bytes) of the first unnamed bitmap over a disk (the probe's) says.

    Holds for a filter without a bitmap of its own, before anything was denied. A count is in whole
    bits, and so may reach past the disk's end.
    """
    if first_count is not None and first_count >= image_bytes:
        return "access"
    return "deny" if first_count == 0 else "unknown"


def has_min_cluster_size(schema: Iterable[dict[str, Any]]) -> bool:
    """Whether a build's copy-before-write filter has ``min-cluster-size``, by its schema."""
    needed = {"on-cbw-error", "min-cluster-size"}  # the job's own options have the latter, too
    objects = (entry for entry in schema if entry["meta-type"] == "object")
    return any(needed <= {member["name"] for member in one["members"]} for one in objects)


def missing_parts(schema: Iterable[dict[str, Any]]) -> frozenset[str]:
    """Which of the job and the two filters a build lacks, from its ``query-qmp-schema``."""
    have = set()
    for entry in schema:
        if entry["meta-type"] == "command":
            have.add(entry["name"])
        elif entry["meta-type"] == "enum":
            have.update(entry["values"])
    return frozenset({JOB, *FILTERS}) - have
