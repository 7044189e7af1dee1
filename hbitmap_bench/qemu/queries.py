"""How many questions a build-up asks the disk, counted by QEMU's own trace."""

from __future__ import annotations

import re
from typing import Final

from hbitmap_bench.qemu.builds import QemuBuild
from hbitmap_bench.qemu.buildup import add_ends, build_up
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.images import Image

_LOOKED_UP: Final = "qcow2_cache_get"
"""Each question looks one slice of the L2 table up, cached or not: it has no event of its own."""

_COPIED: Final = "block_copy_process"
"""The first chunk is about to be copied. It has been asked about once more, in the first slice."""

_TRACED: Final = ("--trace", _LOOKED_UP, "--trace", _COPIED)

_SLICE: Final = re.compile(rf"{_LOOKED_UP} .*is_l2_cache 1 offset (0x[0-9a-f]+)")


def count_queries(
    build: QemuBuild, image: Image, *, filtered: bool, l2_slice_bytes: int
) -> int | None:
    """Questions of one build-up over an image of several L2 slices, exactly.

    None where the build does not trace to stderr, as QEMU does by default (its backend ``log``),
    or lacks one of the two events. Costs a build-up, and some 10 us a question.
    """
    with Daemon(build, _TRACED) as daemon:
        ends = add_ends(daemon, image, filtered=filtered, l2_slice_bytes=l2_slice_bytes)
        build_up(daemon, *ends)
        return queries_in(daemon.errors())


def queries_in(trace: str) -> int | None:
    """The questions that a trace tells of; None where it does not tell when copying began."""
    asked, copied, _ = trace.partition(f"{_COPIED} ")
    slices = _SLICE.findall(asked)
    if not copied or not slices:
        return None
    while slices[-1] == slices[0] and len(slices) > 1:
        slices.pop()
    return len(slices)
