"""The report's first table: the six cells, how they differ from the published ones, the model's."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import synthetic_report as synthetic
from rich.console import Console

from hbitmap_bench.base.drawing import to_markdown
from hbitmap_bench.reproduction.published import published_cells
from hbitmap_bench.reproduction.records import CellRecord, Reproduction
from hbitmap_bench.reproduction.report.differences import differences
from hbitmap_bench.reproduction.report.document import render_markdown, render_terminal
from hbitmap_bench.reproduction.report.figures import pictures
from hbitmap_bench.reproduction.report.model_against_qemu import (
    match_lines,
    match_picture,
    match_table,
    matches,
)
from hbitmap_bench.reproduction.report.projection import QueryCost, pick_query_cost
from hbitmap_bench.reproduction.report.six_cells import Line, six_cells, six_cells_table
from hbitmap_bench.reproduction.report.six_cells_figure import six_cells_picture
from hbitmap_bench.reproduction.report.span import Span, growth, ratio_to_plain

T = 2**40


def all_sources() -> list[CellRecord]:
    return [*published_cells(), *synthetic.two_builds(), *synthetic.model_table()]


def lines_of(cells: list[CellRecord]) -> list[Line]:
    return six_cells(cells, pick_query_cost(cells))


def text_of(cells: list[CellRecord]) -> dict[tuple[str, str], tuple[str, ...]]:
    return {(row[0], row[1]): row[2:] for row in six_cells_table(lines_of(cells)).rows}


def test_published_rows_come_first_then_real_builds_then_the_model() -> None:
    shown = list(text_of(all_sources()))
    assert [source for source, _ in shown] == [
        *["published"] * 3,
        *["qemu stock, measured"] * 3,
        *["qemu patched, measured"] * 2,
        *["model (sampled), projected"] * 3,
    ]
    assert shown[5][1] == "cbw + snap, l2-cache-entry-size=64K"


def test_the_published_six_are_as_they_were_printed() -> None:
    shown = text_of(list(published_cells()))
    assert [row for _, row in shown.items()] == [
        ("-", "52", "1.00x", "-", "57", "1.00x", "+10%"),
        ("-", "325", "6.25x", "-", "413", "7.25x", "+27%"),
        ("-", "55", "1.06x", "-", "61", "1.07x", "+11%"),
    ]


def test_ratio_and_growth_have_the_ranges_of_their_rows() -> None:
    """A row is 0.95 to 1.06 of its median, so that a quotient is 0.896 to 1.116 of its value."""
    (access,) = (line for line in lines_of(all_sources()) if is_real(line, "access", 4096))
    ratio = access.ratios[10 * T]
    assert ratio.ends == pytest.approx((ratio.value * 0.95 / 1.06, ratio.value * 1.06 / 0.95))
    assert access.growth is not None
    growth = 1 + access.growth.value
    assert access.growth.ends == pytest.approx((growth * 0.95 / 1.06 - 1, growth * 1.06 / 0.95 - 1))


def test_a_quotient_has_the_range_of_both() -> None:
    assert Span(121, (115, 127)).over(Span(100, (95, 105))).ends == (115 / 105, 127 / 95)
    assert Span(121, None).over(Span(100, (95, 105))) == (1.21, None)
    assert Span(121, (115, 127)).over(Span(100, (0, 105))).ends is None, "it has no upper end"
    assert growth(None, Span(1, None)) is None


def test_the_larger_slice_is_told_over_the_plain_row_without_it() -> None:
    cells = all_sources()
    (remedy,) = (line for line in lines_of(cells) if is_real(line, "access", 65536))
    plain = synthetic.qemu_cell(10, "plain", build="stock")
    assert plain.cpu_s is not None
    assert remedy.ratios[10 * T].value == pytest.approx(remedy.rows[10 * T].cpu_s / plain.cpu_s)


def is_real(line: Line, setup: str, slice_bytes: int) -> bool:
    cell = line.cell
    return (cell.source, cell.setup, cell.l2_slice_bytes) == ("qemu", setup, slice_bytes)


def test_nothing_is_made_of_a_disturbed_row() -> None:
    cells = [
        synthetic.disturbed(row) if (row.source, row.setup) == ("qemu", "access") else row
        for row in all_sources()
    ]
    for line in lines_of(cells):
        if is_real(line, "access", line.cell.l2_slice_bytes):
            assert (line.seconds, line.ratios, line.growth) == ({}, {}, None)
            assert set(line.rows) == {10 * T, 11 * T}
    table = six_cells_table(lines_of(cells))
    marked = [row for row in table.rows if "⚠" in row[3]]
    assert {row[4] for row in marked} == {"-"}
    assert len(marked) == 2
    assert sum(note.startswith("⚠ disturbed") for note in table.notes) == 4
    assert differences(lines_of(cells), cells) == []
    assert matches(cells) == []
    caption = six_cells_picture(lines_of(cells), pick_query_cost(cells)).caption
    assert "Disturbed, and not drawn: qemu stock, access, 10T; qemu stock, access, 11T" in caption
    quiet = six_cells_picture(lines_of(all_sources()), pick_query_cost([])).caption
    assert "isturbed" not in quiet


def test_a_disturbed_row_of_the_model_is_marked_too() -> None:
    cells = [
        synthetic.disturbed(row) if (row.source, row.setup) == ("model", "access") else row
        for row in all_sources()
    ]
    (marked,) = (row for row in six_cells_table(lines_of(cells)).rows if "⚠" in row[3])
    assert marked[0].startswith("model")
    assert marked[4] == "-"


def test_a_disturbed_plain_row_leaves_its_build_without_ratios() -> None:
    cells = [
        synthetic.disturbed(row) if (row.build, row.setup) == ("stock", "plain") else row
        for row in all_sources()
    ]
    (access,) = (line for line in lines_of(cells) if is_real(line, "access", 4096))
    assert access.ratios == {}
    assert access.growth is not None, "it is made of access rows alone"


def test_no_other_plain_row_takes_the_place_of_a_disturbed_one() -> None:
    """The larger slice's own plain row is there, and a ratio to it would mean something else."""
    plain = synthetic.qemu_cell(10, "plain", build="stock")
    own_plain = synthetic.qemu_cell(10, "plain", 65536, build="stock")
    remedy = synthetic.qemu_cell(10, "access", 65536, build="stock")
    cost = pick_query_cost([])
    for row in (own_plain, remedy):
        spoilt = [synthetic.disturbed(plain), own_plain, remedy]
        assert ratio_to_plain(row, [plain, own_plain, remedy], cost) is not None
        assert ratio_to_plain(row, spoilt, cost) is None


def test_what_is_missing_is_said() -> None:
    notes = " ".join(six_cells_table(lines_of(list(published_cells()))).notes)
    assert "--qemu-size 10T --qemu-size 11T" in notes
    stock = [row for row in all_sources() if row.build != "patched"]
    assert "needs a patched build" in " ".join(six_cells_table(lines_of(stock)).notes)
    assert "patched build" not in " ".join(six_cells_table(lines_of(all_sources())).notes)


def test_the_report_opens_and_the_terminal_ends_with_the_six_cells() -> None:
    found = synthetic.reproduction(*synthetic.two_builds(), *synthetic.model_table())
    drawn = [six_cells_picture(lines_of(list(found.cells)), pick_query_cost(found.cells))]
    names = ("time", "slice-break", "slowdown", "deny", "words", "model-against-qemu")
    missing = [replace(drawn[0], name=name, png=None, missing="not drawn here") for name in names]
    page = render_markdown(found, [*drawn, *missing])
    assert page.splitlines()[2].startswith("**The six cells")
    assert page.index("reproduction-six-cells.png") < page.index("## What differs")
    stream = StringIO()
    render_terminal(found, Console(file=stream, width=80, color_system=None))
    assert "The six cells" in stream.getvalue()[-3500:]
    assert stream.getvalue().rstrip().endswith("plain 3, access 3, deny 3.")


def test_the_report_says_what_was_changed_in_the_builds() -> None:
    found = synthetic.reproduction(*synthetic.two_builds())
    drawn = pictures(found.cells, pick_query_cost(found.cells))
    assert "## The builds" not in render_markdown(found, drawn)
    told = render_markdown(replace(found, about_builds="The check was changed.\n"), drawn)
    assert "## The builds\n\nThe check was changed.\n" in told


def test_the_readme_opens_with_the_committed_six_cells(committed: Path) -> None:
    stored = Reproduction.load(committed / "reports" / "reproduction.json")
    table = six_cells_table(six_cells(stored.cells, pick_query_cost(stored.cells)))
    readme = (committed / "README.md").read_text(encoding="utf-8")
    assert to_markdown(table) in readme
    assert readme.index("The six cells") < readme.index("\n## ")


# ---------------------------------------------------------------- why it differs


def test_two_costs_carry_the_difference_of_the_ratios() -> None:
    cells = all_sources()
    ratio, growth = differences(lines_of(cells), cells)
    assert "6.25x published, 30.0x (27..33x) on qemu stock" in ratio
    assert "159 us of wall time there and 30 us of CPU time here" in ratio
    assert "0.64 ns there and 0.67 ns here" in ratio
    assert "unknown" in ratio
    assert "+27% published, +21% (+8%..+35%) on qemu stock" in growth
    assert "Queries grow by +10% and words by +21%" in growth
    assert "+19% there and +21% here" in growth
    assert "by +8% there and by +0%" in growth
    assert "no change stands out of the noise" in growth


def test_a_change_that_stands_out_points_at_its_measurement() -> None:
    cells = [
        narrow(row, 1.2 if row.image_bytes == 11 * T and row.setup == "access" else 1.0)
        if row.source == "qemu"
        else row
        for row in all_sources()
    ]
    assert 'under "Words and the time they take"' in differences(lines_of(cells), cells)[1]


def narrow(row: CellRecord, factor: float) -> CellRecord:
    cpu_s = factor * (row.cpu_s or 0.0)
    extra = None if row.extra_s is None else row.extra_s + cpu_s - (row.cpu_s or 0.0)
    return replace(row, cpu_s=cpu_s, interval_s=(0.999 * cpu_s, 1.001 * cpu_s), extra_s=extra)


def test_without_a_real_build_there_is_nothing_to_explain() -> None:
    cells = list(published_cells())
    assert differences(lines_of(cells), cells) == [
        "No real build with the access bitmap was measured at 10T and 11T in this run."
    ]


# ---------------------------------------------------------------- the model against it


def test_the_models_time_a_word_over_qemus() -> None:
    cells = all_sources()
    found = matches(cells)
    assert [(match.qemu.build, match.qemu.image_bytes // T) for match in found] == [
        ("stock", 10),
        ("stock", 11),
    ]
    for match in found:
        assert match.ratio.value == pytest.approx(synthetic.QEMU_RATE / synthetic.MODEL_RATE)
        assert match.ratio.ends is not None
        assert match.ratio.ends[0] < match.ratio.value < match.ratio.ends[1]
        assert match.model.words == match.real.words
    assert match_table(found).rows[0][2:4] == ("429,498,040,320", "429,498,040,320")
    assert match_lines(found) == [
        "qemu stock: the model's time a word is 0.60 to 0.60 times QEMU's; within 0.9 to 1.1 at 0 "
        "of 2 sizes, and with the whole range at 0.",
        "Within the aim the model's extra seconds stand for those of the build, on this host. "
        "Elsewhere the words and their growth do, which are exact; the seconds do not.",
    ]
    assert match_picture(found).png is not None
    assert match_picture([]).png is None


def test_projected_rows_have_no_wall_seconds_and_say_so() -> None:
    shown = text_of(synthetic.model_table())
    assert {row[1] for row in shown.values()} == {"-"}
    assert all(source.endswith("projected") for source, _ in shown)
    assert six_cells([], QueryCost(1e-5, "made up")) == []
