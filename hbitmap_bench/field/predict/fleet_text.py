"""A fleet as tables for a terminal, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from rich.console import Console

from hbitmap_bench.base.drawing import Table, show
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.base.wording import NOTHING, duration
from hbitmap_bench.field.predict.fleet import Fleet
from hbitmap_bench.field.predict.prediction import Prediction
from hbitmap_bench.field.predict.prediction_text import how
from hbitmap_bench.qemu.filters import SETUPS

_COLUMNS = ("image", "size", "clusters", "stall", "interval", "deny\nbitmap", "lost to\nthe scan")


def render_fleet(fleet: Fleet, console: Console) -> None:
    """Print the images, then what is none."""
    show(console, _images(fleet))
    show(console, _refused(fleet))


def _images(fleet: Fleet) -> Table:
    rows = tuple(_row(fleet, one) for one in fleet.images)
    notes = [
        "Stall: seconds until the first byte is copied, with the access bitmap, unless the build "
        "has a deny bitmap. Name an image alone to see what would help.",
        "Seconds: " + how(fleet.images[0]) if fleet.images else "",
    ]
    return Table(f"Stalls of {fleet.folder}", _COLUMNS, rows, tuple(notes), 1, grouped=False)


def _row(fleet: Fleet, one: Prediction) -> tuple[str, ...]:
    subject, stall = one.subject, one.stall
    return (
        fleet.name(one),
        format_size(subject.image_bytes),
        format_size(subject.cluster_bytes) if subject.cluster_bytes else subject.format,
        duration(stall.seconds),
        f"{duration(stall.low_s)}..{duration(stall.high_s)}",
        duration(one.estimate("deny").seconds),
        f"{one.lost_share:.0%}" if one.calibration.detected != "deny" else NOTHING,
    )


def _refused(fleet: Fleet) -> Table:
    return Table("Not predicted", ("file", "reason"), fleet.refused, (), 2, grouped=False)


def to_csv(fleet: Fleet) -> str:
    """A row an image and file, in the tables' order: bytes, seconds; empty where not predicted."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*_FIRST, *_FIGURES, "reason"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(_records(fleet))
    return text.getvalue()


_FIRST = ("name", "format", "image_bytes", "cluster_bytes")
_FIGURES = (
    *(f"{setup}_{end}" for setup in SETUPS for end in ("s", "low_s", "high_s")),
    "queries", "words_access", "lost_share",
)  # fmt: skip


def _records(fleet: Fleet) -> Iterator[dict[str, object]]:
    for one in fleet.images:
        estimates = {setup: one.estimate(setup) for setup in SETUPS}
        yield {
            "name": fleet.name(one),
            "format": one.subject.format,
            "image_bytes": one.subject.image_bytes,
            "cluster_bytes": one.subject.cluster_bytes,
            **{f"{setup}_s": found.seconds for setup, found in estimates.items()},
            **{f"{setup}_low_s": found.low_s for setup, found in estimates.items()},
            **{f"{setup}_high_s": found.high_s for setup, found in estimates.items()},
            "queries": one.counts.filtered.queries,
            "words_access": one.counts.filtered.words_access,
            "lost_share": one.lost_share,
        }
    for refused in fleet.refused:
        yield refused._asdict()
