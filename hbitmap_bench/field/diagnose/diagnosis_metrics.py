"""A diagnosis as OpenMetrics text, of gauges alone, so that older parsers read it as well."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.openmetrics.exposition import generate_latest

from hbitmap_bench.field.diagnose.diagnosis import Diagnosis
from hbitmap_bench.field.diagnose.facts import Facts


def to_metrics(facts: Facts, diagnosis: Diagnosis, name: str) -> bytes:
    """What was seen of the QEMU called ``name``; what could not be seen is not there.

    All have the labels ``qemu`` and ``job``, so that the files of several QEMUs go into one folder.
    """
    registry = CollectorRegistry()
    job = facts.job_later or facts.job
    labels = {"qemu": name, "job": job.name if job else ""}
    for key, words, value in _gauges(facts, diagnosis):
        gauge = Gauge(f"hbitmap_bench_{key}", words, tuple(labels), registry=registry)
        gauge.labels(**labels).set(value)
    kind = Gauge(
        "hbitmap_bench_diagnosis", "1 for what the job was found to do.",
        (*labels, "kind"), registry=registry,
    )  # fmt: skip
    kind.labels(**labels, kind=diagnosis.kind).set(1)
    text: bytes = generate_latest(registry)
    return text


def _gauges(facts: Facts, diagnosis: Diagnosis) -> Iterator[tuple[str, str, float]]:
    """Name, help and value."""
    if facts.is_over is not None:
        yield "build_up_running", "1 while a backup job builds its copy bitmap.", not facts.is_over
    progress = 1.0 if facts.is_over else _progress(facts)
    if progress is not None:
        yield "build_up_progress_ratio", "Share of the disk that the build-up has passed.", progress
    share = facts.window.scan_share if facts.window else None
    if share is not None:
        yield "scan_ratio", "Share of the time in the scan of a bitmap.", share.middle
    yield from _seconds_left(facts, diagnosis)


def _progress(facts: Facts) -> float | None:
    moved = facts.window.moved if facts.window else None
    if moved is None or facts.image is None or not facts.image.size:
        return None
    return min(moved.end / facts.image.size, 1.0)


def _seconds_left(facts: Facts, diagnosis: Diagnosis) -> Iterator[tuple[str, str, float]]:
    left = diagnosis.left
    likely, ends = (left.seconds, left.interval) if left else (None, None)
    if facts.is_over:
        likely, ends = 0.0, (0.0, 0.0)
    if likely is not None:
        yield "build_up_left_seconds", "Seconds that the build-up still takes, estimated.", likely
    if ends is not None:
        yield "build_up_left_low_seconds", "Seconds that it still takes at least.", ends[0]
        yield "build_up_left_high_seconds", "Seconds that it still takes at most.", ends[1]
