"""Images: made whole, checked before they are used again, and never left half-made."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.qemu.images import check_images, ensure_images, image_path

K, M, G, T = 2**10, 2**20, 2**30, 2**40


@pytest.fixture
def said():
    return []


@pytest.fixture
def make(tmp_path, qemu_img, said):
    def ensure(*sizes):
        return ensure_images(tmp_path, sizes, qemu_img, said.append)

    return ensure


@pytest.mark.parametrize("cluster_bytes", [512, 64 * K, 2 * M])
def test_image_is_sound(make, qemu_img, cluster_bytes):
    (image,) = make((G // 8, cluster_bytes))
    told = subprocess.check_output([qemu_img, "check", "--output=json", image.path], text=True)
    assert json.loads(told)["check-errors"] == 0
    assert json.loads(told)["allocated-clusters"] == G // 8 // cluster_bytes


def test_image_is_made_whole_and_alone(make, tmp_path, said, qemu_img):
    (image,) = make((16 * G, 64 * K))
    assert list(tmp_path.iterdir()) == [image.path]
    assert "3 MB of disk needed" in said[0]
    extents = json.loads(
        subprocess.check_output([qemu_img, "map", "--output=json", image.path], text=True)
    )
    assert sum(extent["length"] for extent in extents if "offset" in extent) == 16 * G


@pytest.mark.parametrize(("image_bytes", "cluster_bytes"), [(64 * G, 64 * K), (T, 2 * M)])
def test_space_told_is_what_the_image_takes(make, said, image_bytes, cluster_bytes):
    (image,) = make((image_bytes, cluster_bytes))
    told_mb = int(said[0].split(" MB of disk needed")[0].split()[-1])
    taken = image.path.stat().st_blocks * 512
    unwritten = 4 * cluster_bytes  # of the header's, the refcounts' and the L1 table's clusters
    assert taken <= told_mb * 10**6 <= 1.3 * taken + unwritten + 10**6


def test_image_is_used_again(make, said):
    (image,) = make((16 * G, 64 * K))
    before = image.path.stat()
    said.clear()
    assert make((16 * G, 64 * K), (16 * G, 64 * K)) == (image,)
    after = image.path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert said == []


@pytest.mark.parametrize(
    ("options", "size", "reason"),
    [
        (("-f", "qcow2", "-o", "preallocation=metadata"), 8 * G, "virtual size 8589934592"),
        (("-f", "qcow2", "-o", "preallocation=metadata,cluster_size=128K"), 16 * G, "cluster size"),
        (("-f", "qcow2",), 16 * G, "metadata not preallocated"),
        (("-f", "qcow2", "-o", "preallocation=metadata,extended_l2=on"), 16 * G, "extended L2"),
        (("-f", "raw"), 16 * G, "format raw"),
    ],
)  # fmt: skip
def test_image_that_is_not_what_its_name_says_is_refused(
    make, tmp_path, qemu_img, options, size, reason
):
    path = image_path(tmp_path, 16 * G, 64 * K)
    subprocess.check_call([qemu_img, "create", "-q", *options, path, str(size)])
    with pytest.raises(UserError, match=f"{reason}.*remove it"):
        make((16 * G, 64 * K))
    assert path.exists()


def test_image_that_was_not_finished_is_refused(make, tmp_path, qemu_img):
    """Grown without preallocation: tables for nearly all, but not for its end."""
    path = image_path(tmp_path, 16 * G, 64 * K)
    options = ("-f", "qcow2", "-o", "preallocation=metadata")
    subprocess.check_call([qemu_img, "create", "-q", *options, path, str(15 * G)])
    subprocess.check_call([qemu_img, "resize", "-q", path, "16G"])
    with pytest.raises(UserError, match=r"\(not allocated at 16\d{9}\).*remove it"):
        make((16 * G, 64 * K))


@pytest.mark.parametrize(
    "discards",
    [
        [(0, 512 * M)],
        [(8 * G, 8 * G)],
        [(7 * G, 2 * G + 512 * M)],
        [(offset, 64 * K) for offset in range(0, 16 * G, 64 * M)],
    ],
    ids=["start", "half", "middle", "here and there"],
)
def test_image_with_discarded_clusters_is_refused(make, qemu_img, qemu_io, discards):
    (image,) = make((16 * G, 64 * K))
    whole = 2**30  # a request has less than 2 GiB
    pieces = [
        (at, min(whole, start + length - at))
        for start, length in discards
        for at in range(start, start + length, whole)
    ]
    commands = [word for piece in pieces for word in ("-c", "discard {} {}".format(*piece))]
    subprocess.check_output([qemu_io, "-d", "unmap", *commands, image.path])
    with pytest.raises(UserError, match="not allocated at.*remove it"):
        make((16 * G, 64 * K))


def test_image_of_odd_size_is_used_again(make):
    """Smaller than a place that is looked at, and with a part of a cluster at its end."""
    sizes = [(512, 64 * K), (100 * M + 512, 64 * K), (G + 512, 64 * K)]
    assert make(*sizes) == make(*sizes)


def test_fifo_under_the_name_is_refused_at_once(make, tmp_path):
    path = image_path(tmp_path, 16 * G, 64 * K)
    os.mkfifo(path)
    with pytest.raises(UserError, match="no regular file.*remove it"):
        make((16 * G, 64 * K))
    assert path.is_fifo()


def test_tool_that_answers_no_json(tmp_path):
    with pytest.raises(UserError, match="answers no JSON"):
        check_images(tmp_path, [(G, 64 * K)], Path("/bin/echo"), print)


def test_space_is_checked_before_anything_is_made(make, tmp_path, said):
    needed = 0
    sizes = []
    while needed <= shutil.disk_usage(tmp_path).free:
        sizes.append((7 * T - len(sizes) * G, 4 * K))
        needed += sizes[-1][0] // (4 * K) * 8
    with pytest.raises(UserError, match="MB free.*--image-dir"):
        make(*sizes)
    assert "MB of disk needed" in said[0]
    assert list(tmp_path.iterdir()) == []


def test_file_size_limit_is_checked_before_anything_is_made(make, tmp_path):
    """The limit of a process stands for that of a file system: both answer EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (T, hard))
    try:
        with pytest.raises(UserError, match="holds no file of.*another one"):
            make((16 * G, 64 * K), (T, 64 * K))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_directory_that_cannot_be_made(tmp_path, qemu_img, said):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can't be made"):
        ensure_images(tmp_path / "file" / "images", [(G, 64 * K)], qemu_img, said.append)


@pytest.mark.parametrize("folder", ["/sys", "/sys/images/more"])
def test_directory_that_cannot_be_written_to(qemu_img, said, folder):
    """Nobody makes files there, not even root, as on any read-only file system."""
    with pytest.raises(UserError, match="no file can be made in /sys: .*--image-dir"):
        ensure_images(Path(folder), [(G, 64 * K)], qemu_img, said.append)
    assert "MB of disk needed" in said[0]


def test_path_that_cannot_be_looked_at(tmp_path, qemu_img, said):
    with pytest.raises(UserError, match="File name too long.*--image-dir"):
        check_images(tmp_path / ("x" * 300), [(G, 64 * K)], qemu_img, said.append)


def test_free_space_that_cannot_be_told(make, monkeypatch):
    def broken(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(shutil, "disk_usage", broken)
    with pytest.raises(UserError, match="free space.*Input/output error.*--image-dir"):
        make((G, 64 * K))


def test_check_makes_nothing(tmp_path, qemu_img, said):
    directory = tmp_path / "yet" / "to be made"
    assert check_images(directory, [(G, 64 * K), (T, 2 * M)], qemu_img, said.append) is None
    assert len(said) == 1
    assert f"images to make in {directory}: 1G, 1T" in said[0]
    assert list(tmp_path.iterdir()) == []


def test_check_refuses_a_parent_that_is_no_directory(tmp_path, qemu_img, said):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can't be made: .*file is no directory"):
        check_images(tmp_path / "file" / "images", [(G, 64 * K)], qemu_img, said.append)


@pytest.mark.parametrize(
    ("image_bytes", "cluster_bytes", "reason"),
    [
        (8 * T + 512, 4 * K, "at most 8T with 4K clusters .* not 8796093022720: take larger"),
        (G + 100, 64 * K, "multiple of 512 bytes, not 1073741924: try 1073742336"),
        (G, 4 * M, "power of two from 512 to 2M, not 4M"),
        (G, 96 * K, "power of two from 512 to 2M, not 96K"),
    ],
)
def test_size_that_qcow2_cannot_hold(tmp_path, qemu_img, said, image_bytes, cluster_bytes, reason):
    with pytest.raises(UserError, match=reason):
        check_images(tmp_path, [(G, 64 * K), (image_bytes, cluster_bytes)], qemu_img, said.append)
    assert said == []


@pytest.mark.parametrize(("most", "cluster_bytes"), [(128 * G, 512), (8 * T, 4 * K)])
def test_largest_size_is_that_of_qemu_img(tmp_path, qemu_img, said, most, cluster_bytes):
    for size, fits in ((most, True), (most + 512, False)):
        options = ("-O", "qcow2", "-o", f"cluster_size={cluster_bytes}", "--size", str(size))
        measured = subprocess.run([qemu_img, "measure", *options], capture_output=True, check=False)
        assert (measured.returncode == 0) is fits
        with suppress(UserError):  # the room may be lacking, but it comes so far
            check_images(tmp_path, [(size, cluster_bytes)], qemu_img, said.append)
        assert bool(said) is fits
        said.clear()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_making_leaves_nothing(
    run_python, processes_naming, tmp_path, qemu_img, number
):
    directory = tmp_path / "images"
    program = run_python(f"""
from pathlib import Path
from hbitmap_bench.qemu.images import ensure_images
ensure_images(Path({str(directory)!r}), [({8 * T}, 65536)], Path({str(qemu_img)!r}), print)
""")
    while not (
        directory.is_dir() and any(part.stat().st_size > M for part in directory.rglob("*.qcow2"))
    ):
        assert program.poll() is None
        time.sleep(0.01)
    program.send_signal(number)
    assert program.wait(60) != 0
    assert list(directory.iterdir()) == []
    assert processes_naming(directory) == []
