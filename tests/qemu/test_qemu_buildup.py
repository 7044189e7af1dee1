"""Build-ups on a real daemon: the end is found, queries are counted, failures are told."""

import os
import signal
import subprocess
import time

import psutil
import pytest

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.qemu.builds import QemuBuild
from hbitmap_bench.qemu.buildup import (
    backup_job,
    cancel_backup,
    measure_once,
    start_backup,
    wait_for_build_up,
)
from hbitmap_bench.qemu.daemon import DaemonDied
from hbitmap_bench.qemu.detect import detect_algorithm
from hbitmap_bench.qemu.geometry import layout
from hbitmap_bench.qemu.graph import BACKUP_TARGET, add_disk, add_filters, add_null_disk
from hbitmap_bench.qemu.images import ensure_images

K, M, G, T = 2**10, 2**20, 2**30, 2**40


def test_build_up_of_a_tebibyte_is_followed_to_its_end(daemon, image_1t):
    assert detect_algorithm(daemon) == "access"
    add_disk(daemon, image_1t, 4 * K)
    source = add_filters(daemon, T)
    start_backup(daemon, source, add_null_disk(daemon, BACKUP_TARGET, T))
    job = backup_job(daemon)
    assert (job["type"], job["status"], job["current-progress"]) == ("backup", "running", 0)

    wait_for_build_up(daemon, time.perf_counter())
    job = backup_job(daemon)
    assert job["status"] == "running"
    assert job["total-progress"] == T  # all of it is allocated, and to be copied
    assert 0 < job["current-progress"] < G  # the throttle holds the copying

    cancel_backup(daemon)
    assert daemon.execute("query-jobs") == []
    assert source in {node["node-name"] for node in daemon.execute("query-named-block-nodes")}


@pytest.mark.parametrize(
    ("image_bytes", "cluster", "l2_slice", "filtered"),
    [
        (T, 64 * K, None, False),
        (T, 64 * K, None, True),
        (T, 64 * K, 64 * K, True),
        (64 * G, 2 * M, 8 * K, False),  # a slice covers 2 GiB: qcow2 cuts, the job rounds up
        (64 * G, 2 * M, 2 * M, True),
    ],
)
def test_queries_are_those_of_the_closed_form(
    build, tmp_path, qemu_img, image_1t, image_bytes, cluster, l2_slice, filtered
):
    """Each query looks one L2 slice up; the daemon's own trace counts the look-ups."""
    image = image_1t
    if (image_bytes, cluster) != (T, 64 * K):
        (image,) = ensure_images(tmp_path, [(image_bytes, cluster)], qemu_img, print)
    log = tmp_path / "trace"
    script = tmp_path / "daemon"
    script.write_text(f'#!/bin/sh\nexec {build.path} -T qcow2_cache_get "$@" 2>{log}\n')
    script.chmod(0o755)
    measure_once(
        QemuBuild("traced", script, "1"), image, filtered=filtered, l2_slice_bytes=l2_slice
    )
    looked_up = log.read_text().count("is_l2_cache 1 ")
    queries = layout(image_bytes, cluster, l2_slice_bytes=l2_slice).queries
    # A few more come from the first chunk that is copied, before the throttle holds the job.
    assert queries <= looked_up <= queries + 8


def test_source_without_anything_allocated_is_concluded_at_once(daemon, tmp_path, qemu_img):
    """Sync=top copies what the top image holds: here nothing, and the job ends without progress."""
    base, top = tmp_path / "base", tmp_path / "top"
    subprocess.check_call([qemu_img, "create", "-q", "-f", "raw", base, "1G"])
    overlay = ("-f", "qcow2", "-F", "raw", "-b", base)
    subprocess.check_call([qemu_img, "create", "-q", *overlay, top])
    _add_qcow2(daemon, top)
    start_backup(daemon, "disk", add_null_disk(daemon, BACKUP_TARGET, G))
    assert wait_for_build_up(daemon, time.perf_counter()) > 0
    assert backup_job(daemon)["status"] == "concluded"
    cancel_backup(daemon)
    assert daemon.execute("query-jobs") == []


def test_job_that_fails_is_no_measurement(daemon, add_denying_filter):
    """A snapshot of which everything is denied: the first block status fails, and so the job."""
    add_denying_filter(G)
    daemon.execute("blockdev-add", driver="snapshot-access", node_name="snapshot", file="cbw")
    start_backup(daemon, "snapshot", add_null_disk(daemon, BACKUP_TARGET, G))
    with pytest.raises(UserError, match="the backup job failed: Permission denied"):
        wait_for_build_up(daemon, time.perf_counter())


def test_daemon_killed_in_mid_job(daemon, image_1t):
    add_disk(daemon, image_1t, 4 * K)
    start_backup(daemon, add_filters(daemon, T), add_null_disk(daemon, BACKUP_TARGET, T))
    assert backup_job(daemon)["status"] == "running"
    os.kill(daemon.pid, signal.SIGKILL)
    # No warning about the target is taken for the cause.
    with pytest.raises(DaemonDied, match="during query-jobs, killed by SIGKILL$"):
        wait_for_build_up(daemon, time.perf_counter())
    # The fixture of the scratch directory looks for what is left.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_in_mid_job_leaves_nothing(
    build, image_1t, run_python, processes_naming, scratch, number
):
    program = run_python(f"""
from pathlib import Path
from hbitmap_bench.qemu.builds import QemuBuild
from hbitmap_bench.qemu.images import Image
from hbitmap_bench.reproduction.rows import measure_rows, plan_rows
build = QemuBuild("x", Path({str(build.path)!r}), "1")
image = Image(Path({str(image_1t.path)!r}), {T}, 65536)
measure_rows(plan_rows([build], [image]) * 100, print, lambda _: None)
""")
    while not any(_has_open(process, image_1t.path) for process in processes_naming(scratch)):
        assert program.poll() is None
        time.sleep(0.01)
    program.send_signal(number)
    assert program.wait(60) != 0
    # The fixture of the scratch directory looks for what is left.


def _has_open(process, path):
    try:
        return any(file.path == str(path) for file in process.open_files())
    except psutil.Error:
        return False


def _add_qcow2(daemon, path):
    daemon.execute(
        "blockdev-add",
        driver="qcow2",
        node_name="disk",
        file={"driver": "file", "filename": str(path)},
    )
