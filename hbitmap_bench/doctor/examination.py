"""An examination of a host: what each command finds and lacks there, and the noise to expect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hbitmap_bench.doctor.host import Host
from hbitmap_bench.doctor.needs import MAIN, NEEDS, Need, Part
from hbitmap_bench.doctor.noise import Noise, noises


@dataclass(frozen=True, slots=True)
class Examination:
    """``found`` has each part, with where or what it is, or None."""

    found: Mapping[Part, str | None]
    noises: tuple[Noise, ...]

    def lacks(self, command: str) -> list[Need]:
        """What the command needs, and is missing."""
        return [need for need in NEEDS[command] if self.found[need.part] is None]

    def can_run(self, command: str) -> bool:
        """Whether nothing is missing that it can't do without."""
        return all(need.lost is not None for need in self.lacks(command))

    @property
    def exit_code(self) -> int:
        """0 where the main job can run, else 1."""
        return 0 if self.can_run(MAIN) else 1


def examine(host: Host) -> Examination:
    """Look for all parts. No program is run; one small file is written, and removed."""
    parts = dict.fromkeys(need.part for needs in NEEDS.values() for need in needs)
    return Examination({part: part.find(host) for part in parts}, tuple(noises(host)))
