"""What the suites share: data that is built once a process, and skipping what a commit lacks."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

TIB = 2**40
KIB = 2**10

Function = TypeVar("Function", bound=Callable[..., object])


def benchmark(
    *, version: str, timeout: float, **attributes: object
) -> Callable[[Function], Function]:
    """Give one benchmark its attributes: the version of what it measures, seconds until it failed.

    The version is explicit, since asv otherwise takes a digest of the source, and a reworded
    comment would orphan the history. Raise it when the benchmark measures something else.
    """

    def give(function: Function) -> Function:
        for name, value in {"version": version, "timeout": timeout, **attributes}.items():
            setattr(function, name, value)
        return function

    return give


class Suite(ABC):
    """Benchmarks over data that is built and pre-faulted before anything is timed.

    asv-runner calls ``setup`` before *every* timed call, so the data is built in the first call
    only; asv runs each parameter set in a process of its own. It also warms up before it measures.

    Two rounds of four calls or more: with fewer than eight samples a side no comparison that asv
    makes can ever fire. Calls last a millisecond or so at least, as one call is one sample.
    """

    number: ClassVar = 1
    rounds: ClassVar = 2
    repeat: ClassVar = (4, 10, 1.0)  # calls a round: at least, at most, unless so many seconds pass
    warmup_time: ClassVar = 0.05

    _prepared: tuple[object, ...] | None = None

    def setup(self, *parameters: object) -> None:
        """Build the data, once; then whatever each call needs anew."""
        if self._prepared != parameters:
            self.prepare(*parameters)
            testify()
            self._prepared = parameters
        self.renew()

    @abstractmethod
    def prepare(self, *parameters: Any) -> None:  # noqa: ANN401 - each suite names its own
        """Build the data of these parameters, and touch all of it."""

    def renew(self) -> None:  # noqa: B027 - most suites change nothing
        """Undo what a timed call did to the data."""


def provided(module: str, name: str) -> Any:  # noqa: ANN401 - whatever the commit has
    """``name`` of ``hbitmap_impl.module`` as the commit has it.

    Raises ``NotImplementedError``, which asv takes for *skip this*, if the commit has no such
    module or name. A module that is there and cannot be imported fails.
    """
    full_name = f"hbitmap_impl.{module}"
    try:
        found = importlib.import_module(full_name)
    except ModuleNotFoundError as error:
        if error.name != full_name:
            raise
        raise NotImplementedError(f"this commit has no {full_name}") from error
    if not hasattr(found, name):
        raise NotImplementedError(f"this commit's {full_name} has no {name}")
    return getattr(found, name)


def testify() -> None:
    """Tell the harness which files of ``hbitmap_impl`` this process has imported, if it asks.

    It asks by naming a folder; asv names the commit that it has installed. A file's digest is its
    blob id, as git would give it. Processes that imported the same write the same file.
    """
    folder = os.environ.get("HBITMAP_BENCH_EVIDENCE")
    if not folder:
        return
    files = {}
    for name, module in sys.modules.items():
        if name.split(".")[0] == "hbitmap_impl" and module.__file__:
            path = Path(module.__file__)
            data = path.read_bytes()
            # all modules are in the package's own folder
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
            files[f"{path.parent.name}/{path.name}"] = blob.hexdigest()
    told = json.dumps({"commit": os.environ.get("ASV_COMMIT"), "files": files}, sort_keys=True)
    target = Path(folder, hashlib.sha1(told.encode(), usedforsecurity=False).hexdigest())
    unfinished = target.with_suffix(f".{os.getpid()}")
    unfinished.write_text(told)
    unfinished.replace(target)


def exhaust(calls: Iterable[object]) -> None:
    """Run an iterator to its end and keep nothing: the cheapest loop that Python has."""
    deque(calls, maxlen=0)
