"""Hostile qcow2 images: real ones, changed where it hurts, and all that is done with one."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from hbitmap_impl.host_file import HostFile, ImageError
from hbitmap_impl.qcow2 import Qcow2Image
from hbitmap_impl.qcow2_header import read_header
from hbitmap_impl.setups import assemble

_K: Final = 1024

# Options of qemu-img create, the size, and what qemu-io writes. All are small, so that changes meet
# something that matters.
_SEEDS: Final[dict[str, tuple[str, int, tuple[str, ...]]]] = {
    "plain": ("cluster_size=512", 64 * _K, ("write -P 1 1K 9K", "write -z 20K 4K")),
    "usual": ("cluster_size=64K", 640 * _K, ("write -P 2 0 64K", "write -P 3 300K 70K")),
    "version2": ("compat=0.10,cluster_size=1K", 90 * _K, ("write -P 4 5K 20K",)),
    "compressed": ("cluster_size=1K", 40 * _K, ("write -c -P 5 0 4K", "write -P 6 9K 3K")),
    "extended": (
        "cluster_size=16K,extended_l2=on",
        400 * _K,
        ("write -P 7 1K 3K", "write -z 40K 2K", "write -P 8 64K 40K"),
    ),
    "external": ("cluster_size=4K,data_file=data", 100 * _K, ("write -P 9 0 30K",)),
    "preallocated": ("cluster_size=1K,preallocation=metadata", 100 * _K, ("write -P 9 3K 9K",)),
    "over": ("cluster_size=2K,backing_file=below,backing_fmt=qcow2", 80 * _K, ("write 8K 5K",)),
    "below": ("cluster_size=1K", 60 * _K, ("write -P 10 0 30K",)),
    "bitmaps": ("cluster_size=512", 200 * _K, ("write -P 11 0 3K",)),
    "snapshots": ("cluster_size=1K", 50 * _K, ("write -P 12 0 7K",)),
}

_PLACES: Final = 48
"""Answers, and places, that are asked for of one image."""

_READ_BYTES: Final = 70_000
_LARGEST_BITMAP_BITS: Final = 2**26
_LARGEST_JOB_BYTES: Final = 2**40


def make_seeds(folder: Path, qemu_img: str | Path, qemu_io: str | Path) -> None:
    """Make the images with the real tools in ``folder``, which is theirs."""

    def run(*argv: str | Path) -> None:
        subprocess.run(argv, check=True, capture_output=True, cwd=folder)

    for name, (options, size, writes) in reversed(_SEEDS.items()):  # what is below comes first
        run(qemu_img, "create", "-q", "-f", "qcow2", "-o", options, name, str(size))
        if name == "bitmaps":
            run(qemu_img, "bitmap", "--add", "-g", "512", name, "fine")
            run(qemu_img, "bitmap", "--add", "-g", "64K", name, "coarse")
        if name == "snapshots":
            run(qemu_img, "snapshot", "-c", "before", name)
        run(qemu_io, *(word for write in writes for word in ("-c", write)), name)


class Mutator:
    """Makes the hostile image of a number: always the same one, of the seeds in ``folder``."""

    def __init__(self, folder: Path) -> None:
        paths = [folder / name for name in _SEEDS]
        self._seeds = [(path.read_bytes(), _spots(path)) for path in paths]

    def image(self, number: int) -> bytes:
        """One to six changes to one of the seeds."""
        rng = random.Random(number)
        seed, spots = rng.choice(self._seeds)
        content = bytearray(seed)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
            start, end = rng.choice(spots)
            rng.choice(_CHANGES)(rng, content, rng.randrange(start, end) % len(content))
        if rng.random() < 0.05:
            del content[rng.randrange(len(content)) :]
        return bytes(content)


def _spots(path: Path) -> list[tuple[int, int]]:
    """Where changes hurt: the header many times over, the tables, and anywhere."""
    with HostFile(path) as file:
        header = read_header(file)
        l2 = int.from_bytes(file.read(header.l1_offset, 8), "big") & (1 << 56) - 1
        spots = [(0, 112)] * 4 + [(112, 512), (0, file.size)]
    cluster = header.cluster_bytes
    spots += [(header.l1_offset, header.l1_offset + 8 * header.l1_size)] * 2
    spots += [(l2, l2 + 128)] * 3 + [(l2, l2 + cluster)]
    spots.append((header.refcount_table_offset, header.refcount_table_offset + 64))
    if header.bitmaps is not None:
        at = header.bitmaps.offset
        spots += [(at, at + header.bitmaps.n_bytes)] * 4
    return spots


_Change = Callable[[random.Random, bytearray, int], None]


def _flip_bit(rng: random.Random, content: bytearray, at: int) -> None:
    content[at] ^= 1 << rng.randrange(8)


def _set_byte(rng: random.Random, content: bytearray, at: int) -> None:
    content[at] = rng.choice((0, 1, 2, 3, 9, 16, 21, 31, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _set_number(rng: random.Random, content: bytearray, at: int) -> None:
    """A field of 4 or 8 bytes becomes a number that is an edge of something."""
    width = rng.choice((4, 8))
    at -= at % width
    edge = rng.choice((0, 512, 4096, 65536, len(content), 1 << 31, 1 << 32, 1 << 56, 1 << 63))
    number = (edge + rng.choice((-1, 0, 0, 1))) * rng.choice((1, 1, 1, 2, 1 << 16))
    _put(content, at, (number % (1 << 8 * width)).to_bytes(width, "big"))


def _copy(rng: random.Random, content: bytearray, at: int) -> None:
    """Part of the image stands in another place as well."""
    length = rng.choice((8, 8, 16, 64, 512))
    source = rng.randrange(len(content)) & -8
    _put(content, at, content[source : source + length])


def _set_run(rng: random.Random, content: bytearray, at: int) -> None:
    length = rng.choice((8, 64, 512))
    _put(content, at, bytes([rng.choice((0, 0xFF, rng.randrange(256)))]) * length)


def _put(content: bytearray, at: int, piece: bytes | bytearray) -> None:
    """Overwrite, but never change the length."""
    piece = piece[: len(content) - at]
    content[at : at + len(piece)] = piece


_CHANGES: Final[tuple[_Change, ...]] = (_flip_bit, _set_byte, _set_number, _copy, _set_run)


def exercise(path: Path) -> bool:
    """Do with an image all that can be done, a bounded part of each; whether it could be opened.

    Whatever is wrong with it must be told as an ``ImageError``: any other exception comes out.
    """
    try:
        image = Qcow2Image(path)
    except ImageError:
        return False
    with image:
        for work in _works(image):
            try:
                work()
            except ImageError:
                continue
    return True


def _works(image: Qcow2Image) -> Iterator[Callable[[], None]]:
    """Pieces of work, so that one that fails does not hide the others."""
    yield lambda: _walk(image)
    if image.size <= _LARGEST_JOB_BYTES:
        yield lambda: _build_up(image)
    yield lambda: _load_bitmaps(image)
    for number in range(_PLACES if image.size else 0):
        offset = random.Random(number).randrange(image.size)
        yield lambda offset=offset: _ask(image, offset)  # type: ignore[misc]


def _walk(image: Qcow2Image) -> None:
    at = 0
    for _ in range(_PLACES):
        if at == image.size:
            return
        length = image.block_status(at, image.size - at).length
        _require(0 < length <= image.size - at, f"an answer of {length} bytes at {at}")
        at += length


def _build_up(image: Qcow2Image) -> None:
    assemble("deny", image).build_up(max_queries=_PLACES)


def _load_bitmaps(image: Qcow2Image) -> None:
    for stored in image.bitmaps():
        if image.size >> stored.granularity <= _LARGEST_BITMAP_BITS:
            image.load_bitmap(stored)._check()


def _ask(image: Qcow2Image, offset: int) -> None:
    length = min(_READ_BYTES, image.size - offset)
    extent = image.extent(offset, length)
    _require(0 < extent.length <= length, f"an extent {extent} of {length} bytes")
    _require(len(image.read(offset, length)) == length, f"a read that isn't {length} bytes")


def _require(kept: bool, broken: str) -> None:
    if not kept:
        raise RuntimeError(broken)
