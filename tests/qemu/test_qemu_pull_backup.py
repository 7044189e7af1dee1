"""Block status over NBD: our client against qemu-img's, and what the check says of its numbers."""

import json
import subprocess

import pytest

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.checks import pull_backup
from hbitmap_bench.checks.pull_backup import (
    PIECE_BYTES,
    Pass,
    Row,
    ask_by,
    ask_in_32_bits,
    fragment,
    verdict,
)
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.graph import add_disk, add_filters
from hbitmap_bench.qemu.images import Image, ensure_images
from hbitmap_bench.qemu.nbd import connected, whole_status

G, T = 2**30, 2**40


@pytest.fixture
def pieces(tmp_path, qemu_img, qemu_io):
    (full,) = ensure_images(tmp_path / "full", [(G, 65536)], qemu_img, print)
    return fragment(full, tmp_path / "fragmented", qemu_img)


@pytest.fixture
def exported(build, pieces, tmp_path):
    """The socket of an NBD server with a fragmented image behind both filters."""
    path = tmp_path / "nbd"
    with Daemon(build) as daemon:
        add_disk(daemon, pieces, None)
        node = add_filters(daemon, G)
        daemon.execute("nbd-server-start", addr={"type": "unix", "data": {"path": str(path)}})
        daemon.execute("block-export-add", type="nbd", id="e", node_name=node, name="disk")
        yield path
        daemon.execute("nbd-server-stop")


def test_our_client_gets_the_extents_that_qemu_img_gets(exported):
    uri = f"nbd+unix:///disk?socket={exported}"
    told = subprocess.run(
        ["qemu-img", "map", "--output=json", uri], capture_output=True, text=True, check=True
    )
    theirs = [(one["length"], one["zero"], one["data"]) for one in json.loads(told.stdout)]
    with connected(exported, "disk") as client:
        assert client.size == G
        found = client.block_status(0, G)
        assert whole_status(client) == (1, G // PIECE_BYTES)
        assert whole_status(client, PIECE_BYTES // 2) == (G // PIECE_BYTES * 2,) * 2
    ours = [(one.length, bool(one.flags & 2), not one.flags & 1) for one in found]
    assert ours == theirs
    assert {length for length, _, _ in ours} == {PIECE_BYTES}


def test_an_export_that_is_not_there_is_told(exported):
    with pytest.raises(UserError, match="refused"), connected(exported, "other"):
        pass
    with pytest.raises(UserError, match="no NBD server"), connected(exported / "no", "disk"):
        pass


def test_both_exports_are_passed_whole_by_both_clients(build, pieces, qemu_img):
    for filtered in (False, True):
        for client, requests in ((ask_in_32_bits, 1), (ask_by(qemu_img), 0)):
            found = pull_backup.pull(build, pieces, client, filtered=filtered)
            assert (found.requests, found.extents) == (requests, G // PIECE_BYTES)
            assert found.elapsed_s > 0


def rows(snapshot_of):
    """Of three sizes; a snapshot's seconds follow from the disk's."""
    found = []
    for size in (1, 2, 4):
        plain, snapshot = (Pass(seconds, seconds) for seconds in (float(size), snapshot_of(size)))
        image = Image(None, size * T, 65536)
        pushed = Pass(9.0, 2.0 * size**2)
        found.append(Row(image, "full", "ours", (plain,) * 3, (snapshot,) * 3, pushed))
    return found


def test_the_verdict_follows_from_the_numbers():
    linear, dearer, quadratic = (
        verdict(rows(cost)) for cost in (lambda t: 1.05 * t, lambda t: 3.0 * t, lambda t: t**2.0)
    )
    assert "does not suffer. Exponents of CPU time: 1.00 of the snapshot" in linear
    assert "does not suffer" in dearer  # and just as linear
    assert "NBD suffers. Exponents of CPU time: 2.00 of the snapshot" in quadratic
    assert "a growth needs two" in verdict(rows(float)[:1])
