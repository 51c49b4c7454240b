"""The Dask runner on real pipelines: same numbers, killed workers, failures, refusals, order."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kedro.pipeline import node

from hybrid_pipeline.kedro_ext.dask.runner import priority
from kedro_projects import make_project

RUNNER = "hybrid_pipeline.kedro_ext.dask.runner.DaskRunner"
DASK = ("--runner", RUNNER, "--runner-params", "workers=2")

NUMBERS = """
import os, time
import numpy as np
from pathlib import Path
from kedro.pipeline import Pipeline, node

def draw(seed):
    def named():
        rng = np.random.Generator(np.random.Philox(key=seed))
        return {"seed": seed, "sum": float(rng.normal(size=1000).cumsum().sum())}
    named.__name__ = f"draw_{seed}"
    return named

def collect(*parts):
    return {"seeds": [p["seed"] for p in parts], "total": sum(p["sum"] for p in parts)}

def register_pipelines():
    parts = [f"part_{s}" for s in range(4)]
    cells = [node(draw(s), None, parts[s], name=f"draw_{s}") for s in range(4)]
    return {"__default__": Pipeline([*cells, node(collect, parts, "total")])}
"""
JSON = "hybrid_pipeline.kedro_ext.datasets.JsonAtomicDataset"
CATALOG = f"""
"part_{{seed}}":
  type: {JSON}
  filepath: data/part_{{seed}}.json
total:
  type: {JSON}
  filepath: data/total.json
"""


@pytest.mark.slow
def test_all_runners_give_the_same_numbers(tmp_path: Path) -> None:
    totals = {}
    for runner in ("SequentialRunner", "ThreadRunner", RUNNER):
        project = make_project(tmp_path / runner.rsplit(".", 1)[-1], NUMBERS, CATALOG)
        code, output = project.run("--runner", runner)
        assert code == 0, output
        totals[runner] = project.out("total.json").read_bytes()
    assert json.loads(totals["SequentialRunner"])["seeds"] == [0, 1, 2, 3]
    assert len(set(totals.values())) == 1


FAIL = """
import time
from kedro.pipeline import Pipeline, node

def bad():
    time.sleep(0.2)
    raise ValueError("7 is not a digit of this puzzle")

def slow():
    time.sleep(1.5)
    return {"done": True}

def later(part):
    return part

def register_pipelines():
    return {"__default__": Pipeline([
        node(bad, None, "part_0", name="bad", tags=["block.0"]),
        node(slow, None, "part_1", name="slow", tags=["block.0"]),
        node(later, "part_1", "part_2", name="later", tags=["block.1"]),
    ])}
"""


@pytest.mark.slow
def test_a_failing_node_is_named_and_running_nodes_end_first(tmp_path: Path) -> None:
    project = make_project(tmp_path, FAIL, CATALOG)
    code, output = project.run(*DASK)
    assert code == 1
    assert "node 'bad' failed: 7 is not a digit of this puzzle" in " ".join(output.split())
    assert project.out("part_1.json").exists()
    assert not project.out("part_2.json").exists()


@pytest.mark.slow
def test_outputs_in_memory_are_refused_before_any_node(tmp_path: Path) -> None:
    project = make_project(tmp_path, FAIL, f"part_1:\n  type: {JSON}\n  filepath: data/part_1.json")
    code, output = project.run(*DASK)
    assert code == 1
    assert "cannot pass 'part_0', 'part_2' between processes" in " ".join(output.split())
    assert not project.out("part_1.json").exists()


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_is_named(tmp_path: Path) -> None:
    hasty = "from hybrid_pipeline.kedro_ext.dask import cluster\ncluster.CONNECT_TIMEOUT_S = 1\n"
    project = make_project(tmp_path, hasty + NUMBERS, CATALOG)
    address = "tcp://127.0.0.1:9"
    code, output = project.run("--runner", RUNNER, "--runner-params", f"scheduler={address}")
    assert code == 1
    assert f"no Dask scheduler answers at '{address}'" in " ".join(output.split())


@pytest.mark.slow
def test_an_existing_scheduler_is_used(tmp_path: Path) -> None:
    project = make_project(tmp_path, NUMBERS, CATALOG)
    scheduler_file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker"]
    quiet = {"env": project.env(), "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    place = ["--scheduler-file", str(scheduler_file)]
    started = [
        subprocess.Popen([*dask, "--port", "0", "--no-dashboard", *place], **quiet),
        subprocess.Popen([*worker, "--nthreads", "1", "--no-dashboard", *place], **quiet),
    ]
    try:
        while not scheduler_file.exists():
            time.sleep(0.1)
            assert started[0].poll() is None
        address = json.loads(scheduler_file.read_text())["address"]
        code, output = project.run("--runner", RUNNER, "--runner-params", f"scheduler={address}")
        assert code == 0, output
        assert json.loads(project.out("total.json").read_text())["seeds"] == [0, 1, 2, 3]
        assert started[1].poll() is None  # the run ended, the workers stay
    finally:
        for process in started:
            process.terminate()
            process.wait(timeout=20)


def test_blocks_come_in_order_and_shared_work_first() -> None:
    def make(name: str, *tags: str) -> object:
        return node(lambda: 1, None, name, name=name, tags=list(tags))

    nodes = [
        make("late", "block.1", "order.0"),
        make("second", "block.0", "order.10"),
        make("first", "block.0", "order.2"),
        make("shared"),
    ]
    ranked = sorted(nodes, key=lambda n: priority(n, nodes.index(n)))  # type: ignore[arg-type]
    assert [n.name for n in ranked] == ["shared", "first", "second", "late"]
