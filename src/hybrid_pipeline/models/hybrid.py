"""The model of an arm, composed of the parts that its components and its control name.

image -> encoder -> slots x [B, S, D] -> stepper, planner -> head -> [B, S, V].
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from hybrid_pipeline.arms import Arm, check_components
from hybrid_pipeline.components import Part, Role, resolve
from hybrid_pipeline.config import ModelConfig
from hybrid_pipeline.models.encoder import Encoder, Encoding
from hybrid_pipeline.models.layers import Core
from hybrid_pipeline.models.parts import (
    ApplyOnce,
    Carry,
    InputShape,
    Plan,
    Planner,
    Site,
    Stepper,
    seeded,
)
from hybrid_pipeline.models.reader import build_reader


@dataclass(frozen=True)
class StepOutput:
    """What one supervision step gives.

    Attributes:
        carry: the state for the next step, still attached to the graph.
        state: y after recursion and, where planned, planning.
        logits: class scores of every slot.
        plan: what the paths proposed; None for an arm that does not plan.
        rows: int64 [planned], which rows the plan is of; None if it is of every row.
    """

    carry: Carry
    state: Float[Tensor, "batch slots dim"]
    logits: Float[Tensor, "batch slots classes"]
    plan: Plan | None = None
    rows: Int[Tensor, " planned"] | None = None


class HybridModel(nn.Module):
    """One arm. Each part draws its weights from a stream of its own, alike for every arm.

    Args:
        arm: components and variant.
        config: sizes.
        shape: of the task's images, slots and frozen tokens.
        seed: of the initial weights.

    Attributes:
        static_shapes: plan with every row and keep what was asked for, as a captured update has
            to; otherwise only the rows that were asked for are planned with.

    Raises:
        ValueError: if the arm needs frozen tokens and ``shape`` has none, if two of its parts have
            a role that takes one, or if COCONUT is asked of an MLP-mixing core.
    """

    stepper: Stepper
    planner: Planner | None

    def __init__(self, arm: Arm, config: ModelConfig, shape: InputShape, *, seed: int = 0) -> None:
        super().__init__()
        check_components(arm.components)
        if arm.reads_tokens and not shape.clip_width:
            raise ValueError(f"arm {arm.name!r} needs frozen tokens, and none were cached")
        self.arm, self.config, self.shape = arm, arm.configured(config), shape
        self.static_shapes = False
        self._compose(_Workshop(Site(arm, self.config, shape), seed))

    def _compose(self, workshop: _Workshop) -> None:
        backbone, adapters = workshop.one("backbone"), workshop.every("tokens")
        fusion, dim = workshop.one("fusion"), self.config.core.dim
        width, grid = self.shape.clip_width, _square(self.shape.clip_tokens)
        if backbone is not None:
            width, grid = backbone.dim, backbone.grid
        if fusion is not None:
            width = fusion.dim
        with seeded("reader", workshop.seed):
            reader = build_reader(grid, self.shape.slot_grid, width, dim)
            head = nn.Linear(dim, self.shape.num_classes)
        mixers = workshop.every("slots")
        self.encoder = Encoder(backbone, adapters, fusion, reader, mixers)
        self.head = head
        workshop.site = replace(workshop.site, core=workshop.one("core"))
        self.stepper = workshop.one("stepper") or ApplyOnce(workshop.site.core)
        self.planner = workshop.one("planner")

    @property
    def core(self) -> Core | None:
        """The network over slots that the stepper applies and the planner thinks with."""
        return self.stepper.core

    @property
    def can_plan(self) -> bool:
        """Whether a step can be followed by planning."""
        return self.planner is not None

    @property
    def max_steps(self) -> int:
        """Supervision steps at full depth."""
        return self.stepper.max_steps

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Recompute the backbone's blocks in the backward pass: less memory, the same numbers."""
        if self.encoder.backbone is not None:
            self.encoder.backbone.gradient_checkpointing = on  # type: ignore[assignment]

    def encode(
        self,
        images: Float[Tensor, "batch 1 height width"],
        clip: Float[Tensor, "batch tokens width"] | None,
    ) -> Encoding:
        """Images and, for arms with CLIP, frozen tokens -> slots x."""
        if self.arm.reads_tokens and clip is None:
            raise ValueError(f"arm {self.arm.name!r} needs frozen tokens with its images")
        encoding: Encoding = self.encoder(images, clip)
        x = encoding.x if self.core is None else self.core.add_positions(encoding.x)
        return replace(encoding, x=x)

    def initial_carry(self, x: Float[Tensor, "batch slots dim"]) -> Carry:
        """The carry before the first supervision step."""
        return self.stepper.start(x)

    def step(
        self,
        carry: Carry,
        x: Float[Tensor, "batch slots dim"],
        expand: Bool[Tensor, " batch"] | None = None,
    ) -> StepOutput:
        """One supervision step, then, if the arm has a planner, planning.

        Args:
            carry: of the step before, detached by the caller.
            x: slots of the images.
            expand: rows that plan in this step; None plans every row.
        """
        carry = self.stepper(carry, x)
        logits = self.head(carry.z_H)
        if self.planner is None:
            return StepOutput(carry, carry.z_H, logits)
        return self._plan(self.planner, carry, logits, expand)

    def _plan(
        self, planner: Planner, carry: Carry, logits: Tensor, expand: Tensor | None
    ) -> StepOutput:
        state, core = carry.z_H, cast("Core", self.core)
        rows = None if self.static_shapes else _rows_of(expand)
        plan = planner(core, state if rows is None else state[rows])
        planned, planned_logits = (
            new.to(old.dtype)
            for new, old in zip(planner.answer(plan, self.head), (state, logits), strict=True)
        )
        if rows is not None:
            planned = state.index_copy(0, rows, planned)
            planned_logits = logits.index_copy(0, rows, planned_logits)
        elif expand is not None:
            here = expand[:, None, None]
            planned = torch.where(here, planned, state)
            planned_logits = torch.where(here, planned_logits, logits)
        return StepOutput(replace(carry, z_H=planned), planned, planned_logits, plan, rows)

    def penalty(self, out: StepOutput) -> Tensor | None:
        """What a plan adds to each row's loss besides its answer [B]; None for nothing."""
        if self.planner is None or out.plan is None:
            return None
        penalty = self.planner.penalty(out.plan)
        if penalty is None or out.rows is None:
            return penalty
        return penalty.new_zeros(len(out.state)).index_copy(0, out.rows, penalty)

    @torch.no_grad()
    def metrics(self, encoding: Encoding, out: StepOutput) -> dict[str, Tensor]:
        """What the parts log about a step, each []: the mean gate, the planner's metrics."""
        metrics = {}
        if encoding.gate is not None:
            metrics["fusion/gate_mean"] = encoding.gate.mean()
        if self.planner is not None and out.plan is not None:
            metrics |= self.planner.metrics(out.plan, self.head)
        return metrics


def _rows_of(expand: Tensor | None) -> Tensor | None:
    """Which rows plan [planned]; None for all, and for none, whose gradients are zero then."""
    rows = None if expand is None else expand.nonzero().squeeze(1)
    return None if rows is None or len(rows) == 0 else rows


class _Workshop:
    """Builds the parts of an arm, role by role."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site, self.seed = site, seed

    def every(self, role: Role) -> dict[str, nn.Module]:
        """Name -> module of the parts with a role, in order."""
        parts = self.site.arm.parts.items()
        return {name: self._build(part) for name, part in parts if part.role == role}

    def one(self, role: Role) -> Any:
        """The module with a role, or None."""
        found = self.every(role)
        if len(found) > 1:
            raise ValueError(
                f"arm {self.site.arm.name!r} has {len(found)} parts with the role {role!r} "
                f"({', '.join(found)}); a model has one at most"
            )
        return next(iter(found.values()), None)

    def _build(self, part: Part) -> nn.Module:
        with seeded(part.stream, self.seed):
            return cast("nn.Module", resolve(part.build)(self.site))


def build_model(arm: Arm, config: ModelConfig, shape: InputShape, *, seed: int) -> HybridModel:
    """Build an arm; parts that two arms share start from the same weights for the same seed."""
    return HybridModel(arm, config, shape, seed=seed)


def _square(tokens: int) -> tuple[int, int]:
    side = max(1, round(tokens**0.5))
    return (side, side) if side * side == tokens else (1, max(1, tokens))
