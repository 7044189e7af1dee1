"""What would have kept a backup job from a scan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.field.diagnose.facts import Facts
from hbitmap_bench.field.diagnose.job import Node
from hbitmap_bench.field.diagnose.scans import Scan
from hbitmap_impl.image import default_l2_slice

_LARGE_CLUSTER: Final = 2 * 2**20


def remedies(facts: Facts, kind: Scan) -> Iterator[str]:
    """What would have kept the job from it, the cheapest first."""
    if kind != "access-scan":
        yield (
            "start the job soon after the copy-before-write filter is there: what the guest "
            "overwrites in between fills the done bitmap"
        )
        yield from _slice(facts.fleecing, "the fleecing target's node")
    image, bit = facts.image, facts.bit_bytes
    if kind != "done-scan":
        yield from _slice(image, "the qcow2 node")
        if image is not None and image.driver == "qcow2" and _has_small_clusters(image):
            yield (
                "larger image clusters (qemu-img convert -o cluster_size=2M): an answer reaches "
                "further"
            )
    yield (
        f"larger copy clusters than {format_size(bit)}: min-cluster-size on the copy-before-write "
        "filter (QEMU 9.2 and later), or a fleecing target with larger clusters: as many times "
        "fewer words in a scan"
    )
    if kind == "access-scan":
        yield "a QEMU whose copy-before-write filter keeps a deny bitmap: no scan at all"
    elif kind == "both-scans":
        yield (
            "a QEMU whose copy-before-write filter keeps a deny bitmap: no scan of the access "
            "bitmap, but that of the done bitmap stays"
        )


def _slice(node: Node | None, called: str) -> Iterator[str]:
    if node is None or node.driver != "qcow2" or not node.cluster_bytes:
        return
    fewer = _fewer_queries(node)
    if fewer > 1:
        yield (
            f"l2-cache-entry-size={format_size(node.cluster_bytes)} on {called} {node.name}: "
            f"{fewer} times fewer questions (if it has the default now)"
        )


def _has_small_clusters(image: Node) -> bool:
    return 0 < (image.cluster_bytes or 0) < _LARGE_CLUSTER


def _fewer_queries(image: Node) -> int:
    cluster = image.cluster_bytes or 1
    return cluster // default_l2_slice(image.size, cluster, image.l2_entry_bytes)
