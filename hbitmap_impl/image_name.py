"""Names of images by QEMU's options: ``json:{"driver": "qcow2", "file": {"filename": ...}}``.

Management layers store them as names of backing files. What they mean is as observed in QEMU.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from hbitmap_impl.host_file import ImageError, UnsupportedImage

JSON: Final = "json:"

_FORMATS: Final[tuple[str | None, ...]] = ("qcow2", "raw", None)
FILES: Final = ("file", "host_device")
"""Drivers of files and of block devices."""

_REMEDY: Final = "name its path, or open it with QEMU and read it over NBD"

_CHANGING: Final = ("offset", "size", "backing", "data-file", "encrypt", "l2-cache")
"""Options of a format, or how they begin, that change what is read or how far answers reach."""


class Named(NamedTuple):
    """A local file, relative to the current folder, and the format that it is opened as, if any."""

    path: Path
    format: str | None


def by_options(name: str, what: str) -> Named:
    """What a ``json:`` name stands for; ``what`` is what errors call it, with its article.

    Options may be nested or have dotted keys. A relative file name is relative to the current
    folder, not to the image that it stands in. ``format`` may be the file's own driver. Raises
    ``ImageError`` for text that is no JSON, an option that is not followed here, and what is in no
    local file, which is named by its driver.
    """
    options = dict(_flat(_parsed(name, what)))
    above, driver, layers = "", options.get("driver"), _FORMATS
    format_ = driver
    while driver in layers:
        _refuse_changing(options, above, what)
        above += "file."
        driver, layers = options.get(above + "driver", "file"), ("raw",)
    if driver not in FILES:
        raise UnsupportedImage(f"{what} is qcow2 or raw in a local file", repr(driver), _REMEDY)
    path = options.get(f"{above}filename")
    if not isinstance(path, str) or not path:
        raise UnsupportedImage(
            f"{what} by options has a file name", f"{path!r} as {above}filename", _REMEDY
        )
    return Named(Path(path), None if format_ is None else str(format_))


def _parsed(name: str, what: str) -> Mapping[str, object]:
    try:
        found = json.loads(name.removeprefix(JSON))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ImageError(f"{what} by options is a JSON object", repr(name), _REMEDY)
    return found


def _flat(options: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    """Options with dotted keys."""
    for key, value in options.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield above + key, value


def _refuse_changing(options: Mapping[str, object], above: str, what: str) -> None:
    for key in options:
        if key.startswith(tuple(above + option for option in _CHANGING)):
            raise UnsupportedImage(
                f"{what} is read as its file is stored", f"with the option {key}", _REMEDY
            )
