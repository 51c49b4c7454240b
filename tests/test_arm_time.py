"""Times of arms that were not measured, put together from those of the chain."""

from __future__ import annotations

import pytest
from arm_time import milliseconds, study_minutes

from hybrid_pipeline.arms import arms_of_design, chain, control_arms, subset_arm
from hybrid_pipeline.config import AblationConfig, TrainingConfig

MEASURED = {arm.name: ms for arm, ms in zip(chain(), (1.0, 1.5, 2.0, 7.0, 11.0), strict=True)}
TRAINING = TrainingConfig(lr_warmup_ratio=0.1, epochs=10, global_batch_size=10)


@pytest.mark.parametrize(
    ("components", "expected"),
    [((), 1.0), (("clip",), 1.5), (("trm",), 6.0), (("coconut",), 3.0), (("trm", "coconut"), 10.0)],
)
def test_a_subset_has_the_differences_of_the_chain(
    components: tuple[str, ...], expected: float
) -> None:
    assert milliseconds(subset_arm(components), MEASURED) == pytest.approx(expected)


def test_a_control_counts_as_its_components() -> None:
    controls = control_arms()
    assert milliseconds(controls["random_tower"], MEASURED) == 1.5
    assert milliseconds(controls["one_path"], MEASURED) == 11.0
    assert milliseconds(controls["wide_vit"], MEASURED) == 1.0
    assert milliseconds(controls["deep_core"], MEASURED) == 7.0


def test_the_minutes_of_a_study_by_hand() -> None:
    """100 and 200 examples, batches of 10, 10 epochs: 300 updates; half as many; 2 seeds."""
    ablation = AblationConfig(lengths=(0.5, 1.0), num_seeds=2)
    each = sum(MEASURED[arm.name] for arm in arms_of_design(ablation))
    found = study_minutes(ablation, TRAINING, [100, 200], MEASURED, at_once=2.0)
    assert found == pytest.approx(2 * 450 * each / 2.0 / 60_000)
