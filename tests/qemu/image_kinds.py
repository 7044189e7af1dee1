"""Images of every kind, made by the real qemu-img and written into by qemu-io."""

import json
import random
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from hbitmap_impl.image_file import Extent

K, M, G, T = 2**10, 2**20, 2**30, 2**40

ZEROES = ("write -z", "write -zu", "discard")


@dataclass(frozen=True)
class Kind:
    """How an image is made. ``at`` are the places of writes; random ones if there are none."""

    name: str
    size: int = 20 * M + 512
    options: dict = field(default_factory=dict)
    format: str = "qcow2"
    verbs: tuple = ("write",)
    n_writes: int = 40
    at: tuple = ()
    longest: int = 300 * K
    backing: "Kind | None" = None
    snapshot: bool = False


RAW = Kind("raw", format="raw", n_writes=10)
PLAIN = Kind("plain")
MIXED = Kind("mixed", verbs=("write", *ZEROES))


def _sub(cluster, **more):
    return {"cluster_size": cluster, "extended_l2": "on", **more}


KINDS = [
    PLAIN,
    MIXED,
    Kind("empty", n_writes=0),
    Kind("tiny", size=512, n_writes=1),
    Kind("clusters of 512", size=3 * M + 512, options={"cluster_size": 512}, longest=9 * K),
    Kind("clusters of 2M", size=90 * M, options={"cluster_size": 2 * M}, verbs=("write", *ZEROES)),
    Kind("version 2", options={"compat": "0.10"}, verbs=("write", "discard")),
    Kind("preallocated", options={"preallocation": "metadata"}, verbs=("write", *ZEROES)),
    Kind("preallocated, untouched", options={"preallocation": "metadata"}, n_writes=0),
    Kind("fully allocated", options={"preallocation": "full"}, size=4 * M, n_writes=0),
    Kind("refcounts of 1 bit", options={"preallocation": "metadata", "refcount_bits": 1}),
    Kind("refcounts of 64 bits", options={"preallocation": "metadata", "refcount_bits": 64}),
    Kind("half allocated", at=tuple(range(0, 20 * M, 512 * K)), longest=256 * K),
    Kind("fragmented", options={"cluster_size": 4 * K}, n_writes=300, longest=8 * K),
    Kind("compressed", verbs=("write -c", "write -c", "write")),
    Kind("compressed, 4K", options={"cluster_size": 4 * K}, verbs=("write -c",), longest=30 * K),
    Kind("extended L2", options=_sub(64 * K), verbs=("write", *ZEROES), longest=70 * K),
    Kind("extended L2, 16K", options=_sub(16 * K), verbs=("write", *ZEROES), longest=20 * K),
    Kind("extended L2, 2M", size=80 * M, options=_sub(2 * M), verbs=("write", *ZEROES)),
    Kind("extended L2, preallocated", options=_sub(64 * K, preallocation="metadata")),
    Kind("extended L2, compressed", options=_sub(64 * K), verbs=("write -c", "write")),
    Kind("external data", options={"data_file": "data"}, verbs=("write", *ZEROES)),
    Kind(
        "external raw data",
        options={"data_file": "data", "data_file_raw": "on", "preallocation": "metadata"},
    ),
    Kind("extended L2, external data", options=_sub(64 * K, data_file="data"), longest=70 * K),
    Kind("internal snapshots", snapshot=True, verbs=("write", *ZEROES)),
    Kind("over raw", backing=RAW),
    Kind("over qcow2", backing=MIXED, verbs=("write", *ZEROES)),
    Kind("over a shorter one", backing=replace(MIXED, size=7 * M + 1536), n_writes=8),
    Kind("over a shorter raw one", backing=replace(RAW, size=7 * M + 512), n_writes=8),
    Kind("over a longer one", backing=replace(MIXED, size=33 * M), n_writes=8),
    Kind(
        "three deep",
        n_writes=8,
        backing=Kind("middle", size=13 * M, n_writes=8, backing=RAW, verbs=("write", *ZEROES)),
    ),
    Kind(
        "extended L2 over qcow2",
        options=_sub(128 * K),
        verbs=("write", *ZEROES),
        longest=40 * K,
        backing=replace(MIXED, options={"cluster_size": 8 * K}),
    ),
    Kind("sparse, of 2T", size=2 * T, at=(0, 5 * G, T + 512, 2 * T - M), longest=300 * K),
    Kind("sparse, of 20T", size=20 * T, options={"cluster_size": 2 * M}, at=(0, 7 * T, 20 * T - M)),
    Kind(
        "large extended L2 over raw",
        size=600 * G,
        options=_sub(2 * M),
        at=(0, G, 300 * G, 600 * G - M),
        backing=replace(RAW, size=500 * G, at=(0, 299 * G)),
    ),
]


class Maker:
    """Makes images of kinds, and asks the real tools about them."""

    def __init__(self, qemu_img, qemu_io, directory):
        self.qemu_img, self.qemu_io, self.directory = qemu_img, qemu_io, directory

    def make(self, kind, seed=0):
        rng = random.Random(f"{kind.name} {seed}")
        path = self.directory / kind.name.replace(" ", "-").replace(",", "")
        options = [f"{name}={self._absolute(value)}" for name, value in kind.options.items()]
        backing = []
        if kind.backing is not None:
            below = self.make(kind.backing, seed)
            backing = ["-b", below.name, "-F", kind.backing.format]
        words = ["-f", kind.format, *backing, *(word for one in options for word in ("-o", one))]
        self._run(self.qemu_img, "create", "-q", *words, path, str(kind.size))
        writes = list(self._writes(rng, kind))
        self.write(path, kind.format, writes[: len(writes) // 2])
        if kind.snapshot:
            self._run(self.qemu_img, "snapshot", "-c", "before", path)
        self.write(path, kind.format, writes[len(writes) // 2 :])
        if kind.snapshot:
            self._run(self.qemu_img, "snapshot", "-c", "after", path)
        return path

    def _absolute(self, value):
        return self.directory / value if value == "data" else value

    @staticmethod
    def _writes(rng, kind):
        touched = set()
        for number in range(len(kind.at) or kind.n_writes):
            verb = rng.choice(kind.verbs)
            start = kind.at[number] if kind.at else rng.randrange(kind.size)
            length = rng.randint(1, min(kind.longest, kind.size - start))
            unit = kind.options.get("cluster_size", 64 * K) if "write -c" in kind.verbs else 512
            start -= start % unit
            length = min(max(length // unit, 1) * unit, kind.size - start)
            units = set(range(start // unit, -(-(start + length) // unit)))
            if verb == "write -c" and (length % unit or units & touched):
                continue  # QEMU compresses only whole clusters, where nothing is yet
            touched |= units
            pattern = f" -P {rng.randint(1, 255)}" if verb in ("write", "write -c") else ""
            yield f"{verb}{pattern} -q {start} {length}"

    def write(self, path, format_, commands):
        if commands:
            words = [word for command in commands for word in ("-c", command)]
            self._run(self.qemu_io, "-f", format_, "-d", "unmap", *words, path)

    def map(self, path, **options):
        """The extents by qemu-img map, and the number of queries that met an L2 table."""
        names = {"driver": "qcow2", "file.filename": str(path), **options}
        words = ",".join(f"{name}={value}" for name, value in names.items())
        command = [self.qemu_img, "--trace", "qcow2_cache_get", "map", "--output=json"]
        done = subprocess.run(
            [*command, "--image-opts", words], capture_output=True, text=True, check=True
        )
        return promised(json.loads(done.stdout)), done.stderr.count("is_l2_cache 1")

    def convert(self, path):
        """The content by qemu-img convert, in a raw file."""
        raw = Path(f"{path}.raw")
        self._run(self.qemu_img, "convert", "-O", "raw", path, raw)
        return raw

    @staticmethod
    def _run(*argv):
        subprocess.run(argv, check=True, capture_output=True)


def promised(extents):
    """The extents with the fields that every version has. Newer fields are held here if known.

    8.2 and later say of each extent whether it is compressed: data that has no offset.
    """
    for extent in extents:
        compressed = extent["data"] and "offset" not in extent
        assert extent.get("compressed", compressed) == compressed, extent
    return [{name: one[name] for name in Extent._fields if name in one} for one in extents]


def map_nbd(qemu_img, path, socket, bitmap=None):
    """The extents of ``base:allocation``, or of a dirty bitmap, that qemu-nbd exports."""
    bitmaps = [] if bitmap is None else ["-B", bitmap]
    command = ["qemu-nbd", "-r", "-f", "qcow2", "-k", socket, "-x", "disk", *bitmaps, path]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as server:  # it serves one client
        try:
            while not socket.exists():
                assert server.poll() is None
                time.sleep(0.005)
            options = {
                "driver": "nbd",
                "server": {"type": "unix", "path": str(socket)},
                "export": "disk",
            }
            if bitmap is not None:  # dirty shows as what is not data
                options["x-dirty-bitmap"] = f"qemu:dirty-bitmap:{bitmap}"
            asked = [qemu_img, "map", "--output=json", f"json:{json.dumps(options)}"]
            answer = subprocess.check_output(asked, text=True)
            server.wait(10)
        finally:
            server.kill()
    return json.loads(answer)
