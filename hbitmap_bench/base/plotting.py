"""Figures as PNG, on a white ground that is readable on a dark page too."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Final

from matplotlib.figure import Figure

DPI: Final = 110


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure as PNG, or the reason why there is none."""

    name: str
    caption: str
    png: bytes | None
    missing: str = ""


def literal(text: str) -> str:
    """Text that Matplotlib shows as it is: a dollar sign would begin a formula."""
    return text.replace("$", r"\$")


def png(figure: Figure) -> bytes:
    """PNG of a figure, without the Matplotlib version, so that equal figures are equal files."""
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return stream.getvalue()
