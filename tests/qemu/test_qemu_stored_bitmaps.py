"""Dirty bitmaps that QEMU stores in an image: listed, loaded, and the same as over NBD."""

import random
import subprocess

import pytest
from image_kinds import G, K, Kind, M, Maker, T, map_nbd

from hbitmap_impl.host_file import CorruptImage, ImageError
from hbitmap_impl.qcow2 import Qcow2Image

GRANULARITIES = {"sectors": 512, "pages": 4 * K, "clusters": 64 * K, "coarse": 8 * M}


@pytest.fixture
def maker(qemu_img, qemu_io, tmp_path):
    return Maker(qemu_img, qemu_io, tmp_path)


def bitmap_tool(maker, *words):
    subprocess.run([maker.qemu_img, "bitmap", *map(str, words)], check=True, capture_output=True)


def dirty_runs(maker, path, socket, name):
    extents = map_nbd(maker.qemu_img, path, socket, name)
    return [[e["start"], e["length"]] for e in extents if not e["data"]]


@pytest.mark.parametrize(
    "kind",
    [
        Kind("small clusters", options={"cluster_size": 512}, n_writes=0),
        Kind("usual", size=70 * M + 512, n_writes=0),
        Kind("large clusters", options={"cluster_size": 2 * M}, n_writes=0),
        Kind("external", options={"data_file": "data"}, n_writes=0),
        Kind("large", size=2 * T + 512, n_writes=0),
    ],
    ids=lambda kind: kind.name,
)
def test_what_is_loaded_is_what_nbd_tells(maker, scratch, kind):
    rng = random.Random(kind.name)
    path = maker.make(kind)
    granularities = {n: g for n, g in GRANULARITIES.items() if g >= 64 * K or kind.size < G}
    for name, granularity in granularities.items():
        bitmap_tool(maker, "--add", "-g", granularity, path, name)
    bitmap_tool(maker, "--disable", path, "coarse")
    starts = [rng.randrange(kind.size // 512 - 700) * 512 for _ in range(50)]
    maker.write(path, "qcow2", [f"write -zq {s} {rng.randint(1, 700) * 512}" for s in starts])
    whole = min(kind.size, 40 * M)
    maker.write(path, "qcow2", [f"write -zq 0 {whole}"])  # clusters of bits that are all ones
    with Qcow2Image(path) as image:
        stored = {one.name: one for one in image.bitmaps()}
        assert {name: 1 << one.granularity for name, one in stored.items()} == granularities
        assert [name for name, one in stored.items() if not one.recording] == ["coarse"]
        for name, one in stored.items():
            bitmap = image.load_bitmap(one)
            bitmap._check()
            expected = dirty_runs(maker, path, scratch / "nbd", name)
            assert bitmap.to_runs().tolist() == expected
            assert (name == "coarse") == (expected == [])


def test_an_image_without_bitmaps_has_none(maker):
    with Qcow2Image(maker.make(Kind("without", n_writes=0))) as image:
        assert image.bitmaps() == []


@pytest.fixture
def with_bitmap(maker):
    """An image, and a function that changes bytes of its directory."""
    path = maker.make(Kind("changed", n_writes=0))
    bitmap_tool(maker, "--add", path, "one")

    def change(at, content):
        with Qcow2Image(path) as image:
            directory = image.header.bitmaps
        with path.open("r+b") as file:
            file.seek(directory.offset + at)
            file.write(content)

    return path, change


def test_a_bitmap_in_use_is_listed_and_not_loaded(with_bitmap):
    path, change = with_bitmap
    change(15, b"\1")
    with Qcow2Image(path) as image:
        (one,) = image.bitmaps()
        assert one.in_use
        with pytest.raises(CorruptImage, match="in use"):
            image.load_bitmap(one)


def test_bits_behind_the_end_of_the_file_are_not_taken_for_clean(maker, with_bitmap):
    path, change = with_bitmap
    maker.write(path, "qcow2", ["write -q 0 64K"])
    with Qcow2Image(path) as image:
        (one,) = image.bitmaps()
        assert image.load_bitmap(one).count == 64 * K
    change(0, (2**40).to_bytes(8, "big"))
    with Qcow2Image(path) as image:
        (one,) = image.bitmaps()
        with pytest.raises(CorruptImage, match="lies inside the file, not at 1099511627776"):
            image.load_bitmap(one)


@pytest.mark.parametrize(
    ("at", "content", "rule"),
    [
        (0, bytes(8), "begins with a cluster"),
        (6, b"\1", "begins with a cluster"),
        (8, bytes(4), "has 1 entries for the disk, .* not 0"),
        (8, b"\0\0\0\2", "has 1 entries for the disk, .* not 2"),
        (8, b"\xff" * 4, "at most 536870912 bytes"),
        (12, b"\x80", "flags 0x80000002"),
        (16, b"\2", "type 2"),
        (17, b"\x08", "granularity of 9 to 31"),
        (17, b"\x20", "granularity of 9 to 31"),
        (18, bytes(2), "a name of 1 to 1023"),
        (18, b"\2\0", "the directory has"),
        (20, b"\xff", "bytes of extra data"),
    ],
)
def test_a_broken_directory_is_told_in_one_line(with_bitmap, at, content, rule):
    path, change = with_bitmap
    change(at, content)
    with Qcow2Image(path) as image, pytest.raises(ImageError, match=rule) as caught:
        image.bitmaps()
    assert "\n" not in str(caught.value)
