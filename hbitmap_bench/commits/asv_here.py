"""asv's command with a configuration that is elsewhere than the folder that it works in.

``python -m hbitmap_bench.commits.asv_here CONFIGURATION FOLDER COMMAND ...``: asv itself works
where its configuration is, and takes ``{conf_dir}`` and what ``pyproject.toml`` needs for a build
from there.
"""

from __future__ import annotations

import os
import sys

from asv import commands, util
from asv.console import log


def main() -> None:
    """Run a command of asv's, and end by its exit code."""
    configuration, folder, *arguments = sys.argv[1:]
    parser, _ = commands.make_argparser()
    parsed = parser.parse_args([*arguments, "--config", configuration])
    log.enable(parsed.verbose)
    os.chdir(folder)
    try:
        code = parsed.func(parsed)
    except util.UserError as error:
        log.error(str(error))
        code = 1
    finally:
        log.flush()
    sys.exit(code or 0)


if __name__ == "__main__":
    main()
