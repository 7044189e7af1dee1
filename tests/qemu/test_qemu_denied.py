"""A snapshot of which every other run is denied, as its user sees it."""

import pytest

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.qemu.denied import allow_every_other, pull_allowed
from hbitmap_bench.qemu.graph import add_disk, add_filters, unnamed_counts
from hbitmap_bench.qemu.images import ensure_images
from hbitmap_bench.qemu.nbd import connected
from hbitmap_bench.qemu.pulled import pass_over

K, M = 2**10, 2**20
SIZE, RUN = 66 * M, 4 * M  # the last run is cut off


@pytest.fixture
def image(qemu_img, tmp_path):
    (made,) = ensure_images(tmp_path, [(SIZE, 64 * K)], qemu_img, lambda _: None)
    return made


def test_half_of_the_disk_is_denied_and_asked_for_in_pieces(daemon, image):
    add_disk(daemon, image, 4 * K)
    node = add_filters(daemon, SIZE, allowed=allow_every_other(daemon, SIZE, RUN))
    allowed = 8 * RUN + 2 * M
    first = unnamed_counts(daemon.execute("query-named-block-nodes"), "cbw")[0]
    assert first in (allowed, SIZE - allowed)  # an access bitmap, or a deny bitmap

    def client(path):
        with connected(path, "disk") as asking:
            assert [extent.length for extent in asking.block_status(2 * RUN, RUN)] == [RUN]
            with pytest.raises(UserError, match="refused block status"):
                asking.block_status(RUN, RUN)
        return 2, 1

    pass_over(daemon, node, client)


@pytest.mark.parametrize("filtered", [False, True])
def test_a_pass_has_a_request_for_each_run(build, image, filtered):
    found = pull_allowed(
        build, image, run_bytes=RUN, filtered=filtered, l2_slice_bytes=4 * K
    )  # fmt: skip
    assert (found.requests, found.extents) == (9, 9)
    assert found.cpu_s > 0
