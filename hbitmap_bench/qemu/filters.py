"""The set-ups that are compared: no filter, an access bitmap, a deny bitmap."""

from __future__ import annotations

from typing import Final, Literal

Setup = Literal["plain", "access", "deny"]
Detected = Literal["access", "deny", "unknown"]

SETUPS: Final[tuple[Setup, ...]] = ("plain", "access", "deny")
LONG_NAMES: Final[dict[Setup, str]] = {
    "plain": "blockdev-backup (no filter)",
    "access": "cbw + snap (access bitmap)",
    "deny": "cbw + snap + patches (deny bitmap)",
}
