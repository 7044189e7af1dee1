"""The commands ``bench``, ``show``, ``trend`` and ``publish``: arguments and exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from hbitmap_bench.base.output import STDOUT, check_output, json_option, put_json
from hbitmap_bench.base.places import Place
from hbitmap_bench.commits.gate import LOCAL

if TYPE_CHECKING:
    from hbitmap_bench.commits.gate.confirm import Sought

results_option = click.option(
    "--results", type=Place(file_okay=False),
    help="Folder of stored results. Default: asv.conf.json's.",
)  # fmt: skip
repo_option = click.option(
    "--repo", type=Place(exists=True, file_okay=False), default=".",
    show_default=True, help="The clone whose commits they are.",
)  # fmt: skip


@click.command()
@click.argument("commits", nargs=-1)
@click.option(
    "--profile", metavar="NAME", default="quick", show_default=True,
    help="Which cells, how often: quick or full, or what hbitmap-bench.toml has.",
)  # fmt: skip
@click.option(
    "--machine", metavar="NAME", default=LOCAL, show_default=True,
    envvar="HBITMAP_BENCH_MACHINE", show_envvar=True,
    help="What results of this machine are stored under.",
)  # fmt: skip
def bench(commits: tuple[str, ...], profile: str, machine: str) -> int:
    """Measure commits by asv, and store the results.

    COMMITS is a range, as git has it, or several commits by their names. One branch or hash alone
    is a range, too: all that is before it. A tag alone is that commit. Without, those are measured
    that are newer than the newest result of this machine; on a new machine, the newest alone.
    Commits of a range that do not change what hbitmap-bench.toml says is measured are left out:
    they would measure the same code again. Run it in the folder of asv.conf.json, or below it.

    A result is stored only if what was measured is the commit's, with a side record that says so.

    Each run is a session. It measures the newest commit of the history again, as its anchor: the
    same code takes more or less time on another day. The anchor's ratio chains the session's
    seconds to those before it. A session whose anchor can't be measured stands apart: no step shows
    between it and the one before. Counters need no chain.

    \b
    Examples:
      hbitmap-bench bench
      hbitmap-bench bench HEAD~20..HEAD
      hbitmap-bench bench v1.0 v1.1 v2.0
      hbitmap-bench bench --profile full HEAD^!
    """  # noqa: D301 - click wants the control character, not its name
    from hbitmap_bench.commits import bench as run

    failed = run.bench(Path.cwd(), profile=profile, machine=machine, commits=commits)
    return 2 if failed else 0


@click.command()
@results_option
@repo_option
def show(results: Path | None, repo: Path) -> None:
    """Show the stored history: the newest commit's verdict, growth, regressions, improvements.

    The same as the front page that publish makes, without its graphs. A cost of a noisy benchmark
    counts as changed when its level changed by 10% and stayed; one commit alone is unconfirmed.
    A counter counts with any difference. The largest changes come first; those of less than 1% are
    counted and not listed. Seconds of several sessions are chained by their anchors to those of the
    first one; each seam is told, with the step that it hides.

    \b
    Examples:
      hbitmap-bench show
      hbitmap-bench show --results /tmp/results
    """  # noqa: D301 - click wants the control character, not its name
    from hbitmap_bench.base.front_part import added_part
    from hbitmap_bench.commits.front import front_page
    from hbitmap_bench.commits.front_text import render_front
    from hbitmap_bench.commits.project import source_of
    from hbitmap_bench.commits.store import load_histories

    source = source_of(repo, results)
    part = added_part(source.root)
    for history in load_histories(source.results_dir, source.root, source.declared):
        render_front(front_page(history, part), Console())


@click.command()
@results_option
@repo_option
@json_option("Write all that was found as JSON here, too; - prints JSON instead of the tables.")
@click.option(
    "--bisect", is_flag=False, flag_value="regressions",
    type=click.Choice(["regressions", "improvements"]),
    help="Find the first commit of each of them by measuring the commits between: minutes each. "
    "Without a word, of regressions that stand.",
)  # fmt: skip
def trend(results: Path | None, repo: Path, json_path: Path | None, bisect: Sought | None) -> int:
    """Find the commits since which series of the stored history cost more.

    Looks at every series: exact counters, where any difference counts; seconds and peak memory,
    where a level must have changed by 10% and by more than noise, shown by two commits or more. For
    each regression it names the first bad commit that was measured, the last good one, and how many
    commits between them changed what is measured and were not measured.

    A regression stands while the newest commit costs more than the one before the regression. What
    was mended since is listed, and does not count. Where two sessions meet, a step must be larger
    than what the anchor between them hides.

    \b
    Examples:
      hbitmap-bench trend
      hbitmap-bench trend --bisect improvements
      hbitmap-bench trend --json - | jq '.histories[].regressions[] | select(.state == "stands")'

    \b
    Exit codes:
      0  every series was judged, and no regression stands at the newest commit
      1  a regression stands
      2  can't judge: only one commit was measured, or results were refused, or a
         series is missing at the newest commit, rose at that commit alone, has no
         anchor that links its newest commit to those before, or creeps up without
         a step
    With several histories (machines, environments): 1 before 2 before 0.
    """  # noqa: D301 - click wants the control character, not its name
    from hbitmap_bench.commits.project import source_of
    from hbitmap_bench.commits.trend import trends, worst
    from hbitmap_bench.commits.trend_json import to_json
    from hbitmap_bench.commits.trend_text import render_trend

    check_output(json_path)
    source = source_of(repo, results)
    found = trends(source.results_dir, source.root, source.declared)

    def tables() -> None:
        for one in found:
            render_trend(one, Console())

    put_json(json_path, lambda: to_json(found), tables)
    if bisect:
        from hbitmap_bench.commits.gate.confirm import confirm, tell

        done = confirm(repo, found, Console(stderr=True), bisect)
        tell(done, Console(stderr=json_path == STDOUT), bisect)
    return worst([one.exit_code for one in found])


@click.command()
@results_option
@repo_option
@click.option(
    "--html", "html_dir", type=Place(file_okay=False),
    help="Folder of the pages; replaced as a whole. Default: asv.conf.json's.",
)  # fmt: skip
def publish(results: Path | None, repo: Path, html_dir: Path | None) -> None:
    """Build the pages: the front page, one for each suite, and asv's own behind them.

    They load nothing from any other host. The front page and the suites' pages open from the file
    system; asv's own need a server, such as python -m http.server. What others wrote for them (d3,
    Observable Plot, and what asv's pages need) comes from npm the first time, pinned and checked,
    and is kept.

    \b
    Examples:
      hbitmap-bench publish
      hbitmap-bench publish --html /srv/www/hbitmap-bench
    """  # noqa: D301 - click wants the control character, not its name
    from hbitmap_bench.commits.pages.site import publish as build
    from hbitmap_bench.commits.project import find_project

    console = Console(soft_wrap=True, highlight=False)
    project = find_project(repo)
    html_dir = html_dir or _shown(project.html_dir)
    front = build(project, results or project.results_dir, html_dir, console)
    history, verdict = front.history, front.verdict
    for line in history.refused:
        console.print(f"Refused, not published: {line}", markup=False)
    console.print(
        f"{len(history.commits)} commits of {history.machine['machine']}; the newest, "
        f"{verdict.commit.hash[:10]}, is {verdict.word}.\nOpen {html_dir / 'index.html'}",
        markup=False,
    )


def _shown(path: Path) -> Path:
    """A path as seen from here, where it is below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
