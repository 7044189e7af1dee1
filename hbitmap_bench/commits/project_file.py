"""What a project declares of itself, in ``hbitmap-bench.toml`` beside ``asv.conf.json``.

``docs/project-file.md`` describes every key. A table of the file is a dataclass here, and a key is
a field of it: unknown keys and mistyped values are refused. Without the file all defaults hold.
"""

from __future__ import annotations

import difflib
import math
import re
import string
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from string import Formatter
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.reading import MOST_WRITTEN_BYTES, read_text

FILE: Final = "hbitmap-bench.toml"

REMEDY: Final = "see docs/project-file.md"

SCALARS: Final = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}

T = TypeVar("T")

Kind = Literal["imported", "installed"]
"""What shows that a sample was the commit's: what processes told of the package that they imported,
or what was installed for them."""


@dataclass(frozen=True)
class Measured:
    """``[measured]``: what a measurement depends on, and what shows that it was the commit's."""

    paths: tuple[str, ...] = ()
    imports: str | None = None
    files: tuple[str, ...] = ()
    reviewed: str | None = None
    submodules: bool = True

    @property
    def kind(self) -> Kind:
        """What is compared with the commit."""
        return "installed" if self.imports is None else "imported"


@dataclass(frozen=True)
class Profile:
    """``[profiles.NAME]``: cells by regular expressions, all if there is none, and sampling."""

    cells: tuple[str, ...] = ()
    repeat: tuple[float, ...] = ()
    rounds: int | None = None


@dataclass(frozen=True)
class Allowance:
    """``[[counters.allowed]]``: a counter that may rise; ``params`` None stands for all cells."""

    benchmark: str
    params: tuple[int | float | str | bool, ...] | None = None
    reason: str = ""

    def allows(self, benchmark: str, params: Sequence[object]) -> bool:
        """Whether it is for a cell."""
        mine = self.params
        return self.benchmark == benchmark and (mine is None or tuple(mine) == tuple(params))


@dataclass(frozen=True)
class Counters:
    """``[counters]``: which do not repeat, by regular expressions, and which may rise."""

    noisy: tuple[str, ...] = ()
    allowed: tuple[Allowance, ...] = ()


@dataclass(frozen=True)
class Parameters:
    """``[parameters]``: what benchmarks' parameters mean."""

    variant: str | None = None
    pairs: tuple[tuple[str, ...], ...] = ()
    size: str | None = None
    suffixes: Mapping[str, str] = field(default_factory=dict)

    def told(self, names: Iterable[str], values: Iterable[object]) -> str:
        """Values of these parameters with their suffixes: ``deny 16T 64K start``."""
        named = zip(names, values, strict=True)
        return " ".join(f"{value}{self.suffixes.get(name, '')}" for name, value in named)


@dataclass(frozen=True)
class Derived:
    """``[[derived]]``: a benchmark times a product of parameters, perhaps over another benchmark.

    The product is ``factor`` times each parameter of ``powers`` to its power.
    """

    name: str
    of: str
    title: str
    unit: str
    about: str = ""
    factor: float = 1.0
    powers: Mapping[str, int] = field(default_factory=dict)
    over: str | None = None
    whole: str = "measured whole"
    scaled: str = "scaled"


@dataclass(frozen=True)
class Growth:
    """``[[growth]]``: how a quantity may grow with the size, in each series of a group."""

    of: str
    quantity: str
    size: str
    series: str
    limits: Mapping[str, float]
    by: tuple[str, ...] = ()
    at: str = ""
    title: str = ""
    margin: float | None = None
    reason: str = ""
    largest: str = "the largest size costs"


@dataclass(frozen=True)
class Attachment:
    """``[[attached]]``: a program of the environment that is asked about a regression."""

    of: str
    title: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Words:
    """``[suites.NAME]``: a title, and a sentence or two on what it is."""

    title: str
    about: str = ""


@dataclass(frozen=True)
class Named(Words):
    """``[benchmarks."NAME"]``.

    ``unlike`` cells do unlike shares of the work: a line through them would mean nothing.
    """

    unlike: bool = False


@dataclass(frozen=True)
class FrontPart:
    """``[front.part]``: around what the project's package adds to the front page."""

    title: str
    about: str = ""
    missing: str = ""
    more: str = "More"


@dataclass(frozen=True)
class FrontGrowth:
    """``[front.growth]``: around the growth exponents."""

    title: str = "How do costs grow?"
    about: str = ""
    table: str = "Growth exponents, commit by commit (newest first)"
    question: str = "Linear?"
    note: str = ""
    missing: str = "No exponent: no commit has two sizes measured or more."
    suite: str = ""
    link: str = ""


@dataclass(frozen=True)
class Front:
    """``[front]``: what the front page says."""

    title: str = "Benchmarks, commit after commit"
    part: FrontPart | None = None
    growth: FrontGrowth = FrontGrowth()


@dataclass(frozen=True)
class ProjectFile:
    """The whole file; ``text`` is what it was read from."""

    text: str = field(default="", compare=False)
    measured: Measured = Measured()
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    counters: Counters = Counters()
    parameters: Parameters = Parameters()
    derived: tuple[Derived, ...] = ()
    growth: tuple[Growth, ...] = ()
    attached: tuple[Attachment, ...] = ()
    front: Front = Front()
    suites: Mapping[str, Words] = field(default_factory=dict)
    benchmarks: Mapping[str, Named] = field(default_factory=dict)

    @property
    def measured_words(self) -> str:
        """What a change must touch to be measured: ``hbitmap_impl or setup.py``."""
        return " or ".join(self.measured.paths) or "anything"

    def is_noisy(self, name: str) -> bool:
        """Whether a benchmark is declared not to repeat."""
        return any(re.search(expression, name) for expression in self.counters.noisy)

    def suite_words(self, name: str) -> Words:
        """The title and the sentence of a suite; its own name where it is not declared."""
        return self.suites.get(name, Words(name))

    def benchmark_words(self, name: str) -> Named:
        """The title of a benchmark and what it measures."""
        return self.benchmarks.get(name, Named(name))

    def profile(self, name: str) -> Profile:
        """A profile by its name; ``quick`` and ``full`` are everywhere. ``UserError`` else."""
        known = {"quick": Profile(), "full": Profile(), **self.profiles}
        if name not in known:
            names, remedy = ", ".join(known), nearest(name, known)
            raise UserError(f"a profile is one of {names}, and {name!r} is none{remedy}")
        return known[name]


DEFAULTS: Final = ProjectFile()
"""What holds without a file."""


def read(folder: Path) -> ProjectFile:
    """The file of a folder; defaults where there is none. Raises ``UserError`` if it is wrong."""
    path = folder / FILE
    try:
        return parse(read_text(path, MOST_WRITTEN_BYTES), str(path))
    except FileNotFoundError:
        return DEFAULTS
    except (OSError, ValueError) as error:
        raise UserError(f"{path} must be readable text, and is not ({error}): mend it") from None


@lru_cache(maxsize=8)
def parse(text: str, where: str = FILE) -> ProjectFile:
    """Decode a file's text. Raises ``UserError`` in one line: the key, the value, what it takes."""
    try:
        told = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} must be TOML, and is not ({error}): mend it") from None
    try:
        found = replace(_table(ProjectFile, told, ""), text=text)
        _check(found)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    return found


def keys(kind: Any = ProjectFile, prefix: str = "") -> Iterator[str]:  # noqa: ANN401 - a type
    """Every key by its full name, such as ``growth.limits``, without names that projects choose."""
    for name, hint in _hints(kind).items():
        yield f"{prefix}{name}"
        for table in filter(is_dataclass, _leaves(hint)):
            yield from keys(table, f"{prefix}{name}.")


def _hints(kind: type) -> dict[str, Any]:
    """The keys of a table, with the types of their values."""
    return {name: hint for name, hint in get_type_hints(kind).items() if name != "text"}


def _leaves(hint: Any) -> list[Any]:  # noqa: ANN401 - a type
    """What a type is made of: ``tuple[Derived, ...] | None`` of ``Derived`` and nothing."""
    return [leaf for one in get_args(hint) for leaf in _leaves(one)] or [hint]


# ---------------------------------------------------------------- decoding


def _table(kind: type[T], told: object, where: str) -> T:
    """A dataclass from a table: no unknown keys, none missing, each value of its type."""
    name = f"[{where}]" if where else "the file"
    if not isinstance(told, dict):
        raise ValueError(f"{name} must be a table, and is {told!r}: {REMEDY}")
    hints = _hints(kind)
    for key in told:
        if key not in hints:
            raise ValueError(f"{name} takes {', '.join(hints)}, not {key!r}{nearest(key, hints)}")
    given = {key: _value(hints[key], value, _join(where, key)) for key, value in told.items()}
    try:
        return kind(**given)
    except TypeError:
        needed = [f.name for f in fields(kind) if f.default is f.default_factory is MISSING]  # type: ignore[arg-type]
        lacks = ", ".join(key for key in needed if key not in given)
        raise ValueError(f"{name} needs {lacks}, and has none: add it") from None


def _value(hint: Any, told: Any, where: str) -> Any:  # noqa: ANN401 - a type, and what is of it
    """A value of a type, lists as tuples."""
    if get_origin(hint) is UnionType:
        kinds = [one for one in get_args(hint) if one is not NoneType]
        plain = [one for one in kinds if one in SCALARS and _is(one, told)]
        return told if plain else _value(kinds[0], told, where)
    if get_origin(hint) is tuple and isinstance(told, list):
        return tuple(_value(get_args(hint)[0], one, where) for one in told)
    if get_origin(hint) is Mapping and isinstance(told, dict):
        return {key: _value(get_args(hint)[1], one, _join(where, key)) for key, one in told.items()}
    if is_dataclass(hint):
        return _table(hint, told, where)  # type: ignore[arg-type]
    if not _is(hint, told):
        raise ValueError(f"{where} must be {_said(hint)}, and is {told!r}: {REMEDY}")
    return told


def _is(kind: Any, told: object) -> bool:  # noqa: ANN401 - a type
    """Whether a plain value is of a type; whole numbers are numbers, truths are not, nor is nan."""
    if isinstance(told, float) and not math.isfinite(told):
        return False
    if isinstance(told, bool) or kind is bool:
        return kind is bool and isinstance(told, bool)
    return isinstance(told, (int, float) if kind is float else kind) if kind in SCALARS else False


def _said(hint: Any) -> str:  # noqa: ANN401 - a type
    if hint in SCALARS:
        return SCALARS[hint]
    return "a list" if get_origin(hint) is tuple else "a table"


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def nearest(name: str, known: Iterable[str]) -> str:
    """A remedy: the known name that is nearest, if any is near."""
    found = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {found[0]!r}?" if found else f": {REMEDY}"


# ---------------------------------------------------------------- rules beyond types


def _check(found: ProjectFile) -> None:
    """Raise ``ValueError`` for what has its type and can't be meant."""
    for name, profile in found.profiles.items():
        _check_regexes(f"profiles.{name}.cells", profile.cells)
        if profile.repeat and len(profile.repeat) != len(("least", "most", "seconds")):
            raise ValueError(
                f"profiles.{name}.repeat must be [least, most, seconds], and is "
                f"{list(profile.repeat)}: {REMEDY}"
            )
        if min(profile.repeat, default=0) < 0 or (
            profile.rounds is not None and profile.rounds < 1
        ):
            raise ValueError(
                f"profiles.{name} takes rounds of 1 or more and repeat of 0 or more, not "
                f"{profile.rounds} and {list(profile.repeat)}: {REMEDY}"
            )
    _check_regexes("counters.noisy", found.counters.noisy)
    for allowance in found.counters.allowed:
        if not allowance.reason.strip():
            raise ValueError(
                f"[counters.allowed] needs a reason, and {allowance.benchmark!r} has none: add it"
            )
    for pair in found.parameters.pairs:
        if len(pair) != 2:
            raise ValueError(f"parameters.pairs must be pairs, and has {list(pair)}: {REMEDY}")
    for one in found.growth:
        if not _names_alone(one.at, one.by):
            raise ValueError(
                f"growth.at may name {', '.join(one.by) or 'nothing'} in braces, and is "
                f"{one.at!r}: {REMEDY}"
            )
    for attachment in found.attached:
        _check_command(attachment)


def _names_alone(at: str, by: Sequence[str]) -> bool:
    """Whether braces hold names of ``by``, and nothing that ``str.format`` would do with them."""
    try:
        parts = list(string.Formatter().parse(at))
    except ValueError:
        return False
    return all(name is None or (name in by and not how and not to) for _, name, how, to in parts)


def _check_command(attachment: Attachment) -> None:
    if not attachment.command:
        raise ValueError(f"attached.command names a program, and is empty: {REMEDY}")
    for word in attachment.command:
        try:
            list(Formatter().parse(word))
        except ValueError as error:
            raise ValueError(
                f"attached.command has parameters in braces, and {word!r} is none such ({error}): "
                f"{REMEDY}"
            ) from None


def _check_regexes(where: str, expressions: Iterable[str]) -> None:
    for expression in expressions:
        try:
            re.compile(expression)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(
                f"{where} must be regular expressions, and has {expression!r} ({error}): {REMEDY}"
            ) from None
