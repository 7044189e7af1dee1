"""How a program runs: watched, and ended by an exit code: 0, 1 where it says so, 2 for errors."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

import click
from rich.console import Console

from hbitmap_bench.base import guard, scratch
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.interrupt import hear_no_more, rather_than_errors, stop_like_ctrl_c
from hbitmap_bench.base.printable import one_line

INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


def run_to_exit(command: click.Command) -> NoReturn:
    """Run a program's command by its arguments, and end the program by its exit code."""
    with stop_like_ctrl_c():
        code = exit_code(lambda: _run(command))
        hear_no_more()
        if code != INTERRUPTED:
            guard.dismiss()
        sys.exit(code)


def _run(command: click.Command) -> object:
    """Run it in the knowledge that we may be killed, as another run may have been before."""
    guard.watch()
    scratch.sweep()
    return command.main(standalone_mode=False)


def exit_code(command: Callable[[], object]) -> int:
    """Run a command and translate its end to an exit code, with its message on stderr."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
    try:
        with rather_than_errors():
            result = command()
        return result if isinstance(result, int) else 0
    except UserError as error:
        errors.print(f"hbitmap-bench: {one_line(str(error))}", markup=False)
    except click.ClickException as error:
        errors.print(f"hbitmap-bench: {one_line(error.format_message())}", markup=False)
    except (KeyboardInterrupt, click.exceptions.Abort):
        errors.print("hbitmap-bench: interrupted")
        return INTERRUPTED
    except OSError as error:
        errors.print(f"hbitmap-bench: the system refused: {one_line(str(error))}", markup=False)
    except Exception:  # noqa: BLE001 - Python's own exit code, 1, would say "regressed"
        traceback.print_exc()
        errors.print("hbitmap-bench: a mistake of its own, which should not be: please report it")
    return 2
