"""The command ``doctor``."""

from __future__ import annotations

from pathlib import Path

import click

from hbitmap_bench.base.output import check_output, json_option, put_json


@click.command()
@json_option("Write all as JSON here, too; - prints JSON instead of the tables.")
def doctor(json_path: Path | None) -> int:
    """Say what each command finds and lacks on this host, and which noise to expect.

    Looks for programs on PATH, headers, disk and permissions, and reads what the kernel tells of
    clock rates, load, steal, pressure and memory. For what is missing or noisy it names the command
    that mends it. Nothing is run or changed.

    \b
    Examples:
      hbitmap-bench doctor
      hbitmap-bench doctor --json - | jq '.parts[] | select(.found == null) | .mend'

    \b
    Exit codes: 0 the main job, reproduce, can run here, at least in process; 1 it can't.
    """  # noqa: D301 - click wants the control character, not its name
    from hbitmap_bench.base.consoles import table_console
    from hbitmap_bench.doctor.examination import examine
    from hbitmap_bench.doctor.examination_json import to_json
    from hbitmap_bench.doctor.examination_text import render
    from hbitmap_bench.doctor.host import Host

    check_output(json_path)
    found = examine(Host())
    put_json(json_path, lambda: to_json(found), lambda: render(found, table_console()))
    return found.exit_code
