"""Profiles as tables, as a picture, and as JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from scipy import stats

from hbitmap_bench import __version__
from hbitmap_bench.base import wording
from hbitmap_bench.base.drawing import Table, say, to_rich
from hbitmap_bench.base.host import commit_of_sources, host_facts
from hbitmap_bench.base.plotting import literal, png
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.field.profile.profile import Profile
from hbitmap_bench.qemu.perf import UNNAMED
from hbitmap_bench.reproduction import published
from hbitmap_bench.reproduction.report.lines import COLOURS

SCHEMA: Final = 1
SHOWN: Final = 10
"""Functions in a table; the others are one row together."""

_DRAWN: Final = 6
_CONFIDENCE: Final = 0.95

Row = tuple[str, str, int]
"""Function, file, samples."""


def render(profiles: Sequence[Profile], console: Console) -> None:
    """Print a table for each profile, with the published shares in those of real builds."""
    for profile in profiles:
        table = share_table(profile)
        console.print(to_rich(table, width=console.width, encoding=console.encoding))
        for note in table.notes:
            say(console, note, "dim")


def share_table(profile: Profile) -> Table:
    """Share of CPU time by function, the largest first, and the published ones in any case."""
    real = profile.build is not None
    rows = tuple(_table_row(profile, row, published_too=real) for row in _rows(profile, SHOWN))
    columns = ("function", "file", "measured", "95% interval", "samples")
    return Table(
        title(profile),
        (*columns[:2], *(["published"] if real else []), *columns[2:]),
        rows,
        _notes(profile),
        grouped=False,
    )


def title(profile: Profile) -> str:
    """What was profiled: build or process, algorithm, image, seconds."""
    image = f"{format_size(profile.layout.image_bytes)} / "
    image += f"{format_size(profile.layout.cluster_bytes)} clusters"
    runs = "" if profile.runs == 1 else f"{profile.runs} build-ups, "
    time = f"{runs}{wording.duration(profile.elapsed_s)}"
    return f"{source(profile)}, {image}: {time}"


def source(profile: Profile) -> str:
    """``qemu 7.2.22 (detected: access)``, or the algorithm that ran in process."""
    if profile.build is None:
        return f"model, in process ({profile.detected} bitmap)"
    return f"qemu {profile.build} (detected: {profile.detected})"


def interval(samples: int, total: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share, as if samples were independent draws. O(1)."""
    if not total:
        return 0.0, 1.0
    found = stats.binomtest(samples, total).proportion_ci(_CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def picture(profiles: Sequence[Profile]) -> bytes:
    """A PNG: a panel of bars for each profile, the published shares beside real ones. 0.3 s."""
    figure = Figure(figsize=(9, 0.6 + 2.5 * len(profiles)), layout="constrained")
    panels = figure.subplots(len(profiles), squeeze=False)[:, 0]
    for axes, profile in zip(panels, profiles, strict=True):
        _draw(axes, profile)
    panels[-1].set_xlabel("share of CPU time in the build-up, %")
    return png(figure)


def to_json(profiles: Sequence[Profile]) -> str:
    """Schema 1: the published shares, and of each profile all functions, not only those shown."""
    document = {
        "schema": SCHEMA,
        "kind": "profile",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit_of_sources(),
        "tool_version": __version__,
        "host": host_facts(),
        "published": {"source": published.SOURCE, "shares": published.PROFILE},
        "profiles": [_document(profile) for profile in profiles],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _document(profile: Profile) -> dict[str, Any]:
    samples = profile.samples
    return {
        "source": "model" if profile.build is None else "qemu",
        "build": profile.build,
        "detected": profile.detected,
        **asdict(profile.layout),
        "build_ups": profile.runs,
        "elapsed_s": profile.elapsed_s,
        "event": "cpu-clock",
        "frequency_hz": samples.frequency_hz,
        "with_kernel": samples.with_kernel,
        "samples": samples.total,
        "functions": [_function(row, samples.total) for row in _by_samples(profile)],
    }


def _function(row: Row, total: int) -> dict[str, Any]:
    name, file, samples = row
    return {
        "function": name,
        "file": file,
        "samples": samples,
        "share": samples / total,
        "interval95": interval(samples, total),
    }


def _by_samples(profile: Profile) -> list[Row]:
    rows = [(name, file, n) for (name, file), n in profile.samples.counts.items()]
    return sorted(rows, key=lambda row: (-row[2], row))


def _rows(profile: Profile, most: int) -> list[Row]:
    """The largest, the published ones of a real build wherever they stand, and all others."""
    rows = _by_samples(profile)
    wanted = set(published.PROFILE) if profile.build is not None else set()
    shown = [row for place, row in enumerate(rows) if place < most or row[0] in wanted]
    shown += [(name, "", 0) for name in published.PROFILE if name in wanted - {r[0] for r in rows}]
    others = len(rows) - sum(row[2] > 0 for row in shown)
    left = profile.samples.total - sum(row[2] for row in shown)
    return [*shown, (f"{others} others", "", left)] if others else shown


def _table_row(profile: Profile, row: Row, *, published_too: bool) -> tuple[str, ...]:
    name, file, samples = row
    share, told = _share(profile, samples), published.PROFILE.get(name)
    low, high = interval(samples, profile.samples.total)
    return (
        name,
        file,
        *([wording.NOTHING if told is None else f"{told:.2%}"] if published_too else []),
        share,
        share if share == wording.NOTHING else f"{low:.2%}..{high:.2%}",
        f"{samples:,}",
    )


def _notes(profile: Profile) -> tuple[str, ...]:
    samples = profile.samples
    cpu_s = samples.total / samples.frequency_hz
    notes = [
        f"measured: {samples.total:,} samples of cpu-clock at {samples.frequency_hz} Hz, "
        f"{wording.number(cpu_s)} s of CPU time; the interval is binomial"
    ]
    if not samples.with_kernel:
        notes.append("kernel functions were not sampled: that needs root")
    if _unnamed(profile):
        notes.append(
            f"{UNNAMED}: functions that the file's symbol table does not name (its debug symbols "
            "would); a published one without a sample of its name may be among them"
        )
    if profile.build is not None:
        notes.append(f"published: {published.SOURCE}; another machine, build and image")
    return tuple(notes)


def _unnamed(profile: Profile) -> bool:
    return any(name == UNNAMED for name, _ in profile.samples.counts)


def _draw(axes: Axes, profile: Profile) -> None:
    rows = _rows(profile, _DRAWN)[::-1]
    total = max(profile.samples.total, 1)
    shares = [100 * row[2] / total for row in rows]
    ends = [[100 * end for end in interval(row[2], total)] for row in rows]
    errors = [
        [max(share - low, 0) for share, (low, _) in zip(shares, ends, strict=True)],
        [max(high - share, 0) for share, (_, high) in zip(shares, ends, strict=True)],
    ]
    colour = COLOURS["deny" if profile.detected == "deny" else "access"]
    places = range(len(rows))
    axes.barh(places, shares, height=0.55, xerr=errors, color=colour, label="measured")
    if profile.build is not None:
        _draw_published(axes, rows)
    axes.set_yticks(places, [literal(row[0]) for row in rows], fontsize=8)
    axes.set_xlim(0, 105)
    for place, row in enumerate(rows):
        _label(axes, place, ends[place][1], _share(profile, row[2]))
    axes.set_title(literal(_finding(profile)), loc="left", fontsize=9)


def _label(axes: Axes, place: int, end: float, text: str) -> None:
    """Write the share behind the bar and its interval."""
    axes.annotate(
        text, (end, place), (6, 0), textcoords="offset points", va="center", fontsize=7
    )  # fmt: skip


def _finding(profile: Profile) -> str:
    rows = _by_samples(profile)
    if not rows:
        return f"{title(profile)}: no sample"
    return f"{rows[0][0]} has {_share(profile, rows[0][2])} of the CPU time\n{title(profile)}"


def _share(profile: Profile, samples: int) -> str:
    """A share; nothing where the function may be there without its name, or nothing was sampled."""
    if not profile.samples.total or (not samples and _unnamed(profile)):
        return wording.NOTHING
    return f"{samples / profile.samples.total:.2%}"


def _draw_published(axes: Axes, rows: Sequence[Row]) -> None:
    told = [(100 * published.PROFILE[row[0]], place) for place, row in enumerate(rows)
            if row[0] in published.PROFILE]  # fmt: skip
    shares, places = zip(*told, strict=True)
    axes.plot(
        shares, places, linestyle="none", marker="*", markersize=9, color="black", label="published"
    )
    axes.legend(fontsize=8, frameon=False, loc="lower right")
