"""``tournament``: play, print, write."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from hbitmap_bench.base.again import command_line, repeated
from hbitmap_bench.base.consoles import PipedConsole, bar, progress_console
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import Output, check_folder, deliver, in_lines
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.tournament.contenders import find_contenders
from hbitmap_bench.tournament.page import Tournament, as_json, render_terminal, write
from hbitmap_bench.tournament.play import n_games, play
from hbitmap_bench.tournament.workloads import ANSWER, WORKLOADS, Workload

LEAST_BYTES: Final = 64 * ANSWER
"""Two gigabytes. Below, no runs of all lengths have room, and nothing takes time."""

MOST_BYTES: Final = 16 * 2**40
"""Bitmaps of 32 MiB. The access bitmap takes minutes a game at this size."""


def run(
    names: Sequence[str],
    workloads: Sequence[str],
    sizes: Sequence[int],
    rounds: int,
    out_dir: Path,
) -> None:
    """Play all games, write the report, and print its tables. Raises ``UserError``."""
    progress, output = progress_console(), PipedConsole()
    contenders = find_contenders(names, progress.print)
    chosen = _chosen(workloads)
    _check_sizes(sizes)
    check_folder(out_dir)
    total = n_games(contenders, chosen, sizes, rounds)
    with bar(progress, f"{total} games") as advance:
        cells = play(
            contenders, chosen, sizes,
            rounds=rounds, advance=lambda: advance(1 / total), say=progress.print,
        )  # fmt: skip
    found = Tournament(
        tuple(contenders), tuple(chosen), tuple(cells), rounds,
        _command(names, workloads, sizes, rounds), datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip
    outputs: list[Output] = [(out_dir, partial(write, found))]
    show = partial(render_terminal, found, output)
    deliver(outputs, show, lambda: in_lines(as_json(found)), progress.print)


def _command(
    names: Sequence[str], workloads: Sequence[str], sizes: Sequence[int], rounds: int
) -> str:
    """What was asked for, defaults too, since another version may have others."""
    return command_line(
        "tournament",
        *repeated("--contender", names),
        *repeated("--workload", workloads),
        *repeated("--size", map(format_size, sizes)),
        *("--rounds", str(rounds)),
    )


def _chosen(names: Sequence[str]) -> list[Workload]:
    known = {workload.name: workload for workload in WORKLOADS}
    for name in names:
        if name not in known:
            raise UserError(f"no workload is called {name!r}: take one of {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names) or known]


def _check_sizes(sizes: Sequence[int]) -> None:
    for size in sizes:
        if not LEAST_BYTES <= size <= MOST_BYTES or size % ANSWER:
            raise UserError(
                f"an image of the tournament has {format_size(LEAST_BYTES)} to "
                f"{format_size(MOST_BYTES)}, a multiple of {format_size(ANSWER)}, not "
                f"{format_size(size)}: take another --size"
            )
