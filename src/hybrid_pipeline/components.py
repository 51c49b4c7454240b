"""One record per component and per control; everything else about them derives from the records.

Arms, designs, subsets, labels, content keys and the composition of the model are read from here. A
package of a user's adds its own: every ``Component`` and ``Control`` of a module that the
parameter ``plugins`` names joins the study.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal, cast

from pydantic import BaseModel

from hybrid_pipeline.config import set_model_groups, suggestion

Role = Literal["backbone", "tokens", "fusion", "core", "slots", "stepper", "planner"]


@dataclass(frozen=True)
class Part:
    """A piece of the model and how it is built.

    Attributes:
        role: what it does in the model. ``backbone``: image to tokens. ``tokens``: frozen tokens to
            frozen tokens. ``fusion``: frozen tokens and image tokens to tokens. ``core``: the
            network over slots. ``slots``: slots to slots. ``stepper``: one supervision step.
            ``planner``: plans after a step. Several parts may have the roles ``tokens`` and
            ``slots`` and are applied in order; of each other role a model has one at most.
        build: ``module:function``, called with a ``models.parts.Site``; imported only when a model
            is built. The content key hashes the module and what it imports.
        stream: of the random numbers that its initial weights are drawn from.
        parameters: groups of ``ModelConfig`` that it reads.
        fit: ``module:function`` that trains it without labels before the arm is trained.
    """

    role: Role
    build: str
    stream: str
    parameters: tuple[str, ...] = ()
    fit: str | None = None


@dataclass(frozen=True)
class Component:
    """A component whose contribution the study measures.

    Attributes:
        name: of the component, in arms, folders and claims.
        letter: one capital, in names of subsets such as ``subset_CT``.
        label: what a reader calls it.
        paper: where it comes from.
        part: what it adds to the model.
        adds: label of the arm that adds it to the chain; the label unless given.
        requires: components that it cannot do without.
        halts: whether a DQN watches its steps.
        config: its parameter group, if ``ModelConfig`` does not have it; named like the component.
        needs: ``module:function``, called with a ``models.needs.Sizes``; gives the ``Need``s of
            memory that it adds. It is called before any work.
        check: ``module:function``, called with an arm that has it, ``ModelConfig`` and the channels
            of a frozen token (or ``None``); raises ``ConfigError`` for what it could not take.
    """

    name: str
    letter: str
    label: str
    paper: str
    part: Part
    adds: str = ""
    requires: tuple[str, ...] = ()
    halts: bool = False
    config: type[BaseModel] | None = None
    needs: str | None = None
    check: str | None = None


@dataclass(frozen=True)
class Control:
    """An arm beside one of the chain, from which it differs in one thing.

    Attributes:
        name: in ``ablation.controls``.
        label: what a reader calls it.
        beside: the component whose arm of the chain it is compared with.
        components: what it has; those of the arm beside it unless given.
        parts: name of a part -> the part in its place, or ``None`` for none.
        settings: parameters that it fixes, such as ``{"coconut.num_paths": 1}``.
        tower: the frozen tower, or the same architecture with ``random`` weights.
        matched: whether its size follows from that of the arm beside it.
        needs: as a component's.
        check: as a component's.
    """

    name: str
    label: str
    beside: str
    components: tuple[str, ...] | None = None
    parts: Mapping[str, Part | None] = field(default_factory=dict, hash=False)
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    tower: Literal["clip", "random"] = "clip"
    matched: bool = False
    needs: str | None = None
    check: str | None = None


_MODELS = "hybrid_pipeline.models"

SKELETON: dict[str, Part] = {
    "vit": Part("backbone", f"{_MODELS}.vit:build_vit", "vit", ("vit",)),
    "core": Part("core", f"{_MODELS}.parts:build_core", "core", ("core",)),
}
"""The parts of every arm; the baseline has no others."""

_COMPONENTS = (
    Component(
        name="clip",
        letter="C",
        label="CLIP",
        adds="frozen CLIP",
        paper="Radford et al., 2021, arXiv:2103.00020",
        part=Part("fusion", f"{_MODELS}.fusion:build_fusion", "fusion"),
    ),
    Component(
        name="n2n",
        letter="N",
        label="N2N",
        adds="N2N adapter",
        paper="Lehtinen et al., ICML 2018, arXiv:1803.04189",
        requires=("clip",),
        part=Part(
            "tokens",
            f"{_MODELS}.n2n:build_adapter",
            "n2n",
            ("n2n",),
            fit="hybrid_pipeline.training.adapter_stage:fit_n2n",
        ),
        needs=f"{_MODELS}.needs:of_n2n",
        check=f"{_MODELS}.needs:check_n2n",
    ),
    Component(
        name="trm",
        letter="T",
        label="TRM",
        paper="Jolicoeur-Martineau, 2025, arXiv:2510.04871",
        part=Part("stepper", f"{_MODELS}.trm:build_recursion", "trm", ("trm",)),
        halts=True,
        needs=f"{_MODELS}.needs:of_trm",
    ),
    Component(
        name="coconut",
        letter="K",
        label="COCONUT",
        paper="Hao et al., 2024, arXiv:2412.06769",
        part=Part("planner", f"{_MODELS}.coconut:build_planner", "coconut", ("coconut",)),
        needs=f"{_MODELS}.needs:of_coconut",
        check=f"{_MODELS}.needs:check_coconut",
    ),
)

_CONTROLS = (
    Control(
        name="wide_vit",
        label="wider ViT, as many weights trained with labels",
        beside="coconut",
        components=(),
        parts={"vit": Part("backbone", f"{_MODELS}.wide_vit:build_wide_vit", "vit", ("vit",))},
        matched=True,
    ),
    Control(name="random_tower", label="random frozen tower", beside="clip", tower="random"),
    Control(
        name="linear_probe",
        label="linear probe on the tower",
        beside="clip",
        parts={"vit": None, "clip": None, "core": None},
    ),
    Control(
        name="mlp_adapter",
        label="MLP instead of N2N",
        beside="n2n",
        parts={"n2n": Part("tokens", f"{_MODELS}.n2n:build_mlp_adapter", "n2n", ("n2n",))},
    ),
    Control(
        name="deep_core",
        label="deeper network, no recursion",
        beside="trm",
        components=("clip", "n2n"),
        parts={
            "deep_core": Part(
                "stepper", f"{_MODELS}.deep_core:build_deep_core", "deep_core", ("trm",)
            )
        },
        needs=f"{_MODELS}.needs:of_deep_core",
    ),
    Control(
        name="one_path",
        label="one path instead of four",
        beside="coconut",
        settings={"coconut.num_paths": 1},
    ),
)


@dataclass(frozen=True)
class _Registry:
    components: tuple[Component, ...]
    controls: tuple[Control, ...]


_registry = _Registry(_COMPONENTS, _CONTROLS)


def components() -> tuple[Component, ...]:
    """The components of the study, in the order of the chain."""
    return _registry.components


def controls() -> tuple[Control, ...]:
    """The controls that can be chosen."""
    return _registry.controls


def component(name: str) -> Component:
    """The component of this name.

    Raises:
        ValueError: naming what exists.
    """
    for record in components():
        if record.name == name:
            return record
    known = [record.name for record in components()]
    raise ValueError(f"unknown component {name!r}{suggestion(name, known)}")


def load_components(modules: Iterable[ModuleType] = ()) -> None:
    """Make the built-in components and those of some modules the components of this process.

    Args:
        modules: whose ``Component`` and ``Control`` records join after the built-in ones.

    Raises:
        ValueError: for records that clash or name what is not there.
    """
    global _registry
    found: list[Component] = list(_COMPONENTS)
    beside: list[Control] = list(_CONTROLS)
    for module in modules:
        records = list(vars(module).values())
        found += [r for r in records if isinstance(r, Component) and r not in found]
        beside += [r for r in records if isinstance(r, Control) and r not in beside]
    _check(found, beside)
    set_model_groups({r.name: r.config for r in found if r.config is not None})
    _registry = _Registry(tuple(found), tuple(beside))


def _check(found: Sequence[Component], beside: Sequence[Control]) -> None:
    names = [record.name for record in found]
    for field_name, values in (
        ("component", names),
        ("letter", [record.letter for record in found]),
        ("control", [record.name for record in beside]),
    ):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise ValueError(f"two records have the {field_name} {', '.join(map(repr, twice))}")
    for record in found:
        if not (len(record.letter) == 1 and record.letter.isupper()):
            raise ValueError(f"the letter {record.letter!r} of {record.name!r} is not one capital")
        earlier = names[: names.index(record.name)]
        _expect_known(record.requires, earlier, f"component {record.name!r} requires")
    for control in beside:
        wanted = (control.beside, *(control.components or ()))
        _expect_known(wanted, names, f"control {control.name!r} names")


def _expect_known(wanted: Iterable[str], known: Sequence[str], who: str) -> None:
    for name in wanted:
        if name not in known:
            raise ValueError(f"{who} {name!r}; allowed here: {', '.join(known) or 'none'}")


def resolve(path: str) -> Callable[..., Any]:
    """The function that ``module:function`` names.

    Raises:
        ValueError: if there is none.
    """
    module, _, name = path.partition(":")
    try:
        return cast("Callable[..., Any]", getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{path!r} names no function ({error}); write 'module:function'"
        ) from error
