"""The report, from synthetic records: whole pages against golden files, and what must not happen.

``PYTHONPATH=tests python tests/reproduction/test_report.py`` writes the golden files anew:
read their diff before committing it.
"""

import io
import re
import struct
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import synthetic_report as synthetic
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from hbitmap_bench.base import wording
from hbitmap_bench.base.drawing import Table, to_markdown, to_rich
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.reproduction import published
from hbitmap_bench.reproduction.growth import growth_records
from hbitmap_bench.reproduction.records import CellRecord, Reproduction
from hbitmap_bench.reproduction.report import findings, lines, naming, tables
from hbitmap_bench.reproduction.report.document import (
    render_markdown,
    render_terminal,
    write_report,
)
from hbitmap_bench.reproduction.report.figures import pictures, time_picture
from hbitmap_bench.reproduction.report.grid import default_slice_grid, pinned_slice_grid
from hbitmap_bench.reproduction.report.projection import (
    QueryCost,
    at_its_ends,
    pick_query_cost,
    projected_at,
    projected_s,
    size_reaching,
    slowdown,
)

GOLDEN = Path(__file__).parents[1] / "golden"
T = 2**40


def page(found: Reproduction) -> str:
    return render_markdown(found, pictures(found.cells, pick_query_cost(found.cells)))


def terminal(found: Reproduction, width: int = 80) -> str:
    stream = io.StringIO()
    render_terminal(found, Console(file=stream, width=width, color_system=None))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


GOLDEN_PAGES = {"reproduction.md": page, "terminal-80.txt": terminal}


@pytest.mark.parametrize("name", GOLDEN_PAGES)
def test_golden(name: str) -> None:
    assert GOLDEN_PAGES[name](synthetic.small()) == (GOLDEN / name).read_text(encoding="utf-8")


# ---------------------------------------------------------------- projection


def test_cost_a_query_is_that_of_the_largest_plain_row_with_the_small_slice() -> None:
    rows = [
        synthetic.qemu_cell(1, "plain"),
        synthetic.qemu_cell(4, "plain"),
        synthetic.qemu_cell(64, "plain", 65536),
        synthetic.qemu_cell(64, "access"),
        replace(synthetic.qemu_cell(64, "plain"), cluster_bytes=2**17),
        synthetic.empty_qemu_cell(64, "plain"),
        synthetic.disturbed(synthetic.qemu_cell(64, "plain")),
        synthetic.model_cell(64, 64, "plain"),
    ]
    cost = pick_query_cost([*published.published_cells(), *rows])
    assert cost.seconds == pytest.approx(synthetic.QEMU_QUERY_S + 512 * synthetic.QEMU_CLUSTER_S)
    assert "measured in this run on qemu 7.2.22: plain, 4T" in str(cost)


def test_cost_a_query_is_else_the_published_one() -> None:
    cost = pick_query_cost(synthetic.model_table())
    assert cost.seconds == published.QUERY_S
    assert str(cost).startswith("159 us a query (published")


def test_projection_of_the_published_rows_gives_the_published_ratio() -> None:
    cost = pick_query_cost(())
    plain, access, deny = published.published_cells()[:3]
    assert projected_s(plain, cost) == pytest.approx(52)
    assert projected_s(access, cost) == pytest.approx(325)
    assert slowdown(plain, cost) == pytest.approx(1)
    assert slowdown(access, cost) == pytest.approx(325 / 52)
    assert projected_s(replace(deny, extra_s=None), cost) is None
    assert slowdown(replace(deny, extra_s=None), cost) is None
    assert projected_s(replace(access, queries=None), cost) == pytest.approx(325)


def test_ends_of_a_row_are_its_interval_less_the_plain_seconds() -> None:
    row = replace(synthetic.model_cell(10, 64, "access"), cpu_s=388.0, extra_s=387.5)
    least, most = at_its_ends(replace(row, interval_s=(177.0, 599.0))) or ()
    assert (least.extra_s, most.extra_s) == (176.5, 598.5)
    least, most = at_its_ends(replace(row, interval_s=(0.0, 599.0))) or ()
    assert least.extra_s == 0, "a filter gives no time back"
    assert at_its_ends(replace(row, interval_s=None)) is None
    assert at_its_ends(replace(row, extra_s=None)) is None


def test_size_where_a_limit_is_passed() -> None:
    rows = [synthetic.model_cell(size, 64, "access") for size in synthetic.SIZES]
    cost = QueryCost(1e-9, "next to nothing: the quadratic part alone")
    scan_s = (rows[0].words_examined or 0) / synthetic.MODEL_RATE
    assert size_reaching(rows, cost, 100 * scan_s) == pytest.approx(10 * T, rel=0.001)
    assert projected_at(rows, cost, 10 * T) == pytest.approx(100 * scan_s, rel=0.001)
    assert size_reaching(rows, cost, 1e9) is None
    assert size_reaching(rows, cost, 1e-9) is None
    assert projected_at(rows, cost, 65 * T) is None


def test_the_published_table_carried_on() -> None:
    assert published.extrapolated_s(11 * T) == pytest.approx(413, rel=0.002)
    assert 3500 < published.extrapolated_s(34 * T) < 3600 < published.extrapolated_s(35 * T)


# ---------------------------------------------------------------- tables


def rows_of(found: tuple[CellRecord, ...]) -> dict[tuple[str, str, str], tuple[str, ...]]:
    shown = tables.side_by_side(found, pick_query_cost(found))
    return {(t.title.split()[0], row[0], row[1]): row[2:] for t in shown for row in t.rows}


def lasting(row: CellRecord, cpu_s: float) -> CellRecord:
    return replace(row, cpu_s=cpu_s, interval_s=(0.99 * cpu_s, 1.01 * cpu_s))


def test_builds_are_never_compared_with_each_other() -> None:
    slow = replace(synthetic.qemu_cell(1, "plain", build="slow"), cpu_s=99.0)
    other = synthetic.qemu_cell(2, "access", build="slow")
    cells = (slow, other, *synthetic.qemu_rows(), *synthetic.model_sweep())
    shown = rows_of(cells)
    alone = rows_of(tuple(synthetic.qemu_rows()))
    assert {key: shown[key] for key in alone} == alone
    lonely = shown["2T", "qemu slow (measured, n=3; detected: access)", naming.setup_name(other)]
    assert lonely[3:5] == ("-", "-"), "no plain row and no smaller size of its own build"


def test_published_growth_and_ratio() -> None:
    shown = rows_of(published.published_cells())
    access = shown["11T", "published", "cbw + snap (access bitmap)"]
    assert access == ("-", "-", "413", "7.25x", "+27%\n/ +10%\nfrom 10T", "356", "1.46")


def test_the_model_has_projected_ratios_only() -> None:
    for key, row in rows_of(synthetic.whole().cells).items():
        assert ("†" in row[3]) == key[1].startswith("model")


def test_growth_never_crosses_a_break_of_the_slice_rule() -> None:
    cells = tuple(synthetic.model_cell(size, 2048, "access") for size in (8, 16))
    assert [row[4] for row in rows_of(cells).values()] == ["-", "-"]


def test_rows_without_seconds_say_why() -> None:
    cells = (synthetic.empty_qemu_cell(1, "access"), synthetic.empty_qemu_cell(1, "plain"))
    patched = replace(synthetic.empty_qemu_cell(1, "deny"), detected="access")
    text = str(rows_of((*cells, patched)))
    assert "not measured, this build lacks copy-before-write" in text
    assert "not measured, this build lacks blockdev-backup" in text
    assert "not measured, this build has an access bitmap: the deny row waits" in text


def test_an_unknown_bitmap_is_not_called_access() -> None:
    cell = replace(synthetic.qemu_cell(1, "access"), detected="unknown")
    assert naming.setup_name(cell) == "cbw + snap (bitmap not recognised)"
    assert "detected: unknown" in naming.source_name(cell)
    larger = replace(synthetic.qemu_cell(2, "access"), detected="unknown")
    (growth,) = tables.growth_table(growth_records([cell, larger]), [cell, larger]).rows
    assert growth[1] == "cbw + snap (bitmap not recognised)"
    assert "neither bitmap was recognised" in str(findings.not_measured([cell]))


def test_a_build_may_have_any_name() -> None:
    hostile = "a|b <i>[bold]`x` *y* \n&"
    table = Table("title", ("source", "n"), ((hostile, "1"),))
    line = to_markdown(table).splitlines()[-1]
    assert len(re.split(r"(?<!\\)\|", line)) == 4
    assert "<i>" not in line
    assert "`" not in line.replace("\\`", "")
    stream = io.StringIO()
    Console(file=stream, width=80).print(to_rich(table))
    assert "a|b <i>[bold]`x` *y*" in stream.getvalue()


@pytest.mark.parametrize("name", ["we[b]ird", "a[/b]", r"\[red]x", ":smile:", "a$b$"])
def test_a_name_is_shown_as_it_is(name: str) -> None:
    rows = [synthetic.qemu_cell(size, "access", build=name) for size in (1, 2, 4)]
    found = synthetic.reproduction(*rows, published=False)
    assert f"qemu {name} (measured" in terminal(found, 160)
    assert f"qemu {name}, cbw + snap" in terminal(found, 160)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_a_terminal_may_lack_characters(encoding: str) -> None:
    rows = [synthetic.qemu_cell(1, "plain", build="größer-Ω"), *synthetic.small().cells]
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    render_terminal(
        synthetic.reproduction(*rows, published=False),
        Console(file=stream, width=160, color_system=None),
    )
    stream.flush()
    text = raw.getvalue().decode(encoding)
    assert "* projected: modelled" in text
    assert "** over the plain row" in text
    assert "# the slice is a whole cluster" in text
    assert r"-\u03a9" in text or "-Ω" in text


@pytest.mark.parametrize("width", [40, 60, 79])
def test_a_narrow_terminal_folds(width: int) -> None:
    text = terminal(synthetic.whole(), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_terminal_shows_all_of_it(width: int) -> None:
    text = terminal(synthetic.whole(), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    assert "l2-cache-entry-size=64K" in text


def test_numbers() -> None:
    assert wording.factors_above_1(1.003, 1.5) == "1.003..1.5x"
    assert wording.factors_above_1(1.04, 1.09) == "1.04..1.09x"
    assert wording.factors_above_1(1.0999, 12.2) == "1.1..12x"
    assert wording.factors_above_1(1.00002, 1.00002) == "1.00002..1.00002x"
    assert [wording.number(value) for value in (1234.5, 325, 99.96, 52.04, 9.996, 1, 0.5)] == [
        "1,234", "325", "100", "52.0", "10.0", "1.00", "0.500",
    ]  # fmt: skip
    assert [wording.number(value) for value in (0.01234, 0.0001, -0.0001, 0)] == [
        "0.0123", "<0.001", ">-0.001", "0.00",
    ]  # fmt: skip
    assert [wording.duration(value) for value in (2.5, 158, 3600)] == ["2.50 s", "2.6 min", "1.0 h"]


# ---------------------------------------------------------------- findings


def test_headline_tells_both_growths_and_where_the_cost_is_from() -> None:
    text = "\n".join(findings.headline(synthetic.model_table(), pick_query_cost(())))
    assert "the access bitmap costs +" in text
    assert "With 159 us a query (published" in text
    whole = synthetic.whole().cells
    text = "\n".join(findings.headline(whole, pick_query_cost(whole)))
    assert "+10% size results in +20% time; its own table gives +27% (413 s / 325 s)" in text
    assert "measured in this run on qemu 7.2.22" in text


def wide(rows: list[CellRecord]) -> list[CellRecord]:
    """The same rows with intervals from a tenth of their seconds to twice them."""
    return [replace(row, interval_s=(0.1 * (row.cpu_s or 0), 2 * (row.cpu_s or 0))) for row in rows]


def test_headline_and_hour_carry_the_interval() -> None:
    cost = pick_query_cost(())
    (headline,) = findings.headline(wide(synthetic.model_table()), cost)
    assert "build-up 4.4 min (between 1.3 min and 7.9 min) instead of 57.2 s" in headline
    assert re.search(r"4\.6\dx \(between 1\.3\dx and 8\.2\dx\)", headline)
    assert "95% prediction interval" in headline
    hour = findings.the_hour(wide(synthetic.model_sweep(clusters=(64,))), cost)[-1]
    assert re.search(r"an hour at \d\d\.\dT \(between \d\d\.\dT and not up to 64T\)", hour)
    assert re.search(r"30 TB takes [\d.]+ min \(between [\d.]+ min and [\d.]+ \w+\)", hour)


def test_extra_that_noise_may_have_made_is_marked() -> None:
    cost = pick_query_cost(())
    cells = wide(synthetic.model_sweep((1, 2), (64, 128)))
    assert len(default_slice_grid(cells).unresolved) == 0
    unsure = [replace(c, interval_s=(0.0, 99.0)) if c.image_bytes == T else c for c in cells]
    grid = default_slice_grid(unsure)
    assert grid.unresolved == {(T, 2**16), (T, 2**17)}
    table = tables.sweep_table(grid, cost)
    for row in table.rows:
        assert row[1].splitlines()[0].endswith("x ~")
        assert row[1].splitlines()[1].startswith("1.0..")
        assert "~" not in row[2]
    assert "~ the extra seconds are not resolved" in "\n".join(table.notes)
    faster = [replace(c, extra_s=-1e-5) if c.setup == "deny" else c for c in cells[:3]]
    (shown,) = tables.side_by_side(faster, cost)
    assert [row[7] for row in shown.rows] == ["-", "1.72", "not\nresolved"]


def test_growth_tells_words_from_the_time_they_take() -> None:
    rows = [synthetic.model_cell(size, 64, "access") for size in (1, 4, 16)]
    (even,) = findings.headline(rows, pick_query_cost(()))[-1:]
    assert "the words examined with exponent 2.00" in even
    assert "the rest is" not in even
    slow = [
        replace(
            lasting(row, (row.image_bytes / T) ** 2.5),
            scan_rate_words_s=2e9 / (row.image_bytes / T) ** 0.5,
        )
        for row in rows
    ]
    line = findings.headline(slow, pick_query_cost(()))[-1]
    assert "seconds grow with exponent 2.50" in line
    assert "which rises from 0.50 to 2.00 ns as the bitmap grows from 2 MiB to 32 MiB" in line
    assert "does not prove it" in line


def test_the_hour_is_reported_extrapolated_and_modelled() -> None:
    cells = synthetic.whole().cells
    reported, carried_on, modelled = findings.the_hour(cells, pick_query_cost(cells))
    assert "30 TB (27.3T)" in reported
    assert "the hour at 34.1T" in carried_on
    assert "an hour at 45." in modelled
    no_series = findings.the_hour(synthetic.model_table()[:3], pick_query_cost(()))
    assert "no series" in no_series[-1]
    short = findings.the_hour(synthetic.model_table(), pick_query_cost(()))
    assert "a minute below 10T, ten minutes not up to 11T" in short[-1]


def test_scan_rates_tell_whether_time_a_word_is_constant() -> None:
    rows = [synthetic.model_cell(size, 64, "access") for size in (10, 11)]
    slower = replace(rows[1], scan_rate_words_s=synthetic.MODEL_RATE / 1.25)
    first, second = findings.scan_rates([rows[0], slower])
    assert "2.00 to 2.50 G words/s from 10T to 11T" in first
    assert "differs by 25% at most" in first
    assert second == "From 10T to 11T words grow by +21%, extra seconds by: model (sampled) +21%."


def test_what_is_not_measured() -> None:
    (no_qemu,) = findings.not_measured(synthetic.model_table())
    assert "qemu-system-common" in no_qemu
    assert "waits for a patched build" in findings.not_measured(synthetic.qemu_rows())[0]
    patched = [synthetic.qemu_cell(1, "deny", build="patched")]
    assert findings.not_measured(patched) == []


def test_disturbed_rows_are_counted() -> None:
    plain, access = (synthetic.model_cell(10, 64, setup) for setup in ("plain", "access"))
    one = findings.not_measured([plain, synthetic.disturbed(access)])[0]
    assert one.startswith("1 row was disturbed by this host (model (sampled)): it is marked")
    two = findings.not_measured([synthetic.disturbed(plain), synthetic.disturbed(access)])[0]
    assert two.startswith("2 rows were disturbed")


# ---------------------------------------------------------------- grids and figures


def test_grids_hold_the_sweep_and_not_the_table() -> None:
    cells = synthetic.whole().cells
    default, pinned = default_slice_grid(cells), pinned_slice_grid(cells)
    assert default.sizes == pinned.sizes == tuple(size * T for size in synthetic.SIZES)
    assert default.cells[T, 2**21].l2_slice_bytes == 2**21
    assert pinned.cells[T, 2**21].l2_slice_bytes == 4096
    assert len(default.cells) == len(pinned.cells) == 42
    assert not default_slice_grid(synthetic.model_table())


def test_figures_are_drawn_and_equal_data_gives_equal_files() -> None:
    found = synthetic.small()
    cost = pick_query_cost(found.cells)
    first, again = pictures(found.cells, cost), pictures(found.cells, cost)
    assert [picture.name for picture in first] == [
        "six-cells", "time", "slice-break", "slowdown", "deny", "words", "model-against-qemu",
    ]  # fmt: skip
    for picture in first:
        assert picture.png is not None
        assert picture.png.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", picture.png[16:24])
        assert 800 < width < 1800
        assert 400 < height < 1000
    assert first == again


@pytest.mark.parametrize(
    "rows", [[], [synthetic.model_cell(1, 64, "access")], synthetic.qemu_rows()[:1]]
)
def test_no_data_no_figure_and_a_reason(rows: list[CellRecord]) -> None:
    found = synthetic.reproduction(*rows, published=False)
    text = page(found)
    assert "![" not in text
    assert text.count("*No figure here: ") == 7
    assert terminal(found)


def test_projected_figures_say_which_cost_they_use() -> None:
    cost = QueryCost(1e-4, "measured somewhere")
    drawn = {picture.name: picture for picture in pictures(synthetic.small().cells, cost)}
    for name in ("six-cells", "slowdown", "deny"):
        assert "with 100 us a query (measured somewhere)" in drawn[name].caption.lower()


def test_captions_tell_of_no_projection_where_no_row_of_the_model_is_drawn() -> None:
    spoilt = [
        replace(row, disturbed="cold", extra_s=None) if row.source == "model" else row
        for row in synthetic.small().cells
    ]
    drawn = {picture.name: picture for picture in pictures(spoilt, pick_query_cost(spoilt))}
    captions = {name: drawn[name].caption for name in ("six-cells", "time", "deny")}
    assert all(captions.values()), "published rows are drawn"
    for caption in captions.values():
        assert "project" not in caption
        assert "model" not in caption.partition(" Disturbed, and not drawn")[0]


def test_the_report_prints_the_command_that_made_it() -> None:
    command = "hbitmap-bench reproduce --seed 7 --no-qemu"
    known = replace(synthetic.small(), command=command)
    assert f"This report, with PATH for each path:\n\n    {command}\n" in page(known)
    assert "This report, with" not in page(synthetic.small())


def test_bars_that_reach_0_are_cut_and_the_caption_says_so() -> None:
    rows = synthetic.model_sweep((1, 2, 4), (64,))
    assert "arrowhead" not in time_picture(rows).caption
    rows[1] = replace(rows[1], interval_s=(0.0, 99.0))
    assert "arrowhead" in time_picture(rows).caption


def test_setups_of_one_source_do_not_look_alike() -> None:
    axes = Figure().subplots()
    for setup, slice_bytes in product(("plain", "access"), (4096, 65536)):
        lines.line(axes, [synthetic.qemu_cell(1, setup, slice_bytes)], [1.0], "", "black")
    looks = [drawn.get_marker() for drawn in axes.get_lines()]
    assert looks == ["s", "D", "s", "D"]


def test_titles_state_what_the_data_say(monkeypatch: pytest.MonkeyPatch) -> None:
    titles = []
    monkeypatch.setattr(Axes, "set_title", lambda _, text, **__: titles.append(text))
    cubic = [
        lasting(row, (row.image_bytes / T) ** 3) if row.setup == "access" else row
        for row in synthetic.model_sweep((1, 2, 4), (64,))
    ]
    pictures(cubic, pick_query_cost(()))
    assert "plain 1.00, access 3.00, deny 1.00" in titles[0]


# ---------------------------------------------------------------- files


def test_write_report(tmp_path: Path) -> None:
    out = tmp_path / "new" / "reports"
    found = synthetic.small()
    page_path, data_path, *figures = write_report(found, out)
    text = page_path.read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([^)]+)\)", text))
    assert linked == {data_path.name, *(figure.name for figure in figures)}
    assert {path.name for path in out.iterdir()} == {page_path.name, *linked}
    assert page(Reproduction.load(data_path)) == text, "the page comes from the data alone"


def test_a_figure_without_data_does_not_stay_behind(tmp_path: Path) -> None:
    write_report(synthetic.small(), tmp_path)
    write_report(synthetic.reproduction(published=False), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"reproduction.md", "reproduction.json"}


def test_write_report_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="needs a folder"):
        write_report(synthetic.reproduction(), tmp_path / "file")


def write_golden() -> None:
    for name, render in GOLDEN_PAGES.items():
        (GOLDEN / name).write_text(render(synthetic.small()), encoding="utf-8")


if __name__ == "__main__":
    write_golden()


def test_words_are_drawn_of_disturbed_rows_too() -> None:
    cells = [synthetic.disturbed(row) for row in synthetic.small().cells if row.source == "model"]
    drawn = {picture.name: picture for picture in pictures(cells, pick_query_cost(cells))}
    assert drawn["words"].png is not None
    assert drawn["time"].png is None
