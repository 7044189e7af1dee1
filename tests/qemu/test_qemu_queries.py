"""Questions of a build-up, counted by the daemon's own trace."""

import pytest

from hbitmap_bench.qemu.builds import QemuBuild
from hbitmap_bench.qemu.geometry import layout
from hbitmap_bench.qemu.images import ensure_images
from hbitmap_bench.qemu.queries import count_queries, queries_in

K, G = 2**10, 2**30


@pytest.fixture
def image(qemu_img, tmp_path):
    (made,) = ensure_images(tmp_path, [(G, 64 * K)], qemu_img, lambda _: None)
    return made


@pytest.mark.parametrize("filtered", [False, True])
def test_they_are_those_of_the_closed_form_exactly(build, image, filtered):
    found = [
        count_queries(build, image, filtered=filtered, l2_slice_bytes=slice_bytes)
        for slice_bytes in (4 * K, 4 * K, 8 * K)
    ]
    expected = [
        layout(G, 64 * K, l2_slice_bytes=slice_bytes).queries for slice_bytes in (4 * K, 8 * K)
    ]
    assert found == [expected[0], *expected] == [32, 32, 16]


def test_a_build_that_does_not_trace_is_not_counted(build, image, tmp_path):
    script = tmp_path / "daemon"
    script.write_text(f'#!/bin/sh\nexec {build.path} "$@" 2>/dev/null\n')
    script.chmod(0o755)
    silent = QemuBuild("silent", script, "1")
    assert count_queries(silent, image, filtered=False, l2_slice_bytes=4 * K) is None


def looked_up(*offsets, kind=1):
    line = "qcow2_cache_get co 0x5 is_l2_cache {} offset {:#x} read_from_disk 1\n"
    return "".join(line.format(kind, offset) for offset in offsets)


COPIES = "7@1.5:block_copy_process bcs 0x5 start 0\n"


@pytest.mark.parametrize(
    ("trace", "n"),
    [
        (looked_up(16, 32, 48) + COPIES + looked_up(16, 32), 3),
        (looked_up(16, 16, 32, 16, 16) + COPIES, 3),  # what is asked once more comes at the end
        (looked_up(9, 9, kind=0) + looked_up(16, 32) + COPIES, 2),
        (looked_up(16) + COPIES, 1),
        (looked_up(16, 32), None),
        (COPIES, None),
        ("warning: trace event 'qcow2_cache_get' does not exist\n", None),
    ],
)
def test_what_a_trace_tells(trace, n):
    assert queries_in(trace) == n
