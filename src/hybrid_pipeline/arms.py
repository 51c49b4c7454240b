"""The arms in order, the components of each, and what a component requires.

C = frozen CLIP, N = Noise2Noise adapter, T = TRM recursion, K = COCONUT planning. The baseline is
the custom ViT. A DQN watches arms with TRM (halt, continue) and gains ``expand`` with COCONUT.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

from hybrid_pipeline.config import AblationConfig, ModelConfig, suggestion

Component = Literal["clip", "n2n", "trm", "coconut"]
COMPONENTS: tuple[Component, ...] = ("clip", "n2n", "trm", "coconut")
LETTERS: dict[Component, str] = {"clip": "C", "n2n": "N", "trm": "T", "coconut": "K"}
REQUIRES: dict[Component, tuple[Component, ...]] = {"n2n": ("clip",)}


@dataclass(frozen=True)
class Arm:
    """One variant of the model; arms differ in nothing but these fields.

    Attributes:
        name: namespace, folder and tag of the arm.
        components: what is added to the custom ViT, in the order of ``COMPONENTS``.
        backbone: ``vit``; ``wide_vit`` (parameter-matched control); ``none`` (linear probe).
        tower: ``clip`` or the same architecture with ``random`` frozen weights.
        adapter: ``n2n`` or a parameter-equal ``mlp`` trained by the classification loss.
        core: ``recursive`` (or applied once without TRM), or ``deep``: untied layers matched in
            compute to the recursion, applied once.
        num_paths: overrides COCONUT's number of latent paths.
        control_of: for a control, the arm it is set beside.
    """

    name: str
    components: tuple[Component, ...]
    backbone: Literal["vit", "wide_vit", "none"] = "vit"
    tower: Literal["clip", "random"] = "clip"
    adapter: Literal["n2n", "mlp"] = "n2n"
    core: Literal["recursive", "deep"] = "recursive"
    num_paths: int | None = None
    control_of: str | None = None

    def has(self, component: Component) -> bool:
        """Whether the component is part of this arm."""
        return component in self.components

    @property
    def letters(self) -> str:
        """The components as letters, such as ``CNT``; ``-`` for the baseline."""
        return "".join(LETTERS[c] for c in self.components) or "-"


ARMS: tuple[Arm, ...] = (
    Arm("arm_1_baseline", ()),
    Arm("arm_2_clip", ("clip",)),
    Arm("arm_3_n2n", ("clip", "n2n")),
    Arm("arm_4_trm", ("clip", "n2n", "trm")),
    Arm("arm_5_coconut", ("clip", "n2n", "trm", "coconut")),
)
BASELINE, FULL = ARMS[0], ARMS[-1]

CONTROLS: dict[str, Arm] = {
    "wide_vit": replace(
        BASELINE, name="control_wide_vit", backbone="wide_vit", control_of="arm_5_coconut"
    ),
    "random_tower": replace(
        ARMS[1], name="control_random_tower", tower="random", control_of="arm_2_clip"
    ),
    "linear_probe": replace(
        ARMS[1], name="control_linear_probe", backbone="none", control_of="arm_2_clip"
    ),
    "mlp_adapter": replace(
        ARMS[2], name="control_mlp_adapter", adapter="mlp", control_of="arm_3_n2n"
    ),
    "deep_core": replace(ARMS[2], name="control_deep_core", core="deep", control_of="arm_4_trm"),
    "one_path": replace(FULL, name="control_one_path", num_paths=1, control_of="arm_5_coconut"),
}


def arms_of_design(ablation: AblationConfig) -> tuple[Arm, ...]:
    """The arms of a study: the five of the cumulative chain, then what the design adds.

    ``leave_one_out`` adds TK, CTK and CNK; ``factorial`` adds these and T, K, CT, CK: all twelve
    subsets in which N2N comes with CLIP.
    """
    extra = {
        "cumulative": (),
        "leave_one_out": ("TK", "CTK", "CNK"),
        "factorial": ("T", "K", "CT", "CK", "TK", "CTK", "CNK"),
    }[ablation.design]
    chosen = _chosen_controls(ablation.controls)
    return (*ARMS, *(arm_from_letters(e) for e in extra), *(CONTROLS[c] for c in chosen))


def _chosen_controls(controls: bool | Iterable[str]) -> list[str]:
    if isinstance(controls, bool):
        return list(CONTROLS) if controls else []
    wanted = set(controls)
    return [name for name in CONTROLS if name in wanted]


def arm_from_letters(letters: str) -> Arm:
    """The arm of a component subset; one of the five where it is one of them."""
    components = tuple(c for c in COMPONENTS if LETTERS[c] in letters)
    for arm in ARMS:
        if arm.components == components:
            return arm
    check_components(components)
    return Arm(f"subset_{letters}", components)


def feasible_subsets() -> tuple[tuple[Component, ...], ...]:
    """All twelve subsets of the components whose requirements are met."""
    subsets = []
    for flags in product((False, True), repeat=len(COMPONENTS)):
        subset = tuple(c for c, on in zip(COMPONENTS, flags, strict=True) if on)
        if all(set(REQUIRES.get(c, ())) <= set(subset) for c in subset):
            subsets.append(subset)
    return tuple(subsets)


def check_components(components: Iterable[str]) -> None:
    """Refuse unknown components and a component without what it requires.

    Raises:
        ValueError: with the component and what is expected.
    """
    names = tuple(components)
    for name in names:
        if name not in COMPONENTS:
            raise ValueError(f"unknown component {name!r}; expected one of {', '.join(COMPONENTS)}")
        missing = set(REQUIRES.get(name, ())) - set(names)
        if missing:
            raise ValueError(f"component {name!r} requires {', '.join(sorted(missing))}")


def find_arm(name: str) -> Arm:
    """The arm, subset (``subset_CT``) or control with this name.

    Raises:
        ValueError: naming what exists.
    """
    known = {arm.name: arm for arm in (*ARMS, *CONTROLS.values())}
    for subset in feasible_subsets():
        arm = arm_from_letters("".join(LETTERS[c] for c in subset))
        known.setdefault(arm.name, arm)
    if name not in known:
        raise ValueError(f"unknown arm {name!r}{suggestion(name, known)}")
    return known[name]


def relevant_model(arm: Arm, model: ModelConfig) -> dict[str, Any]:
    """The part of the model's parameters that reaches this arm, for its content key."""
    parts: dict[str, Any] = {"core": model.core.model_dump(mode="json")}
    if arm.backbone != "none":
        parts["vit"] = model.vit.model_dump(mode="json")
    if arm.has("n2n"):
        parts["n2n"] = model.n2n.model_dump(mode="json")
    if arm.has("trm") or arm.core == "deep":
        parts["trm"] = model.trm.model_dump(mode="json")
    if arm.has("coconut"):
        parts["coconut"] = model.coconut.model_dump(mode="json")
    if arm.backbone == "wide_vit":  # matched to the full model, so it depends on all of it
        parts = model.model_dump(mode="json")
    return parts
