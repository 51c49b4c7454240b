from itertools import pairwise

import pytest

from hybrid_pipeline.arms import (
    ARMS,
    BASELINE,
    CONTROLS,
    FULL,
    arm_from_letters,
    arms_of_design,
    check_components,
    feasible_subsets,
    find_arm,
    relevant_model,
)
from hybrid_pipeline.config import AblationConfig, ModelConfig


def test_each_arm_adds_exactly_one_component_to_the_one_before():
    for before, after in pairwise(ARMS):
        assert after.components[:-1] == before.components
        same = {k: v for k, v in vars(after).items() if k not in ("name", "components")}
        assert same == {k: v for k, v in vars(before).items() if k not in ("name", "components")}
    assert (BASELINE.letters, FULL.letters) == ("-", "CNTK")


@pytest.mark.parametrize(
    ("design", "letters"),
    [
        ("cumulative", ["-", "C", "CN", "CNT", "CNTK"]),
        ("leave_one_out", ["-", "C", "CN", "CNT", "CNTK", "TK", "CTK", "CNK"]),
        ("factorial", ["-", "C", "CN", "CNT", "CNTK", "T", "K", "CT", "CK", "TK", "CTK", "CNK"]),
    ],
)
def test_designs(design, letters):
    arms = arms_of_design(AblationConfig(design=design))
    assert [arm.letters for arm in arms] == letters


def test_the_factorial_design_is_all_feasible_subsets():
    arms = arms_of_design(AblationConfig(design="factorial"))
    assert {arm.components for arm in arms} == set(feasible_subsets())
    assert len(feasible_subsets()) == 12
    assert ("n2n",) not in feasible_subsets()


def test_controls_are_off_by_default_and_can_be_picked():
    assert not any(arm.control_of for arm in arms_of_design(AblationConfig()))
    every = arms_of_design(AblationConfig(controls=True))
    assert [a.name for a in every[5:]] == [a.name for a in CONTROLS.values()]
    picked = arms_of_design(AblationConfig(controls=["one_path", "wide_vit"]))
    assert [a.name for a in picked[5:]] == ["control_wide_vit", "control_one_path"]


def test_a_control_differs_from_its_arm_in_one_thing():
    differing = {
        "random_tower": {"tower"},
        "mlp_adapter": {"adapter"},
        "one_path": {"num_paths"},
        "linear_probe": {"backbone"},
        "wide_vit": {"backbone", "components"},
        "deep_core": {"core", "components"},
    }
    for name, expected in differing.items():
        control = CONTROLS[name]
        arm = find_arm(control.control_of)
        changed = {k for k, v in vars(control).items() if v != vars(arm)[k]}
        assert changed - {"name", "control_of"} == expected


def test_components_are_checked():
    with pytest.raises(ValueError, match="unknown component 'vit'; expected one of clip, n2n"):
        check_components(["vit"])
    with pytest.raises(ValueError, match="component 'n2n' requires clip"):
        arm_from_letters("NT")


def test_arms_are_found_by_name():
    assert find_arm("subset_CTK").components == ("clip", "trm", "coconut")
    assert find_arm("control_one_path").num_paths == 1
    with pytest.raises(
        ValueError, match=r"unknown arm 'arm_4'; did you mean 'arm_4_trm'. \(allowed here: arm"
    ):
        find_arm("arm_4")


@pytest.mark.parametrize(
    ("arm", "parts"),
    [
        ("arm_1_baseline", {"core", "vit"}),
        ("arm_2_clip", {"core", "vit"}),
        ("arm_3_n2n", {"core", "vit", "n2n"}),
        ("arm_4_trm", {"core", "vit", "n2n", "trm"}),
        ("arm_5_coconut", {"core", "vit", "n2n", "trm", "coconut"}),
        ("control_deep_core", {"core", "vit", "n2n", "trm"}),
        ("control_linear_probe", {"core"}),
        ("control_wide_vit", {"core", "vit", "n2n", "trm", "coconut"}),
    ],
)
def test_only_parameters_that_reach_an_arm_make_its_key(arm, parts):
    assert set(relevant_model(find_arm(arm), ModelConfig())) == parts
