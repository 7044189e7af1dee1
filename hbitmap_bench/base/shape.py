"""Whether a record that was made of a file's values has the types that its class declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def checked(record: T) -> T:
    """The record, a dataclass. Raises ``ValueError`` for a field of another type."""
    hints = get_type_hints(type(record))
    for one in fields(record):  # type: ignore[arg-type]
        if not _is(getattr(record, one.name), hints[one.name]):
            raise ValueError(f"{one.name} is {getattr(record, one.name)!r}")
    return record


def _is(value: object, hint: Any) -> bool:  # noqa: ANN401 - a type
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_is(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin in (tuple, Sequence):
        return isinstance(value, (list, tuple)) and all(_is(one, parts[0]) for one in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            _is(key, parts[0]) and _is(one, parts[1]) for key, one in value.items()
        )
    return _is_plain(value, hint)


def _is_plain(value: object, hint: Any) -> bool:  # noqa: ANN401 - a type
    if hint is Any or hint is object:
        return True
    if is_dataclass(hint):
        return isinstance(value, hint) and checked(value) is value  # type: ignore[arg-type]
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, NoneType if hint is None else (int, float) if hint is float else hint)
