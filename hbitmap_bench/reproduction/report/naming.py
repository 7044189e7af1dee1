"""How a report names a row of the reproduction, and writes its seconds."""

from __future__ import annotations

from typing import Final

from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.base.wording import NOTHING, number
from hbitmap_bench.qemu.filters import LONG_NAMES
from hbitmap_bench.reproduction.records import CellRecord
from hbitmap_impl.image import default_l2_slice

INTERVAL_NAMES: Final = {"prediction95": "95% prediction", "min_max": "min..max"}
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


def seconds(cell: CellRecord, value: float | None) -> str:
    """Seconds as a row states them; published ones as they were printed, without added digits."""
    if value is None:
        return NOTHING
    return f"{value:g}" if cell.source == "published" else number(value)


def bitmap_size(image_bytes: int, copy_cluster_bytes: int) -> str:
    """The last level of a bitmap with a bit for each copy cluster: 20 MiB for 10T."""
    return f"{image_bytes / copy_cluster_bytes / 8 / 2**20:.3g} MiB"


def wall_seconds(cell: CellRecord) -> str:
    """Seconds by the clock, marked where they are not the row's own work."""
    return seconds(cell, cell.elapsed_s) + mark(cell)


def mark(cell: CellRecord) -> str:
    """What stands behind the seconds of a row that a busy host has spoilt."""
    return f" {DISTURBED}" if cell.disturbed is not None else ""


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


def why_not_measured(cell: CellRecord) -> str:
    """The reason for a row without seconds, as far as the record tells."""
    if cell.failed is not None:
        return f"the build failed: {cell.failed}"
    if cell.source != "qemu":
        return "the run ended before this row"
    if cell.setup == "deny" and cell.detected == "access":
        return "this build has an access bitmap: the deny row waits for a patched build"
    if cell.setup == "deny" and cell.detected is None:
        return "no build with a deny bitmap: the deny row waits for a patched build"
    if cell.setup != "plain" and cell.detected is None:
        return "this build lacks copy-before-write, snapshot-access or blockdev-backup"
    return "this build lacks blockdev-backup, or its run gave no time"
