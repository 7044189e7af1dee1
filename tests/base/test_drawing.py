"""Tables on a terminal: where lines break."""

from io import StringIO

import pytest
from rich.cells import cell_len
from rich.console import Console

from hbitmap_bench.base.drawing import Table, show

NAME = "memory.Structures.track_bytes"
LONG = "algorithms.connectivity.BenchmarkOfConnectivity.time_node_disjoint_paths_between_all_pairs"


def lines(table: Table, width: int) -> list[str]:
    page = StringIO()
    show(Console(file=page, width=width), table)
    found = [line.rstrip() for line in page.getvalue().splitlines()]
    assert max(map(cell_len, found)) <= width
    return found


def table(name: str, *figures: str) -> Table:
    columns = ("commit", "verdict", "benchmark", *(f"figure {i}" for i in range(len(figures))))
    row = (
        "1f3aae6bbb",
        "REGRESSED\none commit alone, unconfirmed",
        f"{name}\ndeny 16T 64K",
        *figures,
    )
    return Table("Changes", columns, (row,), n_labels=3, grouped=False)


@pytest.mark.parametrize("figures", [("1", "2"), ("20.00 MiB", "20.01 MiB", "1.004x")])
def test_a_name_is_whole_where_words_have_room(figures):
    page = "\n".join(lines(table(NAME, *figures), 80))
    for word in (NAME, "REGRESSED", "unconfirmed", "1f3aae6bbb", *" ".join(figures).split()):
        assert word in page


def test_a_name_without_room_is_broken_at_a_dot_then_behind_an_underscore():
    text = lines(table(LONG, "20,971,520 B", "20,971,528 B"), 80)
    column = min(line.index("algorithms") for line in text if "algorithms" in line)
    pieces = [line[column:].split(" ")[0] for line in text if line[column:].strip()]
    start = pieces.index("algorithms.connectivity") if "algorithms.connectivity" in pieces else 1
    name = "".join(pieces[start:]).split("deny")[0]
    assert LONG.startswith(name[:40])
    for before, after in zip(pieces[start:], pieces[start + 1 :], strict=False):
        if after == "deny":
            break
        assert after.startswith(".") or before.endswith("_")


def test_a_wide_terminal_breaks_nothing():
    assert any(LONG in line for line in lines(table(LONG, "1"), 200))


def test_figures_stay_on_a_line_where_there_is_room():
    page = "\n".join(lines(table("a.b", "20.00 MiB", "20.01 MiB"), 80))
    assert "20.00 MiB" in page
    assert "20.01 MiB" in page


@pytest.mark.parametrize("width", [20, 40, 79])
def test_any_width_shows_every_letter_of_a_name(width):
    page = StringIO()
    show(Console(file=page, width=width), table(NAME, "1", "2"))
    for letter in NAME:
        assert letter in page.getvalue()
