"""What no cell of a run could use is refused before the first node, by the cells that will run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hybrid_pipeline.config import ConfigError
from hybrid_pipeline.kedro_ext.project_parameters import validate_parameters, without_removed_tasks
from hybrid_pipeline.kedro_ext.run_checks import check_run

TASKS = {"digits": {"source": "maze", "num_train": 8, "num_validation": 2, "num_test": 2}}


def _node(*tags: str, namespace: str = "x") -> Any:
    return SimpleNamespace(tags=set(tags), namespace=namespace)


ARMS = [_node("cell", f"arm.{arm}") for arm in ("arm_1_baseline", "arm_3_n2n", "arm_5_coconut")]
STABILITY = [_node("cell", "arm.corrected", namespace="stability.corrected.seed_0")]


@pytest.mark.parametrize(
    ("groups", "nodes", "sentence"),
    [
        (
            {"model": {"core": {"mlp_t": True}}},
            ARMS,
            "parameter 'model.core.mlp_t' = True is refused: COCONUT appends thoughts, which a core"
            " that mixes a fixed number of slots cannot take, and arm_5_coconut has it; allowed"
            " here: false.",
        ),
        (
            {"model": {"n2n": {"num_heads": 7}}},
            ARMS,
            "parameter 'model.n2n.num_heads' = 7 is refused: it must divide the tower's 96"
            " channels.",
        ),
        (
            {"stability": {"tasks": ["sudoku_4"]}},
            STABILITY,
            "parameter 'stability.tasks' = ['sudoku_4'] is refused: there is no task 'sudoku_4'"
            " (allowed here: digits, or null for all).",
        ),
    ],
)
def test_what_a_cell_could_not_use_is_refused(
    tmp_path: Path, groups: dict[str, Any], nodes: list[Any], sentence: str
) -> None:
    parameters = {"tasks": TASKS, **groups}
    validate_parameters(parameters)
    with pytest.raises(ConfigError) as refusal:
        check_run(parameters, tmp_path, nodes)
    assert str(refusal.value) == sentence
    check_run(parameters, tmp_path, ARMS[:1])  # the baseline alone uses none of it


def test_a_stability_study_checks_its_arm(tmp_path: Path) -> None:
    parameters = {"tasks": TASKS, "model": {"core": {"mlp_t": True}}}
    with pytest.raises(ConfigError, match="mlp_t"):
        check_run({**parameters, "stability": {"arm": "arm_5_coconut"}}, tmp_path, STABILITY)
    check_run({**parameters, "stability": {"arm": "arm_4_trm"}}, tmp_path, STABILITY)


def test_an_unknown_tower_is_refused_before_it_is_needed(tmp_path: Path) -> None:
    clip = {"source": "hub", "model": "ViT-B32", "pretrained": "openai"}
    with pytest.raises(ConfigError, match="ViT-B32"):
        check_run({"tasks": TASKS, "clip": clip}, tmp_path, ARMS)


def test_a_claim_about_an_unknown_part_is_refused_before_the_study(tmp_path: Path) -> None:
    claim = {
        "id": "mine",
        "kind": "gain",
        "component": "CLIP",
        "value": 0.1,
        "quote": "CLIP helps",
        "section": "1",
    }
    parameters = {"tasks": TASKS, "claims": {"source": "mine", "statements": [claim]}}
    validate_parameters(parameters)
    report = _node(namespace="reporting")
    with pytest.raises(
        ConfigError, match=r"claim 'mine' names the unknown component 'CLIP' \(allo"
    ):
        check_run(parameters, tmp_path, [*ARMS[:1], report])
    check_run(parameters, tmp_path, ARMS[:1])


def test_null_removes_a_task() -> None:
    both = {"tasks": {**TASKS, "maze_4x4": None}}
    assert list(without_removed_tasks(both)["tasks"]) == ["digits"]
    assert list(validate_parameters(both)["tasks"].root) == ["digits"]
    with pytest.raises(ConfigError, match="at least one task is needed"):
        validate_parameters({"tasks": {"maze_4x4": None}})


@pytest.mark.parametrize(
    ("ablation", "warning"),
    [
        (
            {"num_seeds": 2},
            "ablation.num_seeds = 2: the report will show scores but judge nothing, since verdicts "
            "need at least 3 seeds; for verdicts run --params ablation.num_seeds=3.",
        ),
        (
            {"sequential": True, "looks": [1, 2]},
            "ablation.looks = [1, 2]: the report will show scores but judge nothing, since verdicts"
            " need at least 3 seeds; for verdicts let the last look see 3 seeds.",
        ),
        ({"num_seeds": 3}, None),
        ({"num_seeds": 1, "time_budget_minutes": 60.0}, None),  # its own plan says what fits
    ],
)
def test_a_study_of_too_few_seeds_is_warned_of_before_the_hours(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ablation: dict[str, Any], warning: str | None
) -> None:
    parameters = {"tasks": TASKS, "ablation": ablation}
    validate_parameters(parameters)
    check_run(parameters, tmp_path, [*ARMS, _node(namespace="reporting")])
    assert caplog.messages == ([] if warning is None else [warning])
    caplog.clear()
    check_run(parameters, tmp_path, ARMS)  # cells without a report are judged nowhere
    assert caplog.messages == []
