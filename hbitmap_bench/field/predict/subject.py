"""What is predicted for: an image that is there, or one that is only planned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.qemu.geometry import layout, n_bits
from hbitmap_bench.qemu.graph import COPY_CLUSTER_BYTES
from hbitmap_impl.host_file import ImageError, UnsupportedImage
from hbitmap_impl.image import FullImage, default_l2_slice
from hbitmap_impl.image_file import ImageFile
from hbitmap_impl.image_name import FILES, JSON, Named, by_options
from hbitmap_impl.qcow2 import Qcow2Image, open_image
from hbitmap_impl.raw_image import RawImage

MAX_BITS = 2**31
"""Copy clusters of a disk that is walked: 256 MiB a bitmap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An image, as far as it is known before its walk. Sizes in bytes.

    ``path`` is None where it is only planned: then every cluster counts as allocated.
    ``cluster_bytes`` is 0 for a raw image, which has no L2 tables.
    """

    name: str
    path: Path | None
    image_bytes: int
    cluster_bytes: int
    l2_entry_bytes: int = 8
    has_backing: bool = False

    @property
    def format(self) -> str:
        """``qcow2`` or ``raw``."""
        return "qcow2" if self.cluster_bytes else "raw"

    @property
    def default_slice_bytes(self) -> int:
        """QEMU's ``l2-cache-entry-size`` where none is given; 0 for a raw image."""
        if not self.cluster_bytes:
            return 0
        return default_l2_slice(self.image_bytes, self.cluster_bytes, self.l2_entry_bytes)

    @contextmanager
    def open(self, l2_slice_bytes: int, *, want_zero: bool) -> Iterator[FullImage | ImageFile]:
        """The disk to walk. Raises ``UserError`` where the image can't be read."""
        if self.path is None:
            yield FullImage(self.image_bytes, self.cluster_bytes, l2_slice_bytes)
            return
        with readable(self.path), _open(self.path, l2_slice_bytes, want_zero) as image:
            yield image


def _open(path: Path, l2_slice_bytes: int, want_zero: bool) -> Qcow2Image | RawImage:
    return open_image(path, l2_slice_bytes=l2_slice_bytes or None, want_zero=want_zero)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Tell an image that can't be used, and a file that can't be read, as the user's error."""
    try:
        yield
    except ImageError as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from error


def of_file(path: Path) -> Subject:
    """An image that is there, opened read-only and without a lock. ``UserError`` if it can't be.

    A ``json:`` name is one of QEMU's, and leads to a local file.
    """
    with readable(path), _opened(path) as (path, image):
        if isinstance(image, Qcow2Image) and image.header.encryption != "none":
            raise UserError(
                f"{path}: an image is walked that is not encrypted, not one with "
                f"{image.header.encryption}: predict with --size and --cluster-size instead"
            )
        raw = Subject(name=str(path), path=path, image_bytes=image.size, cluster_bytes=0)
        return _checked(_as_qcow2(raw, image) if isinstance(image, Qcow2Image) else raw)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Path, Qcow2Image | RawImage]]:
    """An image and its file, which a ``json:`` name leads to."""
    found = by_options(str(path), "an image") if str(path).startswith(JSON) else Named(path, None)
    with open_image(found.path) as image:
        begins = ("qcow2",) if isinstance(image, Qcow2Image) else ("raw", *FILES)
        if found.format not in (None, *begins):
            raise UnsupportedImage(
                f"an image is read as it begins ({begins[0]})", str(found.format), "name its path"
            )
        yield found.path, image


def _as_qcow2(raw: Subject, image: Qcow2Image) -> Subject:
    return replace(
        raw,
        cluster_bytes=image.cluster_bytes,
        l2_entry_bytes=image.l2_entry_bytes,
        has_backing=image.has_backing,
    )


def of_plan(image_bytes: int, cluster_bytes: int) -> Subject:
    """An image that is not made yet, fully allocated. ``UserError`` for one that qcow2 can't be."""
    layout(image_bytes, cluster_bytes)
    name = f"planned, {format_size(image_bytes)}, {format_size(cluster_bytes)} clusters"
    return Subject(name=name, path=None, image_bytes=image_bytes, cluster_bytes=cluster_bytes)


def _checked(subject: Subject) -> Subject:
    if not subject.image_bytes:
        raise UserError(f"{subject.name}: a backup has something to copy, not 0 bytes")
    if n_bits(subject.image_bytes, COPY_CLUSTER_BYTES) > MAX_BITS:
        most = format_size(MAX_BITS * COPY_CLUSTER_BYTES)
        raise UserError(
            f"{subject.name}: a disk has at most {most} here, not "
            f"{format_size(subject.image_bytes)}: is that size meant?"
        )
    return subject
