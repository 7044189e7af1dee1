"""The doctor, on a bare host of its own making, and on this one."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from hbitmap_bench.cli import cli
from hbitmap_bench.doctor.examination import examine
from hbitmap_bench.doctor.examination_json import to_json
from hbitmap_bench.doctor.examination_text import render
from hbitmap_bench.doctor.host import Host
from hbitmap_bench.doctor.needs import NEEDS, TESTS

COMMAND = str(Path(sys.executable).with_name("hbitmap-bench"))

CPU = "sys/devices/system/cpu"
NOISY = {
    f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave",
    f"{CPU}/cpu1/cpufreq/scaling_governor": "performance",
    f"{CPU}/intel_pstate/no_turbo": "0",
    "proc/loadavg": "7.50 1.00 0.10 2/100 4711",
    "proc/stat": "cpu  100 0 50 800 0 0 0 50 0 0\ncpu0 1 2 3",
    "proc/pressure/cpu": "some avg10=0.00 avg60=20.50 avg300=0.00 total=1",
    "proc/pressure/io": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=9 avg60=9.0",
    "sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never",
    "proc/meminfo": "MemTotal:  999 kB\nMemAvailable:    1048576 kB",
}
QUIET = NOISY | {
    f"{CPU}/cpu0/cpufreq/scaling_governor": "performance",
    f"{CPU}/intel_pstate/no_turbo": "1",
    "proc/loadavg": "0.10 7.00 7.00 1/100 4711",
    "proc/stat": "cpu  1000 0 50 80000 0 0 0 5 0 0",
    "proc/pressure/cpu": "some avg10=9.00 avg60=0.50 avg300=9.00 total=1",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
    "proc/meminfo": "MemAvailable:    8388608 kB",
}


def host(root, files=(), **changes):
    """A host with these files and no program; by itself it has neither headers nor ``/proc``."""
    for name, text in dict(files).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    bare = Host(path="", root=root, headers=root, cores=1)
    return replace(bare, **changes)


def shown(found):
    console = Console(record=True, width=130)
    render(found, console)
    return console.export_text()


def test_a_bare_host_measures_in_process_and_is_told_what_it_lacks(tmp_path):
    found = examine(host(tmp_path))
    assert found.exit_code == 0
    can_run = {command for command in NEEDS if found.can_run(command)}
    assert can_run == {"reproduce", "compare", "predict", "diagnose", "judge", "tournament"}
    text = shown(found)
    assert "qemu-storage-daemon: rows of real builds" in text
    assert "apt install linux-perf" in text
    document = json.loads(to_json(found))
    assert document["main_job"] == {"command": "reproduce", "can_run": True}
    (perf,) = (part for part in document["parts"] if part["name"] == "perf")
    assert perf["found"] is None
    told = {one["name"]: one["noisy"] for one in document["noise"]}
    assert told.pop("cores") is True
    assert set(told.values()) == {None}


@pytest.mark.parametrize("change", [{"core": None}, {"temporary": Path("/proc")}])
def test_where_the_main_job_cannot_run_the_exit_code_is_1(tmp_path, change):
    found = examine(host(tmp_path, **change))
    assert found.exit_code == 1
    assert not json.loads(to_json(found))["main_job"]["can_run"]


@pytest.mark.parametrize(("files", "cores", "noisy"), [(NOISY, 1, True), (QUIET, 2, False)])
def test_each_noise_is_seen_with_the_command_against_it(tmp_path, files, cores, noisy):
    found = examine(host(tmp_path, files, cores=cores))
    assert {one.name: one.noisy for one in found.noises} == {
        one.name: noisy for one in found.noises
    }
    text = " ".join(shown(found).split())
    for one in found.noises:
        assert one.seen
        assert (one.mend.split()[0] in text) or not noisy
    assert ("no_turbo" in text) == noisy


def test_turbo_is_also_read_where_another_driver_has_it(tmp_path):
    boosted = examine(host(tmp_path, {f"{CPU}/cpufreq/boost": "1"}))
    (turbo,) = (one for one in boosted.noises if one.name == "turbo")
    assert (turbo.seen, turbo.noisy) == ("on", True)
    assert turbo.mend == f"echo 0 | sudo tee /{CPU}/cpufreq/boost"


def test_every_command_is_examined():
    assert set(NEEDS) == {*cli.commands, TESTS} - {"doctor"}


def test_on_this_host_what_is_found_is_there():
    done = subprocess.run(
        [COMMAND, "doctor", "--json", "-"], capture_output=True, text=True, check=True
    )
    document = json.loads(done.stdout)
    found = {part["name"]: part["found"] for part in document["parts"]}
    for name in ("git", "qemu-img", "qemu-storage-daemon", "valgrind", "npm", "chromium"):
        assert found[name] == shutil.which(name)
    assert Path(found["compiled core"]).suffix == ".so"
    lacking = {name for name, place in found.items() if place is None}
    for command in document["commands"]:
        assert {need["part"] for need in command["lacks"]} == lacking & set(command["needs"])


def test_without_programs_the_command_says_so(tmp_path):
    done = subprocess.run(
        [COMMAND, "doctor"], cwd=tmp_path, env={**os.environ, "PATH": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "qemu-storage-daemon missing" in " ".join(done.stdout.split())
    assert list(tmp_path.iterdir()) == []
