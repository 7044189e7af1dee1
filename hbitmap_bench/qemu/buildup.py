"""The build-up of a backup job on a real daemon: from the command to the first progress."""

from __future__ import annotations

import time
from typing import Any, Final

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.qemu.account import Run, process_totals, spent
from hbitmap_bench.qemu.builds import QemuBuild
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.graph import BACKUP_TARGET, add_disk, add_filters, add_null_disk
from hbitmap_bench.qemu.images import Image

_JOB: Final = "backup"

# Copying stays behind this after its first chunk, so that it doesn't run on while we cancel.
_SPEED_BYTES_S: Final = 2**20

# The end is seen up to one poll late: 1% of what has passed, between these bounds. A poll costs
# the daemon some 0.1 ms, so that polls take at most about 5% of a short run and 0.5% of a long one.
_POLL_SHARE: Final = 0.01
_POLL_MIN_S: Final = 0.002
_POLL_MAX_S: Final = 0.02


def measure_once(
    build: QemuBuild,
    image: Image,
    *,
    filtered: bool,
    l2_slice_bytes: int | None,
    fleecing: Image | None = None,
    min_cluster_bytes: int | None = None,
    one_core: bool = False,
) -> Run:
    """One build-up in a daemon of its own: nothing is cached but what the kernel holds.

    ``filtered`` puts the two filters between disk and job; ``fleecing`` and ``min_cluster_bytes``
    are theirs (see ``add_filters``). ``l2_slice_bytes`` pins the slice, None leaves QEMU's default.
    ``one_core``: see ``Daemon.keep_to_one_core``. Raises ``UserError`` where the daemon or the job
    fails.

    Wall seconds are those of ``wait_for_build_up``. CPU seconds have the first chunk that is copied
    and the polls in them, and leave out the time up to the last poll.
    """
    with Daemon(build) as daemon:
        if one_core:
            daemon.keep_to_one_core()
        source, target = add_ends(
            daemon,
            image,
            filtered=filtered,
            l2_slice_bytes=l2_slice_bytes,
            fleecing=fleecing,
            min_cluster_bytes=min_cluster_bytes,
        )
        return build_up(daemon, source, target)


def build_up(daemon: Daemon, source: str, target: str) -> Run:
    """One build-up between two nodes of a running daemon. For its seconds see ``measure_once``."""
    before, start_s = process_totals(daemon.pid), time.perf_counter()
    start_backup(daemon, source, target)
    wall_s = wait_for_build_up(daemon, start_s)
    run = spent(before, process_totals(daemon.pid), wall_s=wall_s)
    cancel_backup(daemon)
    return run


def add_ends(
    daemon: Daemon,
    image: Image,
    *,
    filtered: bool,
    l2_slice_bytes: int | None = None,
    fleecing: Image | None = None,
    min_cluster_bytes: int | None = None,
) -> tuple[str, str]:
    """Add what a backup job reads and what it writes; the names of both nodes.

    Arguments are those of ``measure_once``. What is written is lost.
    """
    source = add_disk(daemon, image, l2_slice_bytes)
    if filtered:
        source = add_filters(
            daemon, image.image_bytes, fleecing=fleecing, min_cluster_bytes=min_cluster_bytes
        )
    return source, add_null_disk(daemon, BACKUP_TARGET, image.image_bytes)


def start_backup(daemon: Daemon, source: str, target: str) -> None:
    """Start the throttled sync=top job. It stays, concluded, until it is dismissed."""
    daemon.execute(
        "blockdev-backup",
        job_id=_JOB,
        device=source,
        target=target,
        sync="top",
        speed=_SPEED_BYTES_S,
        auto_dismiss=False,
    )


def wait_for_build_up(daemon: Daemon, start_s: float) -> float:
    """Seconds from ``start_s`` (``perf_counter``) until the job has progress or is concluded.

    Concluded without progress means that all was found unallocated. The time runs until the answer
    is here: the last poll and the first copied chunk are in it. Raises ``UserError`` where the job
    failed.
    """
    while True:
        job = backup_job(daemon)
        elapsed_s = time.perf_counter() - start_s
        if job["current-progress"] > 0 or job["status"] == "concluded":
            _raise_failure(daemon, job)
            return elapsed_s
        time.sleep(min(max(elapsed_s * _POLL_SHARE, _POLL_MIN_S), _POLL_MAX_S))


def backup_job(daemon: Daemon) -> dict[str, Any]:
    """The job as ``query-jobs`` tells it: ``status``, ``current-progress``, ``total-progress``."""
    for job in daemon.execute("query-jobs"):
        if job["id"] == _JOB:
            return dict(job)
    raise UserError(f"{daemon.build.name}: the backup job is gone before it was dismissed")


def cancel_backup(daemon: Daemon) -> None:
    """Cancel the job, wait until it has ended, and dismiss it."""
    if backup_job(daemon)["status"] != "concluded":
        daemon.execute("job-cancel", id=_JOB)
    while backup_job(daemon)["status"] != "concluded":
        time.sleep(_POLL_MIN_S)
    daemon.execute("job-dismiss", id=_JOB)


def _raise_failure(daemon: Daemon, job: dict[str, Any]) -> None:
    if "error" in job:
        raise UserError(f"{daemon.build.name}: the backup job failed: {job['error']}")
