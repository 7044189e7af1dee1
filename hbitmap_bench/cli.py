"""The command ``hbitmap-bench``: arguments and exit codes, nothing else."""

from __future__ import annotations

import io
import math
import sys
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from hbitmap_bench import __version__
from hbitmap_bench.errors import UserError
from hbitmap_bench.field_commands import diagnose, predict, profile
from hbitmap_bench.gate import LOCAL
from hbitmap_bench.gate.commands import calibrate, gate, judge
from hbitmap_bench.program import run_to_exit
from hbitmap_bench.sizes import parse_size


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hbitmap-bench")
def cli() -> None:
    """Measure why a QEMU backup of a large disk stands still before its first byte.

    The copy-before-write filter asks an access bitmap, on every block-status call, whether all the
    rest of the disk may be read; that is quadratic in the size of the disk. A deny bitmap answers
    in a few words. Both are measured here, in process and on real QEMU builds.
    """


@cli.command()
@click.option(
    "--size", "sizes", multiple=True, type=parse_size, metavar="SIZE",
    help="Image size, such as 10T; repeatable. Replaces the default cells and the sweep.",
)  # fmt: skip
@click.option(
    "--cluster-size", "cluster_sizes", multiple=True, type=parse_size, metavar="SIZE",
    help="The image's cluster size, such as 64K; repeatable. Replaces the sweep.",
)  # fmt: skip
@click.option(
    "--copy-cluster-size", type=parse_size, metavar="SIZE",
    default="64K", show_default=True,
    help="What one bit of the bitmaps stands for, in process. On real builds: 64K.",
)  # fmt: skip
@click.option(
    "--l2-slice", type=parse_size, metavar="SIZE",
    help="L2 slice (l2-cache-entry-size). Default: QEMU's rule, 4K for all large images.",
)  # fmt: skip
@click.option(
    "--exact", is_flag=True,
    help="Run whole build-ups in process instead of sampling. Needs --size; 10T takes minutes.",
)  # fmt: skip
@click.option(
    "--qemu", "qemu_builds", multiple=True, metavar="[LABEL=]PATH[@SIZE]",
    help="A qemu-storage-daemon to measure, with @4T on images of up to 4T; repeatable. Default: "
    "the one on PATH.",
)  # fmt: skip
@click.option("--no-qemu", is_flag=True, help="Measure in process only.")
@click.option(
    "--qemu-size", "qemu_sizes", multiple=True, type=parse_size, metavar="SIZE",
    default=("1T", "2T", "4T"), show_default=True,
    help="Image size for the real builds; repeatable, whatever --size is. 160 MB of disk a TiB.",
)  # fmt: skip
@click.option(
    "--runs", "n_runs", type=click.IntRange(1, 100), default=3, show_default=True,
    help="Undisturbed runs of each row on real builds. A row that takes under a minute runs 3 "
    "times, or --runs if that is less, whatever the budget.",
)  # fmt: skip
@click.option(
    "--budget", "budget_s", type=click.FloatRange(0), default=180.0, show_default=True,
    metavar="SECONDS",
    help="Seconds of build-ups on real builds, after which slow rows and disturbed ones are not "
    "repeated. What is left out is said.",
)  # fmt: skip
@click.option(
    "--about-builds", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Markdown to put into the report under \"The builds\": how they were made, what was "
    "changed in them.",
)  # fmt: skip
@click.option(
    "--image-dir", type=click.Path(file_okay=False, path_type=Path),
    help="Keep the images for the real builds here, and use them again. "
    "Default: a temporary folder.",
)  # fmt: skip
@click.option(
    "--out", "out_dir", type=click.Path(file_okay=False, path_type=Path),
    default="hbitmap-bench-report", show_default=True,
    help="Folder of the report: reproduction.md, .json, figures.",
)  # fmt: skip
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path),
    help="Write the JSON here too.",
)  # fmt: skip
@click.option("--seed", default=1, show_default=True, help="Which queries are sampled.")
def reproduce(
    sizes: tuple[int, ...],
    cluster_sizes: tuple[int, ...],
    copy_cluster_size: int,
    l2_slice: int | None,
    exact: bool,
    qemu_builds: tuple[str, ...],
    no_qemu: bool,
    qemu_sizes: tuple[int, ...],
    n_runs: int,
    budget_s: float,
    about_builds: Path | None,
    image_dir: Path | None,
    out_dir: Path,
    json_path: Path | None,
    seed: int,
) -> None:
    """Reproduce the published table: 10T took 52 s without and 325 s with the access bitmap.

    Measures both algorithms in process, sampled, at 10T and 11T and over a sweep from 1T to 64T;
    then real QEMU builds, where there are any. Prints the tables and writes the report.

    \b
    Examples:
      hbitmap-bench reproduce
      hbitmap-bench reproduce --out reports    # in a clone: replace the committed report
      hbitmap-bench reproduce --exact --no-qemu --size 10T --size 11T
      hbitmap-bench reproduce --qemu stock=PATH --qemu patched=PATH --qemu-size 10T
          --qemu-size 11T --budget 1500
    """  # noqa: D301 - click wants the control character, not its name
    from hbitmap_bench import reproduce as run  # NumPy, SciPy, Matplotlib: not for --help

    if no_qemu and qemu_builds:
        raise UserError("--no-qemu measures no build, --qemu names one: give one of the two")
    if math.isnan(budget_s):  # a range of floats lets it pass
        raise UserError("--budget is a number of seconds, not nan: try 600")
    model = run.ModelPlan(
        sizes=sizes,
        cluster_sizes=cluster_sizes,
        copy_cluster_bytes=copy_cluster_size,
        l2_slice_bytes=l2_slice,
        exact=exact,
        seed=seed,
    )
    qemu = None
    if not no_qemu:
        qemu = run.QemuPlan(
            builds=qemu_builds,
            sizes=qemu_sizes,
            cluster_sizes=cluster_sizes,
            l2_slice_bytes=l2_slice,
            image_dir=image_dir,
            n_runs=n_runs,
            budget_s=budget_s,
        )
    run.reproduce(model, qemu, out_dir=out_dir, json_path=json_path, about_builds=about_builds)


@cli.command()
@click.argument("commits", required=False)
@click.option(
    "--profile", type=click.Choice(["quick", "full"]), default="quick", show_default=True,
    help="Which cells, how often: a minute and a half a commit, or half an hour.",
)  # fmt: skip
@click.option(
    "--machine", metavar="NAME", default=LOCAL, show_default=True,
    envvar="HBITMAP_BENCH_MACHINE", show_envvar=True,
    help="What results of this machine are stored under.",
)  # fmt: skip
def bench(commits: str | None, profile: str, machine: str) -> int:
    """Measure commits of hbitmap_impl by asv, and store the results.

    COMMITS is a range, as git has it. Without one, those are measured that are newer than the
    newest result of this machine; on a new machine, the newest alone. Commits that do not change
    hbitmap_impl are left out: they would measure the same code again. Run it in a clone.

    Every measuring process tells which files it imported. A result is stored only if they are the
    commit's, with a side record that says so.

    \b
    Examples:
      hbitmap-bench bench
      hbitmap-bench bench HEAD~20..HEAD
      hbitmap-bench bench --profile full HEAD^!
    """  # noqa: D301 - click wants the control character, not its name
    from hbitmap_bench.history import run

    failed = run.bench(Path.cwd(), profile=profile, machine=machine, commits=commits)
    return 2 if failed else 0


@cli.command()
@click.option(
    "--results", type=click.Path(file_okay=False, path_type=Path), default="results",
    show_default=True, help="Folder of stored results.",
)  # fmt: skip
@click.option(
    "--repo", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".",
    show_default=True, help="The clone whose commits they are.",
)  # fmt: skip
def show(results: Path, repo: Path) -> None:
    """Show the stored history: the newest commit's verdict, growth, regressions, improvements.

    The same as the front page that publish makes, without its graphs. A cost of a noisy benchmark
    counts as changed when its level changed by 10% and stayed; one commit alone is unconfirmed.
    A counter counts with any difference. The largest changes come first; those of less than 1% are
    counted and not listed.

    \b
    Examples:
      hbitmap-bench show
      hbitmap-bench show --results /tmp/results
    """  # noqa: D301 - click wants the control character, not its name
    from hbitmap_bench.front_part import added_part
    from hbitmap_bench.history.front import front_page
    from hbitmap_bench.history.store import load_histories
    from hbitmap_bench.report.front import render_front

    part = added_part(repo)
    for history in load_histories(results, repo):
        render_front(front_page(history, part), Console())


@cli.command()
@click.option(
    "--results", type=click.Path(file_okay=False, path_type=Path), default="results",
    show_default=True, help="Folder of stored results.",
)  # fmt: skip
@click.option(
    "--repo", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".",
    show_default=True, help="The clone whose commits they are.",
)  # fmt: skip
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write all that was found as JSON here, too; - prints JSON instead of the tables.",
)  # fmt: skip
@click.option(
    "--bisect", is_flag=True,
    help="Confirm each regression that stands by measuring, and the commits between: minutes each.",
)  # fmt: skip
def trend(results: Path, repo: Path, json_path: Path | None, bisect: bool) -> int:
    """Find the commits since which series of the stored history cost more.

    Looks at every series: exact counters, where any difference counts; seconds and peak memory,
    where a level must have changed by 10% and by more than noise, shown by two commits or more. For
    each regression it names the first bad commit that was measured, the last good one, and how many
    commits between them changed what is measured and were not measured.

    A regression stands while the newest commit costs more than the one before the regression. What
    was mended since is listed, and does not count.

    \b
    Examples:
      hbitmap-bench trend
      hbitmap-bench trend --json - | jq '.histories[].regressions[] | select(.state == "stands")'

    \b
    Exit codes:
      0  every series was judged, and no regression stands at the newest commit
      1  a regression stands
      2  can't judge: one commit measured, results refused, series missing at the
         newest commit, above their level there alone, or creeping without a step
    With several histories (machines, environments): 1 before 2 before 0.
    """  # noqa: D301 - click wants the control character, not its name
    from hbitmap_bench.history.trend import trends, worst
    from hbitmap_bench.json_output import put_json
    from hbitmap_bench.output import STDOUT, check_output
    from hbitmap_bench.report.trend import render_trend
    from hbitmap_bench.report.trend_json import to_json

    check_output(json_path)
    found = trends(results, repo)

    def tables() -> None:
        for one in found:
            render_trend(one, Console())

    put_json(json_path, lambda: to_json(found), tables)
    if bisect:
        from hbitmap_bench.gate.confirm import confirm, tell

        tell(confirm(repo, found, Console(stderr=True)), Console(stderr=json_path == STDOUT))
    return worst([one.exit_code for one in found])


@cli.command()
@click.option(
    "--results", type=click.Path(file_okay=False, path_type=Path), default="results",
    show_default=True, help="Folder of stored results.",
)  # fmt: skip
@click.option(
    "--repo", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".",
    show_default=True, help="The clone whose commits they are.",
)  # fmt: skip
@click.option(
    "--html", "html_dir", type=click.Path(file_okay=False, path_type=Path),
    default="reports/html", show_default=True, help="Folder of the pages; replaced as a whole.",
)  # fmt: skip
def publish(results: Path, repo: Path, html_dir: Path) -> None:
    """Build the pages: the front page, one for each suite, and asv's own behind them.

    They load nothing from any other host, and open from the file system. What others wrote for
    them (d3, Observable Plot, and what asv's pages need) comes from npm the first time, pinned and
    checked, and is kept in .asv/parts.

    \b
    Examples:
      hbitmap-bench publish
      hbitmap-bench publish --html /srv/www/hbitmap-bench
    """  # noqa: D301 - click wants the control character, not its name
    from hbitmap_bench.html.site import publish as build

    console = Console(soft_wrap=True, highlight=False)
    front = build(repo, results, html_dir, console)
    history, verdict = front.history, front.verdict
    for line in history.refused:
        console.print(f"Refused, not published: {line}", markup=False)
    console.print(
        f"{len(history.commits)} commits of {history.machine['machine']}; the newest, "
        f"{verdict.commit.hash[:10]}, is {verdict.word}.\nOpen {html_dir / 'index.html'}",
        markup=False,
    )


@cli.command()
@click.argument("a", type=click.Path(path_type=Path), metavar="A.json")
@click.argument("b", type=click.Path(path_type=Path), metavar="B.json")
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write all pairs as JSON here, too; - prints JSON instead of the tables.",
)  # fmt: skip
def compare(a: Path, b: Path, json_path: Path | None) -> None:
    """Lay two reproductions side by side: of two hosts, or of two QEMU builds.

    A.json and B.json are what reproduce writes. Rows pair by source, setup, image, clusters and L2
    slice; builds of one name pair with each other, others with all that have no namesake. An
    unpatched build in A against a patched one in B shows what the patches gain.

    Extra seconds, scan rates and growth exponents compare between hosts. Raw seconds do not: they
    are shown only where both hosts look alike. Where ranges overlap no difference is claimed.

    \b
    Examples:
      hbitmap-bench compare here/reproduction.json there/reproduction.json
      hbitmap-bench compare old.json new.json --json - | jq '.pairs[].extra_s.finding'

    \b
    Exit codes: 0 compared, whatever was found; 2 not one row of the two can be compared.
    """  # noqa: D301 - click wants the control character, not its name
    from hbitmap_bench.compare import compare_files
    from hbitmap_bench.json_output import put_json
    from hbitmap_bench.output import check_output
    from hbitmap_bench.report.comparison import render_comparison
    from hbitmap_bench.report.comparison_json import to_json

    check_output(json_path)
    comparison = compare_files(a, b)
    if json_path is not None and json_path.resolve() in (a.resolve(), b.resolve()):
        raise UserError(f"the JSON goes to a file of its own, not over {json_path}: name one")
    tables = partial(render_comparison, comparison, Console())
    put_json(json_path, lambda: to_json(comparison), tables)


for _command in (predict, profile, diagnose, gate, judge, calibrate):
    cli.add_command(_command)


def main() -> None:
    """Run the command; every error that a user can mend is one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a mark that an old terminal lacks is no error
    run_to_exit(cli)
