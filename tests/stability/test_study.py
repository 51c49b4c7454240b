"""From cell folders to the stability study's documents, and to advice for the report."""

import json
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.io
import pytest
import yaml

from cell_records import diverged, done
from hybrid_pipeline.advisor.study import RunSettings, study_advice
from hybrid_pipeline.claims.claims import StabilityFinding, read_claims
from hybrid_pipeline.config import (
    AdvisorConfig,
    HaltingConfig,
    ModelConfig,
    ReviewConfig,
    StabilityConfig,
    StorageConfig,
    TrainingConfig,
)
from hybrid_pipeline.curves.cells import read_curves
from hybrid_pipeline.pipelines.hybrid_training.nodes import advise_on_cell
from hybrid_pipeline.stability.design import stability_settings
from hybrid_pipeline.stability.study import setting_spec, stability_documents
from hybrid_pipeline.storage import seal
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.result import Cell

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf/base/parameters"
DOCUMENT = ReviewConfig.model_validate(
    yaml.safe_load((CONF / "review.yml").read_text())["review"]
).document
TRAINING = TrainingConfig(epochs=2, lr_warmup_ratio=0.1, lr=1e-3)
HALTING = HaltingConfig()
CONFIG = StabilityConfig(num_seeds=3, min_seeds=3)
NUM_STEPS = 120
RUN = RunSettings(TRAINING, HALTING, ModelConfig(), AdvisorConfig())
HANDLES = {
    "maze": TaskHandle(
        task="maze",
        splits={"validation": 500},
        majority={"correct": 0.1},
        chance_scores={"correct": 0.05},
    )
}


def write_cell(root, setting, seed, *, lost=False, gate=0.5, **columns):
    rng = np.random.default_rng([seed, zlib.crc32(setting.encode())])
    count = 40 if lost else NUM_STEPS
    key = f"{setting}-{seed}"
    folder = root / "06_models" / "cells" / key
    folder.mkdir(parents=True)
    updates = pd.DataFrame(
        {
            "step": np.arange(1, count + 1),
            "loss": np.linspace(2, 0.5, count) + rng.normal(0, 0.01, count),
            "grad_norm": np.exp(rng.normal(-1, 0.2, count)),
            "clipped": np.zeros(count),
            "finite": np.r_[np.ones(count - 5), np.zeros(5) if lost else np.ones(5)],
            "fusion/gate_mean": gate,
            **columns,
        }
    )
    updates.to_parquet(folder / "updates.parquet")
    steps = np.arange(20, count + 1, 20)
    score = np.minimum(0.7, steps / 80)
    pd.DataFrame({"step": steps, "score": score}).to_parquet(folder / "validations.parquet")
    seal(folder)
    score = 0.7 + rng.normal(0, 0.01)
    if lost:
        result = diverged("arm_5_coconut", seed, "maze", key=key)
    else:
        result = done("arm_5_coconut", seed, "maze", score, key=key, updates=NUM_STEPS)
    return Cell(arm="arm_5_coconut", seed=seed, setting=setting, results=(result,))


def write_plain(root, setting, seed, **columns):
    return write_cell(root, setting, seed, **columns).model_copy(update={"setting": ""})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def cells(root):
    settings = stability_settings(TRAINING, HALTING, DOCUMENT, CONFIG)
    return [
        write_cell(root, s.name, seed, lost=s.name == "original" and seed == 0)
        for s in settings
        for seed in range(3)
    ]


@pytest.fixture(scope="module")
def documents(cells, root):
    storage = StorageConfig(root=str(root))
    return stability_documents(RUN, DOCUMENT, CONFIG, storage, cells, HANDLES)


def test_curves_of_cells(cells, root):
    curves = read_curves(cells, TRAINING, StorageConfig(root=str(root)))
    lost = next(c for c in curves if c.gave_up)
    assert (lost.setting, lost.seed, lost.num_steps, lost.planned_steps) == (
        "original", 0, 40, NUM_STEPS,
    )  # fmt: skip
    assert lost.final == {}
    assert lost.steps_per_epoch == 60  # 120 updates in 2 epochs
    assert sum(c.gave_up for c in curves) == 1


def test_documents(documents):
    results, page, summary, findings, figures = documents
    json.dumps([results, findings])
    assert "original 1 of 3 [1 %, 91 %]" in summary  # Clopper-Pearson of 1 of 3
    assert summary.startswith("- maze: final score, corrected minus original: ")
    assert summary.count("\n- maze: “") == 8  # every promise on a line of its own
    assert page.startswith("# Stability")
    for outcome in findings["topics"].values():
        StabilityFinding.model_validate(outcome)
    assert {f["outcome"] for f in findings["topics"].values()} == {"inconclusive"}
    assert set(figures) == {
        f"maze_{name}"  # no loss is a spike, no Q-value was written: nothing to draw of them
        for name in ("loss", "grad_norm", "diverged", "effects_final_score", "effects_grad_norm")
    }
    drawn_in_report = [f["name"] for f in findings["section"]["figures"]]
    assert drawn_in_report == [f"stability_{name}" for name in figures]
    assert "## What the curves suggest" in page
    advice = next(t for t in findings["section"]["tables"] if "suggest" in t["title"])
    assert any(
        "Diverged" in row[1] and "original, maze, 1 of 3" in row[0] for row in advice["rows"]
    )
    assert "problem: Diverged: gave up" in summary
    drawn = plotly.io.from_json(json.dumps(figures["maze_loss"]))
    assert {trace.name for trace in drawn.data} == {"original", "corrected"}


def test_topics_are_those_of_the_claims_file(documents):
    """Every promise that the audit expects a finding for has one, but for what is not trained."""
    findings = documents[3]
    statements = read_claims(CONF / "claims.yml").statements
    topics = {claim.topic for claim in statements if claim.kind == "stability"}
    assert topics - set(findings["topics"]) == {
        "expansion_penalty_simplifies",
        "low_dqn_lr_stabilises",
        "low_weight_decay_faster",
        "temperature_explores",
    }
    assert set(findings["topics"]) <= topics


def test_spec_carries_the_setting():
    spec = setting_spec("four_original", 7, RUN, DOCUMENT, CONFIG)
    assert (spec.arm.name, spec.seed) == ("arm_5_coconut", 7)
    assert spec.training.lr == pytest.approx(3e-3)
    assert spec.halting.dqn_warmup_ratio == 0.1
    with pytest.raises(ValueError, match="unknown setting 'x'"):
        setting_spec("x", 0, RUN, DOCUMENT, CONFIG)


def test_advice_on_cells(tmp_path):
    records = [write_plain(tmp_path, "a", s, gate=0.001 if s else 0.5) for s in range(2)]
    (note,) = study_advice(records, HANDLES, RUN, StorageConfig(root=str(tmp_path)))
    assert note.where == "arm_5_coconut, maze, 1 of 2 seeds (1)"
    assert note.suggestion == "--params training.lr_warmup_ratio=0.2"


def test_a_control_with_one_path_has_no_paths_to_collapse(tmp_path):
    same = {"coconut/disagreement": 0.0}
    records = [write_plain(tmp_path, "a", 0, **same)]
    storage = StorageConfig(root=str(tmp_path))
    texts = [note.text for note in study_advice(records, HANDLES, RUN, storage)]
    assert any("the paths nearly agree" in text for text in texts)
    one_path = study_advice(
        [records[0].model_copy(update={"arm": "control_one_path"})], HANDLES, RUN, storage
    )
    assert not any("paths" in note.text for note in one_path)


def test_a_run_at_the_level_of_chance(tmp_path):
    """The handle of the task tells what no learning reaches: the majority, .1, above chance."""
    record = write_plain(tmp_path, "a", 0)
    path = tmp_path / "06_models" / "cells" / "a-0" / "validations.parquet"
    pd.DataFrame({"step": [60, 120], "score": [0.09, 0.11]}).to_parquet(path)
    seal(path.parent)
    notes = study_advice([record], HANDLES, RUN, StorageConfig(root=str(tmp_path)))
    assert "score 0.110 at the end, 0.100 without learning" in notes[0].text
    assert notes[0].level == "problem"


def test_a_cell_alone_ends_with_advice(tmp_path):
    record = write_plain(tmp_path, "a", 0, **{"fusion/gate_mean": 0.001})
    review = ReviewConfig.model_validate(
        yaml.safe_load((CONF / "review.yml").read_text())["review"]
    )
    page, summary = advise_on_cell(
        record, HANDLES, ModelConfig(), TRAINING, HALTING, review, StorageConfig(root=str(tmp_path))
    )
    assert page.startswith("# What the curves of arm_5_coconut, seed 0, suggest\n\n| level |")
    assert "The fusion ignores the frozen tower" in page
    assert "--params training.lr_warmup_ratio=0.2\n" in summary
