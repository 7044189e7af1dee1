"""The page cache: what a file stores is read into it, and what is in it is counted."""

import os

import pytest

from hbitmap_bench.qemu.page_cache import cached_share, warm

PIECE = 4 * 2**20
HOLE = 64 * 2**20


@pytest.fixture
def sparse(tmp_path):
    """Two pieces of data with a hole between them, all of it on the disk."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.write(os.urandom(PIECE))
        file.seek(HOLE)
        file.write(os.urandom(PIECE))
        file.flush()
        os.fsync(file.fileno())
    return path


def evict(path, offset=0, length=0):
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), offset, length, os.POSIX_FADV_DONTNEED)


def test_share_is_of_what_the_file_stores(sparse):
    assert cached_share(sparse) == 1.0
    evict(sparse, HOLE, PIECE)
    assert cached_share(sparse) == 0.5
    evict(sparse)
    assert cached_share(sparse) == 0.0


def test_what_was_evicted_is_read_again(sparse):
    evict(sparse)
    warm(sparse)
    assert cached_share(sparse) == 1.0


def test_asking_reads_nothing(sparse):
    evict(sparse)
    cached_share(sparse)
    assert cached_share(sparse) == 0.0


@pytest.mark.parametrize("size", [0, HOLE])
def test_a_file_that_stores_nothing_lacks_nothing(tmp_path, size):
    path = tmp_path / "nothing"
    path.touch()
    os.truncate(path, size)
    warm(path)
    assert cached_share(path) == 1.0
