"""Test images: qcow2 with preallocated metadata, made once and used again."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hbitmap_bench.base import scratch
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.interrupt import stop_like_ctrl_c
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.qemu.blueprint import Blueprint
from hbitmap_bench.qemu.builds import run_tool
from hbitmap_bench.qemu.geometry import layout

_L2_ENTRY_BYTES: Final = 8
_SECTOR_BYTES: Final = 512

# Looked at in an image that is used again: this many places, from its start to its end, so long.
# About 0.1 s an image, however large it is.
_PLACES: Final = 8
_PLACE_CLUSTERS: Final = 4096


@dataclass(frozen=True, slots=True)
class Image:
    """An image to measure on; ``shared`` is one that others may be using meanwhile.

    Those made here are fully allocated, without content: each cluster has its place, none has data.
    """

    path: Path
    image_bytes: int
    cluster_bytes: int
    format: str = "qcow2"
    shared: bool = False


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

    ``check_images`` comes first. An image appears under its name only when it is complete; a
    half-made one is removed, whatever ends the making. About 160 MB of disk and a second a TiB at
    64 KiB clusters. Raises ``UserError`` as the check does, and where a write fails.
    """
    pairs = list(sizes)
    check_images(directory, pairs, qemu_img, say)
    images = _images(directory, pairs)
    _make_directory(directory)
    with stop_like_ctrl_c():
        for image in images:
            if _stat(image.path) is None:
                say(f"making {image.path}")
                _make(image)
    return tuple(images)


def check_images(
    directory: Path,
    sizes: Iterable[tuple[int, int]],
    qemu_img: Path,
    say: Callable[[str], None],
) -> None:
    """Refuse what ``ensure_images`` could not make or use again, without making anything.

    Sizes that qcow2 can't hold, files that are not what their name says, a directory that can't be
    written to, lack of room, and the file system's limit; ``directory`` may be yet to be made.
    ``say`` tells the space that is needed, if any. Costs about 10 ms for a missing image and 0.15 s
    for one that is there. Raises ``UserError``.
    """
    images = _images(directory, sizes)
    for image in images:
        _check_size(image)
    folder = _nearest_folder(directory)
    missing = []
    for image in images:
        if (found := _stat(image.path)) is None:
            missing.append(image)
        else:
            _confirm(image, found, qemu_img)
    if missing:  # else the directory may well be read-only
        _check_room(folder, missing, [_need(image, qemu_img) for image in missing], say)


def _images(directory: Path, sizes: Iterable[tuple[int, int]]) -> list[Image]:
    return [Image(image_path(directory, *pair), *pair) for pair in dict.fromkeys(sizes)]


def _check_size(image: Image) -> None:
    layout(image.image_bytes, image.cluster_bytes)  # refuses what has no place in qcow2's tables
    above = image.image_bytes % _SECTOR_BYTES
    if above:
        raise UserError(
            f"a qcow2 image is a multiple of {_SECTOR_BYTES} bytes, not {image.image_bytes}: "
            f"try {image.image_bytes - above + _SECTOR_BYTES}"
        )


def _stat(path: Path) -> os.stat_result | None:
    """What is at the path, or None where nothing is."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(
            f"{path} can't be looked at: {error.strerror}; choose another --image-dir"
        ) from error


def _nearest_folder(directory: Path) -> Path:
    """The directory, or the nearest parent that is there: it lies on the same file system."""
    for folder in (directory, *directory.parents):
        found = _stat(folder)
        if found is not None and stat.S_ISDIR(found.st_mode):
            return folder
        if found is not None:
            break
    raise UserError(
        f"image directory {directory} can't be made: {folder} is no directory; choose another"
    )


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"image directory {directory} can't be made: {error.strerror}; choose another"
        ) from error


def _need(image: Image, qemu_img: Path) -> _Need:
    """What qemu-img expects: all metadata of a fully allocated image, and its whole length."""
    options = f"cluster_size={image.cluster_bytes}"
    command: list[str | Path] = [qemu_img, "measure", "--output=json", "-O", "qcow2", "-o", options]
    answer = _answer([*command, "--size", str(image.image_bytes)])
    return _Need(answer["required"], answer["fully-allocated"])


def _check_room(
    folder: Path, images: Sequence[Image], needs: Sequence[_Need], say: Callable[[str], None]
) -> None:
    need_bytes = sum(need.disk_bytes for need in needs)
    free_bytes = _free_bytes(folder)
    directory = images[0].path.parent
    names = ", ".join(format_size(image.image_bytes) for image in images)
    say(
        f"images to make in {directory}: {names}; "
        f"{_mb(need_bytes)} MB of disk needed, {_mb(free_bytes)} MB free"
    )
    # A read-only file system often has nothing free either, which is not its fault.
    _check_file_limit(folder, max(need.file_bytes for need in needs))
    if need_bytes > free_bytes:
        raise UserError(
            f"the images need {_mb(need_bytes)} MB and {directory} has {_mb(free_bytes)} MB free: "
            "give --image-dir a directory with more room, or ask for smaller sizes"
        )


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise UserError(
            f"the free space of {folder} can't be told: {error.strerror}; "
            "give --image-dir another directory"
        ) from error


def _check_file_limit(folder: Path, file_bytes: int) -> None:
    """Try the length on a sparse file that has no name, so that nothing can be left behind."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            os.ftruncate(probe.fileno(), file_bytes)
    except OSError as error:
        if error.errno not in (errno.EFBIG, errno.EINVAL):
            raise UserError(
                f"no file can be made in {folder}: {error.strerror}; "
                "give --image-dir a directory that can be written to"
            ) from error
        raise UserError(
            f"the file system of {folder} holds no file of {file_bytes} bytes (ext4 ends "
            "below 16 TiB): give --image-dir a directory on another one, such as XFS or tmpfs"
        ) from error


def _make(image: Image) -> None:
    plan = Blueprint(image_bytes=image.image_bytes, cluster_bytes=image.cluster_bytes)
    try:
        with scratch.folder(image.path.parent) as folder:
            half = folder / image.path.name
            plan.write(half)
            half.rename(image.path)
    except OSError as error:
        raise UserError(
            f"{image.path} can't be made: {error.strerror}; give --image-dir another directory"
        ) from error


def _confirm(image: Image, found: os.stat_result, qemu_img: Path) -> None:
    """Raise unless the file is the image of these sizes, sound, with all its metadata there."""
    # Asked first: qemu-img would wait for a FIFO's other end.
    regular = stat.S_ISREG(found.st_mode)
    wrong = _differences(image, qemu_img) if regular else "no regular file"
    if wrong:
        raise UserError(
            f"{image.path} is not the image that its name says ({wrong}): "
            "remove it, or give another --image-dir"
        )


def _differences(image: Image, qemu_img: Path) -> str:
    info = _answer([qemu_img, "info", "-U", "--output=json", image.path])
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
    return _hole(image, qemu_img)


def _hole(image: Image, qemu_img: Path) -> str:
    """Where clusters are not allocated, or nothing: preallocation cut short, or a discard.

    Any that is longer than a seventh of the image is found; a shorter one may lie between the
    places. Looking at all clusters would take as long as a build-up.
    """
    length = min(_PLACE_CLUSTERS * image.cluster_bytes, image.image_bytes)
    for place in range(_PLACES):
        start = (image.image_bytes - length) * place // (_PLACES - 1)
        start -= start % _SECTOR_BYTES
        for extent in _map(image, qemu_img, start, length):
            if not (extent["data"] and "offset" in extent):
                return f"not allocated at {extent['start']}"
    return ""


def _map(image: Image, qemu_img: Path, start: int, length: int) -> Any:  # noqa: ANN401 - JSON
    command: list[str | Path] = [qemu_img, "map", "-U", "--output=json", "-f", "qcow2"]
    return _answer([*command, f"--start-offset={start}", f"--max-length={length}", image.path])


def _answer(command: Sequence[str | Path]) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(run_tool(command))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{command[0]} {command[1]} answers no JSON: put a qemu-img beside the daemon that does"
        ) from error


def _mb(n_bytes: int) -> int:
    return -(-n_bytes // 10**6)
