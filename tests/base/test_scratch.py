"""Temporary folders: removed at the end, or by a later run; never while they are in use."""

import os
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from hbitmap_bench.base import scratch

HOLD = """
import sys
from pathlib import Path
from hbitmap_bench.base import scratch
with scratch.folder(Path(sys.argv[1])) as folder:
    (folder / "file").touch()
    print(folder, flush=True)
    sys.stdin.readline()
"""


@contextmanager
def holding(parent):
    """A program that has a folder in ``parent``, and the folder."""
    program = subprocess.Popen(
        [sys.executable, "-c", HOLD, parent],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with program:
        try:
            yield program, Path(program.stdout.readline().strip())
        finally:
            program.kill()


def test_a_folder_is_private_and_removed_with_its_content(tmp_path):
    with scratch.folder(tmp_path) as folder:
        assert folder.parent == tmp_path
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "sub").mkdir()
        (folder / "sub" / "file").touch()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_living_program_stays_and_that_of_a_killed_one_goes(tmp_path):
    with holding(tmp_path) as (program, folder):
        scratch.sweep(tmp_path)
        assert (folder / "file").exists()
        program.kill()
        program.wait()
        assert (folder / "file").exists()
        with scratch.folder(tmp_path) as own:  # looks first, too
            assert list(tmp_path.iterdir()) == [own]


def test_tmpdir_is_swept_by_default(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"{scratch.PREFIX}dead").mkdir()
    scratch.sweep()
    assert list(tmp_path.iterdir()) == []


def test_links_files_and_folders_of_others_stay(tmp_path, monkeypatch):
    target = tmp_path / "target"
    (target / "sub").mkdir(parents=True)
    (tmp_path / f"{scratch.PREFIX}link").symlink_to(target)
    (tmp_path / f"{scratch.PREFIX}file").touch()
    scratch.sweep(tmp_path)
    assert (target / "sub").exists()
    assert (tmp_path / f"{scratch.PREFIX}file").exists()
    (tmp_path / f"{scratch.PREFIX}theirs").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    scratch.sweep(tmp_path)
    assert (tmp_path / f"{scratch.PREFIX}theirs").exists()


def test_a_sweep_just_before_the_lock_is_survived(tmp_path, monkeypatch):
    make, made = tempfile.mkdtemp, []

    def swept(**options):
        made.append(make(**options))
        if len(made) == 1:
            scratch.sweep(tmp_path)
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", swept)
    with scratch.folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert len(made) == 2


@pytest.mark.parametrize("before", ["set", None])
def test_a_folder_for_all_is_tmpdir_meanwhile(tmp_path, monkeypatch, before):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if before is None:
        monkeypatch.delenv("TMPDIR", raising=False)
    else:
        monkeypatch.setenv("TMPDIR", before)
    with scratch.for_all() as folder:
        assert Path(tempfile.mkdtemp()).parent == folder
        assert os.environ["TMPDIR"] == str(folder)
    assert tempfile.tempdir == str(tmp_path)
    assert os.environ.get("TMPDIR") == before
    assert list(tmp_path.iterdir()) == []
