"""The build-up of a backup job on the storage daemon: CPU seconds, by setup and size."""

from typing import Any

from . import sample


class BuildUp:
    """From the start of the job to its first copied byte; the image has all its metadata."""

    param_names = ("setup", "image_tib", "cluster_kib")
    params = (["plain", "cbw_snap"], [1, 2, 4], [64])
    timeout = 1200

    def setup_cache(self) -> dict[str, Any]:
        """What the build has and lacks."""
        return sample("facts")

    def setup(self, facts: dict[str, Any], setup: str, image_tib: float, cluster_kib: int) -> None:
        """Commits without the filters have plain rows alone."""
        if setup != "plain" and facts["lacks"]:
            raise NotImplementedError

    def track_cpu_s(
        self, facts: dict[str, Any], setup: str, image_tib: float, cluster_kib: int
    ) -> float:
        """CPU seconds of the daemon. A sample that was disturbed fails: nothing is stored."""
        words = ["--filtered"] if setup == "cbw_snap" else []
        size = ("--size", f"{int(image_tib * 1024)}G", "--cluster-size", f"{cluster_kib}K")
        return sample("buildup", *size, *words)["cpu_s"]

    track_cpu_s.unit = "seconds"


def setup_algorithm() -> None:
    """Skip what has no filters, or a bitmap that is not known."""
    if sample("facts")["words_exponent"] is None:
        raise NotImplementedError


def track_words_exponent() -> int:
    """The detected algorithm: 2 for the access bitmap, 1 for the deny bitmap."""
    return sample("facts")["words_exponent"]


track_words_exponent.unit = "exponent"
track_words_exponent.setup = setup_algorithm
