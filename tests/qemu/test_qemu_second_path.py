"""Overwritten disks: the closed form of their build-ups, on the model and on a real daemon."""

import pytest
from rich.console import Console

from hbitmap_bench.checks.second_path import (
    PIECE_BITS,
    SLICE_BYTES,
    STATES,
    Row,
    discards,
    growth,
    measure,
    table,
    work,
)
from hbitmap_bench.qemu.account import Run
from hbitmap_bench.qemu.blueprint import Blueprint, full
from hbitmap_bench.qemu.builds import QemuBuild
from hbitmap_bench.qemu.buildup import (
    cancel_backup,
    start_backup,
    wait_for_build_up,
)
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.graph import BACKUP_TARGET, add_null_disk, unnamed_counts
from hbitmap_bench.qemu.overwritten import CBW, add_overwritable, overwrite
from hbitmap_impl.image import FullImage, NullDisk, SparseImage
from hbitmap_impl.setups import assemble

C, G = 65536, 2**30


class Recorder:
    """A source that remembers where it was asked."""

    def __init__(self, source):
        self.source, self.size, self.offsets = source, source.size, []

    def block_status(self, offset, length):
        self.offsets.append(offset)
        return self.source.block_status(offset, length)


def fleecing(name, size):
    if STATES[name].target is None:
        return NullDisk(size)
    if STATES[name].reach == 1:
        return SparseImage(size, [(at, C) for at in range(0, size, C)], C, SLICE_BYTES)
    return FullImage(size, C, SLICE_BYTES)


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("bits", [1, 1024, 16384, 4096 + 5, 3 * 8192 + 64])
def test_work_is_that_of_the_model(name, bits):
    size = bits * C
    job = assemble("access", FullImage(size, C, SLICE_BYTES), target=fleecing(name, size))
    check, cbw = job.check, job.source.filter
    for piece in discards(STATES[name].done(bits), bits):
        cbw.assume_done(*piece)
    job.source = Recorder(job.source)
    queries = job.build_up().queries
    access, status = check.words_examined, cbw.done_bitmap.words_examined
    cbw.done_bitmap.reset_counters()
    for offset in job.source.offsets:
        cbw.done_bitmap.next_dirty(offset)
    assert work(STATES[name], bits) == (queries, access, status - cbw.done_bitmap.words_examined)


def test_discards_are_what_is_done_and_none_is_too_long():
    n_bits = 3 * PIECE_BITS + 7
    assert list(discards(STATES["none"].done(n_bits), n_bits)) == []
    found = list(discards(STATES["full"].done(n_bits), n_bits, skip_bits=PIECE_BITS))
    assert [offset // C for offset, _ in found] == [PIECE_BITS, 2 * PIECE_BITS, 3 * PIECE_BITS]
    assert found[-1][1] == 7 * C
    half = sum(length for _, length in discards(STATES["scattered"].done(n_bits), n_bits))
    assert half == pytest.approx(n_bits * C / 2, rel=0.05)


@pytest.mark.parametrize("name", ["half", "full", "shuffled", "scattered", "whole"])
def test_a_real_daemon_asks_as_many_questions(build, tmp_path, name):
    """Each looks up a slice of the disk's L2 table or of the target's: its own trace tells."""
    log, script = tmp_path / "trace", tmp_path / "daemon"
    traced = "-T qcow2_cache_get -T handle_qmp_command"
    script.write_text(f'#!/bin/sh\nexec {build.path} {traced} "$@" 2>{log}\n')
    script.chmod(0o755)
    state, bits = STATES[name], G // C
    images = [tmp_path / "disk", tmp_path / "fleecing"]
    for path, pattern in zip(images, (full, state.target or full), strict=True):
        Blueprint(image_bytes=G, pattern=pattern).write(path)
    target = None if state.target is None else images[1]
    before = images[0].stat().st_mtime_ns
    with Daemon(QemuBuild("traced", script, build.version)) as daemon:
        source = add_overwritable(daemon, G, images[0], target, SLICE_BYTES)
        pieces = list(discards(state.done(bits), bits))
        overwrite(daemon, pieces)
        counts = unnamed_counts(daemon.execute("query-named-block-nodes"), CBW)
        assert counts[:2] == [G, sum(length for _, length in pieces)]  # access, done
        start_backup(daemon, source, add_null_disk(daemon, BACKUP_TARGET, G))
        wait_for_build_up(daemon, 0.0)
        cancel_backup(daemon)
    assert images[0].stat().st_mtime_ns == before
    asked = log.read_text().partition('"blockdev-backup"')[2].count("is_l2_cache 1 ")
    if name == "whole":  # which looks nothing up
        assert work(state, bits).queries == 1
        assert asked <= 8
        return
    # Neighbours in a shuffled image are contiguous by accident, one pair in an L2 table. A few
    # more come from the first chunk that is copied, and from clusters that cut it.
    queries = work(state, bits).queries
    assert queries - 16 <= asked <= queries + 32


def test_rows_are_measured_in_one_daemon(build, tmp_path):
    told = []
    rows = list(measure(build, G, ["half", "full"], 1, tmp_path, told.append))
    assert [row.state for row in rows] == ["half", "full"]
    assert [row.algorithm for row in rows] == ["access"] * 2
    assert all(len(row.runs) == 1 and row.seconds[0] > 0 for row in rows)
    assert len(told) == 4


def grown(*disturbed):
    return [
        Row("b", "full", t * G, "deny", (Run(wall_s=9.0, cpu_s=float(t**2), disturbed=why),), None)
        for t, why in zip((1, 2, 4, 8), disturbed, strict=True)
    ]


def test_growth_is_of_processor_seconds_that_are_not_disturbed():
    exponent = "b, full: CPU seconds grow with exponent 2.00 (2.00..2.00)"
    assert growth(grown(None, None, None, None)) == exponent
    assert growth(grown(None, "cold", None, None)) == f"{exponent}; disturbed: 2G"
    told = growth(grown("cold", None, None, "cold"))
    assert told == "b, full: no exponent, of fewer than 3 sizes; disturbed: 1G, 8G"


def test_disturbed_seconds_are_marked():
    console = Console(record=True, width=200)
    console.print(table(grown(None, "cold", None, None)))
    text = console.export_text()
    assert text.count("*") == 1
    assert "4.000*" in text
