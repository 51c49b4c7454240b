"""Which nodes want a GPU, and what is refused where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kedro.pipeline import Node

from hybrid_pipeline.config import ConfigError
from hybrid_pipeline.kedro_ext.dask.runner import DaskRunner
from hybrid_pipeline.kedro_ext.devices import check_devices
from project_conf import pipelines_of

ROOT = Path(__file__).parents[2]
ON_GPU = {"clip": {"device": "cuda"}, "training": {"device": "cuda"}}


def test_cuda_without_a_gpu_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for group in ON_GPU:
        with pytest.raises(ConfigError, match=rf"'{group}.device' = 'cuda'.*cpu, auto"):
            check_devices({group: {"device": "cuda"}}, {"gpu"}, "SequentialRunner")


def test_nothing_is_refused_where_it_could_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    check_devices(ON_GPU, {"cell"}, "SequentialRunner")  # a review trains nothing
    check_devices({"training": {"device": "auto"}}, {"gpu"}, "SequentialRunner")
    check_devices(ON_GPU, {"gpu"}, str(DaskRunner(scheduler="tcp://10.0.0.1:8786")))
    with pytest.raises(ConfigError):
        check_devices(ON_GPU, {"gpu"}, str(DaskRunner()))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    check_devices(ON_GPU, {"gpu"}, "SequentialRunner")


@pytest.mark.parametrize(
    ("devices", "tagged"),
    [
        (("cpu", "cpu"), {"cache_features": False, "train": False}),
        (("cuda", "cpu"), {"cache_features": True, "train": False}),
        (("cpu", "auto"), {"cache_features": False, "train": True}),
    ],
)
@pytest.mark.parametrize("name", ["ablation", "hybrid_training", "stability"])
def test_the_nodes_that_compute_on_a_gpu_say_so(
    name: str,
    devices: tuple[str, str],
    tagged: dict[str, bool],
) -> None:
    changes = {"clip": {"device": devices[0]}, "training": {"device": devices[1]}}
    nodes = pipelines_of("base", **changes)[name].nodes

    def last(node: Node) -> str:
        return str(node.name.rpartition(".")[2])

    for start, wants in tagged.items():
        assert {"gpu" in n.tags for n in nodes if last(n).startswith(start)} == {wants}, start
    others = [n for n in nodes if not last(n).startswith(tuple(tagged))]
    assert not any("gpu" in node.tags for node in others)


@pytest.mark.slow
def test_the_t4_profile_is_refused_before_any_work_without_a_gpu(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kedro", "run", "--env", "t4", "--pipeline", "hybrid_training",
               "--params", f"storage.root={tmp_path}"]  # fmt: skip
    env = os.environ | {"CUDA_VISIBLE_DEVICES": "", "DO_NOT_TRACK": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 1
    assert "'clip.device' = 'cuda' is refused" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.npy"))
    assert not list(tmp_path.rglob("*.parquet"))
