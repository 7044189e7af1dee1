"""``hbitmap-bench predict``: count, calibrate, predict, and verify where that is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from hbitmap_bench.base import scratch
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import check_output, put_json
from hbitmap_bench.base.printable import one_line, printable
from hbitmap_bench.field.predict.calibrate import ROUNDS, BuildCalibration, calibrate_host
from hbitmap_bench.field.predict.knobs import AS_IT_IS, Knob
from hbitmap_bench.field.predict.prediction import Counted, Prediction, count_all
from hbitmap_bench.field.predict.prediction_json import to_json
from hbitmap_bench.field.predict.prediction_text import render
from hbitmap_bench.field.predict.subject import Subject, of_file, of_plan
from hbitmap_bench.field.predict.verify import verify
from hbitmap_bench.qemu.builds import QemuBuild, find_daemon, parse_build
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.detect import detect_algorithm, has_min_cluster_size, missing_parts
from hbitmap_bench.qemu.filters import Detected

DEFAULT_CLUSTER_BYTES = 65536

Say = Callable[[str], object]
_Walked = tuple[Subject, dict[Knob, Counted]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to predict. Sizes in bytes; ``build`` is None to calibrate on this host alone."""

    paths: Sequence[Path]
    sizes: Sequence[int]
    cluster_sizes: Sequence[int]
    build: str | None
    verified: bool
    json_path: Path | None


def predict(plan: Plan) -> int:
    """Predict all images that can be read, print and store them; 2 if one could not be, else 0."""
    say = Console(stderr=True, markup=False, highlight=False, soft_wrap=True).print
    check_output(plan.json_path)
    if not plan.paths and not plan.sizes:
        raise UserError("nothing to predict: name an image, or a planned one by --size 10T")
    build = _build(plan)
    walked = _walk_all(plan, say)
    found = _predict_all(walked, build, plan.verified, say) if walked else []
    _show(found, plan.json_path)
    complete = len(found) == len(list(_subjects(plan)))
    as_asked = all(one.measured_s for one in found) or not plan.verified
    return 0 if complete and as_asked else 2


def _build(plan: Plan) -> QemuBuild | None:
    """The build that is named, or the one on PATH where there is something to verify."""
    if plan.build is not None:
        return parse_build(plan.build)
    if not plan.verified:
        return None
    daemon = find_daemon()
    if daemon is None:
        raise UserError(
            "--verify runs a qemu-storage-daemon, and none is on PATH: give --qemu PATH"
        )
    return parse_build(str(daemon))


def _walk_all(plan: Plan, say: Say) -> list[_Walked]:
    """Count all that can be; of each other one a line is told."""
    found = []
    for open_subject in _subjects(plan):
        try:
            subject = open_subject()
            say(f"counting: {printable(subject.name)}")
            found.append((subject, count_all(subject)))
        except UserError as error:
            say(f"hbitmap-bench: {one_line(str(error))}")
    return found


def _subjects(plan: Plan) -> Iterator[Callable[[], Subject]]:
    for path in plan.paths:
        yield partial(of_file, path)
    for size in plan.sizes:
        for cluster in plan.cluster_sizes or (DEFAULT_CLUSTER_BYTES,):
            yield partial(of_plan, size, cluster)


def _predict_all(
    walked: Sequence[_Walked], build: QemuBuild | None, verified: bool, say: Say
) -> list[Prediction]:
    if build is None:
        return _on_this_host(walked, say)
    detected, has_option = probe(build)
    say(f"{build.name} ({build.path}): detected algorithm {detected}")
    bits = [counted[AS_IT_IS].filtered.bits for _, counted in walked]
    with calibrated(build, detected, bits, say) as calibration:
        found = [
            Prediction(
                subject=subject,
                calibration=calibration.of(counted[AS_IT_IS].filtered.bits),
                counted=counted,
                has_min_cluster_size=has_option,
            )
            for subject, counted in walked
        ]
    if not verified:
        return found
    return [_verified(one, build, say) for one in found]


def _verified(prediction: Prediction, build: QemuBuild, say: Say) -> Prediction:
    """With its measured runs; where it can't be run, a line says why, and it stays predicted."""
    try:
        return replace(prediction, measured_s=verify(prediction, build, say))
    except (UserError, OSError) as error:
        say(f"hbitmap-bench: not verified: {printable(f'{prediction.subject.name}: {error}')}")
        return prediction


def _on_this_host(walked: Sequence[_Walked], say: Say) -> list[Prediction]:
    """By one calibration for each size of bitmap: images of one size have one scan rate."""
    bits = [counted[AS_IT_IS].filtered.bits for _, counted in walked]
    calibrations = {n: calibrate_host(n, say) for n in dict.fromkeys(bits)}
    return [
        Prediction(
            subject=subject,
            calibration=calibrations[n],
            counted=counted,
            has_min_cluster_size=None,
        )
        for (subject, counted), n in zip(walked, bits, strict=True)
    ]


def probe(build: QemuBuild) -> tuple[Detected, bool]:
    """Its algorithm, and whether its filter has ``min-cluster-size``."""
    with Daemon(build) as daemon:
        schema = daemon.execute("query-qmp-schema")
        missing = missing_parts(schema)
        if missing:
            raise UserError(
                f"{build.name} has no {', '.join(sorted(missing))}: name another build, or none"
            )
        return detect_algorithm(daemon), has_min_cluster_size(schema)


@contextmanager
def calibrated(
    build: QemuBuild, detected: Detected, bits: Sequence[int], say: Say
) -> Iterator[BuildCalibration]:
    """A calibration with all its rounds done; its images are removed again."""
    with scratch.folder() as folder:
        calibration = BuildCalibration(build, detected, folder, bits)
        for number in range(1, ROUNDS + 1):
            say(f"calibrating on {build.name}, round {number} of {ROUNDS}")
            calibration.measure_round()
        yield calibration


def _show(found: Sequence[Prediction], json_path: Path | None) -> None:
    def tables() -> None:
        for one in found:
            render(one, Console())

    put_json(json_path, lambda: to_json(found), tables)
