"""What the parts of a model have in common: what they are built for and what they must offer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hybrid_pipeline.arms import Arm
from hybrid_pipeline.config import ModelConfig
from hybrid_pipeline.models.layers import Core
from hybrid_pipeline.seeding import seed_for
from hybrid_pipeline.torch_seeding import torch_seeded


@dataclass(frozen=True)
class InputShape:
    """What a task and its features look like to the model.

    Attributes:
        image_size: pixels per side.
        num_slots: answer slots S.
        num_classes: classes V of a slot.
        slot_grid: (rows, columns) of the slots; None for text, which has one slot.
        clip_tokens: number of frozen tokens T, a square grid or one pooled token.
        clip_width: channels C of a frozen token; 0 without a tower.
    """

    image_size: int
    num_slots: int
    num_classes: int
    slot_grid: tuple[int, int] | None
    clip_tokens: int = 0
    clip_width: int = 0

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> InputShape:
        """From JSON values with the names of the attributes."""
        grid = fields["slot_grid"]
        return cls(**{**fields, "slot_grid": tuple(grid) if grid else None})


@dataclass(frozen=True)
class Site:
    """What a part is built for: the argument of every function that a ``Part`` names.

    Attributes:
        arm: that gets the part.
        config: parameters of the model, with those that a control fixes.
        shape: of the task's images, slots and frozen tokens.
        core: the network over slots; there for ``stepper`` and ``planner``, if the arm has one.
    """

    arm: Arm
    config: ModelConfig
    shape: InputShape
    core: Core | None = None


@dataclass(frozen=True)
class Carry:
    """State between supervision steps.

    Attributes:
        z_H: the answer state [B, S, D].
        z_L: the latent reasoning state [B, S, D].
        steps: supervision steps taken since the last reset [B].
        halted: whether the sequence has stopped [B]; set by whoever halts, read by ``reset``.
    """

    z_H: Float[Tensor, "batch slots dim"]
    z_L: Float[Tensor, "batch slots dim"]
    steps: Int[Tensor, " batch"]
    halted: Bool[Tensor, " batch"]

    def detach(self) -> Carry:
        """The same state without its graph: what the next supervision step starts from."""
        return replace(self, z_H=self.z_H.detach(), z_L=self.z_L.detach())


@dataclass(frozen=True)
class FusionOutput:
    """Blended tokens and the gate that blended them (1 keeps CLIP, 0 keeps the ViT)."""

    tokens: Float[Tensor, "batch tokens dim"]
    gate: Float[Tensor, "batch tokens 1"]


class Stepper(Protocol):
    """One supervision step over the slots (role ``stepper``)."""

    core: Core | None
    max_steps: int

    def start(self, x: Tensor) -> Carry:
        """The carry before the first step of slots x [B, S, D]."""
        ...

    def __call__(self, carry: Carry, x: Tensor) -> Carry:
        """The carry one step further, with its graph."""
        ...


@runtime_checkable
class Plan(Protocol):
    """What K paths propose."""

    @property
    def states(self) -> Tensor:
        """Answer state of each path [B, K, S, D]."""
        ...

    @property
    def weights(self) -> Tensor:
        """How much each path is trusted [B, K]; rows sum to 1."""
        ...


class Planner(Protocol):
    """Plans after a supervision step (role ``planner``)."""

    def __call__(self, core: Core, state: Tensor) -> Plan:
        """Plan from the answer state [B, S, D]."""
        ...

    def answer(self, plan: Plan, head: nn.Module) -> tuple[Tensor, Tensor]:
        """The state [B, S, D] that the plan leads to and its class scores [B, S, V]."""
        ...

    def penalty(self, plan: Plan) -> Tensor | None:
        """What the plan adds to each row's loss [B]; None for nothing."""
        ...

    def metrics(self, plan: Plan, head: nn.Module) -> dict[str, Tensor]:
        """What is logged about a plan, each of shape []."""
        ...


class ApplyOnce(nn.Module):
    """The stepper of arms without one of their own: the core, once; x itself without a core.

    Args:
        core: the network over slots.
    """

    max_steps = 1

    def __init__(self, core: Core | None) -> None:
        super().__init__()
        self.core = core

    def start(self, x: Tensor) -> Carry:
        """A carry that holds x."""
        steps = torch.zeros(x.shape[0], dtype=torch.long, device=x.device)
        return Carry(z_H=x, z_L=x, steps=steps, halted=torch.zeros_like(steps, dtype=torch.bool))

    def forward(self, carry: Carry, x: Tensor) -> Carry:
        """Apply the core to x."""
        return replace(carry, z_H=self._answer(x), steps=carry.steps + 1)

    def _answer(self, x: Tensor) -> Tensor:
        return x if self.core is None else self.core(x)


def build_core(site: Site) -> Core:
    """The network over a task's slots."""
    return Core(site.config.core, site.shape.num_slots)


@contextmanager
def seeded(stream: str, seed: int) -> Iterator[None]:
    """Draw a part's initial weights from a stream of its own; the global one stays untouched."""
    with torch_seeded(seed_for(f"init/{stream}", seed)):
        yield
