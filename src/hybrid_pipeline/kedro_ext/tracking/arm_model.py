"""A trained arm as an MLflow model: logged with a signature, loaded by ``mlflow.pyfunc``.

The model's folder holds weights, a card and the package's code, a few megabytes; nothing is
pickled, and nothing of the study is needed to load it.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import hybrid_pipeline
from hybrid_pipeline.kedro_ext.project_parameters import load_own_plugins
from hybrid_pipeline.kedro_ext.tracking.charts import ACCURACY
from hybrid_pipeline.storage import read_json, write_json_atomically

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature
    from mlflow.types import TensorSpec

    from hybrid_pipeline.prediction import TrainedModel

PLUGINS = "plugins.json"


@dataclass(frozen=True)
class FinishedArm:
    """What is logged of an arm.

    Attributes:
        arm: name.
        task: that it was trained on.
        seed: of its cell.
        key: of its cell.
        weights: the cell's file.
        trained: the arm, ready to answer.
        plugins: modules of the user that define its components.
        accuracy: share of right answers on the test split; None leaves it out.
    """

    arm: str
    task: str
    seed: int
    key: str
    weights: Path
    trained: TrainedModel
    plugins: Sequence[str] = ()
    accuracy: float | None = None


class AnswersImages:
    """What ``mlflow.pyfunc.load_model`` gives back."""

    def __init__(self, model: TrainedModel) -> None:
        self._model = model

    def predict(self, model_input: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Class of each slot at full depth, int64 [N, S], of images uint8 [N, H, W]."""
        return self._model.answer_images(model_input).predicted.astype(np.int64)


def _load_pyfunc(data_path: str) -> AnswersImages:
    """The loader that MLflow calls, with the folder that ``log_arm`` wrote."""
    from hybrid_pipeline.prediction import load_kept

    folder = Path(data_path)
    load_own_plugins({"plugins": read_json(folder / PLUGINS)})
    return AnswersImages(load_kept(folder))


def log_arm(client: MlflowClient, experiment_id: str, run_id: str, finished: FinishedArm) -> str:
    """Log an arm as the model of its cell's run; one that is there already stays.

    Args:
        client: MLflow's.
        experiment_id: of the run.
        run_id: of the cell.
        finished: the arm.

    Returns:
        The model's id: ``mlflow.pyfunc.load_model(f"models:/{id}")``.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

    known = client.search_logged_models([experiment_id], f"tags.cell_key = '{finished.key}'")
    kept = [m.model_id for m in known if m.source_run_id == run_id and m.status == "READY"]
    if kept:
        return str(kept[0])
    inputs, outputs = map(_spec_text, _tensors(finished.trained))
    model = client.create_logged_model(
        experiment_id,
        name=f"{finished.arm}-{finished.task}".replace(".", "_"),
        source_run_id=run_id,
        tags={
            "cell_key": finished.key,
            "arm": finished.arm,
            "task": finished.task,
            MLFLOW_RUN_NOTE: _note(finished, inputs, outputs),
        },
        params={
            "seed": str(finished.seed),
            "classes": " ".join(finished.trained.classes)[:500],
            "inputs": inputs,
            "outputs": outputs,
        },
        model_type="pyfunc",
    )
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "model"
        _save(saved, finished, Path(folder) / "arm", run_id=run_id, model_id=model.model_id)
        client.log_model_artifacts(model.model_id, str(saved))
    client.finalize_logged_model(model.model_id, "READY")
    if finished.accuracy is not None:
        name = f"{ACCURACY}/{finished.task}"
        client.log_metric(run_id, name, 100 * finished.accuracy, model_id=model.model_id)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return str(model.model_id)


def _save(path: Path, finished: FinishedArm, arm: Path, *, run_id: str, model_id: str) -> None:
    import mlflow
    from mlflow.models import Model

    warnings.filterwarnings("ignore", message=".*An input example was not provided")
    arm.mkdir()
    finished.trained.keep(arm, finished.weights)
    write_json_atomically(arm / PLUGINS, list(finished.plugins))
    mlflow.pyfunc.save_model(
        path=str(path),
        loader_module=__name__,
        data_path=str(arm),
        code_paths=[str(Path(hybrid_pipeline.__file__).parent)],
        mlflow_model=Model(run_id=run_id, model_id=model_id),
        signature=_signature(finished.trained),
        pip_requirements=_requirements(),
        metadata={"classes": list(finished.trained.classes)},
    )


def _requirements() -> list[str]:
    """What the package needs, in the versions that trained the arm."""
    from packaging.requirements import Requirement

    needed = [Requirement(r) for r in importlib.metadata.requires("hybrid_pipeline") or ()]
    named = [r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    return [f"{name}=={importlib.metadata.version(name)}" for name in named]


def _note(finished: FinishedArm, inputs: str, outputs: str) -> str:
    """The description on the model's page, which shows the signature nowhere else (MLflow 3.17)."""
    return (
        f"`{finished.arm}` trained on `{finished.task}` with seed {finished.seed}. "
        f"It takes images, {inputs}, and gives the class of each answer slot, {outputs}: "
        "a place in the list of classes. N is the number of images.\n\n"
        '```python\nmlflow.pyfunc.load_model("models:/<Model ID>").predict(images)\n```'
    )


def _spec_text(spec: TensorSpec) -> str:
    """Such as ``uint8 [N, 64, 64]``."""
    sizes = ", ".join("N" if size == -1 else str(size) for size in spec.shape)
    return f"{spec.type} [{sizes}]"


def _signature(trained: TrainedModel) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

    images, answers = _tensors(trained)
    return ModelSignature(inputs=Schema([images]), outputs=Schema([answers]))


def _tensors(trained: TrainedModel) -> tuple[TensorSpec, TensorSpec]:
    """What the model takes and gives."""
    from mlflow.types import TensorSpec

    shape = trained.model.shape
    return (
        TensorSpec(np.dtype(np.uint8), (-1, shape.image_size, shape.image_size)),
        TensorSpec(np.dtype(np.int64), (-1, shape.num_slots)),
    )
