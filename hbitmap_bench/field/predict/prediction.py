"""A prediction: what one image's build-up will take, old and new, and with each knob turned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from hbitmap_bench.field.predict.calibrate import Calibration
from hbitmap_bench.field.predict.counts import Counts
from hbitmap_bench.field.predict.knobs import AS_IT_IS, Knob, knobs
from hbitmap_bench.field.predict.subject import Subject
from hbitmap_bench.qemu.filters import Setup


@dataclass(frozen=True, slots=True)
class Estimate:
    """Predicted seconds of a build-up, with their interval."""

    seconds: float
    low_s: float
    high_s: float


@dataclass(frozen=True, slots=True)
class Counted:
    """What the plain build-up does, and the one through the filters."""

    plain: Counts
    filtered: Counts

    def of(self, setup: Setup) -> Counts:
        """Of one set-up: both checks are in the filtered counts."""
        return self.plain if setup == "plain" else self.filtered


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One image's. ``counted`` has an entry for each knob, the one that turns nothing first.

    ``in_build`` tells which of the knobs the build has; those it lacks, and all knobs without a
    build, can't be run. ``measured_s`` are the runs of ``--verify``.
    """

    subject: Subject
    calibration: Calibration
    counted: Mapping[Knob, Counted]
    has_min_cluster_size: bool | None
    measured_s: Mapping[tuple[Knob, Setup], tuple[float, ...]] = field(default_factory=dict)

    @property
    def counts(self) -> Counted:
        """What the image's build-up does as it is."""
        return self.counted[AS_IT_IS]

    def estimate(self, setup: Setup, knob: Knob = AS_IT_IS) -> Estimate:
        """Seconds of one build-up."""
        return Estimate(*self.calibration.seconds(self.counted[knob].of(setup), setup))

    def measured(self, setup: Setup, knob: Knob = AS_IT_IS) -> float | None:
        """The median of the measured runs, if there are any."""
        runs = self.measured_s.get((knob, setup))
        return median(runs) if runs else None

    @property
    def stall(self) -> Estimate:
        """Seconds until the first byte is copied, on this build or else with the access bitmap."""
        return self.estimate("deny" if self.calibration.detected == "deny" else "access")

    @property
    def lost_share(self) -> float:
        """The share of the old build-up that its search of the access bitmap is."""
        return self.calibration.scan_s(self.counts.filtered) / self.estimate("access").seconds

    @property
    def knobs(self) -> list[Knob]:
        """Those that change anything."""
        return [knob for knob in self.counted if knob != AS_IT_IS]

    def can_run(self, knob: Knob) -> bool | None:
        """Whether the build has the knob; None where no build was asked."""
        if not knob.min_cluster_bytes:
            return None if self.calibration.build is None else True
        return self.has_min_cluster_size


def count_all(subject: Subject) -> dict[Knob, Counted]:
    """Walk the image for each knob: plain and filtered, a handful of walks."""
    as_it_is = count_as_it_is(subject)
    found = {AS_IT_IS: as_it_is}
    for knob in knobs(subject):
        changes_copy_cluster_alone = knob.fleecing_bytes or knob.min_cluster_bytes
        found[knob] = Counted(
            as_it_is.plain if changes_copy_cluster_alone else knob.counts(subject, filtered=False),
            knob.counts(subject, filtered=True),
        )
    return found


def count_as_it_is(subject: Subject) -> Counted:
    """Walk the image twice, with no knob turned."""
    return Counted(*(AS_IT_IS.counts(subject, filtered=filtered) for filtered in (False, True)))
