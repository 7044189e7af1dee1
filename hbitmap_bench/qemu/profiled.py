"""A build-up on a real daemon under perf."""

from __future__ import annotations

import time

from hbitmap_bench.qemu.buildup import cancel_backup, start_backup, wait_for_build_up
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.perf import Samples, recording


def profile_build_up(daemon: Daemon, source: str, target: str) -> tuple[float, Samples]:
    """Wall seconds and samples, from the command that starts the job until its first progress.

    Raises ``UserError`` where daemon, job or perf fail. Costs the build-up, 0.5 s and 30 us a
    sample.
    """
    with recording(daemon.pid) as recorder:
        recorder.enable()
        start_s = time.perf_counter()
        start_backup(daemon, source, target)
        elapsed_s = wait_for_build_up(daemon, start_s)
        samples = recorder.samples()
    cancel_backup(daemon)
    return elapsed_s, samples
