"""Hours of a study by arithmetic: hand values, and shapes without memory against real ones."""

from __future__ import annotations

import gpu_time
import pytest
from gpu_time import Line, cell_passes, forward_flops, study_lines

from hybrid_pipeline.arms import baseline, chain
from hybrid_pipeline.config import ConfigError, ModelConfig, TrainingConfig
from hybrid_pipeline.models.hybrid import build_model
from hybrid_pipeline.training.cost import flops_per_example
from project_conf import groups_of
from toy_study import MODEL, SHAPE

TRAINING = TrainingConfig(lr_warmup_ratio=0.1, epochs=4, global_batch_size=10, eval_interval=1)


def test_hours_are_operations_over_the_rate() -> None:
    assert Line("x", 1.0, 1.0, 25e12 * 3600).hours() == pytest.approx(1.0)
    assert Line("x", 1.0, 1.0, 9e15).hours(5e12) == pytest.approx(0.5)


def test_passes_of_a_cell_by_hand() -> None:
    """105 examples in batches of 10, 4 epochs of 10 updates; 4 validations of 7, a test of 9."""
    assert cell_passes(TRAINING, 105, 7, 9) == 3 * 400 + 4 * 7 + 9


def test_operations_follow_from_shapes_alone() -> None:
    for arm in chain():
        real = flops_per_example(build_model(arm, MODEL, SHAPE, seed=0))
        assert forward_flops(arm, MODEL, SHAPE) == real


def test_a_study_is_the_sum_of_its_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lengths, three seeds, two tasks of equal size, an arm of 2 GFLOP and one of 5."""
    by_arm = {arm.name: 2e9 for arm in chain()} | {"arm_5_coconut": 5e9, "arm_3_n2n": 3e9}
    monkeypatch.setattr(gpu_time, "forward_flops", lambda arm, *_: by_arm[arm.name])
    monkeypatch.setattr(gpu_time, "tower_flops", lambda _: 7)
    groups = groups_of(
        "base",
        training={"epochs": 4, "global_batch_size": 10, "eval_interval": 1},
        tasks={
            name: {"num_train": 100, "num_validation": 7, "num_test": 9}
            for name in ("sudoku_4x4", "maze_4x4")
        },
        ablation={"lengths": [0.5, 1.0], "num_seeds": 3},
    )
    lines = {line.what: line for line in study_lines(groups)}
    cells = 3 * 2 * ((3 * 200 + 2 * 7 + 9) + (3 * 400 + 4 * 7 + 9))
    assert lines["arm_1_baseline"].passes == cells
    assert lines["arm_1_baseline"].flops == pytest.approx(2e9 * cells)
    assert lines["arm_5_coconut"].flops == pytest.approx(5e9 * cells)
    fit = groups["model"].n2n
    assert lines["fit of n2n"].flops == pytest.approx(
        1e9 * 2 * 3 * 3 * fit.steps * fit.batch_size  # the difference of arms 3 and 2; tasks, seeds
    )
    assert lines["features, bundled tower"].flops == 7 * 2 * 2 * (100 + 7 + 9)
    assert set(lines) == {arm.name for arm in chain()} | {"fit of n2n", "features, bundled tower"}


def test_a_task_of_a_file_is_not_guessed() -> None:
    groups = groups_of("base", tasks={"mine": {"source": "table", "path": "x.csv"}})
    with pytest.raises(ConfigError, match="'mine' lie in a file"):
        study_lines(groups)


def test_a_deeper_vit_costs_more() -> None:
    deep = ModelConfig.model_validate(
        {**MODEL.model_dump(), "vit": {**MODEL.vit.model_dump(), "depth": 3}}
    )
    assert forward_flops(baseline(), deep, SHAPE) > forward_flops(baseline(), MODEL, SHAPE)
