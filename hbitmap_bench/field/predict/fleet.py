"""All images in a folder and below it, and all that is there and no image."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.field.predict.knobs import AS_IT_IS, Knob
from hbitmap_bench.field.predict.prediction import Counted, Prediction, count_as_it_is
from hbitmap_bench.field.predict.subject import Subject, of_file

RAW: Final = (".raw", ".img")
"""How names of raw images end here: by its content any file may be one."""


class Refused(NamedTuple):
    """A file, or a folder, of which nothing is predicted."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """Predictions, the longest stall first, and what was refused. Names are below ``folder``."""

    folder: Path
    images: tuple[Prediction, ...]
    refused: tuple[Refused, ...]

    def name(self, one: Prediction) -> str:
        """The image's path below the folder."""
        return os.path.relpath(one.subject.name, self.folder)


def walk_fleet(
    folder: Path, advance: Callable[[float], object]
) -> tuple[list[tuple[Subject, dict[Knob, Counted]]], list[Refused]]:
    """Count each image as it is. ``advance`` is told each step's share of the work.

    Links to folders are not followed. Raises ``UserError`` where there is no file at all.
    """
    refused: list[Refused] = []
    paths = sorted(_files(folder, refused))
    if not paths and not refused:
        raise UserError(f"a fleet is a folder with images, and {folder} has no file: name another")
    walked = []
    for path in paths:
        try:
            subject = _subject(path)
            walked.append((subject, {AS_IT_IS: count_as_it_is(subject)}))
        except UserError as error:
            reason = str(error).removeprefix(str(path)).removeprefix(":").strip()
            refused.append(Refused(os.path.relpath(path, folder), reason))
        advance(1 / len(paths))
    return walked, refused


def _files(folder: Path, refused: list[Refused]) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        name = os.path.relpath(error.filename, folder)
        refused.append(Refused(name, f"can't be listed: {error.strerror}"))

    for place, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(place, name) for name in names)


def _subject(path: Path) -> Subject:
    if not path.is_file():  # a pipe would be waited for
        raise UserError("an image of a fleet is a regular file: predict for another by its name")
    subject = of_file(path)
    if subject.format == "raw" and path.suffix.lower() not in RAW:
        raise UserError("an image begins as qcow2, or its name ends in .raw or .img")
    return subject
