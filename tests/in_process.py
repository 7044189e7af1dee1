"""The command in this process: in a fraction of the time, most of which is imports."""

import contextlib
import io
from typing import NamedTuple

from hbitmap_bench.base.program import exit_code
from hbitmap_bench.cli import cli


class Done(NamedTuple):
    code: int
    out: str
    errors: str


def called(*arguments, cwd):
    """What ``main`` makes of a command line: its exit code, and what it prints."""
    out, errors = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
        contextlib.chdir(cwd),
    ):
        code = exit_code(lambda: cli.main(args=list(arguments), standalone_mode=False))
    return Done(code, out.getvalue(), errors.getvalue())
