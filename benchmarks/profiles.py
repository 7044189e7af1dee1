"""Profiles: which cells are measured, and how often.

``python -m benchmarks.profiles quick [arguments of asv run]`` runs ``asv run`` with a profile's
cells and repeats.

On two cores ``quick`` takes 75 to 90 seconds a commit (measured) and ``full``, with some 1,400
processes, about half an hour (reckoned from a part of it), both without building the environment.

A profile selects among the parameters, it does not define them: parameters are part of a series'
identity, and with one list for all a quick and a full run of a commit end in the same series. It
selects by ``--bench``, which leaves stored results of other cells alone; a skip in ``setup`` would
overwrite them with nothing, and cost a process a cell.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple


class Profile(NamedTuple):
    """Regular expressions over ``suite.Class.method(parameters)``; calls a round, and rounds.

    Without an expression all cells are meant. ``repeat`` is as in ``Suite.repeat``; rounds times
    its least is eight or more, for the reason told there.
    """

    cells: tuple[str, ...]
    repeat: tuple[int, int, float]
    rounds: int = 2


PROFILES = {
    # Five sizes of the published table's cluster size, for the exponent, and a cell that is timed
    # whole; the ends of the disk, with every kind of denial; each operation at one density.
    "quick": Profile(
        (
            r"^buildup\..*\('\w+', (1|2|4|8|16), 64\)",
            r"^buildup\..*\('\w+', 1, 1024\)",
            r"^access_check\..*\('\w+', 1, 1024, '(start|end)', ",
            r"^bitmap_ops\..*\('\w+', 4, 64, 1\)",
            r"^memory\.Structures\..*\('\w+', 16, 64, '(check|job_copy)'\)",
            r"^memory\.Peak\..*\('\w+', 16, 2048\)",
        ),
        repeat=(4, 6, 0.2),
    ),
    "full": Profile((), repeat=(4, 10, 1.0)),
}


def asv_arguments(profile: Profile) -> list[str]:
    """What ``asv run`` is told of a profile; and to keep the samples, for whoever judges them."""
    least, most, seconds = profile.repeat
    arguments = ["--record-samples", "-a", f"repeat=({least},{most},{seconds})"]
    arguments += ["-a", f"rounds={profile.rounds}"]
    for regex in profile.cells:
        arguments += ["--bench", regex]
    return arguments


def main() -> None:
    """Become asv: a process between would swallow a request to stop."""
    if len(sys.argv) < 2 or sys.argv[1] not in PROFILES:
        sys.exit(f"name a profile first: {' or '.join(PROFILES)}")
    command = [sys.executable, "-m", "asv", "run", *asv_arguments(PROFILES[sys.argv[1]])]
    os.execv(sys.executable, [*command, *sys.argv[2:]])


if __name__ == "__main__":
    main()
