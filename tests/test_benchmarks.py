"""The asv suites: their identities against a golden file, their samples, and a real asv run.

``python tests/test_benchmarks.py`` writes the golden file anew. Read its diff before committing it:
a name, parameter or version that changed has lost its history.
"""

import importlib
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from asv.benchmarks import Benchmarks
from asv.runner import BENCHMARK_RUN_SCRIPT
from asv_runner.discovery import get_benchmark_from_name

from hbitmap_bench.commits.bench import asv_arguments
from hbitmap_bench.commits.project_file import Profile, read
from hbitmap_bench.qemu.geometry import layout, words_done

ROOT = Path(__file__).parent.parent
SUITES = ROOT / "benchmarks"
GOLDEN = Path(__file__).parent / "golden" / "benchmarks.json"
IDENTITY = ("type", "unit", "version", "param_names", "params")
TIB, KIB = 2**40, 2**10


def discover(to: Path) -> dict:
    """What asv finds, in a process of its own, as asv does it."""
    runner = [sys.executable, "-P", str(BENCHMARK_RUN_SCRIPT)]
    subprocess.run([*runner, "discover", str(SUITES), str(to)], check=True, cwd=to.parent)
    return {found["name"]: found for found in json.loads(to.read_text())}


def identities(found: dict) -> dict:
    """What is reviewed: also which cells are skipped on purpose, since no others may be."""
    return {
        name: {
            **{key: found[name][key] for key in IDENTITY},
            "skip_params": sorted(map(list, skipped(name))),
        }
        for name in sorted(found)
    }


def skipped(name: str) -> list[tuple]:
    return get_benchmark_from_name(str(SUITES), name)._skip_tuples


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return discover(tmp_path_factory.mktemp("asv") / "benchmarks.json")


@pytest.fixture(scope="module")
def suites(found):
    """The package ``benchmarks``, found as asv finds it: not by the path of the checkout."""
    get_benchmark_from_name(str(SUITES), next(iter(found)))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


def run(name: str, *parameters: object) -> float:
    """Set up and run one cell, as asv does in a process."""
    benchmark = get_benchmark_from_name(str(SUITES), name)
    sizes = [len(values) for values in benchmark.params]
    places = [values.index(repr(p)) for values, p in zip(benchmark.params, parameters, strict=True)]
    benchmark.set_param_idx(sum(p * math.prod(sizes[i + 1 :]) for i, p in enumerate(places)))
    assert not benchmark.do_setup()
    return benchmark.do_run()


def test_no_history_is_orphaned_unseen(found):
    assert identities(found) == json.loads(GOLDEN.read_text())


def test_every_benchmark_has_a_version_and_a_timeout_of_its_own(found):
    for name, benchmark in found.items():
        assert re.fullmatch(r"\d+", benchmark["version"]), name  # else a digest of its source
        assert benchmark["timeout"] is not None, name
        assert benchmark["param_names"][:2] == ["implementation", "image_tib"], name
        assert benchmark["param_names"][2] in ("cluster_kib", "copy_cluster_kib"), name


def test_the_calls_have_the_arguments_that_asv_gives(tmp_path):
    runner = [sys.executable, "-P", str(BENCHMARK_RUN_SCRIPT)]
    subprocess.run([*runner, "check", str(SUITES)], check=True, cwd=tmp_path)


def test_eight_samples_a_side_or_more(found):
    timed = [name for name, benchmark in found.items() if benchmark["type"] == "time"]
    assert timed
    for name in timed:
        benchmark = get_benchmark_from_name(str(SUITES), name)
        assert benchmark.rounds * benchmark.repeat[0] >= 8, name
        assert benchmark.number == 1
    for profile in read(ROOT).profiles.values():
        assert profile.rounds * profile.repeat[0] >= 8


def test_quick_selects_cells_of_every_benchmark_and_each_expression_some(found):
    quick = read(ROOT).profile("quick")
    conf = SimpleNamespace(benchmark_dir=str(SUITES))
    assert set(Benchmarks(conf, found.values(), list(quick.cells))) == set(found)
    for regex in quick.cells:
        assert Benchmarks(conf, found.values(), regex), regex


def test_asv_is_told_a_profile_in_its_own_words():
    assert asv_arguments(Profile(("a", "b"), (4, 6, 0.5), 2)) == [
        *("--record-samples", "-a", "repeat=(4,6,0.5)", "-a", "rounds=2"),
        *("--bench", "a", "--bench", "b"),
    ]
    assert asv_arguments(Profile()) == ["--record-samples"]


@pytest.mark.parametrize("name", ["hbitmap_of_the_future", "hbitmap"])
def test_what_a_commit_lacks_is_skipped(suites, name):
    with pytest.raises(NotImplementedError, match="this commit"):
        suites("common").provided(name, "Missing")


def test_what_a_commit_has_and_cannot_import_fails(suites, monkeypatch):
    monkeypatch.delitem(sys.modules, "hbitmap_impl.image", raising=False)
    monkeypatch.setitem(sys.modules, "hbitmap_impl.clusters", None)  # which image.py imports
    with pytest.raises(ModuleNotFoundError):
        suites("common").provided("image", "FullImage")


@pytest.mark.parametrize("block", [4, 128])
@pytest.mark.parametrize("n_queries", [2048, 2049, 2097152])
def test_blocks_are_mirrored_in_strata_and_always_the_same(suites, n_queries, block):
    starts = suites("buildup").block_starts(n_queries, block)
    assert starts == suites("buildup").block_starts(n_queries, block)
    assert starts == sorted(starts)
    ends = [start + block for start in starts]
    assert [n_queries - end for end in reversed(ends)] == starts
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        assert i * n_queries / 8 - 1 <= start
        assert end <= (i + 1) * n_queries / 8 + 1


def expected_words(implementation, image_bytes, cell):
    """Of the access check; and of the done bitmap, where it has bits."""
    setup, _, done = implementation.partition("_")
    if not done:
        return cell.words(setup)
    done_bytes = image_bytes // {"done": 1, "half": 2}[done]
    return cell.words(setup) + words_done(image_bytes, cell.answer_bytes, 64 * KIB, done_bytes)


@pytest.mark.parametrize("implementation", ["access", "deny", "deny_done", "deny_half"])
@pytest.mark.parametrize(
    ("tib", "kib", "whole"), [(1, 64, False), (1, 2048, True), (2, 512, False)]
)
def test_words_a_query_are_those_of_the_whole_build_up(suites, implementation, tib, kib, whole):
    cell = layout(tib * TIB, kib * KIB, l2_slice_bytes=4 * KIB)
    expected = expected_words(implementation, tib * TIB, cell) / cell.queries
    parameters = (implementation, tib, kib)
    assert run("buildup.Words.track_extra_words_a_query", *parameters) == expected
    queries = run("buildup.BuildUp.track_queries", *parameters)
    assert (queries == cell.queries) is whole
    assert run("buildup.Words.track_words_examined", *parameters) == expected * queries


def test_every_cell_has_its_mode(suites):
    buildup = suites("buildup")
    assert list(buildup.MODES) == buildup.SIZES_TIB
    for modes in buildup.MODES.values():
        assert len(modes) == len(buildup.CLUSTERS_KIB)


def test_a_check_reads_what_its_bitmap_must(suites):
    name = "access_check.AccessCheck.track_words_a_check"
    assert run(name, "deny", 1, 64, "start", "none") == 7
    assert run(name, "deny", 1, 64, "start", "one") <= 13
    n_checks, n_words = suites("access_check").N_CHECKS, TIB // (64 * KIB) // 64
    mean = n_words - sum(i // 64 for i in range(n_checks)) / n_checks
    assert run(name, "access", 1, 64, "start", "none") == mean
    assert run(name, "access", 1, 64, "start", "one") == mean
    assert run(name, "access", 1, 64, "start", "fragmented") < 66


def test_a_call_leaves_the_next_one_the_same_bitmap(suites):
    suite = suites("bitmap_ops").BitmapOps()
    parameters = ("deny", 1, 64, 1)
    for call in (suite.time_set, suite.time_reset, suite.time_merge, suite.time_invert):
        suite.setup(*parameters)
        assert suite.bitmap == suite.pristine
        call(*parameters)
    assert suite.pristine.count == TIB // (100 * 64 * KIB) * 64 * KIB
    suite.time_serialize(*parameters)
    assert suite.buffer == suite.bitmap.words.tobytes()


def test_a_real_run_stores_a_result(tmp_path):
    """In the running Python: what asv builds for a commit is left to ``tox -e bench``."""
    conf = json.loads(re.sub(r"^\s*//.*$", "", (ROOT / "asv.conf.json").read_text(), flags=re.M))
    conf |= {"repo": str(ROOT), "branches": ["HEAD"], "benchmark_dir": str(SUITES)}
    conf |= {"results_dir": str(tmp_path / "results"), "env_dir": str(tmp_path / "env")}
    (tmp_path / "asv.conf.json").write_text(json.dumps(conf))
    asv = [sys.executable, "-P", "-m", "asv"]
    here = {"cwd": tmp_path, "env": {**os.environ, "HOME": str(tmp_path)}, "check": True}
    subprocess.run([*asv, "machine", "--yes", "--machine", "test", "--os", "Linux"], **here)
    cell = r"^memory\.Structures\.track_bytes\('deny', 1, 1024, 'check'\)"
    head = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    commit = subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()
    options = ["-E", "existing:same", "--set-commit-hash", commit, "--quick", "--bench", cell]
    subprocess.run([*asv, "run", *options], **here)
    (stored,) = (tmp_path / "results" / "test").glob(f"{commit[:8]}*.json")
    document = json.loads(stored.read_text())
    row = document["results"]["memory.Structures.track_bytes"]
    values = row[document["result_columns"].index("result")]
    (measured,) = [value for value in values if value == value]  # all others are NaN
    bits = TIB // (1024 * KIB)
    assert bits / 8 < measured < bits / 8 * 1.1


def write_golden(scratch: Path) -> None:
    GOLDEN.write_text(json.dumps(identities(discover(scratch)), indent=1) + "\n")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write_golden(Path(folder) / "benchmarks.json")
