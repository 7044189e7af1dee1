"""The rates of the gate on a real machine: the plan, what was done so far, and the table."""

from dataclasses import replace
from io import StringIO

import psutil
import pytest
from rich.console import Console

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.checks.gate_rates import (
    INJECTED,
    LOADED,
    SELF,
    Outcome,
    load,
    plan,
    refuse_others,
    remaining,
    save,
    spinning,
    table,
)


def outcome(what, gate="PASSED", regressed=(), asv_worse=0, asv_code=None):
    return Outcome(
        what=what,
        commit="1f3aae6bbb",
        day="2026-01-02",
        gate=gate,
        regressed=regressed,
        inconclusive=0,
        gate_s=60.0,
        asv_code=int(asv_worse > 0) if asv_code is None else asv_code,
        asv_worse=asv_worse,
        asv_s=30.0,
        load=1.0,
    )


def test_ten_cycles_are_forty_runs_of_a_commit_against_itself_and_ten_of_each_slowdown():
    runs = list(plan(10))
    assert runs.count(SELF) == 40
    assert {runs.count(name) for name in INJECTED} == {10}


def test_beside_spinners_each_change_is_run_as_often():
    assert list(plan(2, spinners=3)) == [*LOADED, *LOADED]


def test_spinners_spin_beside_and_end():
    ours = psutil.Process()
    before = set(ours.children(recursive=True))
    with spinning(2):
        spinners = set(ours.children(recursive=True)) - before
        assert len(spinners) >= 2
    assert not any(one.is_running() and "expovariate" in str(one.cmdline()) for one in spinners)


def test_what_is_done_is_not_done_again(tmp_path):
    path = tmp_path / "rates.jsonl"
    assert load(path) == []
    done = [outcome(SELF), outcome("word", "REGRESSED", (("cell", "exact"),))]
    save(path, done)
    assert load(path) == done
    left = remaining(list(plan(1)), load(path))
    assert left == [SELF] * 3 + ["constant-5", "constant-10", "constant-20", "old-bug"]


def test_damaged_lines_and_those_of_another_commit_are_refused(tmp_path):
    path = tmp_path / "rates.jsonl"
    save(path, [outcome(SELF)])
    refuse_others(load(path), "1f3aae6bbb")
    with pytest.raises(UserError, match=r"of 1f3aae6bbb .*, not of 0000000000 .*--rates"):
        refuse_others(load(path), "0000000000")
    with pytest.raises(UserError, match="beside 0 spinners, not of 1f3aae6bbb beside 3"):
        refuse_others(load(path), "1f3aae6bbb", spinners=3)
    path.write_text(path.read_text() + path.read_text()[:20])
    with pytest.raises(UserError, match="can't be read"):
        load(path)


def test_the_table_counts_alarms_by_kind_beside_those_of_asv():
    slower = outcome("constant-10", "REGRESSED", (("a", "time"), ("b", "time")))
    failed = outcome("constant-10", asv_code=2)
    done = [outcome(SELF), outcome(SELF, asv_worse=2), slower, failed]
    console = Console(width=200, record=True, file=StringIO())
    console.print(table(done))
    rows = [line.split("│") for line in console.export_text().splitlines() if "│" in line]
    itself, constant = ([cell.strip() for cell in row[1:-1]] for row in rows)
    none = "0 (0%..84%)"
    assert itself[:8] == ["itself", "2", none, "", none, none, "1 (1%..99%)", "0"]
    assert constant[:4] == ["constant-10", "2", "1 (1%..99%)", "time 1"]
    assert constant[6:8] == ["0 (0%..98%)", "1"]  # of those that asv said anything of


def test_beside_spinners_asv_has_no_share():
    loaded = replace(outcome(SELF), asv_code=None, asv_worse=None, improved=1, spinners=3)
    console = Console(width=200, record=True, file=StringIO())
    console.print(table([loaded]))
    (row,) = [line.split("│") for line in console.export_text().splitlines() if "│" in line]
    assert [cell.strip() for cell in row[6:9]] == ["1 (3%..100%)", "-", "0"]
