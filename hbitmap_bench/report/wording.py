"""How numbers are written: one place, so that table, figure and text agree."""

from __future__ import annotations

from typing import Final

NOTHING: Final = "-"


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


def change(after: float, before: float) -> str:
    """A relative change: +27%, -3%."""
    return f"{after / before - 1:+.0%}"


def exponent(value: float | None, interval: tuple[float, float] | None) -> str:
    """An exponent with its 95% interval: 1.99 and [1.97, 2.01], on two lines."""
    if value is None:
        return NOTHING
    ends = f"[{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "no interval"
    return f"{value:.2f}\n{ends}"
