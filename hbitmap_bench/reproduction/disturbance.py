"""Which runs a busy host has spoilt, and why. What is decided here is only said elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import median, quantiles
from typing import Final

from hbitmap_bench.base.wording import duration
from hbitmap_bench.qemu.account import Run

EXCESS_SHARE: Final = 0.1
"""Wall seconds may exceed CPU seconds by this share; beyond, a run is disturbed.

Real QEMU 10.2 kept to one core, 1T and 4T, 12 runs each on a virtual machine of 2 cores: 0.002 to
0.012 where nothing else ran, 0.03 to 0.26 beside one, two or four processes that spin. Those runs'
CPU seconds were as without them, so that a smaller share would cost runs and win nothing.
"""

EXCESS_S: Final = 0.05
"""And by so many seconds besides: the last poll, and the wake-up of a run that just began."""

SLOW_LOOP_SHARE: Final = 0.35
"""The fixed loop may be slower by this share than it mostly is in the session.

On a virtual machine where nothing else ran, its rate varied by 15 to 20% (one standard deviation)
with what other machines of that host did: twice that is no accident.
"""

WARM_SHARE: Final = 0.9
"""So much of an image's metadata must be in the page cache before a run.

A kernel that reclaims idle memory takes some of it meanwhile: 3 to 14% of a 10T image's in runs of
150 to 200 s, most of it after the job has passed there. What the daemon has to read again is in the
bytes read, and its wait for the disk in wall seconds, which ``EXCESS_SHARE`` judges.
"""


def counted(runs: Sequence[Run]) -> list[Run]:
    """The runs that a row's seconds come from: the undisturbed ones, or all where there is none."""
    return [run for run in runs if run.disturbed is None] or list(runs)


def judged(
    runs: Sequence[Run], loop_words_s: float | None, *, excess_s: float = EXCESS_S
) -> tuple[Run, ...]:
    """A row's runs, each with the reason why it is disturbed, or None.

    ``loop_words_s`` is what the fixed loop mostly reached in the session (``usual_loop_words_s``).
    ``excess_s`` is 0 for samples in process: they have no poll and no wake-up, and their seconds
    are scaled.
    """
    return tuple(
        replace(run, disturbed=_reason(run, _others(runs, place), loop_words_s, excess_s))
        for place, run in enumerate(runs)
    )


def reason_of_all(runs: Sequence[Run]) -> str | None:
    """Why no run of a row counts; None where one does."""
    reasons = [run.disturbed for run in runs]
    if not reasons or None in reasons:
        return None
    if len(reasons) == 1:
        return reasons[0]
    return f"{len(reasons)} of {len(reasons)} runs; the last: {reasons[-1]}"


def usual_loop_words_s(runs: Iterable[Run]) -> float | None:
    """The upper quartile of a session's loop rates: what it reaches when it is left alone.

    The best rate alone would be an outlier's, and the median that of a host which is busy for most
    of the session. A neighbour who is there all the time can't be seen by this.
    """
    rates = [rate for run in runs for rate in run.loop_words_s or ()]
    return quantiles(rates, n=4)[2] if len(rates) > 1 else None


def _others(runs: Sequence[Run], place: int) -> list[Run]:
    return [run for other, run in enumerate(runs) if other != place]


def _reason(
    run: Run, others: Sequence[Run], loop_words_s: float | None, excess_s: float
) -> str | None:
    return _cold(run) or _not_its_own(run, excess_s) or _slowed(run, others, loop_words_s)


def _cold(run: Run) -> str | None:
    if run.cached_before is None or run.cached_before >= WARM_SHARE:
        return None
    return f"cold: {run.cached_before:.0%} of the image's metadata in the page cache"


def _not_its_own(run: Run, excess_s: float) -> str | None:
    if run.cpu_s is None or run.wall_s <= run.cpu_s * (1 + EXCESS_SHARE) + excess_s:
        return None
    found = f"wall seconds {run.wall_s / max(run.cpu_s, 1e-9) - 1:.0%} above CPU seconds"
    causes = [
        f"{_seconds(run.waited_s)} waiting for a core" if run.waited_s else "",
        f"{run.read_bytes / 1e6:,.0f} MB read from disk" if run.read_bytes else "",
        f"{_seconds(run.steal_s)} taken by the hypervisor" if run.steal_s else "",
    ]
    told = ", ".join(cause for cause in causes if cause)
    return f"{found} ({told})" if told else found


def _seconds(value_s: float) -> str:
    """Two digits of seconds, as far as that reads well: 2.5 s, 40 s, 9.5 min."""
    return f"{value_s:.2g} s" if 0.001 <= value_s < 60 else duration(value_s)


def _slowed(run: Run, others: Sequence[Run], loop_words_s: float | None) -> str | None:
    if run.loop_words_s is None or loop_words_s is None:
        return None
    loss = 1 - min(run.loop_words_s) / loop_words_s
    if loss <= max(SLOW_LOOP_SHARE, _spread(others)):
        return None
    return f"a fixed loop beside it ran {loss:.0%} slower than in most of the session"


def _spread(runs: Sequence[Run]) -> float:
    """Relative spread of the CPU seconds of the runs that count so far."""
    seconds = [run.cpu_s for run in counted(runs) if run.cpu_s]
    return (max(seconds) - min(seconds)) / median(seconds) if seconds else 0.0
