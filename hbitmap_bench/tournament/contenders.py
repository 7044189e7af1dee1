"""The contenders: whatever is registered under an entry point, by this project or by another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Final

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.plugins import guarded, registered
from hbitmap_impl.access_check import AccessCheck

GROUP: Final = "hbitmap_bench.contenders"
"""Entry points of this group name a class that keeps the protocol ``AccessCheck``."""

PUBLISHED: Final = ("access", "deny")
"""What QEMU has, and what the patches make of it: these come first."""

_NEEDED: Final = (
    *("bitmap_type", "cuts_status", "from_copy_bitmap", "first_inaccessible", "discard"),
    *("count", "words_examined", "reset_counters", "memory_bytes"),
)


@dataclass(frozen=True, slots=True)
class Contender:
    """A kind of access check under its registered name."""

    name: str
    check: type[AccessCheck]

    @property
    def counts_words(self) -> bool:
        """Whether its words mean something: a library's search may not count them."""
        return getattr(self.check, "counts_words", True)

    @property
    def idea(self) -> str:
        """The first line of its docstring."""
        return (self.check.__doc__ or "").strip().partition("\n")[0]


def find_contenders(names: Sequence[str], say: Callable[[str], object]) -> list[Contender]:
    """Those of these names; without names all that can be imported. The published ones come first.

    Without names ``say`` is told who is left out for want of a package. Raises ``UserError`` for a
    name that nobody has registered, a class that lacks a part of the protocol, and one that can't
    be loaded.
    """
    points = registered(GROUP)
    for name in names:
        if name not in points:
            raise UserError(
                f"no contender is registered as {name!r}: take one of {', '.join(sorted(points))}"
            )
    found = []
    for name in sorted(dict.fromkeys(names) or points, key=_order):
        try:
            found.append(Contender(name, _load(points[name])))
        except ModuleNotFoundError as error:
            if names:
                raise UserError(_missing(name, error)) from error
            say(_missing(name, error))
    return found


def _order(name: str) -> tuple[int, str]:
    return (PUBLISHED.index(name) if name in PUBLISHED else len(PUBLISHED), name)


def _missing(name: str, error: ModuleNotFoundError) -> str:
    remedy = "install 'hbitmap-bench[speed]'" if error.name == "pyroaring" else "install it"
    return f"{name} is left out: it needs the module {error.name}, which is not there; {remedy}"


def _load(point: EntryPoint) -> type[AccessCheck]:
    check = guarded(point, "the contender", point.load, ModuleNotFoundError)
    if not isinstance(check, type):
        raise UserError(
            f"a contender is a class, and {point.name} ({point.value}) is an object of the class "
            f"{type(check).__name__}: name the class"
        )
    if lacks := [part for part in _NEEDED if not hasattr(check, part)]:
        raise UserError(
            f"a contender is a class with all of hbitmap_impl.access_check.AccessCheck, and "
            f"{point.name} ({point.value}) has no {', '.join(lacks)}: mend its package, or "
            "uninstall it"
        )
    found: type[AccessCheck] = check
    return found
