"""Arms, designs and controls follow from the records, also with a sixth component."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import pytest

from hybrid_pipeline.arms import (
    arms_of_design,
    baseline,
    chain,
    check_components,
    control_arms,
    feasible_subsets,
    find_arm,
    full,
    relevant_model,
    requirements,
    subset_arm,
    without,
)
from hybrid_pipeline.components import component, components, controls
from hybrid_pipeline.config import AblationConfig, ModelConfig

FOUR = ("clip", "n2n", "trm", "coconut")


@pytest.fixture
def _four(monkeypatch):
    """The components that the hand values are of, whatever joins them in the project."""
    _register(monkeypatch, *map(component, FOUR))


def _register(monkeypatch, *records):
    from hybrid_pipeline import components as module

    registry = replace(module._registry, components=records)
    monkeypatch.setattr("hybrid_pipeline.components._registry", registry)


def test_each_arm_adds_exactly_one_component_to_the_one_before():
    assert baseline().components == ()
    for before, after in pairwise(chain()):
        assert after.components[:-1] == before.components
    assert full().components == tuple(record.name for record in components())


@pytest.mark.usefixtures("_four")
def test_the_chain_of_the_built_in_components():
    assert [arm.name for arm in chain()] == [
        "arm_1_baseline", "arm_2_clip", "arm_3_n2n", "arm_4_trm", "arm_5_coconut",
    ]  # fmt: skip
    assert (baseline().letters, full().letters) == ("-", "CNTK")


@pytest.mark.usefixtures("_four")
@pytest.mark.parametrize(
    ("design", "added"),
    [
        ("cumulative", []),
        ("leave_one_out", ["TK", "CTK", "CNK"]),
        ("factorial", ["T", "K", "CT", "CK", "TK", "CNK", "CTK"]),
    ],
)
def test_designs(design, added):
    arms = arms_of_design(AblationConfig(design=design))
    assert [arm.letters for arm in arms] == ["-", "C", "CN", "CNT", "CNTK", *added]
    assert [arm.name for arm in arms[5:]] == [f"subset_{letters}" for letters in added]


@pytest.mark.usefixtures("_four")
def test_the_factorial_design_is_all_feasible_subsets():
    arms = arms_of_design(AblationConfig(design="factorial"))
    assert {arm.components for arm in arms} == set(feasible_subsets())
    # of all subsets of four, those with n2n and without clip are not feasible
    assert len(feasible_subsets()) == 2**4 - 2**2 == 12
    assert ("n2n",) not in feasible_subsets()


@pytest.mark.usefixtures("_four")
def test_what_is_left_without_a_component():
    assert without("clip") == ("trm", "coconut")
    assert without("coconut") == ("clip", "n2n", "trm")


@pytest.mark.usefixtures("_four")
def test_controls_are_off_by_default_and_can_be_picked():
    assert not any(arm.control_of for arm in arms_of_design(AblationConfig()))
    every = arms_of_design(AblationConfig(controls=True))
    assert [a.name for a in every[5:]] == [f"control_{c.name}" for c in controls()]
    picked = arms_of_design(AblationConfig(controls=["one_path", "wide_vit"]))
    assert [a.name for a in picked[5:]] == ["control_wide_vit", "control_one_path"]
    with pytest.raises(ValueError, match="unknown control 'one_pat'; did you mean 'one_path'"):
        arms_of_design(AblationConfig(controls=["one_pat"]))


BESIDE = {
    "wide_vit": "arm_5_coconut",
    "random_tower": "arm_2_clip",
    "linear_probe": "arm_2_clip",
    "mlp_adapter": "arm_3_n2n",
    "deep_core": "arm_4_trm",
    "one_path": "arm_5_coconut",
}
CHANGED = {
    "random_tower": {"tower"},
    "mlp_adapter": {"n2n"},
    "one_path": {"coconut.num_paths"},
    "linear_probe": {"vit", "clip", "core"},
    "wide_vit": {"vit", "clip", "n2n", "trm", "coconut"},
    "deep_core": {"trm", "deep_core"},
}


@pytest.mark.parametrize("name", BESIDE)
def test_a_control_stands_beside_its_arm_and_differs_in_what_it_names(name):
    control = control_arms()[name]
    arm = find_arm(control.control_of)
    assert arm.name == BESIDE[name]
    parts = {n for n in control.parts.keys() | arm.parts.keys()
             if control.parts.get(n) != arm.parts.get(n)}  # fmt: skip
    settings = {
        f"{group}.{field}"
        for group, values in control.configured(ModelConfig())
        for field, value in values
        if value != getattr(getattr(ModelConfig(), group), field)
    }
    others = {"tower"} if control.tower != arm.tower else set()
    assert parts | settings | others == CHANGED[name]


@pytest.mark.usefixtures("_four")
def test_components_are_checked():
    with pytest.raises(
        ValueError, match=r"unknown component 'vit' .allowed here: clip, coconut, n2n"
    ):
        check_components(["vit"])
    with pytest.raises(ValueError, match="component 'n2n' requires clip"):
        subset_arm(["n2n", "trm"])


def test_arms_are_found_by_name():
    assert find_arm("subset_CTK").components == ("clip", "trm", "coconut")
    assert find_arm("control_one_path").configured(ModelConfig()).coconut.num_paths == 1
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


@pytest.mark.usefixtures("_four")
def test_the_dqn_halts_the_arms_that_recurse():
    halts = {arm.name for arm in (*chain(), *control_arms().values()) if arm.halts}
    assert halts == {"arm_4_trm", "arm_5_coconut", "control_one_path"}


@pytest.fixture
def _sixth(monkeypatch):
    sixth = replace(component("coconut"), name="scan", letter="S", label="Scan", requires=("n2n",))
    _register(monkeypatch, *map(component, FOUR), sixth)


@pytest.mark.usefixtures("_sixth")
def test_a_sixth_component_moves_no_control_and_grows_the_designs():
    assert [arm.name for arm in chain()][4:] == ["arm_5_coconut", "arm_6_scan"]
    assert {n: a.control_of for n, a in control_arms().items()} == BESIDE
    assert control_arms()["one_path"].components == ("clip", "n2n", "trm", "coconut")
    # clip, n2n, scan build on one another: 4 ways; trm and coconut are free: 4 ways
    assert len(feasible_subsets()) == 4 * 4
    assert set(feasible_subsets()) == {s for s in _all_subsets() if _is_feasible(s)}
    assert requirements()["scan"] == ("clip", "n2n")
    assert without("clip") == ("trm", "coconut")
    extra = arms_of_design(AblationConfig(design="leave_one_out"))[6:]
    assert [arm.letters for arm in extra] == ["TK", "CTK", "CNKS", "CNTS"]


def _all_subsets():
    names = [record.name for record in components()]
    flags = product((False, True), repeat=len(names))
    return [tuple(n for n, on in zip(names, row, strict=True) if on) for row in flags]


def _is_feasible(subset):
    return ("n2n" not in subset or "clip" in subset) and ("scan" not in subset or "n2n" in subset)
