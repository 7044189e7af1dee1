"""Images that are named by QEMU's options: what the real qemu-img reads by them, and we too."""

import json
import subprocess
from pathlib import Path

import pytest

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.field.predict.subject import of_file
from hbitmap_impl.host_file import ImageError
from hbitmap_impl.qcow2 import Qcow2Image

M = 2**20


@pytest.fixture(autouse=True)
def folder(qemu_img, qemu_io, tmp_path, monkeypatch):
    """The current folder, with base files in it; overlays are in another one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "overlays").mkdir()
    for name in ("base.qcow2", "a:b.qcow2", "overlays/beside.qcow2"):
        subprocess.run([qemu_img, "create", "-q", "-f", "qcow2", tmp_path / name, "4M"], check=True)
        write = [qemu_io, "-f", "qcow2", "-c", "write -q 1M 192k", tmp_path / name]
        subprocess.run(write, check=True)
    return tmp_path


def mapped(qemu_img, *words):
    """What ``qemu-img map`` says, or None where it fails."""
    done = subprocess.run(
        [qemu_img, "map", "--output=json", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return None
    names = ("start", "length", "depth", "present", "zero", "data")
    return [
        (*(extent[name] for name in names), extent.get("offset"))
        for extent in json.loads(done.stdout)
    ]


def over(qemu_img, folder, options, format_):
    """An overlay whose backing file is named by options."""
    path = folder / "overlays" / "over.qcow2"
    name = f"json:{json.dumps(options)}"
    words = ["-f", "qcow2", "-b", name, "-F", format_, path, "4M"]
    subprocess.run([qemu_img, "create", "-q", "-u", *words], check=True)
    return path


FILE = {"driver": "file", "filename": "base.qcow2"}


@pytest.mark.parametrize(
    ("options", "format_"),
    [
        ({"driver": "qcow2", "file": FILE}, "qcow2"),
        ({"driver": "qcow2", "file": FILE}, "raw"),
        ({"driver": "raw", "file": FILE}, "raw"),
        ({"driver": "raw", "file": FILE}, "qcow2"),
        ({"driver": "qcow2", "file.driver": "file", "file.filename": "base.qcow2"}, "qcow2"),
        ({"driver": "qcow2", "file.filename": "base.qcow2"}, "qcow2"),
        ({"file": {"filename": "./base.qcow2"}}, "qcow2"),
        ({"driver": "qcow2", "file": {"filename": "a:b.qcow2"}}, "qcow2"),
        ({"driver": "qcow2", "file": {"driver": "raw", "file": FILE}}, "qcow2"),
        ({"driver": "qcow2", "node-name": "n", "file": {**FILE, "locking": "off"}}, "qcow2"),
    ],
)
def test_a_backing_file_named_by_options(qemu_img, folder, options, format_):
    path = over(qemu_img, folder, options, format_)
    expected = mapped(qemu_img, path)
    assert expected
    with Qcow2Image(path) as image:
        assert [tuple(extent) for extent in image.map()] == expected
    assert of_file(path).has_backing


@pytest.mark.parametrize(
    "options",
    [
        {"driver": "qcow2", "file": {**FILE, "filename": "beside.qcow2"}},  # not the current folder
        {"driver": "qcow2", "filename": "base.qcow2"},
        {"driver": "qcow2", "file": {"filename": "file:base.qcow2"}},
        {"driver": "qcow2", "file": "base.qcow2"},
        {"driver": "qcow2", "file": {"file": {"filename": "base.qcow2"}}},
        {"driver": "qcow2", "file": {"driver": "nbd", "host": "localhost", "port": "1"}},
        {},
    ],
)
def test_what_qemu_refuses_is_refused(qemu_img, folder, options):
    path = over(qemu_img, folder, options, "qcow2")
    assert mapped(qemu_img, path) is None
    with pytest.raises(ImageError):
        Qcow2Image(path)


def test_a_relative_name_says_what_it_is_relative_to(qemu_img, folder, monkeypatch):
    path = over(qemu_img, folder, {"driver": "qcow2", "file": FILE}, "qcow2")
    monkeypatch.chdir(path.parent)
    with pytest.raises(ImageError, match="from the folder that this name is relative to"):
        Qcow2Image(path)


@pytest.mark.parametrize(
    "options", [{"driver": "qcow2", "file": FILE}, {"file.filename": "base.qcow2"}]
)
def test_an_image_itself_may_be_named_by_options(qemu_img, folder, options):
    name = f"json:{json.dumps(options)}"
    found = of_file(Path(name))
    assert (found.name, found.format) == ("base.qcow2", "qcow2")
    with found.open(65536, want_zero=True) as image:
        assert [tuple(extent) for extent in image.map()] == mapped(qemu_img, name)


def test_a_format_that_is_not_its_own_is_refused(folder):
    name = Path(f"json:{json.dumps({'driver': 'raw', 'file': FILE})}")
    with pytest.raises(UserError, match=r"begins \(qcow2\), not raw"):
        of_file(name)
