"""Our qcow2 disk against the real tools, on images of every kind that they have made."""

import os
import time

import pytest
from image_kinds import KINDS, Kind, Maker, map_nbd

from hbitmap_bench.qemu.builds import QemuBuild
from hbitmap_bench.qemu.buildup import backup_job, cancel_backup, start_backup, wait_for_build_up
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.graph import BACKUP_TARGET, add_disk, add_filters, add_null_disk
from hbitmap_bench.qemu.images import Image
from hbitmap_impl.clusters import align_down, align_up
from hbitmap_impl.image import default_l2_slice
from hbitmap_impl.qcow2 import Qcow2Image, open_image
from hbitmap_impl.qcow2_tables import Tables
from hbitmap_impl.setups import assemble

K, M = 2**10, 2**20
CONTENT_BYTES = 100 * M


@pytest.fixture
def maker(qemu_img, qemu_io, tmp_path):
    return Maker(qemu_img, qemu_io, tmp_path)


@pytest.fixture
def pieces_met(monkeypatch):
    """Counts the questions that an L2 table has answered, of any image."""
    met = []
    ask = Tables.l2_piece

    def count(self, number):
        piece = ask(self, number)
        met.extend([number] if piece is not None else [])
        return piece

    monkeypatch.setattr(Tables, "l2_piece", count)
    return met


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind(maker, pieces_met, scratch, kind):
    path = maker.make(kind)
    with Qcow2Image(path) as image:
        assert image.size == kind.size
        slices = {512, 4 * K, image.cluster_bytes} if kind.size < 2**30 else {image.l2_slice_bytes}
    for l2_slice in sorted(s for s in slices if s <= image.cluster_bytes):
        expected, n_queries = maker.map(path, **{"l2-cache-entry-size": l2_slice})
        with Qcow2Image(path, l2_slice_bytes=l2_slice) as image:
            pieces_met.clear()
            assert [as_json(extent) for extent in image.map()] == expected
            assert len(pieces_met) == n_queries
            check_copy_bitmap(image, expected)
    check_allocation(path, map_nbd(maker.qemu_img, path, scratch / "nbd"))
    if kind.size < CONTENT_BYTES:
        check_content(path, maker.convert(path))


def as_json(extent):
    names = ("start", "length", "depth", "present", "zero", "data", "offset")
    fields = dict(zip(names, extent, strict=True))
    if fields["offset"] is None:
        del fields["offset"]
    return fields


def check_copy_bitmap(image, extents):
    """A copy cluster is set if, and only if, any byte of it is allocated in the image itself."""
    job = assemble("plain", image)
    job.build_up()
    size, cluster = job.copy_bitmap.size, job.cluster_bytes
    expected = set()
    for extent in extents:
        if extent["present"] and extent["depth"] == 0:
            end = min(extent["start"] + extent["length"], size)
            expected |= set(range(align_down(extent["start"], cluster), end, cluster))
    assert set(job.copy_bitmap) == expected


def check_allocation(path, extents):
    """NBD's base:allocation tells of data and zeros alone."""
    theirs = [(e["data"], e["zero"], e["start"], e["length"]) for e in extents]
    with Qcow2Image(path) as image:
        ours = [(e.data, e.zero, e.start, e.length) for e in image.map()]
    assert merged(ours) == merged(theirs)


def merged(runs):
    found = []
    for *kind, start, length in runs:
        if found and found[-1][:2] == kind:
            found[-1][3] += length
        else:
            found.append([*kind, start, length])
    return found


def check_content(path, raw):
    with Qcow2Image(path) as image, open_image(raw) as content:
        assert content.size == align_up(image.size, 512)
        for start in range(0, image.size, 3 * M + 77):
            length = min(3 * M + 77, image.size - start)
            assert image.read(start, length) == content.read(start, length)


@pytest.mark.parametrize("kept", [0.1, 0.4, 0.9])
def test_a_preallocated_image_whose_file_ends_early(maker, pieces_met, kept):
    """Clusters have their places behind the end, or across it: there they read as zeros."""
    kind = Kind("cut", options={"preallocation": "metadata"}, n_writes=10)
    path = maker.make(kind)
    os.truncate(path, int(kind.size * kept) // 512 * 512 + 512)
    expected, n_queries = maker.map(path, **{"l2-cache-entry-size": 512})
    with Qcow2Image(path, l2_slice_bytes=512) as image:
        assert image.preallocated_metadata
        assert [as_json(extent) for extent in image.map()] == expected
        assert len(pieces_met) == n_queries
    check_content(path, maker.convert(path))


def test_a_preallocated_image_of_a_tebibyte(maker, image_1t):
    expected, _ = maker.map(image_1t.path)
    with Qcow2Image(image_1t.path) as image:
        assert image.l2_slice_bytes == default_l2_slice(2**40, 65536) == 4 * K
        assert [as_json(extent) for extent in image.map()] == expected
        assert assemble("plain", image).build_up().queries == 2**40 // (512 * 65536)


QUERIED = {
    "preallocated",
    "half allocated",
    "fragmented",
    "extended L2",
    "compressed",
    "over raw",
    "over a shorter one",
    "three deep",
}


@pytest.mark.parametrize("filtered", [False, True], ids=["plain", "cbw + snap"])
@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.name in QUERIED], ids=lambda kind: kind.name
)
def test_a_build_up_asks_as_often_as_the_real_job(
    build, maker, tmp_path, pieces_met, kind, filtered
):
    """And ends with the same count. The daemon traces each look at an L2 table, and each copy."""
    path, log = maker.make(kind), tmp_path / "trace"
    script = tmp_path / "daemon"
    traced = "-T qcow2_cache_get -T block_copy_process"
    script.write_text(f'#!/bin/sh\nexec {build.path} {traced} "$@" 2>{log}\n')
    script.chmod(0o755)
    with Daemon(QemuBuild("traced", script, "1")) as daemon:
        source = add_disk(daemon, Image(path, kind.size, 65536), 512)
        if filtered:
            source = add_filters(daemon, kind.size)
        start_backup(daemon, source, add_null_disk(daemon, BACKUP_TARGET, kind.size))
        wait_for_build_up(daemon, time.perf_counter())
        total = backup_job(daemon)["total-progress"]
        cancel_backup(daemon)
    before_copies = log.read_text().partition("block_copy_process")[0]
    with Qcow2Image(path, l2_slice_bytes=512, want_zero=filtered) as image:
        job = assemble("access" if filtered else "plain", image)
        pieces_met.clear()
        asked = job.build_up()
    assert asked.next_offset == kind.size
    # The last look before the first copy is that copy's own question, back at its start.
    assert len(pieces_met) == before_copies.count("is_l2_cache 1 ") - 1
    assert job.copy_bitmap.count == total
