"""A synthetic reproduction: closed forms at made-up rates, no measurement of anything."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import product

from hbitmap_bench.qemu.account import Run
from hbitmap_bench.qemu.filters import Setup
from hbitmap_bench.qemu.geometry import answer_bytes, n_queries, words_access, words_deny
from hbitmap_bench.reproduction.growth import growth_records
from hbitmap_bench.reproduction.published import published_cells
from hbitmap_bench.reproduction.records import CellRecord, Reproduction
from hbitmap_impl.image import default_l2_slice

T = 2**40
K = 1024
SIZES = (1, 2, 4, 8, 16, 32, 64)
CLUSTERS = (64, 128, 256, 512, 1024, 2048)
MODEL_QUERY_S = 2e-7
MODEL_RATE = 2.5e9
QEMU_RATE = 1.5e9
QEMU_QUERY_S = 25e-6
QEMU_CLUSTER_S = 1e-8  # of each cluster that one answer covers
QEMU_WALL = 1.125  # wall seconds of a CPU second


def geometry(size_t: float, cluster_k: int, slice_bytes: int | None) -> dict[str, int]:
    image, cluster = int(size_t * T), cluster_k * K
    return {
        "image_bytes": image,
        "cluster_bytes": cluster,
        "copy_cluster_bytes": 64 * K,
        "l2_slice_bytes": slice_bytes or default_l2_slice(image, cluster),
    }


def work(cell: dict[str, int], setup: Setup) -> tuple[int, int | None]:
    answer = answer_bytes(cell["cluster_bytes"], cell["l2_slice_bytes"], 8, 64 * K)
    words = {"access": words_access, "deny": words_deny}.get(setup)
    image = cell["image_bytes"]
    return n_queries(image, answer, 64 * K), words and words(image, answer, 64 * K)


def runs_of(seconds: Iterable[float], wall: float = 1.0) -> tuple[Run, ...]:
    return tuple(Run(wall_s=wall * cpu_s, cpu_s=cpu_s) for cpu_s in seconds)


def disturbed(cell: CellRecord, reason: str = "wall seconds 99% above CPU seconds") -> CellRecord:
    runs = tuple(replace(run, disturbed=reason) for run in cell.runs)
    return replace(cell, disturbed=reason, runs=runs, extra_s=None, scan_rate_words_s=None)


def model_cell(
    size_t: float, cluster_k: int, setup: Setup, slice_bytes: int | None = None
) -> CellRecord:
    place = geometry(size_t, cluster_k, slice_bytes)
    queries, words = work(place, setup)
    extra_s = None if words is None else words / MODEL_RATE
    elapsed_s = queries * MODEL_QUERY_S + (extra_s or 0)
    return CellRecord(
        source="model",
        setup=setup,
        mode="sampled",
        **place,
        elapsed_s=elapsed_s,
        cpu_s=elapsed_s,
        interval_s=(0.97 * elapsed_s, 1.03 * elapsed_s),
        interval_kind="prediction95",
        runs=runs_of(share * elapsed_s for share in (0.99, 1.0, 1.01)),
        queries=queries,
        words_examined=words,
        words_source=words and "closed_form",
        extra_s=extra_s,
        scan_rate_words_s=MODEL_RATE if setup == "access" else None,
    )


def qemu_cell(
    size_t: float, setup: Setup, slice_bytes: int | None = None, build: str = "7.2.22", n: int = 3
) -> CellRecord:
    place = geometry(size_t, 64, slice_bytes)
    queries, words = work(place, setup)
    plain_s = queries * (QEMU_QUERY_S + QEMU_CLUSTER_S * place["l2_slice_bytes"] / 8)
    extra_s = None if words is None else words / QEMU_RATE
    cpu_s = plain_s + (extra_s or 0)
    return CellRecord(
        source="qemu",
        setup=setup,
        mode="measured",
        build=build,
        detected="deny" if setup == "deny" else "access",
        **place,
        elapsed_s=QEMU_WALL * cpu_s,
        cpu_s=cpu_s,
        interval_s=(0.95 * cpu_s, 1.06 * cpu_s) if n > 1 else None,
        interval_kind="min_max" if n > 1 else None,
        runs=runs_of([0.95 * cpu_s, cpu_s, 1.06 * cpu_s][:n], QEMU_WALL),
        queries=queries,
        words_examined=words,
        words_source=words and "closed_form",
        extra_s=extra_s,
        scan_rate_words_s=QEMU_RATE if setup == "access" else None,
    )


def empty_qemu_cell(size_t: float, setup: Setup, build: str = "6.0.0") -> CellRecord:
    place = geometry(size_t, 64, None)
    return CellRecord(source="qemu", setup=setup, mode="measured", build=build, **place)


def model_table() -> list[CellRecord]:
    return [model_cell(n, 64, s) for n, s in product((10, 11), ("plain", "access", "deny"))]


def model_sweep(
    sizes: tuple[int, ...] = SIZES, clusters: tuple[int, ...] = CLUSTERS
) -> list[CellRecord]:
    grid = product(sizes, clusters, (None, 4096), ("plain", "access", "deny"))
    return [model_cell(size, cluster, setup, part) for size, cluster, part, setup in grid]


def qemu_rows() -> list[CellRecord]:
    rows = []
    for size in (1, 2, 4):
        rows += [qemu_cell(size, "plain"), qemu_cell(size, "access")]
        rows += [qemu_cell(size, "access", 64 * K)]
    return rows


def two_builds(sizes: tuple[int, ...] = (10, 11)) -> list[CellRecord]:
    """A stock and a patched build of one source."""
    rows = []
    for size in sizes:
        rows += [qemu_cell(size, "plain", build="stock"), qemu_cell(size, "access", build="stock")]
        rows += [qemu_cell(size, "plain", 64 * K, "stock")]
        rows += [qemu_cell(size, "access", 64 * K, "stock")]
        patched = [qemu_cell(size, setup, build="patched") for setup in ("plain", "deny")]
        rows += [replace(row, detected="deny") for row in patched]
    return rows


def reproduction(*rows: CellRecord, published: bool = True) -> Reproduction:
    cells = (*(published_cells() if published else ()), *rows)
    return Reproduction(
        created="2025-11-22T22:00:00+00:00",
        commit="0123456789abcdef0123456789abcdef01234567",
        tool_version="0.1.0",
        host={"cpu_model": "synthetic, for tests", "cores": 2, "memory_bytes": 8 * 2**30},
        cells=cells,
        growth=growth_records(cells),
    )


def whole() -> Reproduction:
    return reproduction(*model_table(), *model_sweep(), *qemu_rows())


def small() -> Reproduction:
    """All kinds of rows, few of each: for the golden pages."""
    sweep = model_sweep((1, 4, 16), (64, 256, 2048))
    odd = [empty_qemu_cell(1, "access"), empty_qemu_cell(1, "deny", "7.2.22")]
    return reproduction(*model_table(), *sweep, *qemu_rows(), *odd)
