"""The build-up of a backup job on the storage daemon: CPU seconds, by setup and image.

Commits without the filters have plain rows alone.
"""

from . import value


def filters(setup: str) -> list[str]:
    """The option of a sample that is taken through the filters."""
    return [] if setup == "plain" else ["--filtered"]


class BuildUp:
    """From the start of the job to its first copied byte; the image has all its metadata."""

    param_names = ("setup", "image_tib", "cluster_kib", "slice_kib")
    params = (["plain", "cbw_snap"], [0.5, 1, 2, 4], [64], [4, 64])
    timeout = 1200

    def track_cpu_s(self, setup: str, image_tib: float, cluster_kib: int, slice_kib: int) -> float:
        """CPU seconds of the daemon. A sample that was disturbed fails: nothing is stored."""
        image = ("--size", f"{int(image_tib * 1024)}G", "--cluster-size", f"{cluster_kib}K")
        words = ("--l2-slice", f"{slice_kib}K", *filters(setup))
        return value("cpu_s", "buildup", *image, *words)

    track_cpu_s.unit = "seconds"


def track_fragmented_cpu_s(setup: str, image_gib: int) -> float:
    """CPU seconds of a build-up over an image whose runs have 64 clusters."""
    return value("cpu_s", "fragmented", "--size", f"{image_gib}G", *filters(setup))


track_fragmented_cpu_s.unit = "seconds"
track_fragmented_cpu_s.timeout = 600
track_fragmented_cpu_s.param_names = ["setup", "image_gib"]
track_fragmented_cpu_s.params = [["plain", "cbw_snap"], [64, 128, 256, 512]]


def track_overwritten_cpu_s(setup: str, image_gib: int) -> float:
    """CPU seconds of a build-up after the guest has overwritten the whole disk."""
    return value("cpu_s", "overwritten", "--size", f"{image_gib}G")


track_overwritten_cpu_s.unit = "seconds"
track_overwritten_cpu_s.timeout = 600
track_overwritten_cpu_s.param_names = ["setup", "image_gib"]
track_overwritten_cpu_s.params = [["cbw_snap"], [128, 256, 512, 1024]]


def track_pulled_cpu_s(setup: str, image_gib: int) -> float:
    """CPU seconds of a pass of block status over NBD, by the commit's own qemu-img."""
    return value("cpu_s", "pulled", "--size", f"{image_gib}G", *filters(setup))


track_pulled_cpu_s.unit = "seconds"
track_pulled_cpu_s.timeout = 600
track_pulled_cpu_s.param_names = ["setup", "image_gib"]
track_pulled_cpu_s.params = [["plain", "cbw_snap"], [512, 1024, 2048, 4096]]


def track_half_denied_cpu_s(setup: str, image_gib: int) -> float:
    """CPU seconds of a pass of block status over every other run of a disk, a request a run.

    The filter denies the runs between, by its bitmap argument; plain, they are not asked for.
    """
    return value("cpu_s", "half-denied", "--size", f"{image_gib}G", *filters(setup))


track_half_denied_cpu_s.unit = "seconds"
track_half_denied_cpu_s.timeout = 600
track_half_denied_cpu_s.param_names = ["setup", "image_gib"]
track_half_denied_cpu_s.params = [["plain", "cbw_snap"], [32, 64, 128, 256]]


def track_queries(setup: str, image_gib: int) -> float:
    """Questions that a build-up asks the disk; not measured where the build has no trace."""
    return value("queries", "queries", "--size", f"{image_gib}G", *filters(setup))


track_queries.unit = "queries"
track_queries.timeout = 600
track_queries.param_names = ["setup", "image_gib"]
track_queries.params = [["plain", "cbw_snap"], [64, 128, 256, 512]]


def track_peak_bytes(setup: str, image_gib: int) -> float:
    """The daemon's largest resident set in a build-up."""
    return value("peak_bytes", "memory", "--size", f"{image_gib}G", *filters(setup))


track_peak_bytes.unit = "bytes"
track_peak_bytes.timeout = 600
track_peak_bytes.param_names = ["setup", "image_gib"]
track_peak_bytes.params = [["plain", "cbw_snap"], [1024]]


def track_words_exponent() -> float:
    """The detected algorithm: 2 for the access bitmap, 1 for the deny bitmap."""
    return value("words_exponent", "facts")


track_words_exponent.unit = "exponent"
