"""An image's layout, as far as a build-up depends on it, within what QEMU accepts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hbitmap_bench import geometry
from hbitmap_bench.errors import UserError
from hbitmap_bench.filters import Setup
from hbitmap_bench.sizes import format_size
from hbitmap_impl.image import default_l2_slice

MIN_CLUSTER_BYTES: Final = 512
MAX_CLUSTER_BYTES: Final = 2 * 2**20
L1_ENTRIES: Final = 32 * 2**20 // 8
"""qcow2's L1 table has at most 32 MiB; an entry of 8 bytes stands for one L2 table."""

MIN_SLICE_BYTES: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """An image as far as its build-up depends on it: bytes, powers of two but for the image's.

    ``copy_cluster_bytes`` is that of both filters here: neither target asks for a larger one.
    """

    image_bytes: int
    cluster_bytes: int
    l2_slice_bytes: int
    l2_entry_bytes: int = 8
    copy_cluster_bytes: int = 65536

    @property
    def answer_bytes(self) -> int:
        """How far one block-status answer moves the job."""
        return geometry.answer_bytes(
            self.cluster_bytes, self.l2_slice_bytes, self.l2_entry_bytes, self.copy_cluster_bytes
        )

    @property
    def queries(self) -> int:
        """Block-status queries of the whole build-up, exactly."""
        return geometry.n_queries(self.image_bytes, self.answer_bytes, self.copy_cluster_bytes)

    def words(self, setup: Setup) -> int:
        """Words that the setup's access checks read in the whole build-up, exactly."""
        if setup == "plain":
            return 0
        closed_form = geometry.words_access if setup == "access" else geometry.words_deny
        return closed_form(self.image_bytes, self.answer_bytes, self.copy_cluster_bytes)


def layout(
    image_bytes: int,
    cluster_bytes: int = 65536,
    *,
    l2_slice_bytes: int | None = None,
    copy_cluster_bytes: int = 65536,
) -> Layout:
    """A layout that QEMU would accept, with its default slice where none is given.

    Raises ``UserError`` otherwise.
    """
    _require_power_of_two("an image cluster", cluster_bytes, MIN_CLUSTER_BYTES, MAX_CLUSTER_BYTES)
    _require_power_of_two("a copy cluster", copy_cluster_bytes, 65536, 2**30)
    if l2_slice_bytes is None:
        l2_slice_bytes = default_l2_slice(image_bytes, cluster_bytes)
    _require_power_of_two("an L2 slice", l2_slice_bytes, MIN_SLICE_BYTES, cluster_bytes)
    most = L1_ENTRIES * (cluster_bytes // 8) * cluster_bytes
    if image_bytes > most:
        raise UserError(
            f"qcow2 holds at most {format_size(most)} with {format_size(cluster_bytes)} clusters "
            f"(its L1 table ends at 32 MiB), not {format_size(image_bytes)}: take larger clusters"
        )
    if geometry.n_bits(image_bytes, copy_cluster_bytes) > 2**31:
        raise UserError(
            f"an image has at most 2^31 copy clusters here (256 MiB a bitmap), not "
            f"{format_size(image_bytes)} of {format_size(copy_cluster_bytes)}: "
            "take a larger --copy-cluster-size"
        )
    return Layout(
        image_bytes=image_bytes,
        cluster_bytes=cluster_bytes,
        l2_slice_bytes=l2_slice_bytes,
        copy_cluster_bytes=copy_cluster_bytes,
    )


def _require_power_of_two(what: str, n_bytes: int, least: int, most: int) -> None:
    if n_bytes & (n_bytes - 1) or not least <= n_bytes <= most:
        raise UserError(
            f"{what} is a power of two from {format_size(least)} to {format_size(most)}, "
            f"not {format_size(n_bytes)}"
        )
