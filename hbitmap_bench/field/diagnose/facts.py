"""All that was seen of a QEMU and its backup job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hbitmap_bench.field.diagnose.job import FILES, Job, Node, View
from hbitmap_bench.field.diagnose.watch import Window
from hbitmap_bench.qemu.graph import COPY_CLUSTER_BYTES

_ANSWERING: Final = ("qcow2", "raw", *FILES)
_BEFORE_COPYING: Final = ("created", "running", "paused", "standby")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that was seen. A part is None where it could not be; ``notes`` say why.

    ``later`` are the jobs when the window closed. ``age_s`` is how long it has been closed: samples
    are read after it, and QEMU may take seconds to tell what its jobs do by then.
    """

    view: View | None
    later: tuple[Job, ...] | None
    window: Window | None
    notes: tuple[str, ...] = ()
    age_s: float = 0.0

    @property
    def job(self) -> Job | None:
        """The backup job when the window opened."""
        return self.view.job if self.view else None

    @property
    def job_later(self) -> Job | None:
        """The same job when the window closed; None if it is gone."""
        name = self.job.name if self.job else None
        return next((job for job in self.later or () if job.name == name), None)

    @property
    def is_over(self) -> bool | None:
        """Whether no build-up is under way any more; None where QEMU did not tell."""
        if self.view is None or self.later is None:
            return None
        later = self.job_later
        return later is None or later.done > 0 or later.status not in _BEFORE_COPYING

    @property
    def image(self) -> Node | None:
        """The node whose clusters are asked about."""
        return self.view.node(*_ANSWERING) if self.view else None

    @property
    def fleecing(self) -> Node | None:
        """The node that answers for clusters which the guest has overwritten."""
        nodes = self.view.fleecing if self.view else ()
        return next((node for node in nodes if node.driver in _ANSWERING), None)

    @property
    def bit_bytes(self) -> int:
        """The copy cluster of the filter, else QEMU's default: what a bit stands for."""
        found = self.view.filter if self.view else None
        return found.bit_bytes if found else COPY_CLUSTER_BYTES
