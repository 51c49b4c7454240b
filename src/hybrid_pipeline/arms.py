"""Arms, subsets, designs and controls, as they follow from the records of ``components``.

The baseline is the custom ViT. The chain adds one component per arm, in the order of the records.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from hybrid_pipeline.components import (
    SKELETON,
    Component,
    Control,
    Part,
    component,
    components,
    controls,
)
from hybrid_pipeline.config import AblationConfig, ModelConfig, suggestion


@dataclass(frozen=True)
class Arm:
    """One variant of the model.

    Attributes:
        name: namespace, folder and tag of the arm.
        components: what is added to the custom ViT, in the order of the records.
        control: what makes it a control; ``None`` for the arms that are measured.
    """

    name: str
    components: tuple[str, ...]
    control: Control | None = None

    def has(self, name: str) -> bool:
        """Whether the component is part of this arm."""
        return name in self.components

    @property
    def records(self) -> tuple[Component | Control, ...]:
        """The records of its components, then that of its control."""
        own = tuple(component(name) for name in self.components)
        return own if self.control is None else (*own, self.control)

    @property
    def letters(self) -> str:
        """The components as letters, such as ``CNT``; ``-`` for the baseline."""
        return "".join(component(name).letter for name in self.components) or "-"

    @property
    def control_of(self) -> str | None:
        """For a control, the arm that it stands beside."""
        return None if self.control is None else chain_arm(self.control.beside).name

    @property
    def tower(self) -> Literal["clip", "random"]:
        """Whose frozen tokens the arm reads, if it reads any."""
        return "clip" if self.control is None else self.control.tower

    @property
    def reads_tokens(self) -> bool:
        """Whether the arm reads frozen tokens."""
        roles = {component(name).part.role for name in self.components}
        return not roles.isdisjoint(("tokens", "fusion"))

    @property
    def halts(self) -> bool:
        """Whether a DQN watches this arm, unless the configuration fixes its depth."""
        return any(component(name).halts for name in self.components)

    @property
    def is_matched(self) -> bool:
        """Whether its size follows from that of the arm beside it."""
        return self.control is not None and self.control.matched

    @property
    def parts(self) -> dict[str, Part]:
        """What the model is built from, by name."""
        own = {name: component(name).part for name in self.components}
        replaced = {} if self.control is None else self.control.parts
        parts = {**SKELETON, **own, **replaced}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def parts_of_key(self) -> dict[str, Part]:
        """All parts that its results depend on: its own, and those that it is matched to."""
        if self.control is None or not self.control.matched:
            return self.parts
        beside = chain_arm(self.control.beside)
        return self.parts | {f"{beside.name}.{name}": p for name, p in beside.parts.items()}

    def configured(self, model: ModelConfig) -> ModelConfig:
        """The model's parameters with those that the control fixes."""
        for path, value in ({} if self.control is None else self.control.settings).items():
            name, _, key = path.partition(".")
            group = getattr(model, name)
            changed = type(group).model_validate(group.model_dump() | {key: value})
            model = model.model_copy(update={name: changed})
        return model


def chain() -> tuple[Arm, ...]:
    """The cumulative arms: the baseline, then one more component per arm."""
    names = tuple(record.name for record in components())
    added = (Arm(f"arm_{place + 2}_{name}", names[: place + 1]) for place, name in enumerate(names))
    return (Arm("arm_1_baseline", ()), *added)


def baseline() -> Arm:
    """The arm without components."""
    return chain()[0]


def full() -> Arm:
    """The arm with all components."""
    return chain()[-1]


def chain_arm(name: str) -> Arm:
    """The arm of the chain that adds a component."""
    return next(arm for arm in chain()[1:] if arm.components[-1] == name)


def control_arms() -> dict[str, Arm]:
    """Name of a control -> its arm."""
    return {control.name: _control_arm(control) for control in controls()}


def _control_arm(control: Control) -> Arm:
    has = control.components
    has = chain_arm(control.beside).components if has is None else has
    return Arm(f"control_{control.name}", has, control)


def arms_of_design(ablation: AblationConfig) -> tuple[Arm, ...]:
    """The arms of a study: the chain, then what the design adds, then the chosen controls.

    ``leave_one_out`` adds the full model without each component (and without what requires it);
    ``factorial`` adds all other subsets whose requirements are met.

    Raises:
        ValueError: for an unknown control.
    """
    extra = {
        "cumulative": (),
        "leave_one_out": tuple(without(name) for name in full().components),
        "factorial": feasible_subsets(),
    }[ablation.design]
    measured = dict.fromkeys([*chain(), *map(subset_arm, extra)])
    return (*measured, *_chosen_controls(ablation.controls))


def _chosen_controls(chosen: bool | Iterable[str]) -> list[Arm]:
    known = control_arms()
    if isinstance(chosen, bool):
        return list(known.values()) if chosen else []
    wanted = set(chosen)
    for name in sorted(wanted - set(known)):
        raise ValueError(f"unknown control {name!r}{suggestion(name, known)}")
    return [arm for name, arm in known.items() if name in wanted]


def subset_arm(names: Iterable[str]) -> Arm:
    """The arm of a subset of components; one of the chain if it is one of them.

    Raises:
        ValueError: for unknown components and for one without what it requires.
    """
    subset = tuple(names)
    check_components(subset)
    for arm in chain():
        if arm.components == subset:
            return arm
    return Arm(f"subset_{Arm('', subset).letters}", subset)


def feasible_subsets() -> tuple[tuple[str, ...], ...]:
    """All subsets of the components whose requirements are met, small ones first."""
    names = [record.name for record in components()]
    subsets = (s for size in range(len(names) + 1) for s in combinations(names, size))
    return tuple(s for s in subsets if all(set(component(n).requires) <= set(s) for n in s))


def requirements() -> dict[str, tuple[str, ...]]:
    """Component -> all that must be there before it, required by it directly or not."""
    needed: dict[str, tuple[str, ...]] = {}
    for record in components():  # a record stands after what it requires
        further = (name for direct in record.requires for name in needed[direct])
        needed[record.name] = tuple(dict.fromkeys([*further, *record.requires]))
    return needed


def without(name: str) -> tuple[str, ...]:
    """All components but this one and those that require it."""
    needed = requirements()
    return tuple(other for other in needed if other != name and name not in needed[other])


def check_components(names: Iterable[str]) -> None:
    """Refuse unknown components and a component without what it requires.

    Raises:
        ValueError: with the component and what is expected.
    """
    given = tuple(names)
    for name in given:
        missing = set(component(name).requires) - set(given)
        if missing:
            raise ValueError(f"component {name!r} requires {', '.join(sorted(missing))}")


def find_arm(name: str) -> Arm:
    """The arm, subset (``subset_CT``) or control with this name.

    Raises:
        ValueError: naming what exists.
    """
    arms = [*chain(), *control_arms().values(), *map(subset_arm, feasible_subsets())]
    known = {arm.name: arm for arm in arms}
    if name not in known:
        raise ValueError(f"unknown arm {name!r}{suggestion(name, known)}")
    return known[name]


def relevant_model(arm: Arm, model: ModelConfig) -> dict[str, Any]:
    """The part of the model's parameters that reaches this arm, for its content key."""
    groups = {"core", *(name for part in arm.parts_of_key.values() for name in part.parameters)}
    return arm.configured(model).model_dump(mode="json", include=groups)
