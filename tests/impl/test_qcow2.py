"""The qcow2 disk on images put together by hand: each rule of the format, kept and broken."""

import errno
import os
import subprocess
import sys
import zlib

import psutil
import pytest
from qcow2_bytes import (
    CLUSTER,
    COMPRESSED,
    COMPRESSION_TYPE,
    CORRUPT,
    DATA_AT,
    DIRTY,
    EXTENDED,
    EXTERNAL,
    image,
    place,
)

from hbitmap_impl.host_file import CorruptImage, ImageError, UnsupportedImage
from hbitmap_impl.image import BlockStatus
from hbitmap_impl.image_file import Extent
from hbitmap_impl.qcow2 import MAX_LAYERS, Qcow2Image, open_image
from hbitmap_impl.raw_image import RawImage
from hbitmap_impl.setups import assemble

DATA, HOLE, ZERO = (True, False), (False, True), (True, True)


def statuses(disk):
    """(clusters, allocated, zero) of every answer, in order."""
    found, at = [], 0
    while at < disk.size:
        length, allocated, zero = disk.block_status(at, disk.size - at)
        found.append((length / CLUSTER, allocated, zero))
        at += length
    return found


@pytest.fixture
def path(tmp_path):
    return tmp_path / "image"


# ---------------------------------------------------------------- how far one answer reaches


def test_runs_end_where_kind_or_place_changes(path):
    entries = [place(0), place(1), place(3), 0, 0, 1, 1, place(4, 1), place(5, 1), place(7, 1)]
    with Qcow2Image(image(path, entries, size=12 * CLUSTER)) as disk:
        assert statuses(disk) == [
            (2, *DATA),
            (1, *DATA),
            (2, *HOLE),
            (2, *ZERO),  # without places
            (2, *ZERO),  # with places that follow each other
            (1, *ZERO),
            (2, *HOLE),
        ]


def test_runs_end_with_the_slice_even_unallocated_ones(path):
    per_slice = 512 // 8
    entries = [place(n) for n in range(2 * per_slice)]
    image(path, entries, size=4 * per_slice * CLUSTER)
    with Qcow2Image(path, l2_slice_bytes=512) as disk:
        assert statuses(disk) == [(per_slice, *DATA)] * 2 + [(per_slice, *HOLE)] * 2
        assert disk.block_status(CLUSTER + 5, 200 * CLUSTER).length == (per_slice - 1) * CLUSTER - 5
        assert disk.block_status(CLUSTER + 5, 7) == BlockStatus(7, True, False)


def test_compressed_clusters_are_answered_one_by_one(path):
    entries = [COMPRESSED | DATA_AT, COMPRESSED | (DATA_AT + 600), 0]
    with Qcow2Image(image(path, entries, size=3 * CLUSTER)) as disk:
        assert statuses(disk) == [(1, *DATA), (1, *DATA), (1, *HOLE)]


def test_the_same_place_is_no_next_place(path):
    with Qcow2Image(image(path, [place(0)] * 3, size=3 * CLUSTER)) as disk:
        assert statuses(disk) == [(1, *DATA)] * 3


def test_subclusters(path):
    all_32 = 0xFFFFFFFF
    entries = [
        *(place(0), 0x3),  # two of the first cluster's 32, then none
        *(place(1), all_32),
        *(place(2), all_32 >> 1),  # runs on from the cluster before, and ends one early
        *(0, all_32 << 32),  # zero, without a place
        *(0, 0xF << 32),
        *(place(3), all_32 << 32),  # zero, with a place
    ]
    with Qcow2Image(image(path, entries, size=6 * CLUSTER, incompatible=EXTENDED)) as disk:
        assert statuses(disk) == [
            (2 / 32, *DATA),
            (30 / 32, *HOLE),
            (1 + 31 / 32, *DATA),
            (1 / 32, *HOLE),
            (1 + 4 / 32, *ZERO),
            (28 / 32, *HOLE),
            (1, *ZERO),
        ]


def test_a_backup_job_runs_over_it(path):
    image(path, [place(0), 0, 0, place(1)], size=6 * CLUSTER)
    with Qcow2Image(path) as disk:
        for setup, count in (("plain", 2), ("access", 6), ("deny", 6)):
            job = assemble(setup, disk)
            job.build_up()
            assert job.copy_bitmap.count == count * CLUSTER


def test_it_is_only_read(path):
    with Qcow2Image(image(path)) as disk:
        for write in (
            lambda: disk.write(0, b"x"),
            lambda: disk.write_zeroes(0, 1),
            lambda: disk.discard(0, CLUSTER),
        ):
            with pytest.raises(OSError, match="Read-only") as caught:
                write()
            assert caught.value.errno == errno.EROFS
        for offset, length in ((-1, 1), (0, 0), (disk.size, 1), (0, disk.size + 1)):
            with pytest.raises(ValueError, match="inside"):
                disk.block_status(offset, length)
            with pytest.raises(ValueError, match="inside"):
                disk.read(offset, length)


# ---------------------------------------------------------------- content


def test_content(path):
    squeezed = zlib.compressobj(wbits=-12)
    packed = squeezed.compress(b"\7" * CLUSTER) + squeezed.flush()
    entries = [place(1), 0, COMPRESSED | DATA_AT, place(0, 1)]
    image(path, entries, packed.ljust(CLUSTER) + b"\5" * CLUSTER, size=5 * CLUSTER)
    with Qcow2Image(path) as disk:
        whole = disk.read(0, disk.size)
        expected = [b"\5", b"\0", b"\7", b"\0", b"\0"]
        assert whole == b"".join(byte * CLUSTER for byte in expected)
        assert disk.read(2 * CLUSTER + 9, 11) == b"\7" * 11
        assert disk.read(2 * CLUSTER - 1, 2) == b"\0\7"


def test_content_of_a_version_that_ends_early_is_zero(path):
    with Qcow2Image(image(path, [place(1)], b"\5" * 10, size=CLUSTER)) as disk:
        assert disk.read(0, CLUSTER) == bytes(CLUSTER)


@pytest.mark.parametrize("packed", [b"", b"\xff" * 100, zlib.compress(b"x" * 100)[2:]])
def test_compressed_content_that_is_broken(path, packed):
    image(path, [COMPRESSED | DATA_AT], packed, size=CLUSTER)
    with Qcow2Image(path) as disk:
        assert disk.block_status(0, CLUSTER).allocated
        with pytest.raises(CorruptImage, match="makes a cluster of 65536 bytes"):
            disk.read(0, 1)


def test_zstd_is_read_where_python_has_it(path):
    """A frame of one segment, whose one block repeats a byte (RFC 8878)."""
    repeated = (CLUSTER << 3 | 0b011).to_bytes(3, "little") + b"\5"
    frame = bytes.fromhex("28b52ffd60") + (CLUSTER - 256).to_bytes(2, "little") + repeated
    image(path, [COMPRESSED | DATA_AT], frame, incompatible=COMPRESSION_TYPE, compression=1)
    with Qcow2Image(path) as disk:
        if sys.version_info >= (3, 14):
            assert disk.read(0, CLUSTER) == b"\5" * CLUSTER
        else:
            with pytest.raises(UnsupportedImage, match="3.14"):
                disk.read(0, CLUSTER)


def test_zstd_is_named_where_python_lacks_it(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    image(path, [COMPRESSED | DATA_AT], incompatible=COMPRESSION_TYPE, compression=1)
    with Qcow2Image(path) as disk:
        assert disk.block_status(0, CLUSTER) == BlockStatus(CLUSTER, True, False)
        with pytest.raises(UnsupportedImage, match="zstd"):
            disk.read(0, 1)


@pytest.mark.parametrize(("method", "name"), [(1, "AES"), (2, "LUKS")])
def test_of_an_encrypted_image_the_tables_are_read_and_the_content_is_not(path, method, name):
    image(path, [place(0), 0, 1], size=3 * CLUSTER, encryption=method)
    with Qcow2Image(path) as disk:
        assert statuses(disk) == [(1, *DATA), (1, *HOLE), (1, *ZERO)]
        assert [extent.offset for extent in disk.map()] == [None, None, None]
        assert disk.read(CLUSTER, CLUSTER) == bytes(CLUSTER)
        with pytest.raises(UnsupportedImage, match=f"encrypted by {name}"):
            disk.read(0, 1)


@pytest.mark.parametrize("flag", [DIRTY, CORRUPT, DIRTY | CORRUPT])
def test_marks_of_wrong_refcounts_hinder_nothing(path, flag):
    image(path, [place(0)], b"\5" * CLUSTER, size=CLUSTER, incompatible=flag)
    with Qcow2Image(path) as disk:
        assert (disk.header.dirty, disk.header.corrupt) == (
            bool(flag & DIRTY),
            bool(flag & CORRUPT),
        )
        assert disk.read(0, 1) == b"\5"


# ---------------------------------------------------------------- chains and raw files


def test_a_chain(path, tmp_path):
    base = tmp_path / "base"
    base.write_bytes(b"\1" * 3 * CLUSTER)
    middle = image(
        tmp_path / "middle", [0, place(0), 1], b"\2" * CLUSTER, size=5 * CLUSTER, backing="base"
    )
    assert middle.exists()
    image(path, [0, 0, 0, 0, 0, place(0)], b"\3" * CLUSTER, size=6 * CLUSTER, backing="middle")
    with Qcow2Image(path) as disk:
        whole = disk.read(0, disk.size)
        assert whole == b"".join(
            byte * CLUSTER for byte in (b"\1", b"\2", b"\0", b"\0", b"\0", b"\3")
        )
        assert [extent[:6] for extent in disk.map()] == [
            (0, CLUSTER, 2, True, False, True),
            (CLUSTER, CLUSTER, 1, True, False, True),
            (2 * CLUSTER, CLUSTER, 1, True, True, False),
            (3 * CLUSTER, 2 * CLUSTER, 1, False, True, False),
            (5 * CLUSTER, CLUSTER, 0, True, False, True),
        ]
        assert disk.block_status(0, CLUSTER) == BlockStatus(CLUSTER, False, False)


def test_what_lies_behind_the_backing_files_end_reads_as_zeros(path, tmp_path):
    (tmp_path / "base").write_bytes(b"\1" * (CLUSTER + 512))
    image(path, [], size=3 * CLUSTER, backing="base")
    with Qcow2Image(path) as disk:
        assert disk.block_status(0, disk.size) == BlockStatus(disk.size, False, False)
        assert disk.block_status(2 * CLUSTER, CLUSTER) == BlockStatus(CLUSTER, False, True)
        assert disk.read(CLUSTER, CLUSTER) == b"\1" * 512 + bytes(CLUSTER - 512)


def test_an_external_data_file(path, tmp_path):
    (tmp_path / "data").write_bytes(b"\1" * CLUSTER + b"\2" * CLUSTER)
    entries = [1 << 63, CLUSTER | 1 << 63, 0]
    options = {"incompatible": EXTERNAL, "extensions": [(0x44415441, b"data")]}
    with Qcow2Image(image(path, entries, size=3 * CLUSTER, **options)) as disk:
        assert statuses(disk) == [(2, *DATA), (1, *HOLE)]
        assert disk.read(CLUSTER - 1, 2) == b"\1\2"
    for entry in (5 * CLUSTER | 1 << 63, COMPRESSED):
        image(path, [entry], size=3 * CLUSTER, **options)
        with Qcow2Image(path) as disk, pytest.raises(CorruptImage, match="external data file"):
            disk.block_status(0, 1)


def test_a_raw_file_tells_of_its_holes_where_it_is_asked_to(path):
    with path.open("wb") as file:
        file.truncate(8 * CLUSTER + 5)
        file.seek(4 * CLUSTER)
        file.write(b"\1" * CLUSTER)
    with open_image(path) as disk:
        assert isinstance(disk, RawImage)
        assert disk.size == 8 * CLUSTER + 512
        assert disk.block_status(0, disk.size) == BlockStatus(disk.size, True, False)
        assert disk.read(5 * CLUSTER - 1, 2) == b"\1\0"
        assert list(disk.map()) == [
            Extent(0, 4 * CLUSTER, 0, True, True, False, 0),
            Extent(4 * CLUSTER, CLUSTER, 0, True, False, True, 4 * CLUSTER),
            Extent(5 * CLUSTER, 3 * CLUSTER + 512, 0, True, True, False, 5 * CLUSTER),
        ]
    with open_image(path, want_zero=True) as disk:
        assert disk.block_status(0, disk.size) == BlockStatus(4 * CLUSTER, True, True)


def test_holes_of_a_preallocated_image_cut_answers_where_they_are_asked_for(path):
    entries = [place(n) for n in range(64)]
    image(path, entries, size=64 * CLUSTER)
    with path.open("r+b") as file:
        file.truncate(DATA_AT + 64 * CLUSTER)
        file.seek(3 * CLUSTER)  # the refcount table, and behind it the only block, of 16-bit counts
        file.write((DATA_AT - CLUSTER // 2).to_bytes(8, "big"))
    with Qcow2Image(path, want_zero=True) as disk:
        assert not disk.preallocated_metadata  # the block lies where none can be
        assert statuses(disk) == [(64, *DATA)]
    with path.open("r+b") as file:
        file.seek(3 * CLUSTER)
        file.write((DATA_AT + 63 * CLUSTER).to_bytes(8, "big"))
        file.seek(DATA_AT + 63 * CLUSTER)
        file.write(b"\0\1" * 68)
        file.seek(DATA_AT + 10 * CLUSTER)
        file.write(b"\5" * CLUSTER)
    with Qcow2Image(path, want_zero=True) as disk:
        assert disk.preallocated_metadata
        assert statuses(disk)[:3] == [(10, *ZERO), (1, *DATA), (52, *ZERO)]
    with Qcow2Image(path) as disk:
        assert statuses(disk) == [(64, *DATA)]


def test_a_loop_is_told(path, tmp_path):
    image(tmp_path / "below", backing="image")
    image(path, backing="below")
    with pytest.raises(CorruptImage, match="chain ends, not a loop at"):
        Qcow2Image(path)


def test_a_chain_has_a_longest_length(tmp_path):
    for number in range(MAX_LAYERS + 1):
        image(tmp_path / str(number), backing=str(number + 1))
    (tmp_path / str(MAX_LAYERS + 1)).write_bytes(b"\1" * CLUSTER)
    with Qcow2Image(tmp_path / "2") as disk:
        assert disk.read(0, 1) == b"\1"
        assert disk.extent(0, disk.size).depth == MAX_LAYERS - 1
    before = psutil.Process().num_fds()
    for first in ("0", "1"):
        with pytest.raises(UnsupportedImage, match=f"at most {MAX_LAYERS} images"):
            Qcow2Image(tmp_path / first)
    assert psutil.Process().num_fds() == before


# ---------------------------------------------------------------- refused, in one line


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"version": 1}, "version 1"),
        ({"version": 4}, "version 4"),
        ({"cluster_bits": 8}, "2\\*\\*8"),
        ({"cluster_bits": 22}, "2\\*\\*22"),
        ({"header_bytes": 103}, "104 bytes to one cluster"),
        ({"header_bytes": CLUSTER + 1}, "104 bytes to one cluster"),
        ({"encryption": 3}, "method 3"),
        ({"compression": 2, "incompatible": COMPRESSION_TYPE}, "method 2"),
        ({"compression": 1}, "compression type"),
        ({"incompatible": COMPRESSION_TYPE}, "compression type"),
        ({"incompatible": 1 << 40}, "incompatible feature bit 40"),
        (
            {
                "incompatible": 1 << 41,
                "extensions": [(0x6803F857, b"\0\x29time travel".ljust(48, b"\0"))],
            },
            "time travel",
        ),
        (
            {"cluster_bits": 13, "incompatible": EXTENDED, "l1_at": 8192},
            "16384 bytes or more, not 8192",
        ),
        ({"refcount_order": 7}, "2\\*\\*7"),
        ({"l1_at": 1000}, "L1 table begins with a cluster"),
        ({"l1_at": 2**64 - CLUSTER}, "L1 table begins with a cluster, below"),
        ({"l1_size": 2**23}, "L1 table has at most 33554432 bytes, not 67108864"),
        ({"l1_size": 0}, "has 1 entries or more, not 0"),
        ({"size": 2**63}, "entries or more, not 1"),
        ({"refcounts_at": 5}, "refcount table begins"),
        ({"refcount_clusters": 0}, "refcount table, not one of 0"),
        ({"refcount_clusters": 2**20}, "refcount table has at most"),
        ({"n_snapshots": 65537}, "snapshot table has at most"),
        ({"n_snapshots": 1, "snapshots_at": 7}, "snapshot table begins"),
        ({"backing_at": 2**40, "backing_bytes": 5}, "name lies in the first cluster"),
        ({"backing_at": 200, "backing_bytes": 1024}, "at most 1023 bytes"),
        ({"extensions": [(0x1234, b"")], "backing_at": 116}, "cut off"),
        ({"extensions": [(0x1234, b"x" * 60)], "backing_at": 136}, "of 60 bytes"),
        ({"incompatible": EXTERNAL}, "names it, not nothing"),
        ({"autoclear": 2}, "raw external data"),
        ({"size": 2**60, "l1_size": 2**22}, "entries or more"),
        ({"incompatible": EXTERNAL, "extensions": [(0x44415441, b"missing")]}, "No such file"),
        ({"extensions": [(0x23852875, b"x")], "autoclear": 1}, "has 24 bytes, not 1"),
        ({"extensions": [(0x23852875, bytes(24))], "autoclear": 1}, "1 to 65535 bitmaps"),
        ({"backing": "missing"}, "No such file"),
        ({"backing": "nbd://host/disk"}, "named by its path, not 'nbd://host/disk'"),
        ({"backing": "json:{}"}, "has a file name, not None as file.filename"),
        ({"backing": "json:[1]"}, "JSON object, not 'json:"),
        ({"backing": "json:{"}, "JSON object, not 'json:"),
        ({"backing": "json:" + "[" * 900}, "JSON object, not 'json:"),
        ({"backing": 'json:{"file": "node"}'}, "has a file name"),
        ({"backing": 'json:{"file.filename": 7}'}, "not 7 as file.filename"),
        ({"backing": 'json:{"file": {"driver": "nbd", "host": "h"}}'}, "local file, not 'nbd'"),
        ({"backing": 'json:{"driver": "ssh", "host": "h"}'}, "local file, not 'ssh'"),
        ({"backing": 'json:{"file.driver": "https", "file.url": "u"}'}, "not 'https'"),
        ({"backing": 'json:{"file": {"driver": "raw", "file.driver": "rbd"}}'}, "not 'rbd'"),
        ({"backing": 'json:{"offset": 512, "file.filename": "base"}'}, "with the option offset"),
        ({"backing": 'json:{"backing": null, "file.filename": "b"}'}, "with the option backing"),
        ({"backing": "/dev"}, "something else"),
        ({"backing": "base", "extensions": [(0xE2792ACA, b"vmdk")]}, "qcow2 or raw .*not vmdk"),
        ({"backing": "vmdk"}, "not vmdk"),
    ],
)
def test_a_header_that_can_not_be(path, tmp_path, fields, rule):
    (tmp_path / "base").write_bytes(bytes(512))
    (tmp_path / "vmdk").write_bytes(b"KDMV" + bytes(508))
    image(path, **fields)
    before = psutil.Process().num_fds()
    with pytest.raises(ImageError, match=rule) as caught:
        Qcow2Image(path)
    assert "\n" not in str(caught.value)
    assert caught.value.rule
    assert caught.value.remedy in str(caught.value)
    assert psutil.Process().num_fds() == before


def test_names_out_of_an_image_break_neither_line_nor_terminal(path):
    names = b"\0\x29evil\n\x1b[31m\xff".ljust(48, b"\0")
    image(path, incompatible=1 << 41, extensions=[(0x6803F857, names)])
    with pytest.raises(UnsupportedImage) as caught:
        Qcow2Image(path)
    assert "evil??[31m?" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "entry", "rule"),
    [
        ({"l2_at": DATA_AT + 512}, place(0), "L2 table begins with a cluster"),
        ({}, DATA_AT + 512, "inside a cluster"),
        ({"version": 2}, 1, "a zero cluster, in version 2"),
    ],
)
def test_tables_that_can_not_be(path, fields, entry, rule):
    with Qcow2Image(image(path, [entry], **fields)) as disk:
        for ask in (disk.block_status, disk.read, disk.extent):
            with pytest.raises(CorruptImage, match=rule):
                ask(0, 1)


@pytest.mark.parametrize("words", [(place(0), 1 | 1 << 32), (0, 1)])
def test_subclusters_that_can_not_be(path, words):
    """Met anywhere in the range that is asked for, as in QEMU; what ends before it is sound."""
    image(path, [place(5), 0xFFFFFFFF, *words], size=2 * CLUSTER, incompatible=EXTENDED)
    with Qcow2Image(path) as disk:
        assert disk.block_status(0, CLUSTER) == BlockStatus(CLUSTER, True, False)
        for offset in (0, CLUSTER):
            with pytest.raises(CorruptImage, match="allocated nowhere"):
                disk.block_status(offset, disk.size - offset)


@pytest.mark.parametrize("l2_slice", [0, -512, 256, 1000, 2 * CLUSTER])
def test_slices_are_powers_of_two(path, l2_slice):
    with pytest.raises(ValueError, match="an L2 slice is a power of two"):
        Qcow2Image(image(path), l2_slice_bytes=l2_slice)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "text").write_text("hello")
    for name, rule in (
        ("fifo", "something else"),
        ("missing", "No such file"),
        (".", "something else"),
        ("nul\0", "NUL"),
        ("text", "begins with"),
    ):
        with pytest.raises(ImageError, match=rule):
            Qcow2Image(f"{tmp_path}/{name}")


MEMORY = """
import resource, sys
from hbitmap_impl.qcow2 import Qcow2Image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with Qcow2Image(sys.argv[1]) as disk:
    for n in range(4096):
        disk.block_status(n * (disk.size >> 12) >> 9 << 9, 512)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_does_not_follow_what_an_image_claims(path):
    """The largest L1 table, 2 EiB of disk, every L2 table in the same place or beyond the end."""
    image(path, l1_size=2**22, size=2**50, l1_at=CLUSTER, refcounts_at=0)
    with path.open("r+b") as file:
        file.seek(CLUSTER)
        for n in range(2**12):
            file.write((CLUSTER * (n * 997 % 2**30)).to_bytes(8, "big") * 512)
    done = subprocess.run(
        [sys.executable, "-P", "-c", MEMORY, path], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 100  # MiB
