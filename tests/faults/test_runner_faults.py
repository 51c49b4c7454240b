"""What the runner does when workers, nodes or the driver die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kedro_projects import TinyProject, make_project

RUNNER = "hybrid_pipeline.kedro_ext.dask.runner.DaskRunner"
DASK = ("--runner", RUNNER, "--runner-params", "workers=2")
JSON = "hybrid_pipeline.kedro_ext.datasets.JsonAtomicDataset"
CATALOG = f"""
"part_{{seed}}":
  type: {JSON}
  filepath: data/part_{{seed}}.json
total:
  type: {JSON}
  filepath: data/total.json
"""

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
    process = project.popen("--runner", RUNNER, "--runner-params", "workers=1")
    pid = _pid_of_worker(project, process)
    if who == "group":  # as a terminal does on Ctrl-C
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGKILL)
    process.wait(timeout=200)
    assert _ends(pid, 15)


def _pid_of_worker(project: TinyProject, process: subprocess.Popen[str]) -> int:
    deadline = time.monotonic() + 120
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
def test_a_scheduler_that_dies_ends_the_run(tmp_path: Path) -> None:
    project = make_project(tmp_path, SLEEP, CATALOG)
    place = tmp_path / "scheduler.json"
    quiet = {"env": project.env(), "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    common = ["--no-dashboard", "--scheduler-file", str(place)]
    dask = [sys.executable, "-m"]
    started = [
        subprocess.Popen(
            [*dask, "distributed.cli.dask_scheduler", "--port", "0", *common], **quiet
        ),
        subprocess.Popen([*dask, "distributed.cli.dask_worker", "--no-nanny", *common], **quiet),
    ]
    try:
        while not place.exists():
            time.sleep(0.1)
            assert started[0].poll() is None
        address = json.loads(place.read_text())["address"]
        params = f"scheduler={address},worker_timeout_s=5"
        process = project.popen("--runner", RUNNER, "--runner-params", params)
        _pid_of_worker(project, process)
        started[0].kill()
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 1
        assert "run the same command again to resume" in " ".join(output.split())
    finally:
        for each in started:
            each.kill()
            each.wait(timeout=20)
