"""Contenders side by side: what they read, who wins, and who comes from outside."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.medians import LEAST
from hbitmap_bench.base.output import in_lines
from hbitmap_bench.qemu.account import Run
from hbitmap_bench.qemu.geometry import Layout, words_access, words_deny, words_done
from hbitmap_bench.tournament import scale
from hbitmap_bench.tournament.cell import Cell
from hbitmap_bench.tournament.contenders import Contender, find_contenders
from hbitmap_bench.tournament.figure import draw
from hbitmap_bench.tournament.page import Tournament, as_json, render_markdown
from hbitmap_bench.tournament.play import play
from hbitmap_bench.tournament.standings import standings, words_growth
from hbitmap_bench.tournament.workloads import ANSWER, CLUSTER, PIECE, WORKLOADS
from hbitmap_impl.access_check import AccessBitmap, DenyBitmap
from hbitmap_impl.backup import BackupJob
from hbitmap_impl.image import SMALL_L2_SLICE_BYTES, FullImage
from hbitmap_impl.setups import filtered
from hbitmap_impl.snapshot_access import SnapshotAccess

G = 2**30
EXAMPLE = Path(__file__).parents[2] / "docs" / "example-contender"
OF_NAME = {workload.name: workload for workload in WORKLOADS}


@pytest.fixture(scope="module")
def contenders():
    said = []
    found = find_contenders((), said.append)
    assert said == []
    return found


@pytest.fixture(scope="module")
def cells(contenders):
    """Every workload at 2G and 4G, once: (contender, workload, size) to cell."""
    found = play(contenders, WORKLOADS, (2 * G, 4 * G), rounds=1)
    return {(cell.contender, cell.workload, cell.image_bytes): cell for cell in found}


def test_the_published_ones_come_first_and_all_are_documented(contenders):
    assert [one.name for one in contenders[:2]] == ["access", "deny"]
    for one in contenders[2:]:
        assert all(part in one.check.__doc__ for part in ("Idea: ", "Cost: ", "Source: "))


@pytest.mark.parametrize("size", [2 * G, 4 * G])
def test_words_are_those_of_the_closed_forms(cells, size):
    queries = size // ANSWER
    access = words_access(size, ANSWER, CLUSTER)
    few = words_deny(size, ANSWER, CLUSTER)  # of a search that finds nothing by levels
    done = words_done(size, ANSWER, CLUSTER, size)
    one_answer = queries * ANSWER // CLUSTER // 64
    expected = {
        ("access", "full"): access + few,
        ("deny", "full"): few + few,
        ("two-sided", "full"): few + few,
        ("clamped", "full"): one_answer + few,
        ("remembering", "full"): size // CLUSTER // 64 + few,
        ("access", "discards-beside"): access + few,
        ("deny", "discards-beside"): few + few,
        ("two-sided", "discards-beside"): few + few,
        ("clamped", "discards-beside"): one_answer + few,
        ("access", "done-full"): access + done,
        ("deny", "done-full"): few + done,
        ("two-sided", "done-full"): few + few + queries,
        ("clamped", "done-full"): 2 * one_answer + queries,
        ("remembering", "done-full"): 2 * (size // CLUSTER // 64) + queries,
    }
    assert expected == {key: cells[*key, size].words for key in expected}


def test_all_are_asked_the_same(cells, contenders):
    for workload in WORKLOADS:
        asked = {cells[one.name, workload.name, 4 * G].questions for one in contenders}
        assert len(asked) == 1, workload.name


def test_a_discard_ahead_of_a_build_up_fails_it_whatever_the_check(contenders):
    for one in contenders:
        cbw = filtered(one.check, FullImage(2 * G, CLUSTER, SMALL_L2_SLICE_BYTES))
        cbw.snapshot_discard(G, CLUSTER)
        with pytest.raises(PermissionError):
            BackupJob(SnapshotAccess(cbw)).build_up()


def test_discards_beside_a_build_up_are_of_what_it_has_passed():
    game = OF_NAME["discards-beside"].start(DenyBitmap, 4 * G)
    assert game.play() == 4 * G // ANSWER
    assert 0 < game.cbw.check.count <= 128 * PIECE
    assert game.cbw.check.first_inaccessible(0, ANSWER) != -1, "the first is in the first answer"


def cell(name, seconds, size=G, disturbed=()):
    """A cell of games that take so long; those at some places are disturbed."""
    runs = [
        Run(wall_s=one, cpu_s=one, disturbed="cold" if place in disturbed else None)
        for place, one in enumerate(seconds)
    ]
    return Cell(name, "full", size, [1e-3] * len(runs), runs, questions=1, words=size // G)


NOISE = (1.0, 1.1, 0.9, 1.05, 0.95, 1.0)
SLOW = [3 * second for second in NOISE]


def test_who_is_told_apart_is_decided_by_rounds():
    assert len(NOISE) == LEAST
    close = [second * (1.01 if place % 2 else 0.995) for place, second in enumerate(NOISE)]
    (found,) = standings([cell("slow", SLOW), cell("fast", NOISE), cell("close", close)])
    assert {ratio.cell.contender for ratio in found.best} == {"fast", "close"}
    assert found.next.cell.contender == "slow"
    assert found.next.median == pytest.approx(3)
    (blind,) = standings([cell("slow", SLOW[:5]), cell("fast", NOISE[:5])])
    assert blind.next is None


def test_a_round_with_a_disturbed_game_does_not_count():
    slow, fast = (*SLOW, 99.0, 3.0), (*NOISE, 1.0, 0.001)
    (found,) = standings([cell("slow", slow, disturbed=[6]), cell("fast", fast, disturbed=[7])])
    assert found.disturbed == ()
    assert (found.next.rounds, found.next.median) == (6, pytest.approx(3))
    assert found.next.interval == (pytest.approx(3), pytest.approx(3))


def test_nothing_is_made_of_what_a_busy_host_has_disturbed():
    """The fastest has five games left of twelve: it neither wins, nor is anything over it."""
    fastest = cell("fastest", 2 * [second / 9 for second in NOISE], disturbed=range(5, 12))
    (found,) = standings([fastest, cell("slow", 2 * SLOW), cell("fast", 2 * NOISE)])
    assert [ratio.cell.contender for ratio in found.best] == ["fast"]
    assert found.next.median == pytest.approx(3)
    (lost,) = found.disturbed
    assert (lost.median, lost.interval, lost.rounds) == (None, None, 5)
    assert lost.disturbed == "7 of 12 games; the last: cold"
    everything = [cell(name, 2 * NOISE, disturbed=range(12)) for name in ("fast", "slow")]
    (found,) = standings(everything)
    assert (found.best, found.next, len(found.disturbed)) == ((), None, 2)
    assert everything[0].least_setup_s is None


def played(*cells):
    """A tournament of access and deny with these cells."""
    contenders = (Contender("access", AccessBitmap), Contender("deny", DenyBitmap))
    return Tournament(
        contenders, (OF_NAME["full"],), cells, 6, "hbitmap-bench tournament --rounds 6",
        "2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def test_what_is_disturbed_is_marked_in_page_figure_and_data(monkeypatch):
    found = played(
        *(cell("access", 2 * SLOW, size, disturbed=range(6)) for size in (G, 2 * G)),
        *(cell("deny", 2 * NOISE, size, disturbed=range(7)) for size in (G, 2 * G)),
    )
    page = render_markdown(found)
    assert "| full | access; ⚠ deny |" in page
    assert "| full | best | ⚠ |" in page
    assert "⚠ disturbed, and nothing is made of it: deny in full: 7 of 12 games" in page
    assert "access in 1 of 1" in page
    assert "deny in" not in page.split("![")[0]
    assert "disturbed 26 of 48 games, which do not count: 2 of 4 cells" in page
    data = json.loads(in_lines(as_json(found)))
    assert (data["schema"], data["rounds"]) == (2, 6)
    assert data["standings"][1]["best"] == ["access"]
    assert data["standings"][1]["ratios"]["deny"] == {
        "rounds": 5, "median": None, "interval": None, "told_apart": False,
        "disturbed": "7 of 12 games; the last: cold",
    }  # fmt: skip
    assert data["cells"][2]["runs"][:8:7] == [
        {"wall_s": 1.0, "cpu_s": 1.0, "disturbed": "cold"},
        {"wall_s": 1.1, "cpu_s": 1.1},
    ]
    everything = [cell(name, 2 * NOISE, disturbed=range(9)) for name in ("access", "deny")]
    nothing = render_markdown(played(*everything))
    assert "| full | ⚠ all | - | - |" in nothing
    assert "Nobody wins: a busy host has disturbed too many games." in nothing
    drawn = []
    monkeypatch.setattr("hbitmap_bench.tournament.figure.png", drawn.append)
    draw(found.at_largest())
    draw(played(cell("access", SLOW), cell("deny", NOISE)).at_largest())
    legends = [figure.axes[0].get_legend().get_texts() for figure in drawn]
    names = [sorted(text.get_text() for text in legend) for legend in legends]
    assert names == [["access", "deny", "disturbed: no ratio"], ["access", "deny"]]


def test_how_far_one_is_behind_is_said_though_it_is_not_told_apart():
    """Behind in the median, and in one round ahead; then always behind."""
    close = [1.004 * second for second in NOISE[:5]] + [0.999]
    page = render_markdown(played(cell("access", close), cell("deny", NOISE)))
    assert "| full | deny, access ~1.00x | - | - |" in page
    assert "| full | ~1.00x<br>1.0..1.0x | best |" in page
    assert "deny in 1 of 1; access in 1 of 1 (medians up to 1.00x)." in page
    behind = [1.004 * second for second in NOISE]
    found = played(cell("access", behind), cell("deny", NOISE))
    page = render_markdown(found)
    assert "| full | deny | access | 1.004..1.004x |" in page
    assert "    hbitmap-bench tournament --rounds 6\n" in page
    told = as_json(found)["standings"][0]
    assert (told["fastest"], told["ratios"]["access"]["told_apart"]) == ("deny", True)
    cells = (cell("access", SLOW[:2]), cell("deny", NOISE[:2]))
    few = render_markdown(replace(found, cells=cells, rounds=2))
    assert "Nobody wins: fewer than 6 rounds have no interval." in few
    assert "| full | 3.00x | 1.00x |" in few, "without an interval nothing is told apart"


def test_words_grow_as_they_do_whoever_disturbs_the_games():
    spoilt = [cell("deny", NOISE, size, disturbed=range(6)) for size in (G, 2 * G)]
    assert words_growth(spoilt, "deny", "full") == pytest.approx(1)


class Sleepy(DenyBitmap):
    """Its seconds by the clock are not its own work."""

    def first_inaccessible(self, offset, length):
        time.sleep(0.005)
        return super().first_inaccessible(offset, length)


def test_a_disturbed_game_is_played_again_by_all_in_at_most_as_many_rounds():
    said = []
    players = [Contender("deny", DenyBitmap), Contender("sleepy", Sleepy)]
    deny, sleepy = play(players, [OF_NAME["full"]], [2 * G], rounds=2, say=said.append)
    assert len(deny.runs) == len(sleepy.runs) == 4
    assert said == ["disturbed by a busy host, and played again: 1 of 1 workloads and sizes"] * 2
    assert len(sleepy.reasons) == 4
    assert "above CPU seconds" in sleepy.reasons[0]
    (found,) = standings([deny, sleepy])
    assert "sleepy" in {ratio.cell.contender for ratio in found.disturbed}


def tournament(*arguments, cwd, **variables):
    """The command as a user runs it, at 80 columns."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("hbitmap-bench")), "tournament", *arguments],
        env=os.environ | {"COLUMNS": "80"} | variables,
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_report_has_all_that_was_played(tmp_path):
    names = ("--contender", "deny", "--contender", "access", "--workload", "full")
    done = tournament(*names, "--size", "2G", "--size", "64G", "--out", ".", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "tournament.json").read_text())
    assert {(cell["contender"], cell["image_bytes"]) for cell in data["cells"]} == {
        (name, size) for name in ("access", "deny") for size in (2 * G, 64 * G)
    }
    for found in data["cells"]:
        assert 6 <= len(found["runs"]) == len(found["setup_s"]) <= 12
        assert {"wall_s", "cpu_s", "loop_words_s"} <= found["runs"][0].keys()
    assert data["standings"][-1]["image_bytes"] == 64 * G
    page = (tmp_path / "tournament.md").read_text()
    again = " ".join(("    hbitmap-bench tournament", *names))
    assert f"{again} --size 2G --size 64G --rounds 6\n" in page
    slow_path = "access: the words that it reads grow with an exponent over 1.5 in full ("
    assert slow_path in page
    assert slow_path in " ".join(done.stdout.split())
    assert (tmp_path / "tournament.png").read_bytes().startswith(b"\x89PNG")
    for line in done.stdout.splitlines():
        assert len(line) <= 80


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--contender", "fastest"), "no contender is registered as 'fastest': take one of access"),
        (("--workload", "empty"), "no workload is called 'empty': take one of full"),
        (("--size", "1G"), "an image of the tournament has 2G to 16T"),
        (("--size", "2050M"), "a multiple of 32M"),
    ],
)
def test_bad_input_gets_one_line(tmp_path, arguments, said):
    done = tournament(*arguments, "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_contender_that_raises_is_named():
    class Broken(DenyBitmap):
        def first_inaccessible(self, offset, length):
            raise ZeroDivisionError("of its own")

    with pytest.raises(UserError, match=r"contender broken fails at full, 2G \(ZeroDivisionError"):
        play([Contender("broken", Broken)], [OF_NAME["full"]], [2 * G], rounds=1)


def test_a_contender_from_another_package_plays(tmp_path):
    source, installed = tmp_path / "source", tmp_path / "installed"
    shutil.copytree(EXAMPLE, source)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", installed, source], check=True, cwd=tmp_path)
    game = ("--contender", "deny-bounded", "--workload", "full", "--size", "2G", "--rounds", "1")
    done = tournament(*game, "--out", "out", cwd=tmp_path, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    (cell,) = json.loads((tmp_path / "out" / "tournament.json").read_text())["cells"]
    assert (cell["contender"], cell["questions"]) == ("deny-bounded", 64)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("class Mine: pass", "has no bitmap_type, cuts_status"),
        (
            "from hbitmap_impl.access_check import DenyBitmap\nMine = DenyBitmap(65536, 65536)",
            "is an object of the class DenyBitmap: name the class",
        ),
        ("raise OSError('no such device')", "can't be loaded: OSError: no such device"),
    ],
)
def test_what_is_no_contender_is_refused_by_name(tmp_path, module, reason):
    (tmp_path / "mine.py").write_text(f'"""Of a user."""\n{module}\n')
    info = tmp_path / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[hbitmap_bench.contenders]\nmine = mine:Mine\n")
    done = tournament("--out", "out", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "mine (mine:Mine)" in done.stderr
    assert reason in done.stderr


@pytest.mark.parametrize("size", [2 * G, 4 * G])
def test_scale_has_the_words_and_the_memory_of_the_runs(cells, size):
    layout = Layout(image_bytes=size, cluster_bytes=CLUSTER, l2_slice_bytes=4096)
    for contender in scale.WORDS:
        cell = cells[contender, "full", size]
        assert scale.words(contender, layout) == cell.words, contender
        bitmap = find_contenders([contender], print)[0].check.bitmap_type
        overhead = sys.getsizeof(bitmap(1)) - (14 if contender == "two-sided" else 7) * 8
        assert scale.memory_bytes(contender, size) == pytest.approx(
            cell.memory_bytes - overhead, abs=64
        )


def test_extrapolated_seconds_are_those_of_the_published_table_where_it_has_them():
    rates = scale.published_rates()
    layout = scale.full_layout(10 * 2**40)
    assert rates.seconds("access", layout) == pytest.approx(325, rel=0.001)
    assert rates.seconds("deny", layout) == pytest.approx(52, rel=0.001)
    assert scale.full_layout(128 * 2**50).queries == 2**41 // 512
