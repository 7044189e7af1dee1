"""Measurement records: immutable, with their units in their names, as JSON of schema 3.

``CellRecord`` is one row, ``GrowthRecord`` one fitted exponent,
``Reproduction`` a whole session with its host and commit. ``Reproduction.to_json`` and
``from_json`` are each other's inverse; the keys are the names of the fields. Files of schema 2,
which does not tell the command, and of schema 1, which has wall seconds alone, are read too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, Self, Union, get_args, get_origin, get_type_hints

from hbitmap_bench import __version__
from hbitmap_bench.base.errors import UserError
from hbitmap_bench.base.host import commit_of_sources, host_facts
from hbitmap_bench.base.output import in_lines, write_atomic
from hbitmap_bench.base.printable import printable
from hbitmap_bench.base.reading import read_text
from hbitmap_bench.qemu.account import Run
from hbitmap_bench.qemu.filters import Detected, Setup
from hbitmap_bench.reproduction.disturbance import counted

Source = Literal["published", "model", "qemu"]
Mode = Literal["published", "exact", "sampled", "measured"]
IntervalKind = Literal["prediction95", "min_max"]
WordsSource = Literal["counted", "closed_form"]

SCHEMA: Final = 3
_KNOWN: Final = range(1, SCHEMA + 1)
HostFacts = Mapping[str, str | int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRecord:
    """One row: a setup at one image size and cluster size, from one source.

    ``None`` stands where a value does not apply or was not measured. ``elapsed_s`` are wall
    seconds, ``cpu_s`` CPU seconds: medians of the runs that count, or means of a sample's passes.
    ``interval_s``, ``extra_s`` and the scan rate are of ``work_s``. ``disturbed`` says why no run
    counts: such a row has seconds, and nothing is derived from them. ``failed`` is what the build's
    daemon said last: such a row has no seconds, and of its runs those before.
    """

    source: Source
    setup: Setup
    image_bytes: int
    cluster_bytes: int
    copy_cluster_bytes: int
    l2_slice_bytes: int
    l2_entry_bytes: int = 8
    mode: Mode
    build: str | None = None
    detected: Detected | None = None
    elapsed_s: float | None = None
    cpu_s: float | None = None
    disturbed: str | None = None
    interval_s: tuple[float, float] | None = None
    interval_kind: IntervalKind | None = None
    runs: tuple[Run, ...] = ()
    queries: int | None = None
    words_examined: int | None = None
    words_source: WordsSource | None = None
    extra_s: float | None = None
    scan_rate_words_s: float | None = None
    failed: str | None = None

    @property
    def work_s(self) -> float | None:
        """The seconds that rows are compared by; None for a row without, or a disturbed one.

        CPU seconds, since a build-up is the processor's work; wall seconds of published rows and
        of files of schema 1, which have no others.
        """
        if self.disturbed is not None:
            return None
        return self.elapsed_s if self.cpu_s is None else self.cpu_s

    @property
    def n_runs(self) -> int:
        """Runs that count."""
        return len(counted(self.runs))


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthRecord:
    """A growth exponent: the slope of log seconds over log image size in one slice regime."""

    source: Source
    setup: Setup
    cluster_bytes: int
    l2_slice_bytes: int
    build: str | None = None
    exponent: float | None = None
    interval: tuple[float, float] | None = None
    extra_exponent: float | None = None
    extra_interval: tuple[float, float] | None = None
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """One run of ``reproduce`` or ``releases``: its rows, its exponents, and where it ran.

    ``created`` is ISO 8601 in UTC; ``commit`` is that of the measured sources, with ``-dirty``
    behind it where tracked files differed, or ``None`` outside a checkout. ``about_builds`` is what
    its user says of the real builds, in Markdown. ``command`` is the command line that measures the
    same again, with PATH for each path; None in files of earlier schemas.
    """

    created: str
    commit: str | None
    tool_version: str
    host: HostFacts
    cells: tuple[CellRecord, ...]
    growth: tuple[GrowthRecord, ...]
    about_builds: str | None = None
    command: str | None = None

    @classmethod
    def of_this_run(
        cls,
        cells: Sequence[CellRecord],
        growth: Sequence[GrowthRecord],
        about_builds: str | None = None,
        command: str | None = None,
    ) -> Self:
        """Rows and exponents with the present time, commit, version and host around them."""
        return cls(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            commit=commit_of_sources(),
            tool_version=__version__,
            host=host_facts(),
            cells=tuple(cells),
            growth=tuple(growth),
            about_builds=about_builds,
            command=command,
        )

    def to_json(self) -> str:
        """JSON of schema 3, a line for each record, ended by a newline.

        Raises ``UserError`` where a field holds what the schema does not allow: a number that is
        not finite, a wrong type.
        """
        # Through plain lists, since the check reads what JSON will hold.
        document = json.loads(json.dumps({"schema": SCHEMA, **asdict(self)}))
        _reproduction(document)
        for cell in document["cells"]:
            cell["runs"] = [_without_nulls(run, Run) for run in cell["runs"]]
        document["cells"] = [_without_nulls(cell, CellRecord) for cell in document["cells"]]
        return in_lines(document)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote, or a file of schema 1 or 2.

        Strict: raises ``UserError`` for text that is no JSON, another schema, a missing or an
        unknown key, a wrong type, a number that is not finite, an interval whose ends are swapped.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"a report's data is JSON, not this ({error}): {_REMEDY}") from error
        return cls(**_reproduction(document))

    def save(self, path: Path) -> None:
        """Write ``to_json()`` to ``path``, whole or not at all. Raises ``UserError``."""
        write_atomic(path, self.to_json().encode())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``path``. Raises ``UserError`` where it can't be read or ``from_json`` refuses."""
        try:
            return cls.from_json(read_text(path))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: a report's data must be readable, and is not ({error}): {_REMEDY}"
            ) from error
        except UserError as error:
            raise UserError(f"{path}: {error}") from error


def _without_nulls(record: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    left_out = _LEFT_OUT[kind]
    return {key: value for key, value in record.items() if value is not None or key not in left_out}


_REMEDY: Final = "write it again with hbitmap-bench reproduce --json"
_POSITIVE: Final = {
    "image_bytes", "cluster_bytes", "copy_cluster_bytes", "l2_slice_bytes", "l2_entry_bytes"
}  # fmt: skip
_ACCOUNT: Final = {"wall_s", "cpu_s", "waited_s", "read_bytes", "steal_s"}
"""Keys that each run has."""

_LEFT_OUT: Final = {
    Run: {field.name for field in fields(Run)} - _ACCOUNT,
    CellRecord: {"failed"},
    GrowthRecord: set[str](),
    Reproduction: set[str](),
}
"""Keys that are left out where they are None: earlier files of this schema have not got them."""

_MOST: Final = 2**63 - 1
_ORDERED: Final = {"interval_s", "interval", "extra_interval"}


def _reproduction(document: object) -> dict[str, Any]:
    """Check a whole JSON document; return the fields of a ``Reproduction``."""
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(document, dict) or type(schema) is not int or schema not in _KNOWN:
        raise UserError(f"a report's data has schema 1 to {SCHEMA}, not {schema!r}: {_REMEDY}")
    if schema == 1:
        document = _from_schema_1(document)
    if schema < SCHEMA:
        document = document | {"command": None}
    known = {key: value for key, value in document.items() if key != "schema"}
    _require_keys(known, Reproduction, "the document")
    return {
        "created": _utc(known["created"]),
        "commit": _decode(known["commit"], str | None, "commit"),
        "tool_version": _decode(known["tool_version"], str, "tool_version"),
        "host": _host(known["host"]),
        "cells": _records(known["cells"], CellRecord, "cells"),
        "growth": _records(known["growth"], GrowthRecord, "growth"),
        "about_builds": _decode(known["about_builds"], str | None, "about_builds"),
        "command": _decode(known["command"], str | None, "command"),
    }


def _from_schema_1(document: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 has a list of wall seconds where schema 2 has runs, and no account of them."""
    cells, more = document.get("cells"), {"about_builds": None}
    if not isinstance(cells, list):
        return document | more
    return document | more | {"cells": [_cell_from_schema_1(cell) for cell in cells]}


def _cell_from_schema_1(cell: Any) -> Any:  # noqa: ANN401 - whatever the JSON holds
    if not isinstance(cell, dict) or not isinstance(cell.get("runs_s"), list):
        return cell  # refused as any other that lacks a key
    empty = dict.fromkeys(_ACCOUNT)
    runs = [empty | {"wall_s": seconds} for seconds in cell["runs_s"]]
    rest = {key: value for key, value in cell.items() if key != "runs_s"}
    return rest | {"cpu_s": None, "disturbed": None, "runs": runs}


def _utc(value: object) -> str:
    text: str = _decode(value, str, "created")
    try:
        offset = datetime.fromisoformat(text).utcoffset()
    except ValueError:
        offset = None
    if offset != timedelta(0):
        raise _refusal("created", "be an ISO 8601 time in UTC", text)
    return text


def _host(value: object) -> dict[str, str | int | None]:
    if not isinstance(value, dict):
        raise _refusal("host", "be an object", value)
    return {key: _decode(fact, str | int | None, f"host.{key}") for key, fact in value.items()}


def _records(value: object, kind: type[Any], where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _refusal(where, "be a list", value)
    return tuple(_record(row, kind, f"{where}[{index}]") for index, row in enumerate(value))


def _record(value: object, kind: type[Any], where: str) -> Any:  # noqa: ANN401 - of that kind
    if not isinstance(value, dict):
        raise _refusal(where, "be an object", value)
    _require_keys(value, kind, where)
    hints = get_type_hints(kind)
    decoded = {key: _decode(value[key], hints[key], f"{where}.{key}") for key in value}
    for key in _POSITIVE & decoded.keys():
        if decoded[key] <= 0:
            raise _refusal(f"{where}.{key}", "be above 0", decoded[key])
    for key in _ORDERED & decoded.keys():
        if decoded[key] is not None and decoded[key][0] > decoded[key][1]:
            raise _refusal(f"{where}.{key}", "be an interval, its lower end first", decoded[key])
    return kind(**decoded)


def _require_keys(value: Mapping[str, object], kind: type[Any], where: str) -> None:
    names = {field.name for field in fields(kind)}
    if missing := sorted(names - _LEFT_OUT[kind] - value.keys()):
        raise _refusal(where, f"have the key {missing[0]}", "go without")
    if unknown := sorted(value.keys() - names):
        raise _refusal(where, f"have keys of schema {SCHEMA} alone", unknown[0])


def _decode(value: object, hint: Any, where: str) -> Any:  # noqa: ANN401 - as the hint says
    """Check one JSON value against a field's type; lists become tuples, ints floats."""
    if get_origin(hint) in (Union, UnionType):
        return _decode_union(value, get_args(hint), where)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise _refusal(where, "be one of " + ", ".join(get_args(hint)), value)
        return value
    if hint is Run:
        return _record(value, Run, where)
    if get_origin(hint) is tuple:
        return _decode_tuple(value, get_args(hint), where)
    if hint is float and type(value) in (int, float):
        return _finite(value, where)
    if type(value) is not hint:  # also keeps true and false out of the numbers
        raise _refusal(where, f"be of type {hint.__name__}", value)
    if type(value) is int and not -_MOST <= value <= _MOST:
        raise _refusal(where, "fit into 64 bits", value)
    return value


def _decode_union(value: object, choices: tuple[Any, ...], where: str) -> Any:  # noqa: ANN401 - as the hint says
    if value is None and NoneType in choices:
        return None
    kinds = [choice for choice in choices if choice is not NoneType]
    fitting = [kind for kind in kinds if type(value) is kind]
    return _decode(value, (fitting or kinds)[0], where)


def _decode_tuple(value: object, kinds: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    repeated = kinds[-1] is Ellipsis
    if not isinstance(value, list) or not (repeated or len(value) == len(kinds)):
        raise _refusal(where, "be a list" if repeated else f"be a list of {len(kinds)}", value)
    hints = [kinds[0]] * len(value) if repeated else kinds
    pairs = zip(value, hints, strict=True)
    return tuple(_decode(item, hint, f"{where}[{i}]") for i, (item, hint) in enumerate(pairs))


def _finite(value: Any, where: str) -> float:  # noqa: ANN401 - an int or a float
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _refusal(where, "be a finite number", value)
    return number


def _refusal(where: str, rule: str, value: object) -> UserError:
    shown = printable(str(value))
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return UserError(f"in a report's data, {where} must {rule}, not {shown}: {_REMEDY}")
