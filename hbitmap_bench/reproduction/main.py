"""``reproduce`` and ``releases``: measure in process and on real builds, print, write."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import gettempdir

from rich.console import Console

from hbitmap_bench.base import scratch
from hbitmap_bench.base.again import command_line, repeated
from hbitmap_bench.base.consoles import PipedConsole, bar, progress_console
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import Output, check_folder, check_output, deliver
from hbitmap_bench.base.reading import MOST_WRITTEN_BYTES, read_text
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.qemu.builds import QemuBuild, find_daemon, find_qemu_img, parse_build
from hbitmap_bench.qemu.geometry import Layout, layout
from hbitmap_bench.qemu.images import check_images, ensure_images
from hbitmap_bench.reproduction.cells import TABLE_SIZES, default_layouts, unique
from hbitmap_bench.reproduction.growth import growth_records
from hbitmap_bench.reproduction.model import Beside, exact_rows, exact_seconds, sampled_rows
from hbitmap_bench.reproduction.published import published_cells
from hbitmap_bench.reproduction.records import CellRecord, Reproduction
from hbitmap_bench.reproduction.report import releases_page
from hbitmap_bench.reproduction.report.document import render_terminal, write_report
from hbitmap_bench.reproduction.rows import BUDGET_S, RUNS, measure_rows, plan_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlan:
    """What to measure in process; without sizes and clusters the default cells and sweeps."""

    sizes: Sequence[int] = ()
    cluster_sizes: Sequence[int] = ()
    copy_cluster_bytes: int = 65536
    l2_slice_bytes: int | None = None
    exact: bool = False
    seed: int = 1

    @property
    def layouts(self) -> list[Layout]:
        """The layouts to measure; ``UserError`` for one that QEMU would refuse."""
        if not self.sizes and not self.cluster_sizes:
            return default_layouts(
                l2_slice_bytes=self.l2_slice_bytes, copy_cluster_bytes=self.copy_cluster_bytes
            )
        return unique(
            layout(
                size,
                cluster,
                l2_slice_bytes=self.l2_slice_bytes,
                copy_cluster_bytes=self.copy_cluster_bytes,
            )
            for cluster in self.cluster_sizes or (65536,)
            for size in self.sizes or TABLE_SIZES
        )


def measure_model(
    plan: ModelPlan, console: Console, besides: Container[Layout] = ()
) -> list[CellRecord]:
    """The model's rows but for ``besides``, with a progress bar on ``console``."""
    layouts = [layout for layout in plan.layouts if layout not in besides]
    if plan.exact:
        _refuse_default_exact(plan, layouts)
    with bar(console, "in process, exact" if plan.exact else "in process, sampled") as advance:
        if plan.exact:
            return exact_rows(layouts, advance)
        return sampled_rows(layouts, seed=plan.seed, progress=advance)


def beside_qemu(model: ModelPlan, qemu: QemuPlan | None) -> Beside:
    """What of the model is sampled in turn with QEMU's runs; nothing if whole build-ups are run."""
    shared = set() if qemu is None or model.exact else set(qemu.layouts)
    return Beside((layout for layout in model.layouts if layout in shared), seed=model.seed)


def _refuse_default_exact(plan: ModelPlan, layouts: list[Layout]) -> None:
    if not plan.sizes and not plan.cluster_sizes:
        hours = exact_seconds(layouts) / 3600
        raise UserError(
            f"--exact runs whole build-ups: the default {len(layouts)} cells would take about "
            f"{hours:.0f} hours; name the sizes, as in --exact --size 10T"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuPlan:
    """What to measure on real builds; without builds the daemon on PATH, if there is one.

    ``l2_slice_bytes`` pins one slice for all rows; without it they have QEMU's default slice, and
    unless ``remedies`` is False that of a larger one beside it. ``whole_rounds``: see
    ``measure_rows``.
    """

    builds: Sequence[str] = ()
    sizes: Sequence[int] = ()
    cluster_sizes: Sequence[int] = ()
    l2_slice_bytes: int | None = None
    image_dir: Path | None = None
    n_runs: int = RUNS
    budget_s: float = BUDGET_S
    remedies: bool = True
    whole_rounds: bool = False

    def found_builds(self) -> list[QemuBuild]:
        """The builds to measure, none twice under one label; ``UserError`` for a bad one."""
        daemon = find_daemon()
        texts = self.builds or ([str(daemon)] if daemon else [])
        builds = [parse_build(text) for text in texts]
        labels = [build.label for build in builds]
        if len(set(labels)) < len(labels):
            raise UserError(
                f"each build needs a label of its own, not {', '.join(labels)}: "
                "name them, as in old=PATH and new=PATH"
            )
        for build in builds:
            largest = build.largest_bytes
            if largest is not None and all(size > largest for size in self.sizes):
                raise UserError(
                    f"{build.name} is measured up to {format_size(largest)}, and no "
                    "image is that small: give the build a larger @SIZE, or measure a smaller size"
                )
        return builds

    @property
    def images(self) -> list[tuple[int, int]]:
        """(image_bytes, cluster_bytes) of the images; ``UserError`` for one QEMU would refuse."""
        clusters = self.cluster_sizes or (65536,)
        pairs = [(size, cluster) for cluster in clusters for size in self.sizes]
        for size, cluster in pairs:
            layout(size, cluster, l2_slice_bytes=self.l2_slice_bytes)
        return pairs

    @property
    def layouts(self) -> list[Layout]:
        """The geometry of the images, with the slice that is pinned or QEMU's default."""
        return [layout(*image, l2_slice_bytes=self.l2_slice_bytes) for image in self.images]


def measure_qemu(
    plan: QemuPlan, builds: Sequence[QemuBuild], console: Console, beside: Beside
) -> list[CellRecord]:
    """The rows of these builds, with what is done and a progress bar on ``console``."""
    if not builds:
        console.print("no qemu-storage-daemon on PATH: measured in process only")
        return []
    with image_folder(plan.image_dir, console) as folder, bar(console, "real QEMU") as advance:
        images = ensure_images(folder, plan.images, find_qemu_img(builds[0].path), console.print)
        rows = plan_rows(builds, images, plan.l2_slice_bytes)
        return measure_rows(
            [row for row in rows if plan.remedies or row.l2_slice_bytes == plan.l2_slice_bytes],
            console.print,
            advance,
            n_runs=plan.n_runs,
            budget_s=plan.budget_s,
            before_run=beside.visit,
            whole_rounds=plan.whole_rounds,
        )


@contextmanager
def image_folder(kept: Path | None, console: Console) -> Iterator[Path]:
    """The folder to keep images in, or one that is removed again, whatever ends the block."""
    if kept is not None:
        yield kept
        return
    with scratch.folder() as folder:
        try:
            yield folder
        finally:
            console.print("removing the images")


def reproduce(
    model: ModelPlan,
    qemu: QemuPlan | None,
    *,
    out_dir: Path,
    json_path: Path | None,
    about_builds: Path | None = None,
) -> None:
    """Measure, write the report, and print its tables; nothing is written before all is measured.

    ``about_builds`` is a file of Markdown that the report has under "The builds".
    Progress goes to stderr, tables to stdout. Raises ``UserError``, where it can before measuring,
    and last where a build has failed.
    """
    progress = progress_console()
    output = PipedConsole()  # the report is written, whoever reads on
    about = _text(about_builds) if about_builds is not None else None
    builds = qemu.found_builds() if qemu is not None else []
    check_folder(out_dir)
    check_output(json_path)
    if qemu is not None and builds:
        _check_room(qemu, builds)
    beside = beside_qemu(model, qemu if builds else None)
    rows = measure_model(model, progress, beside)
    if qemu is not None:
        rows += measure_qemu(qemu, builds, progress, beside)
    rows += beside.rows()
    cells = (*published_cells(), *rows)
    command = _command(model, qemu, builds, has_about=about is not None)
    reproduction = Reproduction.of_this_run(cells, growth_records(cells), about, command)
    outputs: list[Output] = [(out_dir, partial(write_report, reproduction))]
    if json_path is not None:
        outputs.append((json_path, reproduction.save))
    show = partial(render_terminal, reproduction, output)
    deliver(outputs, show, reproduction.to_json, progress.print)
    _raise_failures(cells)


def _command(
    model: ModelPlan, qemu: QemuPlan | None, builds: Sequence[QemuBuild], *, has_about: bool
) -> str:
    """What was asked for, with PATH for each path, and nothing of where it was written."""
    slice_bytes = [] if model.l2_slice_bytes is None else [format_size(model.l2_slice_bytes)]
    words = [
        "reproduce",
        *repeated("--size", map(format_size, model.sizes)),
        *repeated("--cluster-size", map(format_size, model.cluster_sizes)),
        *("--copy-cluster-size", format_size(model.copy_cluster_bytes)),
        *repeated("--l2-slice", slice_bytes),
        *(["--exact"] if model.exact else []),
        *("--seed", str(model.seed)),
    ]
    if qemu is None:
        return command_line(*words, "--no-qemu")
    return command_line(
        *words,
        *repeated("--qemu", map(_build, builds)),
        *repeated("--qemu-size", map(format_size, qemu.sizes)),
        *("--runs", str(qemu.n_runs), "--budget", f"{qemu.budget_s:g}"),
        *(["--about-builds", "PATH"] if has_about else []),
    )


def _build(build: QemuBuild) -> str:
    """A build as the command line has it, without the path, which is of one machine."""
    limit = "" if build.largest_bytes is None else f"@{format_size(build.largest_bytes)}"
    return f"{build.label}=PATH{limit}"


def releases(plan: QemuPlan, out_dir: Path) -> None:
    """Measure builds side by side, write what changes from each one to the next, and print it.

    Raises ``UserError``, where it can before measuring, and last where a build has failed.
    """
    progress, output = progress_console(), PipedConsole()
    builds = plan.found_builds()
    if len(builds) < 2:
        raise UserError(
            f"releases are compared with each other, and {len(builds)} build is named: name two or "
            "more, the oldest first, as in 7.2=PATH 10.0=PATH"
        )
    check_folder(out_dir)
    _check_room(plan, builds)
    cells = measure_qemu(plan, builds, progress, Beside((), seed=1))
    command = command_line(
        "releases",
        *map(_build, builds),
        *repeated("--size", map(format_size, plan.sizes)),
        *("--rounds", str(plan.n_runs)),
    )
    found = Reproduction.of_this_run(cells, growth_records(cells), command=command)
    show = partial(releases_page.render_terminal, found, output)
    outputs: list[Output] = [(out_dir, partial(releases_page.write, found))]
    deliver(outputs, show, found.to_json, progress.print)
    _raise_failures(cells)


def _raise_failures(cells: Sequence[CellRecord]) -> None:
    """Raise ``UserError`` where a build has failed, once all that was measured is written."""
    if said := list(dict.fromkeys(cell.failed for cell in cells if cell.failed is not None)):
        raise UserError(
            f"every row is to be measured, and some could not be: {'; '.join(said)}; the report "
            "has the others"
        )


def _check_room(plan: QemuPlan, builds: Sequence[QemuBuild]) -> None:
    """Raise ``UserError`` where the images can't be made, before anything is measured."""
    folder = plan.image_dir or Path(gettempdir())
    check_images(folder, plan.images, find_qemu_img(builds[0].path), lambda _: None)


def _text(path: Path) -> str:
    try:
        return read_text(path, MOST_WRITTEN_BYTES)
    except (OSError, ValueError) as error:
        raise UserError(
            f"--about-builds needs a text file, not {path} ({error}): name another"
        ) from error
