"""The driver of an HBitmap's operations: compiled against a library, asked, timed and counted."""

import re

import pytest
from driver_stub import SOURCES, built, configured

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.qemu.driver import instructions, started
from hbitmap_bench.qemu.driver_build import compile_driver

OPERATIONS = {path.stem for path in (SOURCES / "operations").glob("*.c")}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return compile_driver(
        SOURCES, built(tmp_path_factory.mktemp("build")), tmp_path_factory.mktemp("driver")
    )


@pytest.fixture
def driver(made):
    with started(made.program) as running:
        running.ask("new", 0, 1000, 3)
        yield running


def test_an_operation_that_the_library_lacks_is_left_out(made, driver):
    assert set(driver.ask("operations")) == OPERATIONS - {"sha256"}
    assert list(made.missing) == ["sha256"]
    assert re.search(r"sha256\.c:\d+:\d+: error: .*hbitmap_sha256", made.missing["sha256"])


def test_the_compiler_is_named_with_its_flags(made):
    assert made.compiler.startswith("cc ")
    assert "-O2" in made.compiler
    assert "iquote" not in made.compiler


def test_answers_are_those_of_the_library(driver):
    assert driver.ask("version") == ["stub"]
    assert driver.ask("set", 0, 100, 10) == []
    assert driver.ask("count", 0) == [16]
    assert driver.ask("get", 0, 96) == [1]
    assert driver.ask("next_dirty", 0, 0, 1000) == [96]
    assert driver.ask("next_zero", 0, 100, 900) == [112]
    assert driver.ask("next_dirty_area", 0, 0, 1000, 10) == [96, 10]
    assert driver.ask("next_dirty_area", 0, 112, 1000, 10) == []
    assert driver.ask("status", 0, 96, 904) == [1, 16]
    assert driver.ask("iterate", 0, 0, 1000) == [2, 104, 200]


def test_timed_calls_move_by_their_step(driver):
    assert driver.cpu_ns(10, 80, "set", 0, 0, 1) >= 0
    assert driver.ask("iterate", 0, 0, 1000) == [10, 720, 3600]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sha256", 0], "a command or an operation of this driver is needed, not 'sha256'"),
        (["count", 4], "slots are numbered from 0 to 3"),
        (["count", 1], "a slot needs a 'new' bitmap first"),
        (["set", 0, 1], "an operation takes a slot and its arguments, not 'set'"),
        (["get", 0, "1x"], "a number of 64 bits is needed, not '1x'"),
        (["set", 0, 1000, 1], "hbitmap.c:.* Assertion"),  # by the library itself
    ],
)
def test_what_it_cannot_do_ends_it_with_the_rule(driver, words, message):
    with pytest.raises(UserError, match=message):
        driver.ask(*words)
    with pytest.raises(UserError, match="the driver ended at 'version'"):
        driver.ask("version")


def test_instructions_repeat_and_grow_with_the_calls(made):
    before = [("new", 0, 2**16, 0), ("set", 0, 0, 2**16)]
    work = ("next_zero", 0, 0, 2**16)
    once, again, twice = (instructions(made.program, before, n, 0, work) for n in (5, 5, 10))
    assert abs(once - again) <= 10
    assert twice == pytest.approx(2 * once, rel=0.01)


def test_counting_what_the_driver_cannot_do_says_why(made):
    with pytest.raises(UserError, match="callgrind must count 'get', and did not: a slot needs"):
        instructions(made.program, [], 1, 0, ("get", 0, 0))


def test_a_folder_that_is_no_build_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"a QEMU build is a folder with build\.ninja, not"):
        compile_driver(SOURCES, tmp_path, tmp_path / "driver")


def test_a_build_without_its_library_is_refused(tmp_path):
    with pytest.raises(UserError, match="run ninja in it .*undefined reference"):
        compile_driver(SOURCES, configured(tmp_path), tmp_path / "driver")
