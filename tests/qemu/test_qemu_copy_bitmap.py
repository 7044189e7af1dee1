"""The job's copy bitmap after its build-up: its count, real and ours, on the same sparse image."""

import random
import subprocess
import time

import pytest

from hbitmap_bench.qemu.buildup import backup_job, cancel_backup, start_backup, wait_for_build_up
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.graph import BACKUP_TARGET, add_filters, add_null_disk
from hbitmap_impl.image import SparseImage
from hbitmap_impl.setups import assemble

K, M, G = 2**10, 2**20, 2**30


@pytest.fixture
def make_sparse(tmp_path, qemu_img, qemu_io):
    """A function: a qcow2 image with these runs allocated, over a backing file or without."""

    def make(size, cluster, runs, has_backing):
        base, top = tmp_path / "base", tmp_path / "top"
        subprocess.check_call([qemu_img, "create", "-q", "-f", "raw", base, str(size)])
        backing = ("-F", "raw", "-b", base) if has_backing else ()
        options = ("-f", "qcow2", "-o", f"cluster_size={cluster}", *backing)
        subprocess.check_call([qemu_img, "create", "-q", *options, top, str(size)])
        commands = [word for run in runs for word in ("-c", "write -q {} {}".format(*run))]
        if commands:
            subprocess.check_call([qemu_io, *commands, top])
        return top

    return make


@pytest.mark.parametrize("filtered", [False, True], ids=["plain", "cbw + snap"])
@pytest.mark.parametrize("has_backing", [False, True], ids=["no backing file", "backing file"])
@pytest.mark.parametrize(
    ("cluster", "target_cluster", "l2_slice"),
    [
        (64 * K, None, None),
        (16 * K, None, 512),  # clusters smaller than the copy cluster, short answers
        (64 * K, 1 * M, 512),  # the copy cluster follows the backup target
        (2 * M, 64 * K, None),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_count(
    build,
    make_sparse,
    tmp_path,
    qemu_img,
    cluster,
    target_cluster,
    l2_slice,
    has_backing,
    filtered,
    seed,
):
    rng = random.Random(f"{cluster} {target_cluster} {seed}")
    size = 80 * M + (512 if seed else 0)
    runs = _runs(rng, size, cluster)
    path = make_sparse(size, cluster, runs, has_backing)
    with Daemon(build) as daemon:
        daemon.execute(
            "blockdev-add",
            driver="qcow2",
            node_name="disk",
            file={"driver": "file", "filename": str(path)},
            **({"l2_cache_entry_size": l2_slice} if l2_slice else {}),
        )
        source = add_filters(daemon, size) if filtered else "disk"
        target = _backup_target(daemon, tmp_path, qemu_img, size, target_cluster)
        start_backup(daemon, source, target)
        wait_for_build_up(daemon, time.perf_counter())
        job = backup_job(daemon)
        cancel_backup(daemon)

    image = SparseImage(size, runs, cluster, l2_slice, has_backing=has_backing)
    ours = assemble(
        "access" if filtered else "plain", image, target_cluster_bytes=target_cluster or 64 * K
    )
    ours.build_up()
    assert job["total-progress"] == ours.copy_bitmap.count
    if filtered and not has_backing:
        assert ours.copy_bitmap.count >= size  # unallocated reads as zero *and allocated* there
    else:
        assert 0 < ours.copy_bitmap.count < size


def _backup_target(daemon, directory, qemu_img, size, cluster):
    if cluster is None:
        return add_null_disk(daemon, BACKUP_TARGET, size)
    path = directory / "target"
    options = ("-f", "qcow2", "-o", f"cluster_size={cluster}")
    subprocess.check_call([qemu_img, "create", "-q", *options, path, str(size)])
    daemon.execute(
        "blockdev-add",
        driver="qcow2",
        node_name=BACKUP_TARGET,
        file={"driver": "file", "filename": str(path)},
    )
    return BACKUP_TARGET


def _runs(rng, size, cluster):
    """Runs of whole clusters with gaps of at least one, the last maybe at the end of the image."""
    runs, start = [], cluster * rng.randint(0, 3)
    while start < size:
        length = min(cluster * rng.randint(1, 5), size - start)
        runs.append((start, length))
        start += length + cluster * rng.randint(1, 40)
    return runs
