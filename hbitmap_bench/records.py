"""Measurement records: immutable, with their units in their names, as JSON of schema 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Source = Literal["published", "model", "qemu"]
Setup = Literal["plain", "access", "deny"]
Detected = Literal["access", "deny", "unknown"]
Mode = Literal["published", "exact", "sampled", "measured"]
IntervalKind = Literal["prediction95", "min_max"]
WordsSource = Literal["counted", "closed_form"]

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRecord:
    """One row: a setup at one image size and cluster size, from one source.

    ``None`` stands where a value does not apply or was not measured.
    """

    source: Source
    setup: Setup
    image_bytes: int
    cluster_bytes: int
    copy_cluster_bytes: int
    l2_slice_bytes: int
    l2_entry_bytes: int = 8
    mode: Mode
    build: str | None = None
    detected: Detected | None = None
    elapsed_s: float | None = None
    interval_s: tuple[float, float] | None = None
    interval_kind: IntervalKind | None = None
    runs_s: tuple[float, ...] = ()
    queries: int | None = None
    words_examined: int | None = None
    words_source: WordsSource | None = None
    extra_s: float | None = None
    scan_rate_words_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthRecord:
    """A growth exponent: the slope of log seconds over log image size in one slice regime."""

    source: Source
    setup: Setup
    cluster_bytes: int
    l2_slice_bytes: int
    build: str | None = None
    exponent: float | None = None
    interval: tuple[float, float] | None = None
    extra_exponent: float | None = None
    extra_interval: tuple[float, float] | None = None
    sizes: tuple[int, ...] = ()
