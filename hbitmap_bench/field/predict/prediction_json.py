"""Predictions as JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from hbitmap_bench import __version__
from hbitmap_bench.base.host import host_facts
from hbitmap_bench.field.predict.fleet import Refused
from hbitmap_bench.field.predict.knobs import AS_IT_IS, Knob
from hbitmap_bench.field.predict.prediction import Prediction
from hbitmap_bench.qemu.filters import SETUPS, Setup

SCHEMA: Final = 1


def to_json(found: Sequence[Prediction], refused: Sequence[Refused] = ()) -> str:
    """Schema 1: of each image its counts, predicted seconds with their interval, and runs.

    ``as_it_is`` and each entry of ``knobs`` have one form; ``in_build`` is null where no build was
    asked. ``measured_s`` are the runs of --verify, empty where there were none. ``refused`` are a
    fleet's files that nothing is predicted for, ``images`` then have the longest stall first.
    """
    document = {
        "schema": SCHEMA,
        "kind": "predict",
        "tool_version": __version__,
        "host": host_facts(),
        "images": [_image(one) for one in found],
        "refused": [one._asdict() for one in refused],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _image(found: Prediction) -> dict[str, Any]:
    subject, calibration = found.subject, found.calibration
    build = calibration.build
    return {
        "name": subject.name,
        "planned": subject.path is None,
        "format": subject.format,
        "image_bytes": subject.image_bytes,
        "cluster_bytes": subject.cluster_bytes,
        "l2_entry_bytes": subject.l2_entry_bytes,
        "l2_slice_bytes": subject.default_slice_bytes,
        "has_backing": subject.has_backing,
        "build": build.label if build else None,
        "detected": calibration.detected,
        "costs_s": [asdict(costs) for costs in calibration.rounds],
        "interval_factor": calibration.factor,
        "lost_share": found.lost_share,
        "as_it_is": _setups(found, AS_IT_IS),
        "knobs": [_knob(found, knob) for knob in found.knobs],
    }


def _knob(found: Prediction, knob: Knob) -> dict[str, Any]:
    return {
        "knob": str(knob),
        **{name: value for name, value in asdict(knob).items() if value is not None},
        "in_build": found.can_run(knob),
        **_setups(found, knob),
    }


def _setups(found: Prediction, knob: Knob) -> dict[str, Any]:
    return {setup: _build_up(found, setup, knob) for setup in SETUPS}


def _build_up(found: Prediction, setup: Setup, knob: Knob) -> dict[str, Any]:
    counts, estimate = found.counted[knob].of(setup), found.estimate(setup, knob)
    return {
        "queries": counts.queries,
        "words": {"plain": 0, "access": counts.words_access, "deny": counts.words_deny}[setup],
        "predicted_s": estimate.seconds,
        "interval_s": [estimate.low_s, estimate.high_s],
        "measured_s": list(found.measured_s.get((knob, setup), ())),
    }
