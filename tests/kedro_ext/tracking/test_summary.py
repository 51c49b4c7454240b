"""What MLflow is told of a study: figures and words of the analysis, none of its own."""

from __future__ import annotations

import pytest

from hybrid_pipeline.kedro_ext.tracking.charts import ACCURACY, GAIN
from hybrid_pipeline.kedro_ext.tracking.summary import summarise
from hybrid_pipeline.stats.results import ArmAccuracy, Effect, Interval, StudyResults


def accuracy(arm: str, estimate: float, low: float, high: float) -> ArmAccuracy:
    return ArmAccuracy(
        arm=arm, task="maze", metric="correct", estimate=estimate, num_seeds=3, num_examples=10,
        interval=Interval(estimate=estimate, low=low, high=high),
    )  # fmt: skip


@pytest.fixture
def results() -> StudyResults:
    return StudyResults(
        headline="The study in a sentence.",
        arms=("arm_1_baseline", "arm_2_clip"),
        tasks=("maze",),
        metrics={"maze": "correct"},
        seeds=(0, 1, 2),
        delta=0.01,
        alpha=0.05,
        accuracies=(
            accuracy("arm_1_baseline", 0.5, 0.45, 0.55),
            accuracy("arm_2_clip", 0.6, 0.58, 0.62),
            accuracy("control_linear_probe", 0.4, 0.3, 0.5),
        ),
        effects=(
            Effect(
                kind="stage", arm="arm_2_clip", reference="arm_1_baseline", task="maze",
                num_seeds=3, num_examples=10,
                verdict="helps by at least 1 point", verdict_code="helps_by_delta",
                difference=Interval(estimate=0.1, low=0.04, high=0.16),
            ),
        ),
    )  # fmt: skip


def test_every_arm_has_its_score_interval_and_verdict(results: StudyResults) -> None:
    summary = summarise(results.model_dump(mode="json"), "kedro run --env smoke")
    first, second, control = summary.arms
    assert first.text == "1 Custom ViT 50.0 % [45.0, 55.0]"
    assert second.text == "2 + frozen CLIP 60.0 % [58.0, 62.0] \N{BLACK UP-POINTING TRIANGLE} helps"
    assert control.text.startswith("linear probe on the tower 40.0 %")
    assert second.metrics[ACCURACY] == pytest.approx(60)
    assert second.metrics[f"{GAIN} low"] == pytest.approx(4)
    assert not any(name.startswith(GAIN) for name in first.metrics)
    assert "**The study in a sentence.**" in summary.note
    assert "`kedro run --env smoke`" in summary.note
    assert f"- {second.text}" in summary.note


def test_a_single_seed_has_no_interval(results: StudyResults) -> None:
    row = accuracy("arm_1_baseline", 0.5, 0.4, 0.6).model_copy(update={"interval": None})
    found = results.model_copy(update={"accuracies": (row,), "effects": ()})
    first, _ = summarise(found, "c").arms
    assert first.text == "1 Custom ViT 50.0 %"
    assert first.metrics == {ACCURACY: 50.0}
