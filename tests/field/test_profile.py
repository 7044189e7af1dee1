"""Profiles: perf on real processes and a real daemon, its output, its refusals, what is shown."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from perf_permitted import needs_perf
from rich.console import Console

from hbitmap_bench.field.profile.profile import Profile
from hbitmap_bench.field.profile.profile_report import (
    interval,
    picture,
    render,
    share_table,
    to_json,
)
from hbitmap_bench.qemu import perf
from hbitmap_bench.qemu.builds import find_daemon
from hbitmap_bench.qemu.geometry import layout
from hbitmap_bench.qemu.perf import Samples, readable
from hbitmap_bench.reproduction import published

COMMAND = str(Path(sys.executable).with_name("hbitmap-bench"))
NOBODY = 65534


def profile_of(counts, **changes):
    facts = {
        "build": "7.2.22", "detected": "access", "layout": layout(2**40), "elapsed_s": 2.5,
        "runs": 1, "samples": Samples(counts, with_kernel=True),
    }  # fmt: skip
    return Profile(**{**facts, **changes})


STUCK = {
    ("hbitmap_next_zero", "qemu-storage-daemon"): 900,
    ("qcow2_cache_do_get", "qemu-storage-daemon"): 60,
    ("_raw_spin_unlock_irq", "[kernel]"): 40,
}


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("hbitmap_next_zero", "hbitmap_next_zero"),
        ("hbitmap_next_zero.part.0", "hbitmap_next_zero"),
        ("bdrv_co_block_status.constprop.0.isra.0.cold", "bdrv_co_block_status"),
        ("pthread_cond_signal@@GLIBC_2.3.2", "pthread_cond_signal"),
        ("__pyx_f_12hbitmap_impl_7hbitmap_7HBitmap__first_zero", "hbitmap.HBitmap._first_zero"),
        ("__pyx_pw_12hbitmap_impl_7hbitmap_7HBitmap_29next_zero", "hbitmap.HBitmap.next_zero"),
        ("__pyx_f_12hbitmap_impl_7hbitmap_fill.isra.0", "hbitmap.fill"),
        ("__pyx_tp_new_12hbitmap_impl", "__pyx_tp_new_12hbitmap_impl"),
        ("[unknown]", "[unknown]"),
    ],
)
def test_symbols_are_shown_without_what_compilers_add(symbol, name):
    assert readable(symbol) == name


def test_what_perf_prints_is_counted_by_function_and_file():
    samples = perf.parse(
        " 4711 cpu-clock:      55cf1a0de5e5 hbitmap_next_zero (/usr/bin/qemu-storage-daemon)\n"
        " 4711 cpu-clock:      55cf1a0de5e9 hbitmap_next_zero.part.0 (/opt/qemu-storage-daemon)\n"
        " 4711 cpu-clock:  ffffffffa1000000 [unknown] ([kernel.kallsyms])\n"
        " 4711 cpu-clock:      7f88e05cdebf operator new(int) (/usr/lib/libc++ (1).so.6)\n"
        "\n"
    )
    assert samples.total == 4
    assert samples.with_kernel
    assert samples.counts["hbitmap_next_zero", "qemu-storage-daemon"] == 2
    assert samples.counts["[unknown]", "[kernel]"] == 1
    assert samples.share("hbitmap_next_zero") == 0.5
    assert samples.callers == {}
    assert not perf.parse(" 1 cpu-clock:u:  55cf main (/bin/a)").with_kernel
    assert perf.parse("").share("main") is None


def test_where_callers_are_recorded_they_are_counted():
    samples = perf.parse(
        "18643 cpu-clock:u: \n"
        "\t          20a5e5 hbitmap_next_zero (/usr/bin/qemu-storage-daemon)\n"
        "\t          20a7b8 hbitmap_status.part.0 (/usr/bin/qemu-storage-daemon)\n"
        "\t           fdbdb [unknown] (/usr/bin/qemu-storage-daemon)\n"
        "\tffffffffffffffff [unknown] ([unknown])\n"
        "\n"
        "18643 cpu-clock:u: \n"
        "\t           87ebf main (/usr/bin/qemu-storage-daemon)\n"
        "\n"
    )
    assert samples.total == 2
    assert samples.share("hbitmap_next_zero") == 0.5
    assert samples.callers == {18643: {("hbitmap_next_zero", "hbitmap_status"): 1}}
    assert not samples.with_kernel


@needs_perf
@pytest.mark.skipif(
    find_daemon() is None or shutil.which("qemu-img") is None, reason="needs real QEMU"
)
def test_a_real_daemon_is_profiled_by_its_own_symbols(tmp_path):
    command = [COMMAND, "profile", "--size", "300G", "--figure", "shares.png", "--json", "-"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "shares.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(done.stdout)
    assert found["published"]["shares"]["hbitmap_next_zero"] == 0.9667
    real, access, deny = found["profiles"]
    assert (real["source"], access["source"], deny["detected"]) == ("qemu", "model", "deny")
    names = [{one["function"] for one in profile["functions"]} for profile in found["profiles"]]
    assert "hbitmap_next_zero" in names[0]
    assert access["functions"][0]["function"] == "hbitmap.HBitmap._first_zero"
    assert "hbitmap.HBitmap._first_zero" not in names[2]
    for one in found["profiles"]:
        assert sum(function["samples"] for function in one["functions"]) == one["samples"] > 0
    assert list(tmp_path.iterdir()) == [tmp_path / "shares.png"]


@pytest.mark.skipif(shutil.which("perf") is None, reason="needs perf")
def test_a_refusal_says_how_to_be_permitted():
    """Of a process that is root's, to somebody who is not."""
    source = (
        "import os; from hbitmap_bench.qemu.perf import recording\n"
        f"os.getuid() or [os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})]\n"
        "with recording(1) as recorder: recorder.enable()"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], cwd="/", capture_output=True, text=True, check=False
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "PerfMissingError: perf may not look at process 1" in last
    assert "perf_event_paranoid" in last


def test_without_perf_one_line_says_how_to_get_it(tmp_path):
    done = subprocess.run(
        [COMMAND, "profile", "--no-qemu"], cwd=tmp_path, env={"PATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "apt install linux-perf" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--no-qemu", "--qemu", "qsd"], "give one of the two"),
        (["--size", "16T", "--cluster-size", "4K"], "take larger clusters"),
        (["--qemu", "/bin/false"], "name the path of"),
        (["--figure", "no/such/folder/a.png", "--no-qemu"], "no/such/folder"),
    ],
)
@pytest.mark.skipif(shutil.which("perf") is None, reason="needs perf")
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, arguments, line):
    done = subprocess.run(
        [COMMAND, "profile", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert line in done.stderr


def test_the_table_shows_published_beside_measured():
    table = share_table(profile_of(STUCK))
    rows = {row[0]: row for row in table.rows}
    assert rows["hbitmap_next_zero"][2:4] == ("96.67%", "90.00%")
    assert set(published.PROFILE) <= set(rows)
    assert rows["qcow2_get_host_offset"][3] == "0.00%"  # every name is known, and it had none
    assert "published" not in share_table(profile_of(STUCK, build=None)).columns


def test_a_function_that_may_hide_among_the_unnamed_has_no_share():
    table = share_table(profile_of({**STUCK, ("[unknown]", "qemu-storage-daemon"): 100}))
    rows = {row[0]: row for row in table.rows}
    assert rows["qcow2_get_host_offset"][3] == "-"
    assert any("symbol table" in note for note in table.notes)


def test_of_many_functions_the_rest_is_one_row():
    counts = {(f"f{n}", "a"): n for n in range(1, 31)}
    rows = share_table(profile_of(counts, build=None)).rows
    assert [row[0] for row in rows[:2]] == ["f30", "f29"]
    assert rows[-1][0] == "20 others"
    assert sum(int(row[-1].replace(",", "")) for row in rows) == sum(counts.values())


def test_the_interval_is_binomial():
    low, high = interval(967, 1000)
    assert 0.95 < low < 0.967 < high < 0.98
    assert interval(0, 1000)[0] == 0
    assert interval(0, 0) == (0, 1)


@pytest.mark.parametrize("counts", [STUCK, {}, {("a$b", "c"): 1}])
def test_all_profiles_can_be_shown(counts):
    found = [profile_of(counts), profile_of(counts, build=None, detected="deny", runs=9)]
    assert picture(found).startswith(b"\x89PNG")
    assert json.loads(to_json(found))["kind"] == "profile"
    console = Console(record=True, width=80)
    render(found, console)
    text = console.export_text()
    assert "9 build-ups" in text
    assert all(len(line) <= 80 for line in text.splitlines())
