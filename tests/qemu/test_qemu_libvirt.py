"""Diagnoses of a real machine of a real libvirt, which runs in session mode, in its own folder."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from test_qemu_diagnose import stick

COMMAND = str(Path(sys.executable).with_name("hbitmap-bench"))
PATH = f"{os.environ['PATH']}:/usr/sbin"
NAMES = ("libvirtd", "virsh", "qemu-system-x86_64")
MACHINE = """
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64'>hvm</type></os>
</domain>
"""


class Libvirt:
    """A libvirt in session mode: its folder, and virsh connected to it."""

    def __init__(self, folder):
        self.folder = folder
        uri = f"qemu+unix:///session?socket={folder}/libvirt/libvirt-sock"
        self.environ = {**os.environ, "LIBVIRT_DEFAULT_URI": uri}

    def virsh(self, *arguments):
        return self._run("virsh", *arguments).stdout

    def is_up(self):
        return self._run("virsh", "uri", check=False).returncode == 0

    def make(self, how, name):
        path = self.folder / f"{name}.xml"
        path.write_text(MACHINE.format(name=name))
        self.virsh(*how, str(path))

    def diagnose(self, *arguments, **environ):
        command = [COMMAND, "diagnose", "--seconds", "1.5", *arguments]
        return self._run(*command, check=False, **environ)

    def _run(self, *command, check=True, **environ):
        return subprocess.run(
            command, env={**self.environ, **environ}, capture_output=True, text=True, check=check
        )


class Guest:
    """As much of a daemon as starting a job needs, through virsh."""

    def __init__(self, libvirt, name):
        self._libvirt, self._name = libvirt, name

    def execute(self, command, **arguments):
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        request = json.dumps({"execute": command, "arguments": named})
        return json.loads(self._libvirt.virsh("qemu-monitor-command", self._name, request))[
            "return"
        ]


@contextmanager
def running_libvirt(folder):
    """Root's libvirtd would be the system's: as root, it is somebody else's."""
    (folder / "libvirt").mkdir()
    (folder / "libvirt" / "qemu.conf").write_text(
        'stdio_handler = "file"\nsecurity_driver = "none"\n'
    )
    owner = {}
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        owner = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        for path in (folder, folder / "libvirt"):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    homes = ("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_DATA_HOME")
    environ = {**os.environ, "PATH": PATH, **dict.fromkeys(homes, str(folder))}
    libvirt = Libvirt(folder)
    with (folder / "log").open("w") as log:
        daemon = subprocess.Popen(["libvirtd"], env=environ, stderr=log, **owner)
    try:
        while not libvirt.is_up():
            assert daemon.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        yield libvirt
    finally:
        for name in libvirt.virsh("list", "--name").split():
            libvirt.virsh("destroy", name)
        daemon.terminate()
        daemon.wait()


@pytest.fixture(scope="module")
def libvirt():
    """With two machines: ``paused``, which has a QEMU, and ``off``."""
    for name in NAMES:
        if shutil.which(name, path=PATH) is None:
            pytest.skip(f"needs {name} (Debian: libvirt-daemon-driver-qemu, qemu-system-x86)")
    with tempfile.TemporaryDirectory(prefix="lv-") as name, running_libvirt(Path(name)) as libvirt:
        libvirt.make(["create", "--paused"], "paused")
        libvirt.make(["define"], "off")
        yield libvirt


def test_a_job_in_a_machine_that_is_stuck_is_recognised(libvirt, image_1t):
    image = replace(image_1t, path=libvirt.folder / "disk")
    os.link(image_1t.path, image.path)
    image.path.chmod(0o644)
    guest = Guest(libvirt, "paused")
    stick(guest, image)
    done = libvirt.diagnose("--libvirt", "paused", "--json", "-")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["diagnosis"] == "access-scan"
    assert told["detected"] == "access"
    assert [node["driver"] for node in told["chain"]][-4:] == [
        "snapshot-access", "copy-before-write", "qcow2", "file",
    ]  # fmt: skip
    assert 0 < told["time_left"]["offset_bytes"] < image.image_bytes
    assert guest.execute("query-jobs")[0]["status"] == "running"
    guest.execute("job-cancel", id="backup")
    while guest.execute("query-jobs")[0]["status"] != "concluded":
        time.sleep(0.05)


def test_its_socket_is_held_by_libvirt(libvirt):
    """The process behind it is looked at all the same, and the way through libvirt is told."""
    (socket,) = libvirt.folder.rglob("monitor.sock")
    done = libvirt.diagnose("--qmp", str(socket))
    assert done.returncode == 0
    assert "--libvirt DOMAIN" in done.stderr.splitlines()[0]
    assert "diagnosis  waiting" in done.stdout


@pytest.mark.parametrize(
    ("name", "environ", "line"),
    [
        ("nobody's", {}, "failed to get domain"),
        ("--nobody", {}, "failed to get domain '--nobody'"),
        ("off", {}, "domain is not running"),
        ("paused", {"PATH": "/nowhere"}, "install libvirt-clients"),
        ("paused", {"LIBVIRT_DEFAULT_URI": "qemu+unix:///session?socket=/nowhere"}, "/nowhere"),
        ("test", {"LIBVIRT_DEFAULT_URI": "test:///default"}, "not supported"),
    ],
)
def test_a_machine_that_is_not_to_be_had_is_one_line(libvirt, name, environ, line):
    done = libvirt.diagnose(f"--libvirt={name}", **environ)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert line in done.stderr
