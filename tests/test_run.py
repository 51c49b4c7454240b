"""The main job end to end, smaller than smoke: outputs, reruns, and death in the middle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from hybrid_pipeline.arms import chain

ROOT = Path(__file__).parents[1]
RUN = [sys.executable, "-m", "kedro", "run", "--pipeline", "ablation", "--env", "tiny"]
SEQUENTIAL = ["--runner", "SequentialRunner"]
SIZES = {"num_train": 64, "num_validation": 12, "num_test": 24}
TINY = {
    "tasks": {
        "sudoku_4x4": {"source": "reasoning_gym", "generator": "mini_sudoku", **SIZES},
        "maze_4x4": {"source": "maze", **SIZES},
    },
    "ablation": {"num_seeds": 1, "lengths": [0.5, 1.0]},
    "training": {
        "epochs": 2.0, "eval_interval": 1.0, "global_batch_size": 8, "checkpoint_interval_steps": 2,
    },
    "model": {
        "core": {"dim": 16, "num_heads": 2, "num_layers": 1, "hidden_multiple": 8},
        "vit": {"embed_dim": 16, "num_heads": 2, "depth": 1},
        "n2n": {"steps": 3, "batch_size": 8},
        "trm": {"L_cycles": 1},
        "coconut": {"num_paths": 2, "num_thoughts": 1},
    },
    "evaluation": {"num_resamples": 100},
}  # fmt: skip
OUTPUTS = (
    "scores.parquet", "effects.csv", "compound.json", "claims_audit.json", "report.md",
    "report.html", "compare.html",
)  # fmt: skip
SAME = (
    "scores.parquet",
    "effects.csv",
    "compound.json",
    "claims_audit.json",
    "report.md",
    "report.html",
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Study:
    """A copy of the project's configuration in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        shutil.copytree(ROOT / "conf", root / "conf")
        shutil.copy(ROOT / "pyproject.toml", root)
        shutil.copytree(ROOT / "src", root / "src")  # Kedro refuses one that lies elsewhere
        (root / "data").mkdir()
        parameters = root / "conf" / "tiny" / "parameters"
        parameters.mkdir(parents=True)
        (parameters / "tiny.yml").write_text(yaml.safe_dump(TINY))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """``kedro run`` in a process group of its own."""
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("KEDRO_", "MLFLOW_"))}
        return subprocess.Popen(
            [*RUN, *arguments],
            cwd=self.root,
            env={
                **keep,
                "DO_NOT_TRACK": "1",
                "OMP_NUM_THREADS": "1",
                "GIT_PYTHON_REFRESH": "quiet",
            },
            stdout=(self.root / "log.txt").open("a"),
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> None:
        process = self.start(*arguments)
        code = process.wait(timeout=400)
        assert code == 0, (self.root / "log.txt").read_text()[-4000:]

    def out(self, name: str) -> Path:
        return self.root / "data" / "08_reporting" / "latest" / name

    def digests(self) -> dict[str, str]:
        return {n: hashlib.sha256(self.out(n).read_bytes()).hexdigest() for n in SAME}

    def cells(self, name: str) -> list[Path]:
        return sorted((self.root / "data/06_models/cells").glob(f"*/{name}"))


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    made = Study(tmp_path_factory.mktemp("run") / "whole")
    made.run(*SEQUENTIAL)
    return made


def test_every_output_is_at_its_place(study):
    for name in OUTPUTS:
        assert study.out(name).stat().st_size > 0, name
    assert list(study.out("figures").glob("*.json"))
    scores = pd.read_parquet(study.out("scores.parquet"))
    assert set(scores["arm"]) == {arm.name for arm in chain()}
    assert len(scores) == len(chain()) * 2 * SIZES["num_test"] * 2
    assert not scores.duplicated(["arm", "seed", "task", "example", "length"]).any()
    assert set(zip(scores["length"], scores["updates"], strict=True)) == {(0.5, 8), (1.0, 16)}
    effects = pd.read_csv(study.out("effects.csv"))
    assert {"estimate", "low", "high", "p", "p_adjusted", "verdict"} <= set(effects.columns)
    assert set(effects["task"]) >= {"sudoku_4x4", "maze_4x4"}
    json.loads(study.out("compound.json").read_text())
    json.loads(study.out("claims_audit.json").read_text())
    assert "OpenAI" in study.out("report.md").read_text()  # the bundled tower is not theirs
    assert len(study.cells("result.json")) == len(chain()) * 2 * 2
    assert study.cells("checkpoint.pt") == []


@pytest.fixture(scope="module")
def first(study) -> tuple[dict[str, str], dict[Path, int]]:
    """What the first run wrote: digests of the documents, times of the results."""
    kept = [
        p
        for layer in ("03_primary", "04_feature", "05_model_input", "06_models")
        for p in (study.root / "data" / layer).rglob("*")
        if p.is_file() and p.suffix in (".parquet", ".npy", ".safetensors", ".json")
        and p.parent.parent.name != "data"
    ]  # fmt: skip
    assert len(kept) > 30
    return study.digests(), {p: p.stat().st_mtime_ns for p in kept}


def test_a_report_refuses_cells_of_other_parameters(study, first):
    """One arm trained alone under another rate, then the report of what is there."""
    digests, _ = first
    log = study.root / "log.txt"
    study.run(*SEQUENTIAL, "--namespaces", "arm_1_baseline", "--params", "training.lr=0.002")
    assert study.digests() == digests
    size = log.stat().st_size
    process = study.start(*SEQUENTIAL, "--namespaces", "reporting")
    assert process.wait(timeout=200) == 1
    said = " ".join(log.read_bytes()[size:].decode().split())
    assert "the results of arm_1_baseline (seed 0) were made under other parameters" in said
    assert "Traceback" not in said
    assert study.digests() == digests


def test_a_second_run_computes_nothing_and_leaves_the_same_bytes(study, first):
    """After another rate as well: everything is there under its key."""
    digests, times = first
    study.run(*SEQUENTIAL)
    assert study.digests() == digests
    assert {p: p.stat().st_mtime_ns for p in times} == times


def test_a_killed_study_ends_as_if_it_had_not_been(study, tmp_path):
    """kill -9 of the whole process group, with the default runner, in the middle of a cell."""
    killed = Study(tmp_path / "killed")
    process = killed.start()
    deadline = time.monotonic() + 300
    try:
        while len(killed.cells("checksums.json")) < 2 or not killed.cells("checkpoint.pt"):
            assert process.poll() is None, (killed.root / "log.txt").read_text()[-4000:]
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    finished = {p: p.stat().st_mtime_ns for p in killed.cells("checksums.json")}
    assert 2 <= len(finished) < len(chain()) * 2 * 2
    assert not killed.out("report.md").exists()
    killed.run()
    assert {p: p.stat().st_mtime_ns for p in finished} == finished
    assert killed.digests() == study.digests()
