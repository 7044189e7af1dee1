"""The check of bare machines: what it reads, and that the workflow has the same machines.

The machines themselves are made by ``tox -e fresh-machines``.
"""

from pathlib import Path

import yaml
from rich.console import Console

from hbitmap_bench.checks.fresh_machines import MACHINES, Machine, Outcome, columns, table

ROOT = Path(__file__).parents[2]
PRINTED = """\
first command: passed in 250 s
second command: failed in 600 s
skipped tests: 9
1669 passed, 43 failed, 9 skipped
Python 3.13.5
GCC 14.2.0
qemu-storage-daemon version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)
"""


def test_a_machine_is_a_row_of_what_it_prints():
    found = {}
    for line in PRINTED.splitlines():
        found |= columns(line)
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table([Outcome("trixie", found, 1, 900.0), Outcome("forky", {}, 1, 6.0)]))
    trixie, forky = capture.get().splitlines()[3:5]
    assert [cell.strip() for cell in trixie.strip("│").split("│")] == [
        *("trixie", "3.13.5", "14.2.0", "10.0.13", "passed in 250 s", "failed in 600 s"),
        *("1669", "43", "9", "15", "no"),
    ]
    assert forky.count(" - ") == 8


def test_the_workflow_has_the_same_machines():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "machines.yml").read_text())
    matrix = workflow["jobs"]["machine"]["strategy"]["matrix"]["include"]
    assert [Machine(**machine) for machine in matrix] == list(MACHINES.values())
