"""A contender at a workload and size: what was measured there."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from hbitmap_bench.qemu.account import Run
from hbitmap_bench.reproduction.disturbance import counted

Place = tuple[str, int]
"""A workload's name and an image size in bytes: where contenders meet."""


@dataclass(slots=True)
class Cell:
    """A contender at a workload and size. Seconds are measured, one game a round.

    ``runs`` are the games: what all questions take together, and whether the host let them alone.
    ``setup_s`` are the CPU seconds that the filter takes to be made. ``words`` are those of the
    access check and of the done bitmap; None where they are not counted. ``memory_bytes`` are those
    that the check says it has after the game.
    """

    contender: str
    workload: str
    image_bytes: int
    setup_s: list[float] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    questions: int = 0
    words: int | None = None
    memory_bytes: int = 0

    @property
    def place(self) -> Place:
        """Where it is measured."""
        return self.workload, self.image_bytes

    @property
    def cpu_s(self) -> float:
        """The median CPU seconds of the undisturbed games; of all where there is none."""
        return statistics.median(run.cpu_s or 0.0 for run in counted(self.runs))

    @property
    def least_setup_s(self) -> float | None:
        """The least of the set-ups of undisturbed games; None where there is none."""
        games = zip(self.setup_s, self.runs, strict=True)
        return min((seconds for seconds, run in games if run.disturbed is None), default=None)

    @property
    def reasons(self) -> list[str]:
        """Why games are disturbed: a reason for each that is."""
        return [run.disturbed for run in self.runs if run.disturbed is not None]
