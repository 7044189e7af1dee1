"""The build-up of a backup job on the storage daemon: CPU seconds, by setup and image."""

from typing import Any

from . import sample


def facts() -> dict[str, Any]:
    """What the build has and lacks."""
    return sample("facts")


def setup_filters(setup: str, *_: object) -> None:
    """Commits without the filters have plain rows alone."""
    if setup != "plain" and facts()["lacks"]:
        raise NotImplementedError


def setup_algorithm() -> None:
    """Skip what has no filters, or a bitmap that is not known."""
    if facts()["words_exponent"] is None:
        raise NotImplementedError


def filters(setup: str) -> list[str]:
    """The option of a sample that is taken through the filters."""
    return [] if setup == "plain" else ["--filtered"]


class BuildUp:
    """From the start of the job to its first copied byte; the image has all its metadata."""

    param_names = ("setup", "image_tib", "cluster_kib", "slice_kib")
    params = (["plain", "cbw_snap"], [0.5, 1, 2, 4], [64], [4, 64])
    timeout = 1200

    def setup(self, setup: str, *_: object) -> None:
        """Commits without the filters have plain rows alone."""
        setup_filters(setup)

    def track_cpu_s(self, setup: str, image_tib: float, cluster_kib: int, slice_kib: int) -> float:
        """CPU seconds of the daemon. A sample that was disturbed fails: nothing is stored."""
        image = ("--size", f"{int(image_tib * 1024)}G", "--cluster-size", f"{cluster_kib}K")
        words = ("--l2-slice", f"{slice_kib}K", *filters(setup))
        return sample("buildup", *image, *words)["cpu_s"]

    track_cpu_s.unit = "seconds"


def track_fragmented_cpu_s(setup: str, image_gib: int) -> float:
    """CPU seconds of a build-up over an image whose runs have 64 clusters."""
    return sample("fragmented", "--size", f"{image_gib}G", *filters(setup))["cpu_s"]


track_fragmented_cpu_s.unit = "seconds"
track_fragmented_cpu_s.setup = setup_filters
track_fragmented_cpu_s.timeout = 600
track_fragmented_cpu_s.param_names = ["setup", "image_gib"]
track_fragmented_cpu_s.params = [["plain", "cbw_snap"], [64, 128, 256, 512]]


def track_overwritten_cpu_s(setup: str, image_gib: int) -> float:
    """CPU seconds of a build-up after the guest has overwritten the whole disk."""
    return sample("overwritten", "--size", f"{image_gib}G")["cpu_s"]


track_overwritten_cpu_s.unit = "seconds"
track_overwritten_cpu_s.setup = setup_filters
track_overwritten_cpu_s.timeout = 600
track_overwritten_cpu_s.param_names = ["setup", "image_gib"]
track_overwritten_cpu_s.params = [["cbw_snap"], [128, 256, 512, 1024]]


def track_pulled_cpu_s(setup: str, image_gib: int) -> float:
    """CPU seconds of a pass of block status over NBD, by the commit's own qemu-img."""
    return sample("pulled", "--size", f"{image_gib}G", *filters(setup))["cpu_s"]


track_pulled_cpu_s.unit = "seconds"
track_pulled_cpu_s.setup = setup_filters
track_pulled_cpu_s.timeout = 600
track_pulled_cpu_s.param_names = ["setup", "image_gib"]
track_pulled_cpu_s.params = [["plain", "cbw_snap"], [512, 1024, 2048, 4096]]


def track_peak_bytes(setup: str, image_gib: int) -> int:
    """The daemon's largest resident set in a build-up."""
    return sample("memory", "--size", f"{image_gib}G", *filters(setup))["peak_bytes"]


track_peak_bytes.unit = "bytes"
track_peak_bytes.setup = setup_filters
track_peak_bytes.timeout = 600
track_peak_bytes.param_names = ["setup", "image_gib"]
track_peak_bytes.params = [["plain", "cbw_snap"], [1024]]


def track_words_exponent() -> int:
    """The detected algorithm: 2 for the access bitmap, 1 for the deny bitmap."""
    return facts()["words_exponent"]


track_words_exponent.unit = "exponent"
track_words_exponent.setup = setup_algorithm
