"""What other packages register for us under entry points: their code may do anything."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from hbitmap_bench.base.errors import UserError

T = TypeVar("T")


def registered(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by their names, sorted. Raises ``UserError``."""
    try:
        found = entry_points(group=group)
    except Exception as error:  # whatever importlib makes of a file that is damaged
        raise UserError(
            f"entry points of installed packages must be readable, and are not ({told(error)}): "
            "install anew what was installed last"
        ) from error
    return {point.name: point for point in sorted(found, key=lambda point: point.name)}


def guarded(
    point: EntryPoint, what: str, call: Callable[[], T], passing: type[Exception] = UserError
) -> T:
    """What ``call`` gives, which runs code of ``point``. Raises ``UserError`` that names it.

    A ``UserError`` of that code passes, and ``passing``.
    """
    try:
        return call()
    except (UserError, passing):
        raise
    except (Exception, SystemExit) as error:  # whatever a package's own code raises
        raise UserError(
            f"{what} {point.name} ({point.value}) can't be loaded: {told(error)}: "
            "mend its package, or uninstall it"
        ) from error


def told(error: BaseException) -> str:
    """An error in words: its kind and its text."""
    return f"{type(error).__name__}: {error}"
