"""The review of the project's own environments, through its pipeline and in its three forms."""

import json
from pathlib import Path

import markdown
import pytest
import yaml
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from hybrid_pipeline.config import (
    ClipConfig,
    ConfigError,
    HaltingConfig,
    ModelConfig,
    RenderingConfig,
    ReviewConfig,
    StabilityConfig,
    TrainingConfig,
)
from hybrid_pipeline.pipelines.hyperparameter_review import create_pipeline
from hybrid_pipeline.review.project import CORRECTED, ORIGINAL, num_train
from hybrid_pipeline.stability.study import stability_key
from hybrid_pipeline.tasks import TasksConfig
from hybrid_pipeline.training.learner import Learner

ROOT = Path(__file__).parents[2]
MODELS = {
    "tasks": TasksConfig,
    "training": TrainingConfig,
    "halting": HaltingConfig,
    "model": ModelConfig,
    "clip": ClipConfig,
    "rendering": RenderingConfig,
    "review": ReviewConfig,
    "stability": StabilityConfig,
}


def parameters_of(env, **overrides):
    """Validated parameter groups that the review reads."""
    loader = OmegaConfigLoader(
        str(ROOT / "conf"), base_env="base", env=env, default_run_env="local",
        merge_strategy={"parameters": "soft"}, runtime_params=overrides,
    )  # fmt: skip
    parameters = loader["parameters"]
    return {name: model.model_validate(parameters[name]) for name, model in MODELS.items()}


def run_review(env, findings=None, **overrides):
    """Outputs of the pipeline; ``findings`` are those of a stability study."""
    parameters = parameters_of(env, **overrides)
    catalog = DataCatalog(
        {f"params:{name}": MemoryDataset(value) for name, value in parameters.items()}
    )
    catalog["stability.findings"] = MemoryDataset(findings or {})
    outputs = SequentialRunner().run(create_pipeline(), catalog)
    return {name: data.load() for name, data in outputs.items()}


def own(outputs):
    """Findings of the configuration itself, by id."""
    reviews = outputs["hyperparameter_review"]["reviews"]
    return {f["id"]: f for name, r in reviews.items() if name.startswith("this") for f in r}


@pytest.mark.parametrize("env", ["base", "gpu", "t4_session", "t4"])
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
    assert markdown.markdown(page, extensions=["tables"]).count("<table>") == 3
    assert len(outputs["hyperparameter_review_summary"].splitlines()) == 3


def test_sizes_that_differ_are_reviewed_apart():
    small = {"maze_4x4": {"num_train": 640}}
    found = run_review("base", tasks=small)["hyperparameter_review"]
    ours = sorted(name for name in found["reviews"] if name.startswith("this configuration"))
    assert ours == ["this configuration, maze_4x4", "this configuration, sudoku_4x4"]


def test_parameters_are_counted_and_not_assumed():
    """A wide ViT beside the bundled tower fills a GPU; 85M is a ViT-B's own size."""
    wide = {
        "training": {"device": "cuda", "global_batch_size": 192},
        "model": {
            "core": {"dim": 768, "num_heads": 12},
            "vit": {"embed_dim": 768, "depth": 12, "num_heads": 12, "mlp_ratio": 4.0},
        },
    }
    outputs = run_review("base", **wide)
    run = outputs["hyperparameter_review"]["run"]
    assert run["trainable_parameters"] > 85_000_000
    assert run["parameters_assumed_because"] == ""
    assert own(outputs)["batch_memory"]["severity"] == "error"


def test_counts_of_the_t4_profile_are_those_of_its_architectures():
    run = run_review("t4")["hyperparameter_review"]["run"]
    assert run["trainable_parameters"] == pytest.approx(82e6, rel=0.03)
    assert run["frozen_parameters"] == pytest.approx(86.2e6, rel=0.01)  # ViT-B/16's image tower


def test_a_tower_that_is_not_there_leaves_assumed_counts():
    outputs = run_review("base", clip={"source": "file", "model": "ViT-B-32", "path": "no.pt"})
    found = own(outputs)["counts_assumed"]
    assert "no.pt" in found["recommendation"]
    assert found["computed"] == {"trainable": 82_000_000, "frozen": 86_000_000}


def test_all_fixes_are_in_both_forms():
    outputs = run_review("base", training={"lr": 0.01, "lr_warmup_ratio": None,
                                           "lr_warmup_steps": 3000})  # fmt: skip
    found = outputs["hyperparameter_review"]
    block = next(text for name, text in found["all_fixes"].items() if name.startswith("this"))
    assert yaml.safe_load(block) == {"training": {"lr": 0.0012, "lr_warmup_steps": 61}}
    assert f"```yaml\n{block.rstrip()}\n```" in outputs["hyperparameter_review_page"]
    assert found["all_fixes"][CORRECTED] == "training:\n  micro_batch_size: 96\n"


def test_a_file_of_settings_is_reviewed_under_its_own_names(tmp_path):
    path = tmp_path / "theirs.yml"
    path.write_text(
        "lr: 3e-4\nlr_pretrained: 5e-5\nwarmup_steps: 1000\nlr_warmup_ratio: 0.1\n"
        "freeze_encoder: false\nlr_trainable: 1e-4\n"
    )
    found = run_review("base", review={"settings_file": str(path)})["hyperparameter_review"]
    ids = {f["id"] for f in found["reviews"][str(path)]}
    assert {
        "lr_on_frozen_weights", "warmup_given_twice", "freeze_flag_foreign", "unknown_key"
    } <= ids  # fmt: skip


@pytest.mark.parametrize(("text", "words"), [(None, "not a file"), ("- a", "no mapping")])
def test_an_unusable_file_of_settings_is_refused(tmp_path, text, words):
    path = tmp_path / "theirs.yml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        run_review("base", review={"settings_file": str(path)})


def stability_findings(env):
    """What a stability study of an environment's own settings would have left."""
    p = parameters_of(env)
    return {
        "key": stability_key(
            Learner(p["training"], p["halting"], p["model"]), p["review"].document, p["stability"]
        ),
        "topics": {
            "high_lr_unstable": {
                "outcome": "supported",
                "detail": "norm: -0.2 [-0.3, -0.1], 3 seeds.",
            },
            "smoother_low_lr": {"outcome": "inconclusive", "detail": "no spread (not evaluable)."},
        },
    }


def test_the_stability_study_is_cited_where_it_is_of_these_settings():
    findings = stability_findings("base")
    outputs = run_review("base", findings)
    note = own(outputs)["lr_measured"]
    assert note["evidence"] == "measured"
    assert "lr 0.0015 (corrected) with 0.0045" in note["recommendation"]
    assert "-0.2 [-0.3, -0.1], 3 seeds" in note["recommendation"]
    assert "not evaluable" not in note["recommendation"]
    original = outputs["hyperparameter_review"]["reviews"][ORIGINAL]
    rate = next(f for f in original if f["id"] == "lr_frozen_encoder")
    assert rate["evidence"] == "measured"
    assert "3 seeds" in rate["recommendation"]


def test_a_study_of_other_settings_is_not_cited():
    outputs = run_review("base", stability_findings("base"), training={"beta2": 0.99})
    assert "lr_measured" not in own(outputs)
    original = outputs["hyperparameter_review"]["reviews"][ORIGINAL]
    assert "measured" not in {f["evidence"] for f in original}


def test_a_table_is_counted_in_its_file(tmp_path):
    path = tmp_path / "mine.csv"
    rows = "".join(f"row number {i},{'ab'[i % 2]}\n" for i in range(400))
    path.write_text("text,label\n" + rows)
    task = TasksConfig.model_validate({"mine": {"source": "table", "path": str(path)}}).root["mine"]
    config = parameters_of("base")["review"]
    counted = num_train("mine", task, config)
    assert 230 < counted < 330  # a split is a hash: about 70 % of 400 rows
    path.unlink()
    assert num_train("mine", task, config) == config.num_train_of_table
