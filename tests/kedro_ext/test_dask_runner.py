"""The Dask runner on real pipelines: same numbers, killed workers, failures, refusals, order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kedro.pipeline import node

from hybrid_pipeline.kedro_ext.dask_runner import priority
from kedro_projects import TinyProject, make_project

RUNNER = "hybrid_pipeline.kedro_ext.dask_runner.DaskRunner"
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


KILL = """
import os, signal, time
from pathlib import Path
from kedro.pipeline import Pipeline, node

DATA = Path(__file__).parents[2] / "data"

def victim():
    with (DATA / "attempts.txt").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    if len((DATA / "attempts.txt").read_text().split()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"answer": 42}

def bystander():
    time.sleep(1.0)
    with (DATA / "bystander.txt").open("a") as file:
        file.write("ran\\n")
    return {"answer": 1}

def collect(a, b):
    return {"total": a["answer"] + b["answer"]}

def register_pipelines():
    return {"__default__": Pipeline([
        node(victim, None, "part_0", name="victim"),
        node(bystander, None, "part_1", name="bystander"),
        node(collect, ["part_0", "part_1"], "total", name="collect"),
    ])}
"""


@pytest.mark.slow
def test_a_killed_worker_costs_its_node_and_nothing_else(tmp_path: Path) -> None:
    project = make_project(tmp_path, KILL, CATALOG)
    code, output = project.run(*DASK)
    assert code == 0, output
    pids = project.out("attempts.txt").read_text().split()
    assert len(pids) == 2
    assert pids[0] != pids[1]
    assert project.out("bystander.txt").read_text() == "ran\n"
    assert json.loads(project.out("total.json").read_text()) == {"total": 43}


@pytest.mark.slow
def test_a_node_that_always_kills_its_worker_ends_the_run(tmp_path: Path) -> None:
    project = make_project(tmp_path, KILL.replace("== 1:", ">= 1:"), CATALOG)
    code, output = project.run("--runner", RUNNER, "--runner-params", "workers=2,retries=1")
    assert code == 1
    flat = " ".join(output.split())
    assert "node 'victim' failed: each worker that ran it was killed" in flat
    assert project.out("part_1.json").exists()


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


SLEEP = """
import os, time
from pathlib import Path
from kedro.pipeline import Pipeline, node

DATA = Path(__file__).parents[2] / "data"

def sleep():
    (DATA / f"pid_{os.getpid()}").touch()
    time.sleep(600)
    return {}

def register_pipelines():
    return {"__default__": Pipeline([node(sleep, None, "part_0", name="sleep")])}
"""


@pytest.mark.slow
@pytest.mark.parametrize("who", ["group", "driver"])
def test_an_interrupt_ends_the_workers(tmp_path: Path, who: str) -> None:
    project = make_project(tmp_path, SLEEP, CATALOG)
    process = project.popen(*DASK)
    pid = _pid_of_worker(project, process)
    if who == "group":  # as a terminal does on Ctrl-C
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    assert _ends(pid, 15)


def _pid_of_worker(project: TinyProject, process: subprocess.Popen[str]) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = list(project.root.glob("data/pid_*"))
        if found:
            return int(found[0].name.removeprefix("pid_"))
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    raise AssertionError("no worker started")


def _ends(pid: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_is_named(tmp_path: Path) -> None:
    project = make_project(tmp_path, NUMBERS, CATALOG)
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
