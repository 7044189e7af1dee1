"""Small qcow2 images put together by hand, so that each of their rules can be broken."""

import struct

K = 2**10
CLUSTER_BITS = 16
CLUSTER = 1 << CLUSTER_BITS
L1_AT, L2_AT, REFCOUNTS_AT, DATA_AT = (n * CLUSTER for n in (1, 2, 3, 4))

COPIED, COMPRESSED = 1 << 63, 1 << 62
DIRTY, CORRUPT, EXTERNAL, COMPRESSION_TYPE, EXTENDED = (1 << n for n in range(5))


def header(
    version=3,
    size=100 * CLUSTER,
    cluster_bits=CLUSTER_BITS,
    encryption=0,
    l1_size=1,
    l1_at=L1_AT,
    refcounts_at=REFCOUNTS_AT,
    refcount_clusters=1,
    n_snapshots=0,
    snapshots_at=0,
    incompatible=0,
    autoclear=0,
    refcount_order=4,
    header_bytes=112,
    compression=0,
    extensions=(),
    backing="",
    backing_at=None,
    backing_bytes=None,
):
    """The first cluster."""
    behind = b"".join(
        struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)
        for kind, content in extensions
    )
    name_at = 112 + len(behind) + 8 if version == 3 else 72 + len(behind) + 8
    name = backing.encode()
    if backing_at is None:
        backing_at = name_at if name else 0
    if backing_bytes is None:
        backing_bytes = len(name)
    fields = struct.pack(
        ">4sIQIIQIIQQIIQ",
        b"QFI\xfb",
        version,
        backing_at,
        backing_bytes,
        cluster_bits,
        size,
        encryption,
        l1_size,
        l1_at,
        refcounts_at,
        refcount_clusters,
        n_snapshots,
        snapshots_at,
    )
    if version == 3:
        fields += struct.pack(
            ">QQQIIB7x", incompatible, 0, autoclear, refcount_order, header_bytes, compression
        )
    return fields + behind + bytes(8) + name


def image(path, entries=(), content=b"", *, l2_at=L2_AT | COPIED, **fields):
    """Write an image with one L2 table, of these words, and content behind it."""
    entries = list(entries)
    with path.open("wb") as file:
        file.write(header(**fields))
        file.seek(L1_AT)
        file.write(struct.pack(">Q", l2_at if entries else 0))
        file.seek(L2_AT)
        file.write(struct.pack(f">{len(entries)}Q", *entries))
        file.seek(DATA_AT)
        file.write(content)
        file.truncate(max(file.tell(), DATA_AT))
    return path


def place(number, flags=COPIED):
    """The entry of a data cluster, the one of that number in the content."""
    return DATA_AT + number * CLUSTER | flags
