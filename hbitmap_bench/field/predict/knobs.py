"""What a user can turn without a new QEMU, so that the access bitmap costs less."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.field.predict.counts import Counts, count
from hbitmap_bench.field.predict.subject import Subject, of_plan
from hbitmap_bench.qemu.geometry import MAX_CLUSTER_BYTES
from hbitmap_bench.qemu.graph import COPY_CLUSTER_BYTES

LARGE_CLUSTER_BYTES: Final = 2**20
"""What copy clusters and image clusters are raised to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """One change of the set-up; None stands for what is left as it is. Sizes in bytes.

    ``fleecing_bytes`` is the cluster size of the filter's target, ``min_cluster_bytes`` the
    filter's own option: both make its copy clusters larger, and its bitmaps smaller.
    """

    l2_slice_bytes: int | None = None
    fleecing_bytes: int | None = None
    min_cluster_bytes: int | None = None
    image_cluster_bytes: int | None = None

    def __str__(self) -> str:
        if self.l2_slice_bytes:
            return f"l2-cache-entry-size={format_size(self.l2_slice_bytes)}"
        if self.fleecing_bytes:
            return f"fleecing clusters of {format_size(self.fleecing_bytes)}"
        if self.min_cluster_bytes:
            return f"min-cluster-size={format_size(self.min_cluster_bytes)}"
        if self.image_cluster_bytes:
            return f"image clusters of {format_size(self.image_cluster_bytes)}"
        return "as it is"

    def applied(self, subject: Subject) -> Subject:
        """The image that is asked: with other clusters it is converted, all of it allocated."""
        if self.image_cluster_bytes:
            return of_plan(subject.image_bytes, self.image_cluster_bytes)
        return subject

    def counts(self, subject: Subject, *, filtered: bool) -> Counts:
        """What a build-up does with the knob turned. Costs a walk."""
        copy_cluster = self.fleecing_bytes or self.min_cluster_bytes or COPY_CLUSTER_BYTES
        return count(
            self.applied(subject),
            filtered=filtered,
            l2_slice_bytes=self.l2_slice_bytes,
            copy_cluster_bytes=copy_cluster,
        )


AS_IT_IS: Final = Knob()


def knobs(subject: Subject) -> Iterator[Knob]:
    """Those that change anything for the image, the least trouble first."""
    if subject.default_slice_bytes < subject.cluster_bytes:
        yield Knob(l2_slice_bytes=subject.cluster_bytes)
    yield Knob(min_cluster_bytes=LARGE_CLUSTER_BYTES)
    yield Knob(fleecing_bytes=LARGE_CLUSTER_BYTES)
    larger = max(min(subject.cluster_bytes * 2, MAX_CLUSTER_BYTES), LARGE_CLUSTER_BYTES)
    if 0 < subject.cluster_bytes < larger and _fits(subject, larger):
        yield Knob(image_cluster_bytes=larger)


def _fits(subject: Subject, cluster_bytes: int) -> bool:
    try:
        of_plan(subject.image_bytes, cluster_bytes)
    except UserError:
        return False
    return True
