"""Requests to stop: heard once, and in order, in blocks that may not be interrupted."""

import asyncio
import signal
import time

import pytest

from hbitmap_bench.base import interrupt
from hbitmap_bench.base.interrupt import (
    rather_than_errors,
    run_stoppable,
    stop_like_ctrl_c,
    uninterrupted,
)


def press():
    signal.raise_signal(signal.SIGINT)


def test_a_second_request_is_the_first_one_again_until_patience_ends(monkeypatch):
    with stop_like_ctrl_c():
        with pytest.raises(KeyboardInterrupt):
            press()
        press()
        monkeypatch.setattr(interrupt, "_PATIENCE_S", 0.0)
        with pytest.raises(KeyboardInterrupt):
            press()


def test_a_new_block_hears_anew():
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), stop_like_ctrl_c():
            press()
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        press()


def test_a_block_that_hangs_is_ended_by_a_later_request(monkeypatch):
    monkeypatch.setattr(interrupt, "_PATIENCE_S", 0.01)

    def hang():
        with uninterrupted():
            press()
            time.sleep(0.02)
            press()
            pytest.fail("the block went on")

    with pytest.raises(KeyboardInterrupt):
        hang()


def test_an_error_that_comes_of_a_request_is_the_request():
    def fail_after(request):
        with stop_like_ctrl_c(), rather_than_errors():
            try:
                request()
            finally:
                raise ValueError

    with pytest.raises(KeyboardInterrupt):
        fail_after(press)
    with pytest.raises(ValueError, match="^$"):  # the next block hears anew
        fail_after(lambda: None)


def test_what_runs_in_a_loop_is_cancelled_and_that_is_an_interrupt():
    """Also within a block that hears of it only later."""

    async def sleep():
        asyncio.get_running_loop().call_later(0.01, press)
        await asyncio.sleep(60)

    with asyncio.Runner() as runner:
        with pytest.raises(KeyboardInterrupt):
            run_stoppable(runner, sleep())
        with pytest.raises(KeyboardInterrupt), uninterrupted():
            run_stoppable(runner, sleep())
        assert runner.run(asyncio.sleep(0, "as ever")) == "as ever"
