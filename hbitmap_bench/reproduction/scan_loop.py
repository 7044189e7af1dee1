"""A fixed loop whose rate tells how much memory bandwidth the neighbours leave us.

A neighbour that shares the memory bus or the last cache slows the CPU seconds of a run, not only
its wall seconds, and no counter of the run shows it. The same loop before and after a run does.
"""

from __future__ import annotations

import time
from typing import Final

from hbitmap_impl.hbitmap import HBitmap

_WORDS: Final = 20 * 2**20 // 8
"""The bitmap of a 10T image with 64K copy clusters: larger than most second-level caches."""

_SCANS: Final = 3
"""The best of so many counts, since one that is interrupted finds its caches emptied. 3 ms."""


class ScanLoop:
    """A full bitmap of 20 MiB, to be searched for a zero."""

    def __init__(self) -> None:
        self._bits = _WORDS * 64
        self._bitmap = HBitmap(self._bits)
        self._bitmap.set(0, self._bits)

    def words_s(self) -> float:
        """Words a CPU second, now."""
        return _WORDS / min(self._scan_s() for _ in range(_SCANS))

    def _scan_s(self) -> float:
        start_s = time.thread_time()
        self._bitmap.next_zero(0, self._bits)
        return time.thread_time() - start_s
