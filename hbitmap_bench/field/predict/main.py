"""``hbitmap-bench predict``: count, calibrate, predict, and verify where that is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from hbitmap_bench.base import scratch
from hbitmap_bench.base.consoles import bar, progress_console, table_console
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import STDOUT, Output, check_output, put_json, write_text
from hbitmap_bench.base.printable import one_line, printable
from hbitmap_bench.field.predict.calibrate import ROUNDS, BuildCalibration, calibrate_host
from hbitmap_bench.field.predict.fleet import Fleet, walk_fleet
from hbitmap_bench.field.predict.fleet_text import render_fleet, to_csv
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
MANY_SIZES = 8
"""Of more sizes of bitmaps not each is calibrated for."""

Say = Callable[[str], object]
_Walked = tuple[Subject, dict[Knob, Counted]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to predict. Sizes in bytes; ``build`` is None to calibrate on this host alone.

    ``fleet`` is a folder, whose images are all that is predicted then, and ``csv_path`` its own.
    """

    paths: Sequence[Path]
    sizes: Sequence[int]
    cluster_sizes: Sequence[int]
    build: str | None
    verified: bool
    json_path: Path | None
    fleet: Path | None = None
    csv_path: Path | None = None


def predict(plan: Plan) -> int:
    """Predict all images that can be read, print and store them; 2 if one could not be, else 0."""
    say = Console(stderr=True, markup=False, highlight=False, soft_wrap=True).print
    for path in (plan.json_path, plan.csv_path):
        check_output(path)
    if plan.fleet is not None:
        return _predict_fleet(plan.fleet, plan, say)
    if not plan.paths and not plan.sizes:
        raise UserError("nothing to predict: name an image, or a planned one by --size 10T")
    build = _build(plan)
    walked = _walk_all(plan, say)
    found = _predict_all(walked, build, plan.verified, say) if walked else []
    _show(found, plan.json_path)
    complete = len(found) == len(list(_subjects(plan)))
    as_asked = all(one.measured_s for one in found) or not plan.verified
    return 0 if complete and as_asked else 2


def _predict_fleet(folder: Path, plan: Plan, say: Say) -> int:
    """Predict all images of a folder; 2 where there is none."""
    build = _build(plan)
    with bar(progress_console(), f"counting the images in {printable(str(folder))}") as advance:
        walked, refused = walk_fleet(folder, advance)
    found = _predict_all(walked, build, False, say) if walked else []
    ordered = sorted(found, key=lambda one: one.stall.seconds, reverse=True)
    fleet = Fleet(folder, tuple(ordered), tuple(refused))
    _show_fleet(fleet, plan)
    return 0 if found else 2


def _show_fleet(fleet: Fleet, plan: Plan) -> None:
    as_csv, show = partial(to_csv, fleet), partial(render_fleet, fleet, table_console())
    others: list[Output] = []
    if plan.csv_path == STDOUT:
        show = partial(_echo, as_csv)
    elif plan.csv_path is not None:
        others.append((plan.csv_path, write_text(as_csv)))
    put_json(plan.json_path, lambda: to_json(fleet.images, fleet.refused), show, others)


def _echo(text: Callable[[], str]) -> None:
    click.echo(text(), nl=False)


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
    bits = calibrated_bits(walked)
    with calibrated(build, detected, bits, say) as calibration:
        found = [
            Prediction(
                subject=subject,
                calibration=calibration.of(n),
                counted=counted,
                has_min_cluster_size=has_option,
            )
            for (subject, counted), n in zip(walked, bits, strict=True)
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
    bits = calibrated_bits(walked)
    calibrations = calibrate_host(bits, say)
    return [
        Prediction(
            subject=subject,
            calibration=calibrations[n],
            counted=counted,
            has_min_cluster_size=None,
        )
        for (subject, counted), n in zip(walked, bits, strict=True)
    ]


def calibrated_bits(walked: Sequence[_Walked]) -> list[int]:
    """The bits of the bitmap that each image's scan is measured on, about a second a size.

    They are the image's own; of many sizes, the next power of two.
    """
    bits = [counted[AS_IT_IS].filtered.bits for _, counted in walked]
    if len(set(bits)) <= MANY_SIZES:
        return bits
    return [1 << (n - 1).bit_length() for n in bits]


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
