"""A trained arm as an MLflow model: small, with a signature, and it answers elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from hybrid_pipeline.arms import find_arm
from hybrid_pipeline.config import ModelConfig
from hybrid_pipeline.kedro_ext.tracking import store
from hybrid_pipeline.kedro_ext.tracking.arm_model import FinishedArm, log_arm
from hybrid_pipeline.models.hybrid import build_model
from hybrid_pipeline.models.parts import InputShape
from hybrid_pipeline.prediction import WEIGHTS, TrainedModel

SHAPE = InputShape(16, 4, 3, (2, 2))
MEGABYTES = 8
LOAD = """
import json, sys
import mlflow, numpy as np
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(f"models:/{sys.argv[2]}")
images = np.load(sys.argv[3])
found = model.predict(images)
try:
    model.predict(images.astype(np.float32))
    refused = ""
except Exception as error:
    refused = str(error)
print(json.dumps([found.tolist(), str(found.dtype), refused]))
"""


@pytest.fixture
def finished(tmp_path: Path) -> FinishedArm:
    """The baseline with seed 3, untrained: its weights are as good as any."""
    model = build_model(find_arm("arm_1_baseline"), ModelConfig(), SHAPE, seed=3)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, tmp_path / WEIGHTS)
    trained = TrainedModel(model, ("a", "b", "c"), None)
    return FinishedArm("arm_1_baseline", "maze_4x4", 3, "k1", tmp_path / WEIGHTS, trained, (), 0.75)


def test_a_logged_arm_answers_in_another_process(tmp_path: Path, finished: FinishedArm) -> None:
    uri = store.sqlite_uri(tmp_path / "mlflow.db")
    client = store.make_client(uri)
    experiment = client.create_experiment("e", (tmp_path / "artifacts").as_uri())
    run = client.create_run(experiment).info.run_id
    model_id = log_arm(client, experiment, run, finished)

    kept = client.get_logged_model(model_id)
    assert (kept.status, kept.source_run_id, kept.name) == ("READY", run, "arm_1_baseline-maze_4x4")
    # The model's page has no place for the signature: it stands in parameters and description.
    assert kept.params["inputs"] == "uint8 [N, 16, 16]"
    assert kept.params["outputs"] == "int64 [N, 4]"
    assert "uint8 [N, 16, 16]" in kept.tags["mlflow.note.content"]
    assert [(m.key, m.value) for m in kept.metrics] == [("accuracy in percent/maze_4x4", 75.0)]
    files = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MEGABYTES * 2**20
    assert not [path.name for path in files if path.suffix in (".pkl", ".pyc", ".pt")]
    assert log_arm(client, experiment, run, finished) == model_id  # a rerun logs nothing
    assert len(client.search_logged_models([experiment])) == 1

    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-c", LOAD, uri, model_id, str(tmp_path / "images.npy")]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found, dtype, refused = json.loads(ended.stdout.splitlines()[-1])
    assert dtype == "int64"
    assert np.array_equal(found, finished.trained.answer_images(images).predicted)
    assert "uint8" in refused  # the signature is checked
