"""The machine as asv names it: fields that stay the same from one run to the next.

They are part of a series' identity: a kernel update in the field ``os`` once hid every series.
"""

from __future__ import annotations

import re
from pathlib import Path

from asv.machine import Machine

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.reading import read_json

NAME = re.compile(r"[\w][\w.+-]{0,63}", re.ASCII)
GIB = 2**30

IDENTITY = ("machine", "arch", "cpu", "num_cpu")
"""Fields that another machine differs in; memory and kernel change on the same one."""


def machine_fields(name: str, results_dir: Path) -> dict[str, str]:
    """Fields that asv gives this machine: those stored under its name, or new ones.

    Raises ``UserError`` if the name is no plain file name, or belongs to another machine.
    """
    if not NAME.fullmatch(name):
        raise UserError(
            f"a machine's name has letters, digits, '.', '+', '-', '_', and {name!r} is none: "
            "choose another by --machine"
        )
    here = _fields_here(name)
    stored = _stored_fields(results_dir / name / "machine.json")
    if stored is None:
        return here
    for field in IDENTITY:
        if stored.get(field, here[field]) != here[field]:  # asv may have stored the name alone
            raise UserError(
                f"results of {name!r} were measured where {field} is {stored[field]!r}, and "
                f"here it is {here[field]!r}: name this machine otherwise by --machine"
            )
    return here | stored


def _fields_here(name: str) -> dict[str, str]:
    """What asv finds out, without the kernel's version, and memory in whole GiB."""
    found: dict[str, str] = Machine.get_defaults()
    gib = round(int(found["ram"] or 0) / GIB)
    return found | {"machine": name, "os": found["os"].split()[0], "ram": f"{gib} GiB"}


def _stored_fields(path: Path) -> dict[str, str] | None:
    try:
        stored = dict(read_json(path))
        if "machine" not in stored:
            raise ValueError("it names none")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} must be asv's JSON of a machine, and is not ({error}): "
            "restore it from the repository"
        ) from None
    return {key: str(stored[key]) for key in Machine.get_defaults() if key in stored}
