"""Build-ups under perf: of a real daemon, and of our own in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Final

from hbitmap_bench.base.children import running
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.qemu.builds import QemuBuild
from hbitmap_bench.qemu.buildup import add_ends
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.detect import detect_algorithm
from hbitmap_bench.qemu.filters import Detected, Setup
from hbitmap_bench.qemu.geometry import Layout, layout
from hbitmap_bench.qemu.images import Image
from hbitmap_bench.qemu.perf import Samples, recording
from hbitmap_bench.qemu.profiled import profile_build_up

LEAST_S: Final = 1.0
"""In process, whole build-ups are repeated for so long: one with a deny bitmap is over at once."""

# Stops itself where perf is to begin, when the bitmaps are filled, and again where it is to end.
_OURS: Final = """
import json, os, signal, sys
from hbitmap_bench.qemu.geometry import Layout
from hbitmap_bench.reproduction.timing import open_job, time_queries
job = open_job(Layout(**json.loads(sys.argv[1])), sys.argv[2])
elapsed_s, runs = 0.0, 0
os.kill(os.getpid(), signal.SIGSTOP)
while elapsed_s < float(sys.argv[3]):
    elapsed_s += time_queries(job, 0).wall_s
    runs += 1
os.kill(os.getpid(), signal.SIGSTOP)
print(json.dumps([elapsed_s, runs]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Samples of one whole build-up or more, of one image, and what ran them.

    ``build`` is None in process. ``detected`` is what the build was found to have, or in process
    was chosen.
    """

    build: str | None
    detected: Detected
    layout: Layout
    elapsed_s: float
    runs: int
    samples: Samples


def profile_daemon(build: QemuBuild, image: Image) -> Profile:
    """Sample a real daemon's build-up, the disk with both filters over it: ``profile_build_up``."""
    with Daemon(build) as daemon:
        detected = detect_algorithm(daemon)
        elapsed_s, samples = profile_build_up(daemon, *add_ends(daemon, image, filtered=True))
    place = layout(image.image_bytes, image.cluster_bytes)
    return Profile(
        build=build.label, detected=detected, layout=place,
        elapsed_s=elapsed_s, runs=1, samples=samples,
    )  # fmt: skip


def profile_model(place: Layout, setup: Setup) -> Profile:
    """Sample a process that runs our own build-up, whole ones for ``LEAST_S`` or longer.

    ``setup`` is access or deny. Raises ``UserError`` as perf does.
    """
    with _stopped_child(place, setup) as process, recording(process.pid) as recorder:
        recorder.enable()
        process.send_signal(signal.SIGCONT)
        _wait_for_stop(process)
        samples = recorder.samples()
        process.send_signal(signal.SIGCONT)
        elapsed_s, runs = json.loads(process.communicate()[0])
    return Profile(
        build=None, detected="deny" if setup == "deny" else "access", layout=place,
        elapsed_s=elapsed_s, runs=runs, samples=samples,
    )  # fmt: skip


@contextmanager
def _stopped_child(place: Layout, setup: Setup) -> Iterator[subprocess.Popen[bytes]]:
    """Our build-up, stopped before its first query; killed in the end, whatever it does."""
    arguments = [json.dumps(asdict(place)), setup, str(LEAST_S)]
    command = [sys.executable, "-P", "-c", _OURS, *arguments]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        _wait_for_stop(process)
        yield process


def _wait_for_stop(process: subprocess.Popen[bytes]) -> None:
    found = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    if found is None or found.si_code != os.CLD_STOPPED:
        raise UserError("the build-up in process ended before it was done: is memory short?")
    # Else the next wait would see this stop again.
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
