"""Hostile images: a small part of what ``tox -e qcow2-hostile`` does."""

import pytest

from hbitmap_bench.checks.hostile import Mutator, make_seeds
from hbitmap_bench.checks.qcow2_hostile import compare, run_inputs
from hbitmap_impl.qcow2 import Qcow2Image


@pytest.fixture(scope="module")
def seeds(qemu_img, qemu_io, tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    make_seeds(folder, qemu_img, qemu_io)
    return folder


@pytest.mark.parametrize("first", [0, 1_000_000])
def test_no_input_does_harm(seeds, first):
    tally = run_inputs(seeds, first, 300)
    assert tally.opened + tally.refused == 300
    assert 30 < tally.refused < 270  # else the changes are too bold, or too timid


def test_an_input_is_the_same_every_time(seeds):
    assert Mutator(seeds).image(7) == Mutator(seeds).image(7) != Mutator(seeds).image(8)


def test_an_exception_of_another_kind_comes_out_with_its_input(seeds, monkeypatch):
    def fail(self, offset, length):
        raise KeyError(offset)

    monkeypatch.setattr(Qcow2Image, "block_status", fail)
    with pytest.raises(KeyError) as caught:
        run_inputs(seeds, 0, 50)
    assert caught.value.__notes__[0].startswith("with input ")


def test_qemu_agrees_or_it_is_known_why(seeds, qemu_img):
    found = [one for number in range(60) for one in compare(seeds, number, str(qemu_img))]
    assert [one for one in found if not one.reason] == []


def test_a_disagreement_is_seen(seeds, qemu_img, monkeypatch):
    monkeypatch.setattr(Qcow2Image, "map", lambda self, start, length: iter([]))
    found = [one for number in range(20) for one in compare(seeds, number, str(qemu_img))]
    assert any(not one.reason for one in found)
