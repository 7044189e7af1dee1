"""Real QEMU for the tests: a build, an image, and a watch over what they leave behind."""

import shutil
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from hbitmap_bench.qemu.builds import QemuBuild, find_daemon, find_qemu_img, parse_build
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.graph import add_null_disk
from hbitmap_bench.qemu.images import ensure_images

T = 2**40


@pytest.fixture(scope="session")
def build():
    path = find_daemon()
    if path is None:
        pytest.skip("qemu-storage-daemon is not on PATH (Debian: qemu-system-common)")
    return parse_build(str(path))


@pytest.fixture(scope="session")
def qemu_img():
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is not on PATH (Debian: qemu-utils)")
    return find_qemu_img()


@pytest.fixture(scope="session")
def qemu_io():
    found = shutil.which("qemu-io")
    if found is None:
        pytest.skip("qemu-io is not on PATH (Debian: qemu-utils)")
    return found


@pytest.fixture(scope="session")
def image_1t(qemu_img, tmp_path_factory):
    """1 TiB at 64 KiB clusters; its default slice is 4 KiB. 168 MB of disk, once a session."""
    directory = tmp_path_factory.mktemp("images")
    (image,) = ensure_images(directory, [(T, 65536)], qemu_img, lambda _: None)
    yield image
    image.path.unlink()


@pytest.fixture(autouse=True)
def scratch(monkeypatch, tmp_path, processes_naming):
    """Where sockets go in a test, with a short path. Nothing may be left there, or run there."""
    directory = Path(tempfile.mkdtemp(prefix="hb-"))
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    monkeypatch.setenv("TMPDIR", str(directory))
    try:
        yield directory
        assert list(directory.iterdir()) == []
        assert processes_naming(directory) == []
    finally:
        for process in processes_naming(directory):
            process.kill()
        shutil.rmtree(directory)


@pytest.fixture
def daemon(build):
    with Daemon(build) as running:
        yield running


@pytest.fixture
def add_denying_filter(daemon):
    """A function: put ``cbw`` over a null disk, with an empty bitmap: nothing may be read."""

    def add(image_bytes):
        for name in ("disk", "cbw-target"):
            add_null_disk(daemon, name, image_bytes)
        daemon.execute("block-dirty-bitmap-add", node="disk", name="none")
        daemon.execute(
            "blockdev-add",
            driver="copy-before-write",
            node_name="cbw",
            file="disk",
            target="cbw-target",
            bitmap={"node": "disk", "name": "none"},
        )

    return add


@pytest.fixture
def run_python(tmp_path):
    """Start a Python program of our own, to be interrupted; it is killed if a test leaves it.

    It hears the signals that tests send, also where the tests' own process ignores some, as under
    nohup: a child inherits that.
    """
    hearing = ["env", "--default-signal=HUP,INT,TERM"]
    started = []

    def start(source):
        path = tmp_path / "program.py"
        path.write_text(source)
        process = psutil.Popen([*hearing, sys.executable, str(path)])
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def processes_naming():
    """A function: the running processes that have a path in their command line."""

    def find(path):
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            words = process.info["cmdline"] or []
            if any(str(path) in word for word in words) and process.info["status"] != "zombie":
                found.append(process)
        return found

    return find


@pytest.fixture
def without(build, tmp_path):
    """A function: the build with a part's name changed in its program.

    To all who ask, such a build does not have the part, as an older one or a smaller one.
    """

    def make(part):
        path = tmp_path / "qemu-storage-daemon"
        name = part.encode()
        path.write_bytes(build.path.read_bytes().replace(name, b"x" * len(name)))
        path.chmod(0o755)
        return QemuBuild(f"without {part}", path, build.version)

    return make
