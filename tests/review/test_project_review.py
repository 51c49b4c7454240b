"""The review of the project's own environments, through its pipeline and in its three forms."""

import json
from pathlib import Path

import pytest
import yaml
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from hybrid_pipeline.config import (
    ClipConfig,
    HaltingConfig,
    ModelConfig,
    ReviewConfig,
    TasksConfig,
    TrainingConfig,
)
from hybrid_pipeline.pipelines.hyperparameter_review import create_pipeline
from hybrid_pipeline.review.project import CORRECTED, ORIGINAL, load_texts
from hybrid_pipeline.review.render import html_fragment

ROOT = Path(__file__).parents[2]
MODELS = {
    "tasks": TasksConfig,
    "training": TrainingConfig,
    "halting": HaltingConfig,
    "model": ModelConfig,
    "clip": ClipConfig,
    "review": ReviewConfig,
}


def run_review(env, **overrides):
    loader = OmegaConfigLoader(
        str(ROOT / "conf"), base_env="base", env=env, default_run_env="local",
        merge_strategy={"parameters": "soft"}, runtime_params=overrides,
    )  # fmt: skip
    parameters = loader["parameters"]
    catalog = DataCatalog(
        {
            f"params:{name}": MemoryDataset(model.model_validate(parameters[name]))
            for name, model in MODELS.items()
        }
    )
    files = {str(p.relative_to(ROOT)): p.read_text for p in (ROOT / "conf").rglob("*.yml")}
    catalog["configuration_files"] = MemoryDataset(files, copy_mode="assign")
    outputs = SequentialRunner().run(create_pipeline(), catalog)
    return {name: data.load() for name, data in outputs.items()}


@pytest.mark.parametrize("env", ["base", "t4"])
def test_own_settings_need_no_change(env):
    """Warnings and errors about our own configuration would be promises not kept."""
    found = run_review(env)["hyperparameter_review"]
    ours = [name for name in found["reviews"] if name.startswith("this configuration")]
    assert len(ours) == 1  # both tasks have the same size
    severe = [f["id"] for f in found["reviews"][ours[0]] if f["severity"] in ("error", "warning")]
    assert severe == []


def test_t4_has_the_documents_steps():
    run = run_review("t4")["hyperparameter_review"]["run"]
    assert (run["batches_per_epoch"], run["total_steps"]) == (520, 26_000)  # the last dropped
    assert (run["warmup_steps"], run["dqn_start_step"]) == (3_000, 5_200)


def test_params_are_reviewed_as_they_resolve():
    found = run_review("t4", training={"lr": 3.0e-4, "max_grad_norm": None})
    review = found["hyperparameter_review"]["reviews"]
    ids = [f["id"] for name, r in review.items() if name.startswith("this") for f in r]
    assert "lr_frozen_encoder" in ids
    assert "clipping_missing" in ids
    assert "training.lr, training.max_grad_norm" in found["hyperparameter_review_summary"]


def test_all_forms_tell_the_same():
    outputs = run_review("base")
    found = json.loads(json.dumps(outputs["hyperparameter_review"]))
    page = outputs["hyperparameter_review_page"]
    for name, findings in found["reviews"].items():
        assert f"## {name}" in page
        for finding in findings:
            assert f"| {finding['id']} |" in page
            if finding["autofix"]:
                assert finding["autofix"].rstrip() in page
                assert isinstance(yaml.safe_load(finding["autofix"]), dict)
    assert found["counts"][ORIGINAL]["warning"] == 5
    assert found["counts"][CORRECTED]["warning"] == 0
    assert html_fragment(page).count("<table>") == 3
    assert len(outputs["hyperparameter_review_summary"].splitlines()) == 3


def test_sizes_that_differ_are_reviewed_apart():
    small = {"maze_4x4": {"num_train": 640}}
    found = run_review("base", tasks=small)["hyperparameter_review"]
    ours = sorted(name for name in found["reviews"] if name.startswith("this configuration"))
    assert ours == ["this configuration, maze_4x4", "this configuration, sudoku_4x4"]


def test_credentials_are_not_read():
    def secret():
        raise AssertionError("read")

    assert load_texts({"local/credentials.yml": secret, "a.yml": lambda: "x", "b": "y"}) == {
        "a.yml": "x",
        "b": "y",
    }
