"""QEMU's own HBitmap: instructions of a call, which repeat on any machine, busy or not."""

from . import value


class Kernels:
    """Calls on the bitmap of 1 TiB at 64 KiB a bit, at a density of set bits."""

    param_names = ("operation", "density")
    params = (
        [
            *("next_zero", "next_dirty", "next_dirty_area", "status"),
            *("set", "reset", "merge", "iterate", "truncate"),
        ],
        ["0", "0.5", "1"],
    )
    timeout = 600

    def track_instructions(self, operation: str, density: str) -> float:
        """Of one call; not measured where the commit lacks the operation, or has another form."""
        return value("instructions", "kernel", operation, density)

    track_instructions.unit = "instructions"
