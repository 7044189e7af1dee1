"""How reports write names and numbers: one place, so that table, figure and text agree."""

from __future__ import annotations

from typing import Final

from hbitmap_bench.filters import LONG_NAMES
from hbitmap_bench.records import CellRecord
from hbitmap_bench.sizes import format_size
from hbitmap_impl.image import default_l2_slice

INTERVAL_NAMES: Final = {"prediction95": "95% prediction", "min_max": "min..max"}
NOTHING: Final = "-"
DISTURBED: Final = "⚠"
_LONGEST_ENDS: Final = 8


def has_default_slice(cell: CellRecord) -> bool:
    """Whether a row's L2 slice is the one that QEMU takes by itself."""
    default = default_l2_slice(cell.image_bytes, cell.cluster_bytes, cell.l2_entry_bytes)
    return cell.l2_slice_bytes == default


def setup_base_name(cell: CellRecord) -> str:
    """The long name of a row's setup; a bitmap that was not recognised gets no name."""
    if cell.source == "qemu" and cell.setup != "plain" and cell.detected == "unknown":
        return "cbw + snap (bitmap not recognised)"
    return LONG_NAMES[cell.setup]


def setup_name(cell: CellRecord) -> str:
    """The long name of a row's setup, with the slice option where it is not QEMU's default."""
    name = setup_base_name(cell)
    if has_default_slice(cell):
        return name
    return f"{name.split(' (')[0]}, l2-cache-entry-size={format_size(cell.l2_slice_bytes)}"


def source_name(cell: CellRecord) -> str:
    """Where a row comes from, never without how: ``qemu 7.2.22 (measured, n=3)``."""
    if cell.source == "published":
        return "published"
    if cell.source == "model":
        return f"model ({cell.mode})"
    how = [f"measured, n={cell.n_runs}"] if cell.elapsed_s is not None else []
    if cell.detected is not None:
        how.append(f"detected: {cell.detected}")
    name = f"qemu {cell.build or 'of unknown version'}"
    return f"{name} ({'; '.join(how)})" if how else name


def series_source_name(cell: CellRecord) -> str:
    """Where a line of rows comes from, without the number of runs that each row has."""
    return f"qemu {cell.build or ''}".strip() if cell.source == "qemu" else source_name(cell)


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


def seconds(cell: CellRecord, value: float | None) -> str:
    """Seconds as a row states them; published ones as they were printed, without added digits."""
    if value is None:
        return NOTHING
    return f"{value:g}" if cell.source == "published" else number(value)


def bitmap_size(image_bytes: int, copy_cluster_bytes: int) -> str:
    """The last level of a bitmap with a bit for each copy cluster: 20 MiB for 10T."""
    return f"{image_bytes / copy_cluster_bytes / 8 / 2**20:.3g} MiB"


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


def wall_seconds(cell: CellRecord) -> str:
    """Seconds by the clock, marked where they are not the row's own work."""
    mark = f" {DISTURBED}" if cell.disturbed is not None else ""
    return seconds(cell, cell.elapsed_s) + mark


def disturbed_note(cell: CellRecord) -> str:
    """Which row a busy host has spoilt, and how, behind its mark."""
    return (
        f"{DISTURBED} disturbed, and nothing is derived from it: {source_name(cell)}, "
        f"{setup_name(cell)}, {format_size(cell.image_bytes)}: {cell.disturbed}"
    )


def spread(cell: CellRecord) -> str:
    """A row's interval with what it is, a line each: 155..163 and min..max; long ends apart."""
    if cell.interval_s is None or cell.interval_kind is None:
        return NOTHING
    lower, upper = (number(end) for end in cell.interval_s)
    apart = "\n" if len(lower + upper) > _LONGEST_ENDS else ""
    kind = INTERVAL_NAMES[cell.interval_kind].replace(" ", "\n")
    return f"{lower}..{apart}{upper}\n{kind}"


def exponent(value: float | None, interval: tuple[float, float] | None) -> str:
    """An exponent with its 95% interval: 1.99 and [1.97, 2.01], on two lines."""
    if value is None:
        return NOTHING
    ends = f"[{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "no interval"
    return f"{value:.2f}\n{ends}"


def why_not_measured(cell: CellRecord) -> str:
    """The reason for a row without seconds, as far as the record tells."""
    if cell.source != "qemu":
        return "the run ended before this row"
    if cell.setup == "deny" and cell.detected == "access":
        return "this build has an access bitmap: the deny row waits for a patched build"
    if cell.setup == "deny" and cell.detected is None:
        return "no build with a deny bitmap: the deny row waits for a patched build"
    if cell.setup != "plain" and cell.detected is None:
        return "this build lacks copy-before-write, snapshot-access or blockdev-backup"
    return "this build lacks blockdev-backup, or its run gave no time"
