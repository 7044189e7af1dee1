"""Does the model cost what QEMU costs? The time a word takes, model over QEMU, at each size.

Both examine the same words, so that the ratio of their times a word is that of their extra
seconds. It is 1 where the model's scan is as fast as the build's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from matplotlib.figure import Figure

from hbitmap_bench.base.drawing import Table
from hbitmap_bench.base.plotting import Picture, literal, png
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.reproduction.growth import extra_is_resolved, plain_of
from hbitmap_bench.reproduction.records import CellRecord
from hbitmap_bench.reproduction.report import naming
from hbitmap_bench.reproduction.report.differences import Costs, costs
from hbitmap_bench.reproduction.report.projection import REFERENCE_CLUSTER_BYTES
from hbitmap_bench.reproduction.report.span import Span

AIM: Final = (0.9, 1.1)
"""Between these the model's time a word stands for the build's."""

_COLOURS: Final = ("#D55E00", "#0072B2", "#009E73", "#CC79A7")


@dataclass(frozen=True, slots=True)
class Match:
    """One access row of a real build, and the model's of the same layout."""

    qemu: CellRecord
    model: Costs
    real: Costs

    @property
    def ratio(self) -> Span:
        """The model's time a word over QEMU's."""
        return self.model.word_s.over(self.real.word_s)

    @property
    def is_near(self) -> bool:
        """Whether the ratio lies within the aim."""
        return AIM[0] <= self.ratio.value <= AIM[1]

    @property
    def is_shown(self) -> bool:
        """Whether the ratio's whole range lies within the aim."""
        ends = self.ratio.ends
        return ends is not None and AIM[0] <= ends[0] and ends[1] <= AIM[1]


def matches(cells: Sequence[CellRecord]) -> list[Match]:
    """All pairs at the reference cluster size, by build and then by size.

    Rows whose extra seconds do not stand out of the noise are left out: their time a word is noise.
    """
    known = {_place(row): row for row in _access(cells, "model")}
    found = []
    for row in _access(cells, "qemu"):
        modelled = known.get(_place(row))
        model, real = costs(modelled, cells), costs(row, cells)
        if modelled is not None and model is not None and real is not None:
            word_s = _of_the_mean(model.word_s, modelled)
            found.append(Match(row, replace(model, word_s=word_s), real))
    builds = list(dict.fromkeys(match.qemu.build for match in found))
    return sorted(found, key=lambda m: (builds.index(m.qemu.build), m.qemu.image_bytes))


def _of_the_mean(word_s: Span, cell: CellRecord) -> Span:
    """The 95% interval of the mean of a sampled row; that of one more build-up is wider.

    By sqrt(n + 1) for n samples: t s / sqrt(n) against t s sqrt(1 + 1 / n). The upper end tells the
    width, since the lower one may have been cut at 0.
    """
    if word_s.ends is None or cell.interval_kind != "prediction95":
        return word_s
    half = (word_s.ends[1] - word_s.value) / math.sqrt(cell.n_runs + 1)
    return Span(word_s.value, (word_s.value - half, word_s.value + half))


def match_table(found: Sequence[Match]) -> Table:
    """Words and the time a word takes, a row for each build and size."""
    return Table(
        "Model against QEMU: CPU time a word, access bitmap",
        ("build", "image", "words:\nmodel", "words:\nQEMU", "ns:\nmodel", "ns:\nQEMU", "ratio"),
        tuple(_row(match) for match in found),
        (
            "Words are those of the closed form. The model counts its own and refuses a row that "
            "differs; QEMU's queries were counted by its own trace, its words follow from them.",
            f"The aim is a ratio of {AIM[0]:g} to {AIM[1]:g}. Its range is what two values can "
            "give: one inside the 95% interval of the mean of the model's samples, and one between "
            "QEMU's least and most.",
        ),
    )


def match_lines(found: Sequence[Match]) -> list[str]:
    """For each build: over which sizes the model stands for it, and where it does not."""
    lines = []
    for build in dict.fromkeys(match.qemu.build for match in found):
        own = [match for match in found if match.qemu.build == build]
        ratios = [match.ratio.value for match in own]
        lines.append(
            f"qemu {build}: the model's time a word is {min(ratios):.2f} to {max(ratios):.2f} "
            f"times QEMU's; within {AIM[0]:g} to {AIM[1]:g} {_near(own, 'sizes')}."
        )
    if lines:
        lines.append(
            "Within the aim the model's extra seconds stand for those of the build, on this host. "
            "Elsewhere the words and their growth do, which are exact; the seconds do not."
        )
    return lines


def _near(found: Sequence[Match], noun: str) -> str:
    near = sum(match.is_near for match in found)
    shown = sum(match.is_shown for match in found)
    return f"at {near} of {len(found)} {noun}, and with the whole range at {shown}"


def match_picture(found: Sequence[Match]) -> Picture:
    """The ratio over image size, a line for each build, the aim as a band."""
    name = "model-against-qemu"
    if not found:
        return Picture(name, "", None, "no access row of a real build stands beside the model's")
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots()
    sizes = sorted({match.qemu.image_bytes for match in found})
    axes.axhspan(*AIM, color="#dddddd", zorder=0, label=f"the aim: {AIM[0]:g} to {AIM[1]:g}")
    builds = list(dict.fromkeys(match.qemu.build for match in found))
    for number, build in enumerate(builds):
        own = [match for match in found if match.qemu.build == build]
        shift = 0.08 * (number - (len(builds) - 1) / 2)
        values = [match.ratio.value for match in own]
        ends = [match.ratio.ends or (match.ratio.value,) * 2 for match in own]
        axes.errorbar(
            [sizes.index(match.qemu.image_bytes) + shift for match in own], values,
            yerr=[
                [max(value - low, 0.0) for value, (low, _) in zip(values, ends, strict=True)],
                [max(high - value, 0.0) for value, (_, high) in zip(values, ends, strict=True)],
            ],
            fmt="s", capsize=3, color=_COLOURS[number % len(_COLOURS)],
            label=literal(f"qemu {build}"),
        )  # fmt: skip
    axes.set_xticks(range(len(sizes)), [format_size(size) for size in sizes])
    axes.set_xlabel("image size")
    axes.set_ylabel("time a word, model / QEMU")
    axes.set_title(
        f"The model's time a word over QEMU's: {AIM[0]:g} to {AIM[1]:g} "
        f"{_near(found, 'rows')}",
        loc="left", fontsize=11,
    )  # fmt: skip
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    caption = (
        "CPU time a word of the access bitmap, model over real QEMU in one run; both examine the "
        "same words. Bars are the ranges of the ratio, as below the table."
    )
    return Picture(name, caption, png(figure))


def _access(cells: Iterable[CellRecord], source: str) -> list[CellRecord]:
    cells = list(cells)
    return [
        cell
        for cell in cells
        if (cell.source, cell.setup) == (source, "access")
        and cell.cluster_bytes == REFERENCE_CLUSTER_BYTES
        and naming.has_default_slice(cell)
        and extra_is_resolved(cell, plain_of(cell, cells))
    ]


def _place(cell: CellRecord) -> tuple[int, ...]:
    return cell.image_bytes, cell.cluster_bytes, cell.copy_cluster_bytes, cell.l2_slice_bytes


def _row(match: Match) -> tuple[str, ...]:
    ratio = match.ratio
    ends = f"\n{ratio.ends[0]:.2f}..{ratio.ends[1]:.2f}" if ratio.ends else ""
    return (
        naming.series_source_name(match.qemu),
        format_size(match.qemu.image_bytes),
        f"{match.model.words:,}",
        f"{match.real.words:,}",
        f"{match.model.word_s.value * 1e9:.3f}",
        f"{match.real.word_s.value * 1e9:.3f}",
        f"{ratio.value:.2f}{ends}",
    )
