"""How numbers are written: one place, so that table, figure and text agree."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

NOTHING: Final = "-"
_SECONDS: Final = ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTES: Final = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))
_COUNTS: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1, ""))
_STEPS: Final = {"seconds": _SECONDS, "bytes": _BYTES}


def host_fact(key: str, value: str | int | None) -> tuple[str, str]:
    """A fact of a host for a reader: ``memory`` and ``23.5 GiB``."""
    name = key.removesuffix("_bytes").replace("_", " ")
    if value is None:
        return name, NOTHING
    in_bytes = key.endswith("_bytes") and isinstance(value, int)
    return name, f"{int(value) / 2**30:.1f} GiB" if in_bytes else str(value)


def number(value: float) -> str:
    """Three significant digits: 325, 10.5, 0.0123; whole above 100, thousands apart."""
    if 0 < abs(value) < 0.001:
        return "<0.001" if value > 0 else ">-0.001"
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:,.{digits}f}" if abs(value) >= 0.9995 else f"{value:#.3g}"


def duration(value_s: float) -> str:
    """Seconds for a reader: 0.51 s, 45.0 s, 2.6 min, 1.2 h."""
    if value_s < 60:
        return f"{number(value_s)} s"
    return f"{value_s / 60:.1f} min" if value_s < 3600 else f"{value_s / 3600:.1f} h"


def factor(value: float) -> str:
    """A ratio: 1.00x, 6.25x, 15.1x, 120x."""
    return f"{value:.2f}x" if value < 9.995 else f"{number(value)}x"


def between(low: str, high: str) -> str:
    """A range for a sentence: (between 20.1x and 68.2x)."""
    return f"(between {low} and {high})"


def factors(low: float, high: float) -> str:
    """A range of ratios for a table, two digits each: 2.7..3.1x, 20..68x."""
    ends = (f"{value:.1f}" if value < 9.95 else f"{value:,.0f}" for value in (low, high))
    return f"{'..'.join(ends)}x"


def factors_above_1(low: float, high: float) -> str:
    """A range of ratios that lies above 1, and does not seem to reach it: 1.03..1.5x."""
    return f"{_above_1(low)}..{_above_1(high)}x"


def _above_1(value: float) -> str:
    """One digit behind the point, none from 10 on; below 1.1 two, or as many as tell it from 1."""
    if value >= 9.95:
        return f"{value:,.0f}"
    digits = 1 if value >= 1.095 else max(2, -math.floor(math.log10(value - 1)))
    return f"{value:.{digits}f}"


def change(after: float, before: float) -> str:
    """A relative change: +27%, -3%."""
    return f"{after / before - 1:+.0%}"


def exponent(value: float | None, interval: tuple[float, float] | None) -> str:
    """An exponent with its 95% interval: 1.99 and [1.97, 2.01], on two lines."""
    if value is None:
        return NOTHING
    ends = f"[{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "no interval"
    return f"{value:.2f}\n{ends}"


def amount(value: float, unit: str) -> str:
    """A number with its unit, four digits: 1.230 ms, 20.50 MiB, 429.5 G words, 2.630x."""
    if value != value:
        return NOTHING
    if unit == "x":
        return f"{_measured(value)}x"
    if unit in _STEPS:
        return _scaled(value, _STEPS[unit], _measured)
    return f"{_scaled(value, _COUNTS, _counted).strip()} {unit}".strip()


def before_after(before: float, after: float, unit: str) -> tuple[str, str]:
    """Two amounts, in full where they differ and, rounded, would look alike."""
    shown = amount(before, unit), amount(after, unit)
    if shown[0] != shown[1] or before == after:
        return shown
    return f"{in_full(before)} {unit}".strip(), f"{in_full(after)} {unit}".strip()


def in_full(number: float) -> str:
    """A counter with all its digits."""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.10g}"


def times(ratio: float) -> str:
    """After over before: 0.521x, 2,331x; a change is never 1x but 1.0000002x; infinite, from 0."""
    if not math.isfinite(ratio):
        return "from 0"
    if ratio >= 999.5:
        return f"{ratio:,.0f}x"
    if f"{ratio:.3g}" != "1" or ratio == 1:
        return f"{ratio:.3g}x"
    return f"{ratio:.{-math.floor(math.log10(abs(ratio - 1)))}f}x"


def interval(low: float, high: float, unit: str) -> str:
    """The two ends of an interval."""
    return NOTHING if low != low or low == high else f"{amount(low, unit)} to {amount(high, unit)}"


def _scaled(
    value: float, steps: tuple[tuple[float, str], ...], digits: Callable[[float], str]
) -> str:
    if value == 0:
        return "0"
    factor, name = next((step for step in steps if abs(value) >= step[0]), steps[-1])
    return f"{digits(value / factor)} {name}"


def _measured(value: float) -> str:
    """Four significant digits, noughts too; thousands apart."""
    if abs(value) >= 999.95:
        return f"{value:,.0f}"
    return f"{value:#.4g}" if abs(value) >= 1e-4 else f"{value:.4g}"


def _counted(value: float) -> str:
    """Four significant digits at most; thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 999.95 else f"{value:.4g}"
