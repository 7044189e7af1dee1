"""A machine's band of noise: what it comes of, and whose it is."""

import math
from math import nan

import pytest

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.gate import thresholds
from hbitmap_bench.commits.gate.resolution import Calibration, band_of, load_band, path_of


def test_the_band_holds_what_a_commit_differs_from_itself():
    assert band_of([0.0] * 100) == thresholds.LEAST_BAND.value == 0.02
    assert band_of([0.0] * 99) == thresholds.DEFAULT_BAND.value  # too few to tell 99% of them
    assert band_of([-0.06, 0.01]) == 0.062  # either way, and rounded up
    hundred = [0.001 * place for place in range(100)]
    assert band_of(hundred) == pytest.approx(math.ceil(1000 * math.expm1(0.099)) / 1000)
    thousand = [0.0001 * place for place in range(1001)]
    assert band_of(thousand) == pytest.approx(math.ceil(1000 * math.expm1(0.099)) / 1000)


@pytest.mark.parametrize(
    ("log_ratios", "said"),
    [([], "none was measured"), ([nan], "none was measured"), ([0.8], "123%")],
)
def test_no_band_comes_of_nothing_or_of_noise_alone(log_ratios, said):
    with pytest.raises(UserError, match=said):
        band_of(log_ratios)


def test_calibrations_are_of_as_many_rounds(tmp_path):
    machine = {"machine": "test"}
    made = Calibration("0" * 40, "2026-01-02", machine, "quick", 3, 12, [0.01] * 200, 0.03)
    made.save(path_of(tmp_path, made.machine))
    assert load_band(tmp_path, machine, 12)[0] == 0.03
    with pytest.raises(UserError, match="not of 13 rounds"):
        load_band(tmp_path, machine, 13)
