"""Plays the games: every contender in turn, workload by workload, size by size, round by round.

A busy host spoils some. Where too few of a contender's games are its own work, all contenders play
there once more: a round compares what was measured in the same moments.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.interrupt import stop_like_ctrl_c
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.qemu.account import Run, spent, thread_totals
from hbitmap_bench.reproduction.disturbance import judged, usual_loop_words_s
from hbitmap_bench.reproduction.scan_loop import ScanLoop
from hbitmap_bench.tournament.cell import Cell
from hbitmap_bench.tournament.contenders import Contender
from hbitmap_bench.tournament.standings import standing
from hbitmap_bench.tournament.workloads import Workload

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Seat:
    """A contender at a workload and size, and what is known of it."""

    contender: Contender
    workload: Workload
    cell: Cell


_Board = Sequence[_Seat]
"""All contenders at one workload and size."""


def n_games(
    contenders: Sequence[Contender], workloads: Sequence[Workload], sizes: Sequence[int],
    rounds: int,
) -> int:  # fmt: skip
    """How many games ``play`` plays where none is disturbed."""
    return len(contenders) * len(workloads) * len(sizes) * rounds


def play(
    contenders: Sequence[Contender],
    workloads: Sequence[Workload],
    sizes: Sequence[int],
    *,
    rounds: int,
    advance: Callable[[], object] = lambda: None,
    say: Callable[[str], object] = lambda _: None,
) -> list[Cell]:
    """All cells. Each round plays every game; contenders take turns, the next round backwards.

    Then come at most as many rounds again, of the workloads and sizes where a contender has fewer
    than ``rounds`` games that no busy host has disturbed, beside undisturbed ones of the fastest;
    ``say`` is told. ``advance`` is called after each game of the first rounds. Raises ``UserError``
    where a contender raises. Cost: 1.5 us a question, what the searches take, and 7 ms a game.
    """
    boards = _boards(contenders, workloads, sizes)
    session = _Session()
    with stop_like_ctrl_c():
        for number in range(rounds):
            session.play(boards, number, advance)
        for number in range(rounds, 2 * rounds):
            _judge(boards)
            again = [board for board in boards if _wants(board, rounds)]
            if not again:
                break
            where = f"{len(again)} of {len(boards)} workloads and sizes"
            say(f"disturbed by a busy host, and played again: {where}")
            session.play(again, number)
    _judge(boards)
    return [seat.cell for board in boards for seat in board]


def _boards(
    contenders: Sequence[Contender], workloads: Sequence[Workload], sizes: Sequence[int]
) -> list[_Board]:
    return [
        [_Seat(one, workload, Cell(one.name, workload.name, size)) for one in contenders]
        for workload in workloads
        for size in sizes
    ]


def _judge(boards: Iterable[_Board]) -> None:
    """Say of each game whether it was disturbed, by all that is known now."""
    cells = [seat.cell for board in boards for seat in board]
    usual_words_s = usual_loop_words_s(run for cell in cells for run in cell.runs)
    for cell in cells:
        cell.runs = list(judged(cell.runs, usual_words_s, excess_s=0))


def _wants(board: _Board, rounds: int) -> bool:
    found = standing([seat.cell for seat in board])
    return any(ratio.rounds < rounds for ratio in found.ratios)


class _Session:
    """Plays game after game, the fixed loop between them."""

    def __init__(self) -> None:
        self._loop = ScanLoop()
        self._rate = self._loop.words_s()

    def play(
        self, boards: Iterable[_Board], number: int, advance: Callable[[], object] = lambda: None
    ) -> None:
        """A round of all games of these boards; those with an odd number go backwards."""
        for board in boards:
            for seat in board[:: -1 if number % 2 else 1]:
                self._play_once(seat)
                advance()

    def _play_once(self, seat: _Seat) -> None:
        cell, contender, workload = seat.cell, seat.contender, seat.workload
        try:
            game, setup = _measured(lambda: workload.start(contender.check, cell.image_bytes))
            for bitmap in (game.cbw.check, game.cbw.done_bitmap):
                bitmap.reset_counters()
            cell.questions, run = _measured(game.play)
            cell.words = game.words() if contender.counts_words else None
            cell.memory_bytes = game.cbw.check.memory_bytes
        except Exception as error:  # whatever a package's own code raises
            reason = f"{type(error).__name__}: {error}"
            raise UserError(
                f"the contender {contender.name} fails at {workload.name}, "
                f"{format_size(cell.image_bytes)} ({reason}): mend it, or leave it out by "
                "--contender"
            ) from error
        self._rate, rate_before = self._loop.words_s(), self._rate
        cell.setup_s.append(setup.cpu_s or 0.0)
        cell.runs.append(replace(run, loop_words_s=(rate_before, self._rate)))


def _measured(call: Callable[[], T]) -> tuple[T, Run]:
    """What a call returns, and the seconds of this thread meanwhile, without garbage collection."""
    gc.disable()
    try:
        before = thread_totals()
        start_s, cpu_start_s = time.perf_counter(), time.thread_time()
        found = call()
        cpu_s, wall_s = time.thread_time() - cpu_start_s, time.perf_counter() - start_s
        return found, replace(spent(before, thread_totals(), wall_s=wall_s), cpu_s=cpu_s)
    finally:
        gc.enable()
