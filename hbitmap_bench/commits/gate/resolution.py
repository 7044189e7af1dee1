"""What this machine can resolve: the gate's noise, from a commit measured against itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import write_atomic
from hbitmap_bench.base.reading import read_json
from hbitmap_bench.commits.gate.thresholds import DEFAULT_BAND, LEAST_BAND

SCHEMA: Final = 2
FILE: Final = "band.calibration"
"""Beside the machine's results; not ``.json``, which asv would take for a result."""

QUANTILE: Final = 0.99
"""Of the differences that one commit showed against itself: the band holds so many of them."""

ENOUGH: Final = round(1 / (1 - QUANTILE))
"""Differences that a band below the default takes: of fewer, none tells where ``QUANTILE`` lies."""

WIDEST_BAND: Final = 1.0
"""Relative change from which a machine resolves nothing that a gate is for."""


@dataclass(frozen=True)
class Calibration:
    """A commit against itself: log ratios of all noisy cells, in ``n_passes`` sessions.

    ``band`` is the relative change that ``QUANTILE`` of them stay within, and ``LEAST_BAND`` at
    least, or the default where they are few. Valid for the machine and rounds that it was measured
    with.
    """

    commit: str
    created: str
    machine: Mapping[str, str]
    profile: str
    n_passes: int
    n_rounds: int
    log_ratios: Sequence[float]
    band: float

    def to_json(self) -> str:
        """JSON, indented, ended by a newline."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n"

    def save(self, path: Path) -> None:
        """Write it, in a folder made if missing. Raises ``UserError`` or ``OSError``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, self.to_json().encode())


def band_of(log_ratios: Sequence[float]) -> float:
    """The band that such log ratios call for: a relative change, rounded up to a tenth of 1%.

    Of fewer than ``ENOUGH`` the largest decides, and the default is the least. Raises ``UserError``
    where there is none, or noise is so wide that no band would mean anything.
    """
    if not len(log_ratios) or not np.isfinite(log_ratios).all():
        raise UserError("a calibration needs noisy cells, and none was measured: widen --bench")
    widest = float(np.expm1(np.quantile(np.abs(log_ratios), QUANTILE, method="higher")))
    least = LEAST_BAND if len(log_ratios) >= ENOUGH else DEFAULT_BAND
    band = max(least.value, float(np.ceil(widest * 1000)) / 1000)
    if band >= WIDEST_BAND:
        raise UserError(
            f"a commit may differ from itself by less than {WIDEST_BAND:.0%}, and differed by "
            f"{widest:.0%}: calibrate when the machine is less busy"
        )
    return band


def path_of(results_dir: Path, machine: Mapping[str, str]) -> Path:
    """Where a machine's calibration is: beside its results."""
    return results_dir / machine["machine"] / FILE


def load_band(results_dir: Path, machine: Mapping[str, str], n_rounds: int) -> tuple[float, str]:
    """The band of a machine, and where it comes from; the documented default without calibration.

    Raises ``UserError`` if the file is damaged, of another machine, or not of ``n_rounds`` a pass.
    """
    path = results_dir / machine["machine"] / FILE
    try:
        stored = read_json(path)
    except FileNotFoundError:
        return DEFAULT_BAND.value, "default: this machine is not calibrated"
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} must be JSON, and can't be read ({error}): calibrate again"
        ) from None
    try:
        if stored["schema"] != SCHEMA:
            raise ValueError(f"schema {stored['schema']}")
        same_machine = stored["machine"] == dict(machine)
        same_rounds = stored["n_rounds"] == n_rounds
        band, created, n = float(stored["band"]), str(stored["created"]), len(stored["log_ratios"])
        if not 0 < band < WIDEST_BAND:
            raise ValueError(f"a band of {band}")
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"{path} is no calibration ({error!r}): calibrate again") from None
    if not same_machine:
        raise UserError(
            f"{path} was measured on another machine than {machine['machine']!r} is now: "
            "calibrate again, or name this machine otherwise by --machine"
        )
    if not same_rounds:
        raise UserError(f"{path} is not of {n_rounds} rounds, which a pass has: calibrate again")
    return band, f"calibrated on {created[:10]}: one commit against itself, {n} differences"
