"""What is made of samples: shown, told to machines, and one after another followed to the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import click
from rich.console import Console, Group
from rich.live import Live

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import STDOUT, put_json, write_atomic
from hbitmap_bench.field.diagnose.diagnosis import Diagnosis, diagnose
from hbitmap_bench.field.diagnose.diagnosis_json import to_json
from hbitmap_bench.field.diagnose.diagnosis_metrics import to_metrics
from hbitmap_bench.field.diagnose.diagnosis_text import lines, render
from hbitmap_bench.field.diagnose.facts import Facts

Taker = Callable[[Facts, Diagnosis], object]
"""What is given each sample, and what follows from it."""


def show_once(facts: Facts, name: str, json_path: Path | None, metrics_path: Path | None) -> None:
    """Print one sample, or JSON where its path is ``-``, and write what has a path.

    ``name`` is what metrics call the QEMU. Raises ``UserError`` where nothing was seen.
    """
    found = _judged(facts)
    metrics = [] if metrics_path is None else [(metrics_path, partial(_put, facts, found, name))]
    as_json, show = partial(to_json, facts, found), partial(render, facts, found, Console())
    put_json(json_path, as_json, show, metrics)


def follow(
    seen: Iterator[Facts], name: str, json_path: Path | None, metrics_path: Path | None
) -> None:
    """Show sample after sample until the build-up is over; paths and errors as in ``show_once``.

    JSON is a line a sample, which is there as a whole when the next one is looked at.
    """
    with ExitStack() as stack:
        takers: list[Taker] = []
        if metrics_path is not None:
            takers.append(lambda facts, found: _put(facts, found, name, metrics_path))
        if json_path is not None:
            takers.append(stack.enter_context(_json_lines(json_path)))
        if json_path != STDOUT:
            takers.append(stack.enter_context(_display(Console())))
        for facts in _until_over(seen):
            found = _judged(facts)
            for take in takers:
                take(facts, found)


def _until_over(seen: Iterator[Facts]) -> Iterator[Facts]:
    """Samples up to the first one after the build-up's end."""
    yield (facts := next(seen))
    while not facts.is_over:
        try:
            yield (facts := next(seen))
        except UserError as error:
            raise UserError(f"the watch ended before the build-up: {error}") from error


def _judged(facts: Facts) -> Diagnosis:
    if facts.view is None and facts.window is None:
        raise UserError("; ".join(facts.notes))
    return diagnose(facts)


def _put(facts: Facts, found: Diagnosis, name: str, path: Path) -> None:
    write_atomic(path, to_metrics(facts, found, name))


@contextmanager
def _json_lines(path: Path) -> Iterator[Taker]:
    with click.open_file(str(path), "w", encoding="ascii") as file:

        def take(facts: Facts, found: Diagnosis) -> None:
            file.write(to_json(facts, found, indent=None))
            file.flush()

        yield take


@contextmanager
def _display(console: Console) -> Iterator[Taker]:
    """On a terminal the newest sample alone; in a log all of them."""
    if not console.is_terminal:
        yield partial(_log, console)
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda facts, found: live.update(
            Group(*lines(facts, found, console.encoding)), refresh=True
        )


def _log(console: Console, facts: Facts, found: Diagnosis) -> None:
    render(facts, found, console)
    console.print()
