"""Sizes as QEMU writes them, and the cells that are measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.sizes import format_size, parse_size
from hbitmap_bench.qemu.geometry import layout
from hbitmap_bench.reproduction.cells import default_layouts

T = 2**40


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("10T", 10 * T), ("64K", 65536), ("64k", 65536), ("512", 512), ("1.5T", 3 * T // 2),
     ("2M", 2**21), (" 1G ", 2**30), ("1GiB", 2**30), ("1P", 2**50)],
)  # fmt: skip
def test_sizes_are_read_as_qemu_writes_them(text, n_bytes):
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize("text", ["", "T", "-1T", "10X", "1.0000001K", "0", "1e3", "ten", "10 T T"])
def test_what_is_no_size_is_refused_with_a_remedy(text):
    with pytest.raises(UserError, match="try 10T"):
        parse_size(text)


@given(st.integers(1, 2**60))
def test_a_written_size_reads_back(n_bytes):
    assert parse_size(format_size(n_bytes)) == n_bytes


def test_the_published_cell_has_the_published_work():
    cell = layout(10 * T)
    assert cell.l2_slice_bytes == 4096
    assert cell.queries == 327_680
    assert cell.words("access") == 429_498_040_320
    assert cell.words("deny") == 7 * 327_680
    assert cell.words("plain") == 0


def test_the_default_sweep_has_each_layout_once_and_one_regime_over_all_sizes():
    layouts = default_layouts()
    assert len(layouts) == len(set(layouts))
    for cluster in (2**power for power in range(16, 22)):
        sizes = {
            cell.image_bytes
            for cell in layouts
            if cell.cluster_bytes == cluster and cell.l2_slice_bytes == 4096
        }
        assert sizes >= {T << power for power in range(7)}


def test_the_default_slice_jumps_where_the_cache_ends():
    breaks = {2**18: T, 2**19: 2 * T, 2**20: 4 * T, 2**21: 8 * T}
    for cluster, size in breaks.items():
        assert layout(size, cluster).l2_slice_bytes == cluster
        assert layout(2 * size, cluster).l2_slice_bytes == 4096


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"cluster_bytes": 3 * 65536}, "image cluster is a power of two from 512 to 2M, not 192K"),
        ({"cluster_bytes": 2**22}, "image cluster is a power of two"),
        ({"l2_slice_bytes": 2**17}, "L2 slice is a power of two from 512 to 64K, not 128K"),
        ({"copy_cluster_bytes": 4096}, "copy cluster is a power of two from 64K"),
        ({"image_bytes": 2**60, "cluster_bytes": 2**21}, "--copy-cluster-size"),
        ({"image_bytes": 8 * T + 1, "cluster_bytes": 4096}, "at most 8T with 4K clusters"),
    ],
)
def test_what_qemu_would_refuse_is_refused(arguments, rule):
    with pytest.raises(UserError, match=rule):
        layout(**{"image_bytes": T, **arguments})
