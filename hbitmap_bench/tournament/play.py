"""Plays the games: every contender in turn, workload by workload, size by size, round by round."""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.interrupt import stop_like_ctrl_c
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.tournament.contenders import Contender
from hbitmap_bench.tournament.workloads import Workload

Place = tuple[str, int]
"""A workload's name and an image size in bytes: where contenders meet."""


@dataclass(slots=True)
class Cell:
    """A contender at a workload and size. Seconds are CPU time, one a round, all measured.

    ``setup_s`` is what the filter takes to be made, ``play_s`` what all questions take together.
    ``words`` are those of the access check and of the done bitmap; None where they are not counted.
    ``memory_bytes`` are those that the check has allocated after the game.
    """

    contender: str
    workload: str
    image_bytes: int
    setup_s: list[float] = field(default_factory=list)
    play_s: list[float] = field(default_factory=list)
    questions: int = 0
    words: int | None = None
    memory_bytes: int = 0

    @property
    def place(self) -> Place:
        """Where it is measured."""
        return self.workload, self.image_bytes

    @property
    def seconds(self) -> float:
        """The median of ``play_s``."""
        return statistics.median(self.play_s)


def n_games(
    contenders: Sequence[Contender], workloads: Sequence[Workload], sizes: Sequence[int],
    rounds: int,
) -> int:  # fmt: skip
    """How many games ``play`` plays."""
    return len(contenders) * len(workloads) * len(sizes) * rounds


def play(
    contenders: Sequence[Contender],
    workloads: Sequence[Workload],
    sizes: Sequence[int],
    *,
    rounds: int,
    advance: Callable[[], object] = lambda: None,
) -> list[Cell]:
    """All cells. Each round plays every game; contenders take turns, the next round backwards.

    ``advance`` is called after each game. Raises ``UserError`` where a contender raises.
    Cost: 1.5 us a question, and what the searches take.
    """
    cells = {
        (contender.name, workload.name, size): Cell(contender.name, workload.name, size)
        for workload, size, contender in itertools.product(workloads, sizes, contenders)
    }
    with stop_like_ctrl_c():
        for number in range(rounds):
            for workload, size in itertools.product(workloads, sizes):
                for contender in contenders[:: -1 if number % 2 else 1]:
                    _play_once(cells[contender.name, workload.name, size], contender, workload)
                    advance()
    return list(cells.values())


def _play_once(cell: Cell, contender: Contender, workload: Workload) -> None:
    try:
        with _timed(cell.setup_s):
            game = workload.start(contender.check, cell.image_bytes)
        for bitmap in (game.cbw.check, game.cbw.done_bitmap):
            bitmap.reset_counters()
        with _timed(cell.play_s):
            cell.questions = game.play()
        cell.words = game.words() if contender.counts_words else None
        cell.memory_bytes = game.cbw.check.memory_bytes
    except Exception as error:  # whatever a package's own code raises
        reason = f"{type(error).__name__}: {error}"
        raise UserError(
            f"the contender {contender.name} fails at {workload.name}, "
            f"{format_size(cell.image_bytes)} ({reason}): mend it, or leave it out by --contender"
        ) from error


@contextmanager
def _timed(seconds: list[float]) -> Iterator[None]:
    """Add the CPU time of this process meanwhile, without the garbage collector's."""
    gc.disable()
    start = time.process_time()
    try:
        yield
    finally:
        seconds.append(time.process_time() - start)
        gc.enable()
