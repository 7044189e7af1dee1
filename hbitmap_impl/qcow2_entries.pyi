from typing import Final

INVALID: Final[int]
UNALLOCATED: Final[int]
RESERVED: Final[int]
ZERO_PLAIN: Final[int]
ZERO_ALLOC: Final[int]
NORMAL: Final[int]
COMPRESSED: Final[int]

class EntryReader:
    def __init__(self, cluster_bits: int, extended: bool, external: bool) -> None: ...
    def run(self, piece: bytes, index: int, sub: int, n_clusters: int) -> tuple[int, int, int]: ...
