"""Predictions held against the real daemon, on the image itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hbitmap_bench.base import scratch
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.field.predict.knobs import AS_IT_IS, Knob
from hbitmap_bench.field.predict.prediction import Prediction
from hbitmap_bench.field.predict.subject import Subject
from hbitmap_bench.qemu.blueprint import Blueprint
from hbitmap_bench.qemu.builds import QemuBuild
from hbitmap_bench.qemu.buildup import measure_once
from hbitmap_bench.qemu.filters import Setup
from hbitmap_bench.qemu.images import Image
from hbitmap_bench.reproduction.rows import LEAST_RUNS, QUICK_S

Measured = dict[tuple[Knob, Setup], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class _Run:
    """One build-up to measure."""

    knob: Knob
    setup: Setup
    image: Image
    fleecing: Image | None


def verify(prediction: Prediction, build: QemuBuild, say: Callable[[str], object]) -> Measured:
    """Run what was predicted: plain, through the build's own filters, and with each of its knobs.

    The image is opened read-only, and no lock is taken. Its page cache is warmed by a plain run
    first. Repeats are interleaved; runs of a minute and more are not repeated. Images that are not
    there (a planned one, and one with larger clusters) are made meanwhile.
    """
    with scratch.folder() as folder:
        runs = list(_plan(prediction, folder))
        _measure(runs[0], build)
        found: dict[tuple[Knob, Setup], list[float]] = {(run.knob, run.setup): [] for run in runs}
        for number in range(1, LEAST_RUNS + 1):
            for run in runs if number % 2 else reversed(runs):
                seconds = found[run.knob, run.setup]
                if max(seconds, default=0.0) < QUICK_S:
                    say(f"verifying, run {number} of {LEAST_RUNS}: {run.setup}, {run.knob}")
                    seconds.append(_measure(run, build))
    return {key: tuple(seconds) for key, seconds in found.items()}


def _plan(prediction: Prediction, folder: Path) -> Iterator[_Run]:
    filtered: Setup = "deny" if prediction.calibration.detected == "deny" else "access"
    image = _image(prediction.subject, folder)
    yield _Run(AS_IT_IS, "plain", image, None)
    yield _Run(AS_IT_IS, filtered, image, None)
    for knob in prediction.knobs:
        if prediction.can_run(knob):
            changed = knob.applied(prediction.subject)
            used = image if changed is prediction.subject else _image(changed, folder)
            yield _Run(knob, filtered, used, _fleecing(knob, image.image_bytes, folder))


def _measure(run: _Run, build: QemuBuild) -> float:
    return measure_once(
        build,
        run.image,
        filtered=run.setup != "plain",
        l2_slice_bytes=run.knob.l2_slice_bytes,
        fleecing=run.fleecing,
        min_cluster_bytes=run.knob.min_cluster_bytes,
    ).wall_s


def _image(subject: Subject, folder: Path) -> Image:
    """The image itself; one that is not there is made, fully allocated."""
    if subject.path is not None:
        return Image(
            subject.path, subject.image_bytes, subject.cluster_bytes, subject.format, shared=True
        )
    path = folder / f"planned-{format_size(subject.cluster_bytes)}.qcow2"
    Blueprint(image_bytes=subject.image_bytes, cluster_bytes=subject.cluster_bytes).write(path)
    return Image(path, subject.image_bytes, subject.cluster_bytes)


def _fleecing(knob: Knob, image_bytes: int, folder: Path) -> Image | None:
    if knob.fleecing_bytes is None:
        return None
    path = folder / "fleecing.qcow2"
    Blueprint(image_bytes=image_bytes, cluster_bytes=knob.fleecing_bytes, pattern=None).write(path)
    return Image(path, image_bytes, knob.fleecing_bytes)
