"""Instructions of the compiled core, by a real callgrind."""

import shutil
import sys
from pathlib import Path

import pytest

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.gate import instructions

PYTHON = Path(sys.executable)


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="no valgrind: apt install valgrind")
def test_counts_repeat_to_the_instruction_and_are_those_of_the_work():
    work = "next_dirty, an empty bitmap"
    counts = [instructions.count(PYTHON, work) for _ in range(2)]
    assert counts[0] == counts[1]
    assert counts[0] % instructions.WORK[work][1] == 0  # of equal calls


def test_work_that_fails_is_told(monkeypatch):
    monkeypatch.setitem(instructions.WORK, "wrong", ("b = 1/0", 1, "b.next_dirty(0)"))
    with pytest.raises(UserError, match="ZeroDivisionError"):
        instructions.count(PYTHON, "wrong")


def test_without_valgrind_the_remedy_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="apt install valgrind"):
        instructions.require_valgrind()
