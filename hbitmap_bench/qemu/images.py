"""Test images: qcow2 with preallocated metadata, made once and used again."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hbitmap_bench.cells import format_size
from hbitmap_bench.errors import UserError
from hbitmap_bench.interrupt import stop_like_ctrl_c
from hbitmap_bench.qemu.builds import run_tool

_L2_ENTRY_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Image:
    """A fully allocated image without content: every cluster has its place, none has data."""

    path: Path
    image_bytes: int
    cluster_bytes: int


@dataclass(frozen=True, slots=True)
class _Need:
    """What an image takes: real disk, and the length that its file appears to have."""

    disk_bytes: int
    file_bytes: int


def image_path(directory: Path, image_bytes: int, cluster_bytes: int) -> Path:
    """Where the image of these sizes lies in its directory."""
    name = f"metadata-{format_size(image_bytes)}-{format_size(cluster_bytes)}.qcow2"
    return directory / name


def ensure_images(
    directory: Path,
    sizes: Iterable[tuple[int, int]],
    qemu_img: Path,
    say: Callable[[str], None],
) -> tuple[Image, ...]:
    """Make the images of these (image_bytes, cluster_bytes), or use again those that are there.

    Before anything is made, ``say`` tells the space needed, and free space and the file system's
    limit are checked. An image appears under its name only when it is complete; a half-made one is
    removed, whatever ends the making. About 160 MB of disk and 4 s a TiB at 64 KiB clusters.
    Raises ``UserError`` where room is lacking, a tool fails, or a file is not what its name says.
    """
    images = [Image(image_path(directory, *pair), *pair) for pair in dict.fromkeys(sizes)]
    directory = _made(directory)
    missing = [image for image in images if not image.path.exists()]
    needs = [_need(image, qemu_img) for image in missing]
    for image in images:
        if image not in missing:
            _confirm(image, qemu_img)
    if missing:
        _check_room(directory, missing, needs, say)
    with stop_like_ctrl_c():
        for image in missing:
            say(f"making {image.path}")
            _make(image, qemu_img)
    return tuple(images)


def _made(directory: Path) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"image directory {directory} can't be made: {error.strerror}; choose another"
        ) from error
    return directory


def _need(image: Image, qemu_img: Path) -> _Need:
    """What qemu-img expects: all metadata of a fully allocated image, and its whole length."""
    options = f"cluster_size={image.cluster_bytes}"
    command: list[str | Path] = [qemu_img, "measure", "--output=json", "-O", "qcow2", "-o", options]
    answer = json.loads(run_tool([*command, "--size", str(image.image_bytes)]))
    return _Need(answer["required"], answer["fully-allocated"])


def _check_room(
    directory: Path, images: Sequence[Image], needs: Sequence[_Need], say: Callable[[str], None]
) -> None:
    need_bytes = sum(need.disk_bytes for need in needs)
    free_bytes = shutil.disk_usage(directory).free
    names = ", ".join(format_size(image.image_bytes) for image in images)
    say(
        f"images to make in {directory}: {names}; "
        f"{_mb(need_bytes)} MB of disk needed, {_mb(free_bytes)} MB free"
    )
    if need_bytes > free_bytes:
        raise UserError(
            f"the images need {_mb(need_bytes)} MB and {directory} has {_mb(free_bytes)} MB free: "
            "give --image-dir a directory with more room, or ask for smaller sizes"
        )
    _check_file_limit(directory, max(need.file_bytes for need in needs))


def _check_file_limit(directory: Path, file_bytes: int) -> None:
    """Try the length on a sparse file that has no name, so that nothing can be left behind."""
    with tempfile.TemporaryFile(dir=directory) as probe:
        try:
            os.ftruncate(probe.fileno(), file_bytes)
        except OSError as error:
            if error.errno not in (errno.EFBIG, errno.EINVAL):
                raise
            raise UserError(
                f"the file system of {directory} holds no file of {file_bytes} bytes (ext4 ends "
                "below 16 TiB): give --image-dir a directory on another one, such as XFS or tmpfs"
            ) from error


def _make(image: Image, qemu_img: Path) -> None:
    handle, name = tempfile.mkstemp(".part", f".{image.path.name}.", image.path.parent)
    half = Path(name)
    try:
        os.close(handle)
        options = f"preallocation=metadata,cluster_size={image.cluster_bytes}"
        command: list[str | Path] = [qemu_img, "create", "-q", "-f", "qcow2", "-o", options]
        run_tool([*command, half, str(image.image_bytes)], timeout_s=None)
        _flush(half)
        half.rename(image.path)
    finally:
        half.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Write it out now: complete before it has its name, and no writing back while we measure."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _confirm(image: Image, qemu_img: Path) -> None:
    """Raise unless the file is the image of these sizes, sound, with all its metadata there."""
    wrong = _differences(image, qemu_img)
    if wrong:
        raise UserError(
            f"{image.path} is not the image that its name says ({wrong}): "
            "remove it, or give another --image-dir"
        )


def _differences(image: Image, qemu_img: Path) -> str:
    info = json.loads(run_tool([qemu_img, "info", "-U", "--output=json", image.path]))
    if info["format"] != "qcow2":
        return f"format {info['format']}, not qcow2"
    if info["virtual-size"] != image.image_bytes:
        return f"virtual size {info['virtual-size']}, not {image.image_bytes}"
    if info["cluster-size"] != image.cluster_bytes:
        return f"cluster size {info['cluster-size']}, not {image.cluster_bytes}"
    details = info["format-specific"]["data"]
    if details["extended-l2"] or details["corrupt"] or info.get("backing-filename"):
        return "extended L2, corrupt, or with a backing file"
    # Every L2 entry is on disk where metadata is preallocated, and hardly any elsewhere.
    if info["actual-size"] < image.image_bytes // image.cluster_bytes * _L2_ENTRY_BYTES:
        return "metadata not preallocated"
    return "" if _last_is_present(image, qemu_img) else "its last cluster not allocated"


def _last_is_present(image: Image, qemu_img: Path) -> bool:
    """Preallocation goes from the first cluster to the last, so the last one tells of all."""
    start = (image.image_bytes - 1) // image.cluster_bytes * image.cluster_bytes
    command: list[str | Path] = [qemu_img, "map", "-U", "--output=json", "-f", "qcow2"]
    extents = json.loads(run_tool([*command, f"--start-offset={start}", image.path]))
    return all(extent["data"] and "offset" in extent for extent in extents)


def _mb(n_bytes: int) -> int:
    return -(-n_bytes // 10**6)
