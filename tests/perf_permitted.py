"""The mark of tests that need perf, and permission to look at a process of one's own."""

import os
import shutil

import pytest

from hbitmap_bench.qemu import perf


def _may_look():
    if shutil.which("perf") is None:
        return False
    try:
        with perf.recording(os.getpid()) as recorder:
            recorder.enable()
    except perf.PerfMissingError:
        return False
    return True


needs_perf = pytest.mark.skipif(not _may_look(), reason="needs perf, and permission to use it")
