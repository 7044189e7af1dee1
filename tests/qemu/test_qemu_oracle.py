"""QEMU's own dirty bitmaps as an oracle for HBitmap: same updates, same bits.

The bits are compared in three ways that share no code of ours: QEMU's sha256 of the last level, its
count, and the runs that it exports over NBD.
"""

import json
import random
import subprocess

import pytest

from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_impl import HBitmap

K, M = 2**10, 2**20
GRANULARITIES = {"sector": 9, "page": 12, "copy-cluster": 16, "mebibyte": 20}
SIZES = [64 * K * 64 * 64, 64 * M + 512, 7 * M + 5 * 512, 512]


class Oracle:
    """A raw disk in a daemon, with named dirty bitmaps that record, and their twins in process."""

    def __init__(self, daemon, directory, qemu_img, qemu_io, size):
        self.daemon = daemon
        self.size = size
        self.socket = directory / "nbd"
        self.qemu_img, self.qemu_io = qemu_img, qemu_io
        path = directory / "disk"
        with path.open("wb") as file:
            file.truncate(size)
        daemon.execute(
            "blockdev-add", driver="file", node_name="disk", filename=str(path), discard="unmap"
        )
        daemon.execute(
            "nbd-server-start", addr={"type": "unix", "data": {"path": str(self.socket)}}
        )
        self.twins = {}
        for name, granularity in GRANULARITIES.items():
            self.add(name, granularity)

    def add(self, name, granularity):
        self.daemon.execute(
            "block-dirty-bitmap-add", node="disk", name=name, granularity=1 << granularity
        )
        self.twins[name] = HBitmap(self.size, granularity)

    def write(self, updates):
        """Let a client write: (qemu-io command, offset, length)."""
        commands = [f"{command} {offset} {length}" for command, offset, length in updates]
        options = [word for command in commands for word in ("-c", command)]
        with self.export() as url:
            subprocess.run(
                [self.qemu_io, "-f", "raw", "-d", "unmap", *options, url],
                check=True,
                capture_output=True,
            )
        for twin in self.twins.values():
            for _, offset, length in updates:
                twin.set(offset, length)

    def compare(self):
        (node,) = self.daemon.execute("query-named-block-nodes")
        counts = {bitmap["name"]: bitmap["count"] for bitmap in node.get("dirty-bitmaps", [])}
        for name, twin in self.twins.items():
            twin._check()
            answer = self.daemon.execute(
                "x-debug-block-dirty-bitmap-sha256", node="disk", name=name
            )
            assert answer["sha256"] == twin.sha256(), name
            assert counts[name] == twin.count, name
            assert self.runs(name) == [tuple(run) for run in twin.to_runs().tolist()], name

    def runs(self, name):
        """Dirty runs as NBD tells them; ``x-dirty-bitmap`` shows them as what is not data."""
        with self.export(name):
            options = {
                "driver": "nbd",
                "server": {"type": "unix", "path": str(self.socket)},
                "export": "disk",
                "x-dirty-bitmap": f"qemu:dirty-bitmap:{name}",
            }
            command = [self.qemu_img, "map", "--output=json", f"json:{json.dumps(options)}"]
            extents = json.loads(subprocess.check_output(command, text=True))
        return _merged((e["start"], e["length"]) for e in extents if not e["data"])

    def export(self, *bitmaps):
        return Export(self, bitmaps)


class Export:
    """The disk over NBD, for as long as the context lasts."""

    def __init__(self, oracle, bitmaps):
        self.oracle = oracle
        self.bitmaps = list(bitmaps)

    def __enter__(self):
        self.oracle.daemon.execute(
            "block-export-add",
            type="nbd",
            id="export",
            node_name="disk",
            name="disk",
            writable=True,
            bitmaps=self.bitmaps,
        )
        return f"nbd+unix:///disk?socket={self.oracle.socket}"

    def __exit__(self, *_):
        self.oracle.daemon.execute("block-export-del", id="export", mode="hard")
        while self.oracle.daemon.execute("query-block-exports"):
            pass


@pytest.fixture
def make_oracle(build, tmp_path, scratch, qemu_img, qemu_io):
    with Daemon(build) as daemon:

        def make(size):
            (directory,) = scratch.iterdir()  # the daemon's own, so that the path is short
            return Oracle(daemon, directory, qemu_img, qemu_io, size)

        yield make


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_writes(make_oracle, size, seed):
    rng = random.Random(f"{size} {seed}")
    oracle = make_oracle(size)
    oracle.compare()
    for n_updates in (1, 8, 64):
        oracle.write(_updates(rng, size, n_updates))
        oracle.compare()


@pytest.mark.parametrize("seed", range(3))
def test_clear_and_merge(make_oracle, seed):
    """A merge of unequal granularities widens; a cleared bitmap starts again."""
    rng = random.Random(seed)
    oracle = make_oracle(64 * M + 512)
    oracle.write(_updates(rng, oracle.size, 30))
    oracle.daemon.execute("block-dirty-bitmap-clear", node="disk", name="page")
    oracle.twins["page"].reset_all()
    oracle.compare()
    oracle.write(_updates(rng, oracle.size, 5))
    for target, granularity in (("finest", 9), ("middle", 14), ("coarsest", 22)):
        oracle.add(target, granularity)
        sources = ["page", "copy-cluster"] if target == "middle" else ["page"]
        oracle.daemon.execute(
            "block-dirty-bitmap-merge", node="disk", target=target, bitmaps=sources
        )
        for source in sources:
            oracle.twins[target].merge(oracle.twins[source])
    oracle.compare()


@pytest.mark.parametrize("seed", range(3))
def test_resize(make_oracle, seed):
    rng = random.Random(seed)
    oracle = make_oracle(9 * M + 512)
    for size in (64 * M, 5 * M + 3 * 512, 5 * M + 2 * 512, 5 * M + 64 * K, 512, 200 * M):
        oracle.write(_updates(rng, oracle.size, 20))
        oracle.daemon.execute("block_resize", node_name="disk", size=size)
        oracle.size = size
        for twin in oracle.twins.values():
            twin.truncate(size)
        oracle.compare()


def _updates(rng, size, n):
    """Writes, write-zeroes and discards at word and level edges, and anywhere."""
    found = []
    for _ in range(n):
        edge = (1 << rng.choice(list(GRANULARITIES.values()))) * rng.choice((1, 64, 4096))
        near = rng.randrange(0, size, edge) if rng.random() < 0.5 else rng.randrange(size)
        offset = min(max(near + rng.randint(-1, 1), 0), size - 1)
        length = min(int(2 ** rng.uniform(0, 22)), size - offset)
        found.append((rng.choice(("write", "write -z", "write -zu", "discard")), offset, length))
    return found


def _merged(runs):
    merged = []
    for start, length in runs:
        if merged and sum(merged[-1]) == start:
            start, length = merged[-1][0], merged.pop()[1] + length
        merged.append((start, length))
    return merged
