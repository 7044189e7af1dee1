"""Predictions on the real daemon: drawn images are sound, a build is calibrated, knobs are run."""

import json
import subprocess
from pathlib import Path

import pytest

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.field.predict import main, verify
from hbitmap_bench.qemu.blueprint import Blueprint, alternating, empty, fragmented
from hbitmap_bench.qemu.buildup import measure_once
from hbitmap_bench.qemu.daemon import Daemon
from hbitmap_bench.qemu.detect import has_min_cluster_size
from hbitmap_bench.qemu.images import Image

K, M, G = 2**10, 2**20, 2**30


@pytest.mark.parametrize(
    "plan",
    [
        Blueprint(image_bytes=20 * G + 512),
        Blueprint(image_bytes=20 * G, cluster_bytes=2 * M, pattern=alternating(3)),
        Blueprint(image_bytes=2 * G, cluster_bytes=4 * K, pattern=fragmented(5)),
        Blueprint(image_bytes=20 * G, extended_l2=True, pattern=fragmented(7)),
        Blueprint(image_bytes=20 * G, pattern=empty),
        Blueprint(image_bytes=20 * G, pattern=None, backing=Path("base")),
    ],
)
def test_drawn_images_are_sound_to_qemu(qemu_img, tmp_path, plan):
    (tmp_path / "base").write_bytes(bytes(M))
    path = tmp_path / "image"
    plan.write(path)
    subprocess.run([qemu_img, "check", "-q", path], check=True, timeout=60)
    told = subprocess.check_output([qemu_img, "info", "--output=json", path])
    assert json.loads(told)["virtual-size"] == plan.image_bytes


def test_a_shared_image_is_measured_while_another_writes_to_it(build, daemon, tmp_path):
    path = tmp_path / "image"
    Blueprint(image_bytes=G, pattern=alternating(9)).write(path)
    file = {"driver": "file", "filename": str(path)}
    daemon.execute("blockdev-add", driver="qcow2", node_name="guest", file=file)
    address = {"type": "unix", "data": {"path": str(tmp_path / "nbd")}}
    daemon.execute("nbd-server-start", addr=address)
    export = {"type": "nbd", "id": "guest", "node_name": "guest", "writable": True}
    daemon.execute("block-export-add", **export)  # a guest, as far as locks go
    with pytest.raises(UserError, match="lock"):
        measure_once(build, Image(path, G, 64 * K), filtered=True, l2_slice_bytes=None)
    image = Image(path, G, 64 * K, shared=True)
    assert measure_once(build, image, filtered=True, l2_slice_bytes=None).wall_s > 0


def is_promised(build):
    """Whether ``min-cluster-size`` is: it came with 9.2."""
    return tuple(map(int, build.version.split(".")[:2])) >= (9, 2)


def test_min_cluster_size_is_known_from_the_schema(build):
    with Daemon(build) as running:
        schema = running.execute("query-qmp-schema")
    assert has_min_cluster_size(schema) == is_promised(build)
    members = [{"name": "on-cbw-error"}, {"name": "min-cluster-size"}]
    assert has_min_cluster_size([{"meta-type": "object", "members": members}])


def test_predict_verifies_each_knob_of_the_build(build, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(main, "ROUNDS", 1)
    monkeypatch.setattr(verify, "LEAST_RUNS", 1)
    path = tmp_path / "image"
    Blueprint(image_bytes=300 * G).write(path)
    plan = main.Plan(
        paths=[path],
        sizes=[],
        cluster_sizes=[],
        build=str(build.path),
        verified=True,
        json_path=Path("-"),
    )
    assert main.predict(plan) == 0
    (image,) = json.loads(capsys.readouterr().out)["images"]
    assert image["detected"] == "access"
    assert all(costs["word_s"] > 0 and costs["load_s"] > 0 for costs in image["costs_s"])
    run = {setup: len(found["measured_s"]) for setup, found in image["as_it_is"].items()}
    assert run == {"plain": 1, "access": 1, "deny": 0}
    run = {knob["knob"]: len(knob["access"]["measured_s"]) for knob in image["knobs"]}
    assert run == {
        "l2-cache-entry-size=64K": 1,
        "min-cluster-size=1M": int(is_promised(build)),
        "fleecing clusters of 1M": 1,
        "image clusters of 1M": 1,
    }
