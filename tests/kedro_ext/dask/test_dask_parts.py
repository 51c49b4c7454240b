"""Parts of the Dask runner that need no processes: GPUs, machines, what a failure is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from distributed import KilledWorker
from kedro.io import DataCatalog
from kedro.pipeline import node

from hybrid_pipeline.kedro_ext import project_parameters
from hybrid_pipeline.kedro_ext.dask import worker
from hybrid_pipeline.kedro_ext.dask.cluster import (
    CELLS_ON_GPU,
    ClusterOptions,
    RunnerError,
    _check_remote,
    _worker_options,
    cells_per_worker,
    gpu_share,
    num_slots,
    visible_gpus,
)
from hybrid_pipeline.kedro_ext.dask.runner import DaskRunner, _node_failed
from hybrid_pipeline.kedro_ext.dask.worker import NodeCall, run_on_worker
from hybrid_pipeline.kedro_ext.datasets import JsonAtomicDataset
from hybrid_pipeline.kedro_ext.devices import cells_at_once
from hybrid_pipeline.kedro_ext.project_parameters import ProjectState


def test_each_gpu_gets_one_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert visible_gpus() == 2
    cluster = ClusterOptions()
    cluster.num_gpus = 2
    options = [_worker_options(i, tmp_path, cluster) for i in range(3)]
    assert [o["env"]["CUDA_VISIBLE_DEVICES"] for o in options] == ["3", "5", ""]
    assert [o["resources"] for o in options] == [{"GPU": 1}, {"GPU": 1}, {}]
    assert {o["nthreads"] for o in options} == {1}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_gpus() == 0


def test_without_gpu_nodes_devices_are_left_alone(tmp_path: Path) -> None:
    options = _worker_options(0, tmp_path, ClusterOptions())
    assert "CUDA_VISIBLE_DEVICES" not in options["env"]
    assert options["env"]["OMP_NUM_THREADS"] == "1"
    assert options["resources"] == {}


def test_gpu_nodes_without_a_gpu_worker_are_refused() -> None:
    class Client:
        def scheduler_info(self, n_workers: int) -> dict[str, Any]:
            return {"workers": {"a": {"resources": {}}}}

    _check_remote(Client(), needs_gpu=False)  # type: ignore[arg-type]
    with pytest.raises(RunnerError, match="no worker offers one; start a worker per GPU"):
        _check_remote(Client(), needs_gpu=True)  # type: ignore[arg-type]


class Workers:
    """A client that knows three workers, one with a GPU."""

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        workers = [({"GPU": 1.0}, 1), ({}, 1), ({}, 2)]
        return {"workers": {i: {"resources": r, "nthreads": n} for i, (r, n) in enumerate(workers)}}


@pytest.mark.parametrize(
    ("scheduler", "gpus", "on_gpu", "expected"),
    [
        (None, 0, False, 4),
        (None, 0, True, 4),  # device auto, and no GPU is visible
        (None, 1, True, 1),
        (None, 2, True, 2),
        (None, 1, False, 4),  # another node takes the GPU, the cells do not
        ("tcp://host:8786", 0, False, 4),
        ("tcp://host:8786", 1, True, 1),
    ],
)
def test_how_many_cells_run_at_once(
    scheduler: str | None, gpus: int, on_gpu: bool, expected: int
) -> None:
    options = ClusterOptions(scheduler=scheduler, workers=4)
    options.num_gpus, options.has_gpu_resource = gpus, gpus > 0
    assert num_slots(Workers(), options, on_gpu=on_gpu) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("num_gpus", "cells_on_gpu", "threads"),
    [
        (0, False, [3, 3]),
        (1, True, [3, 1]),  # the second worker has no GPU, so it trains no cell
        (1, False, [3, 3]),  # another node takes the GPU
    ],
)
def test_a_worker_that_trains_has_a_thread_per_cell(
    tmp_path: Path, num_gpus: int, cells_on_gpu: bool, threads: list[int]
) -> None:
    cluster = ClusterOptions(workers=2, cells_per_worker=3, cells_on_gpu=cells_on_gpu)
    cluster.num_gpus, cluster.has_gpu_resource = num_gpus, num_gpus > 0
    options = [_worker_options(i, tmp_path, cluster) for i in range(2)]
    assert [o["nthreads"] for o in options] == threads
    assert [o["resources"] for o in options] == [{"GPU": 3} if num_gpus else {}, {}]
    slots = num_slots(Workers(), cluster, on_gpu=cells_on_gpu)  # type: ignore[arg-type]
    assert slots == (3 if cells_on_gpu else 6)
    assert gpu_share(cluster, is_cell=True) == {"GPU": 1}
    assert gpu_share(cluster, is_cell=False) == {"GPU": 3}  # an extraction has the card alone


def test_cells_per_worker_follow_the_parameter_then_the_device() -> None:
    assert cells_per_worker(5, on_gpu=False) == 5
    assert cells_per_worker(None, on_gpu=False) == 1
    assert cells_per_worker(None, on_gpu=True) == CELLS_ON_GPU > 1


def test_two_workers_are_two_slots() -> None:
    options = ClusterOptions(workers=2)
    assert num_slots(Workers(), options, on_gpu=False) == 2  # type: ignore[arg-type]


def test_workers_must_be_positive() -> None:
    with pytest.raises(ValueError, match="should be positive"):
        DaskRunner(workers=0)


def test_failures_are_sentences() -> None:
    nodes = [node(lambda: 1, None, name, name=name) for name in ("a", "b", "c")]
    killed = KilledWorker("task", None, 5)
    errors = [KeyError("x"), ValueError("two\n lines"), killed]
    raised = _node_failed(list(zip(nodes, errors, strict=True)))
    assert str(raised) == (
        "node 'a' failed: KeyError: 'x'; node 'b' failed: two lines; node 'c' failed: each worker "
        "that ran it was killed, as happens when memory runs out"
    )
    assert raised.__cause__ is errors[0]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeCall:
    monkeypatch.setattr(project_parameters, "_state", None)
    monkeypatch.setattr(worker, "_prepared", {})
    monkeypatch.chdir(tmp_path)
    catalog = DataCatalog({"out": JsonAtomicDataset(filepath=str(tmp_path / "out.json"))})
    state = ProjectState(tmp_path, None, {"tasks": {}})
    return NodeCall(
        node(lambda: {"a": 1}, None, "out", name="n"), catalog, False, "run", None, state, None
    )


def test_a_worker_runs_a_node_with_the_drivers_state(call: NodeCall, tmp_path: Path) -> None:
    assert run_on_worker(call) == "n"
    assert (tmp_path / "out.json").exists()
    assert project_parameters.current_state() == call.state
    assert Path.cwd() == tmp_path


def test_a_node_sees_how_many_cells_run_at_once(call: NodeCall, tmp_path: Path) -> None:
    from dataclasses import replace

    slots = node(lambda: {"slots": cells_at_once.get()}, None, "out", name="n")
    run_on_worker(replace(call, node=slots, num_slots=3))
    assert json.loads((tmp_path / "out.json").read_text()) == {"slots": 3}
    assert cells_at_once.get() == 1  # again, as without a Dask runner


def test_a_worker_with_other_code_or_folders_refuses(call: NodeCall, tmp_path: Path) -> None:
    from dataclasses import replace

    from hybrid_pipeline.storage import code_fingerprint

    with pytest.raises(RuntimeError, match="has other code than the driver"):
        run_on_worker(replace(call, code_key="0123"))
    elsewhere = ProjectState(tmp_path / "not_mounted", None, {})
    with pytest.raises(RuntimeError, match=r"does not see .*not_mounted; the project folder must"):
        run_on_worker(replace(call, state=elsewhere, code_key=code_fingerprint("")))
    assert not (tmp_path / "out.json").exists()
