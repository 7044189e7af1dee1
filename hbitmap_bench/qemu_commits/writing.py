"""Writes an asv project that measures the commits of a QEMU clone."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from hbitmap_bench.base import scratch
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.output import check_folder

CONFIGURATION: Final = "asv.conf.json"
DECLARED: Final = "hbitmap-bench.toml"
SUITES: Final = "benchmarks"

BYTES_A_BUILD: Final = 20 * 10**6
"""What the programs of a build take at most, without debug information."""

NEEDED: Final = ("configure", "util/hbitmap.c", "storage-daemon")
"""What a commit has that can be built and measured."""

TOML: Final = """\
# What is special to QEMU's commits. Every key: docs/project-file.md of hbitmap-bench.

[measured]
# A commit that changes none of these measures the same again. The gate takes no commit without the
# first one.
paths = [
    "storage-daemon", "util", "block", "block.c", "blockdev.c", "blockjob.c", "job.c", "job-qmp.c",
    "include", "nbd", "qapi", "qemu-img.c", "configure", "meson.build",
]
files = ["programs/*"]
submodules = false  # firmware, some gigabytes of it; configure brings what a build needs

[profiles.quick]
cells = [
    'track_cpu_s\\(.*, (0\\.5|1|2), .*, 4\\)', 'track_queries', 'track_words_exponent', '^kernels',
]

[counters]
noisy = ['_cpu_s$', 'track_peak_bytes$']

[parameters]
variant = "setup"
pairs = [["cbw_snap", "plain"]]
size = "image_tib"
suffixes = { image_tib = "T", image_gib = "G", cluster_kib = "K", slice_kib = "K" }

[[growth]]
of = "buildup.BuildUp.track_cpu_s"
quantity = "seconds"
size = "image_tib"
series = "setup"
by = ["cluster_kib", "slice_kib"]
at = "{cluster_kib}K clusters, slices of {slice_kib}K"
limits = { plain = 1.0, cbw_snap = 1.0 }

[[growth]]
of = "buildup.track_fragmented_cpu_s"
quantity = "seconds"
size = "image_gib"
series = "setup"
title = "Exponent of seconds, fragmented"
limits = { plain = 1.0, cbw_snap = 1.0 }

[[growth]]
of = "buildup.track_overwritten_cpu_s"
quantity = "seconds"
size = "image_gib"
series = "setup"
title = "Exponent of seconds, all overwritten"
limits = { cbw_snap = 1.0 }

[[growth]]
of = "buildup.track_pulled_cpu_s"
quantity = "seconds"
size = "image_gib"
series = "setup"
title = "Exponent of seconds, pulled over NBD"
limits = { plain = 1.0, cbw_snap = 1.0 }

[[growth]]
of = "buildup.track_half_denied_cpu_s"
quantity = "seconds"
size = "image_gib"
series = "setup"
title = "Exponent of seconds, half denied"
limits = { plain = 1.0, cbw_snap = 1.0 }

[[growth]]
of = "buildup.track_queries"
quantity = "queries"
size = "image_gib"
series = "setup"
limits = { plain = 1.0, cbw_snap = 1.0 }

# Where a build-up has regressed, the gate asks the head's daemon for its profile.
[[attached]]
of = "buildup.BuildUp.track_cpu_s"
title = "Profile of the daemon"
command = [
    "hbitmap-bench-sample", "profile", "--setup", "{setup}", "--size", "{image_tib}T",
    "--cluster-size", "{cluster_kib}K", "--l2-slice", "{slice_kib}K",
]

[[attached]]
of = "buildup.track_fragmented_cpu_s"
title = "Profile of the daemon"
command = [
    "hbitmap-bench-sample", "profile", "--setup", "{setup}", "--size", "{image_gib}G",
    "--fragmented",
]

[front]
title = "QEMU, commit after commit"

[suites.buildup]
title = "Build-up of a backup job"
about = "On the storage daemon of each commit: CPU seconds until the first byte is copied."

[suites.kernels]
title = "HBitmap"
about = "Instructions of a call of QEMU's own bitmap functions, counted by callgrind: exact."

[benchmarks."buildup.BuildUp.track_cpu_s"]
title = "CPU seconds of a build-up"

[benchmarks."buildup.track_fragmented_cpu_s"]
title = "CPU seconds of a build-up, fragmented"
about = "Runs of 64 clusters: an answer is for one run, so that there are eight times as many."

[benchmarks."buildup.track_overwritten_cpu_s"]
title = "CPU seconds of a build-up, all overwritten"
about = "The guest has overwritten the disk: each question searches the done bitmap."

[benchmarks."buildup.track_pulled_cpu_s"]
title = "CPU seconds of a pass of block status over NBD"
about = "By the commit's own qemu-img, with the longest requests that both ends know."

[benchmarks."buildup.track_half_denied_cpu_s"]
title = "CPU seconds of a pass of block status, half denied"
about = "Runs of 64 clusters are allowed and denied in turn; each request over NBD is for one run."

[benchmarks."buildup.track_queries"]
title = "Questions of a build-up"
about = "Counted by QEMU's own trace: exact. Each is answered from one slice of 512 clusters."

[benchmarks."buildup.track_peak_bytes"]
title = "The daemon's largest resident set"

[benchmarks."buildup.track_words_exponent"]
title = "Detected algorithm"
about = "How the words that the check examines grow with the size: 2 is access, 1 is deny."
"""


def write_project(
    repo: Path, out: Path, *, builds_bytes: int, jobs: int | None, limit_s: float
) -> None:
    """Write the configuration and the suites into the folder ``out``, which appears whole.

    ``builds_bytes`` is what kept builds may take. Raises ``UserError`` where ``repo`` is no clone
    of QEMU, or ``out`` is there, lies in it, or has a path that QEMU is not built in.
    """
    _check_clone(repo)
    _check_folder(out, repo)
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    conf = configuration(
        repo.absolute(), out.absolute(), builds_bytes=builds_bytes, jobs=jobs, limit_s=limit_s
    )
    with scratch.folder(out.absolute().parent) as folder:
        project = folder / "project"
        project.mkdir()
        (project / CONFIGURATION).write_text(json.dumps(conf, indent=4) + "\n")
        (project / DECLARED).write_text(TOML)
        with resources.as_file(resources.files("qemu_benchmarks")) as ours:
            left_out = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ours / "suites", project / SUITES, ignore=left_out)
            shutil.copytree(ours / "driver", project / "driver", ignore=left_out)
        project.rename(out)


def configuration(
    repo: Path, out: Path, *, builds_bytes: int, jobs: int | None, limit_s: float
) -> Mapping[str, object]:
    """asv's, which calls this Python to build and to install."""
    ours = [sys.executable, "-P", "-m"]
    build = [*ours, "hbitmap_bench.qemu_commits.build", "{build_dir}", "{build_cache_dir}"]
    build += ["--commit", "{commit}", "--failures", str(out / "failed-builds")]
    build += ["--driver", str(out / "driver"), "--limit", f"{limit_s:g}"]
    build += ["--jobs", str(jobs)] if jobs else []
    install = [*ours, "hbitmap_bench.qemu_commits.install", "{build_cache_dir}", "{env_dir}"]
    install += ["--images", str(out / "images")]
    return {
        "version": 1,
        "project": "qemu",
        "repo": str(repo),
        "branches": ["HEAD"],
        "benchmark_dir": SUITES,
        "env_dir": "env",
        "results_dir": "results",
        "html_dir": "html",
        "environment_type": "virtualenv",
        "build_command": [_joined(build)],
        "install_command": [_joined(install)],
        "uninstall_command": [],
        "install_timeout": 2 * limit_s + 60,
        "build_cache_size": max(2, builds_bytes // BYTES_A_BUILD),
        "matrix": {"req": {"pip+asv_runner": ["0.3.2"]}},
    }


def _joined(words: list[str]) -> str:
    """A command as asv reads it: words in braces are its own."""
    return " ".join(word if word.startswith("{") else shlex.quote(word) for word in words)


def _check_clone(repo: Path) -> None:
    command = ["git", "-C", str(repo), "ls-tree", "--name-only", "HEAD", *NEEDED]
    found = subprocess.run(command, capture_output=True, text=True)
    lacking = [name for name in NEEDED if name not in found.stdout.splitlines()]
    if lacking:
        raise UserError(
            f"--repo must be a clone of QEMU, and HEAD of {repo} has no {', '.join(lacking)}: "
            "name another"
        )


def _check_folder(out: Path, repo: Path) -> None:
    if os.path.exists(out):  # noqa: PTH110 - no error for a name that is too long
        raise UserError(
            f"a project is written into a folder of its own, and {out} is there: name another by "
            "--out"
        )
    check_folder(out)
    if out.resolve().is_relative_to(repo.resolve()):
        raise UserError(
            f"a project lies outside of the clone that it measures, and {out} is in {repo}: name "
            "a folder elsewhere by --out"
        )
    if re.search(r"[\s:]", str(out.absolute())):
        raise UserError(
            "QEMU is not built in a folder with blanks or colons in its path, and --out is "
            f"{str(out.absolute())!r}: name another"
        )


def next_steps(out: Path) -> str:
    """What to type next."""
    return (
        f"Written to {out}: {CONFIGURATION}, {DECLARED} and {SUITES}/, meant to be edited.\n"
        "Measuring builds each commit, which runs its code: two minutes on two cores. Next:\n"
        f"    cd {shlex.quote(str(out))}\n"
        "    hbitmap-bench bench TAG TAG...       # or a range as git has it\n"
        "    hbitmap-bench publish                # the graphs; or: hbitmap-bench show\n"
        "    hbitmap-bench gate --base TAG --head BRANCH"
    )
