"""``hbitmap-bench profile``: sample build-ups, print the shares, draw them, write them as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import gettempdir

from rich.console import Console

from hbitmap_bench.base.interrupt import stop_like_ctrl_c
from hbitmap_bench.base.output import check_output, put_json, write_atomic
from hbitmap_bench.base.sizes import format_size
from hbitmap_bench.field.profile.profile import Profile, profile_daemon, profile_model
from hbitmap_bench.field.profile.profile_report import picture, render, to_json
from hbitmap_bench.qemu.builds import QemuBuild, find_qemu_img
from hbitmap_bench.qemu.filters import SETUPS
from hbitmap_bench.qemu.geometry import Layout
from hbitmap_bench.qemu.images import check_images, ensure_images
from hbitmap_bench.reproduction.main import QemuPlan, image_folder


def profile(
    plan: QemuPlan | None, place: Layout, *, figure: Path | None, json_path: Path | None
) -> None:
    """Profile the plan's builds and both algorithms in process; nothing is written before that.

    Progress goes to stderr, the tables to stdout, or the JSON where its path is ``-``. Raises
    ``UserError``, where it can before measuring.
    """
    progress = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    for path in (figure, json_path):
        check_output(path)
    builds = _found_builds(plan, progress)
    with stop_like_ctrl_c():
        found = _of_builds(plan, builds, progress) if plan is not None and builds else []
        found += _in_process(place, progress)
    figures = [] if figure is None else [(figure, lambda path: write_atomic(path, picture(found)))]
    as_json, show = partial(to_json, found), partial(render, found, Console())
    put_json(json_path, as_json, show, figures, progress.print)


def _found_builds(plan: QemuPlan | None, progress: Console) -> list[QemuBuild]:
    """The builds to profile, with what could not be made for them refused before any work."""
    builds = plan.found_builds() if plan is not None else []
    if plan is not None and builds:
        folder = plan.image_dir or Path(gettempdir())
        check_images(folder, plan.images, find_qemu_img(builds[0].path), lambda _: None)
    elif plan is not None:
        progress.print("no qemu-storage-daemon on PATH: profiled in process only")
    return builds


def _of_builds(plan: QemuPlan, builds: Sequence[QemuBuild], progress: Console) -> list[Profile]:
    found = []
    with image_folder(plan.image_dir, progress) as folder:
        qemu_img = find_qemu_img(builds[0].path)
        (image,) = ensure_images(folder, plan.images, qemu_img, progress.print)
        for build in builds:
            progress.print(f"{build.name} ({build.path}): cbw + snap under perf")
            found.append(profile_daemon(build, image))
    return found


def _in_process(place: Layout, progress: Console) -> list[Profile]:
    found = []
    for setup in SETUPS[1:]:
        progress.print(f"in process, {setup} bitmap, {format_size(place.image_bytes)} under perf")
        found.append(profile_model(place, setup))
    return found
