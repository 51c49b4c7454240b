"""The hours on the GPU pages: recomputed, and within what the profiles promise."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from hybrid_pipeline.arms import arms_of_design, chain, control_arms, feasible_subsets
from project_conf import groups_of

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return importlib.import_module("gpu_hours")


@pytest.mark.slow
@pytest.mark.parametrize("env", ["t4_session", "t4"])
def test_the_sums_on_the_t4_page_are_current(script: ModuleType, env: str) -> None:
    """``--env t4_session`` is promised to take at most three hours; t4 takes days."""
    lines = script.study_lines(groups_of(env))
    text = script.T4_PAGE.read_text("utf-8")
    assert script.filled(text, env, script.table(lines)) == text
    hours = sum(line.hours() for line in lines)
    assert hours <= 3.0 if env == "t4_session" else hours > 24


@pytest.mark.slow
def test_the_sentence_on_the_gpu_page_is_current(script: ModuleType) -> None:
    groups = groups_of("gpu")
    text = script.GPU_PAGE.read_text("utf-8")
    block = script.gpu_block(groups, script.study_lines(groups))
    assert script.filled(text, "gpu", block) == text
    assert script.captured_minutes(groups) <= 15


def test_the_gpu_profile_is_the_default_study_with_all_that_can_be_asked() -> None:
    base, gpu = groups_of("base"), groups_of("gpu")
    assert (gpu["training"].device, base["training"].device) == ("cuda", "cpu")
    for group in ("tasks", "model", "halting", "rendering", "evaluation"):
        assert gpu[group] == base[group]
    same = {"device": "cpu"}
    assert gpu["training"].model_copy(update=same) == base["training"]
    ablation = gpu["ablation"]
    assert (ablation.num_seeds, len(ablation.lengths), ablation.lengths[-1]) == (10, 3, 1.0)
    names = {arm.name for arm in arms_of_design(ablation)}
    assert {arm.name for arm in control_arms().values()} < names
    assert len(names) == len(feasible_subsets()) + len(control_arms())


def test_the_session_profile_is_the_chain_three_seeds_and_the_real_clip() -> None:
    groups = groups_of("t4_session")
    assert arms_of_design(groups["ablation"]) == chain()
    assert groups["ablation"].num_blocks == 3
    assert (groups["clip"].source, groups["clip"].pretrained) == ("hub", "openai")
    assert (groups["training"].device, groups["training"].precision) == ("cuda", "fp16")


def test_a_page_without_the_marks_is_refused(script: ModuleType) -> None:
    with pytest.raises(ValueError, match="no block for the hours of t4"):
        script.filled("text", "t4", "block")
    found = script.filled("a\n<!-- hours of t4 -->\nold\n<!-- end -->\nb", "t4", "new")
    assert found == "a\n<!-- hours of t4 -->\nnew\n<!-- end -->\nb"
