"""The only place that assembles an arm from its components.

image -> tokens -> (fusion with frozen CLIP tokens) -> slots x [B, S, D] -> core -> [B, S, V].
Arms without TRM apply the core once; TRM recurses the same core; COCONUT plans with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hybrid_pipeline.arms import BASELINE, FULL, Arm, check_components
from hybrid_pipeline.config import ModelConfig, VitConfig
from hybrid_pipeline.models.coconut import LatentPlanner, Plan
from hybrid_pipeline.models.fusion import GatedFusion
from hybrid_pipeline.models.layers import Core
from hybrid_pipeline.models.n2n import MlpAdapter, NoiseAdapter
from hybrid_pipeline.models.reader import build_reader
from hybrid_pipeline.models.trm import Carry, Recursion
from hybrid_pipeline.models.vit import CustomViT
from hybrid_pipeline.seeding import seed_for


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


@dataclass(frozen=True)
class Encoding:
    """The slots x of a batch, computed once for all supervision steps."""

    x: Float[Tensor, "batch slots dim"]
    gate: Float[Tensor, "batch tokens 1"] | None


@dataclass(frozen=True)
class StepOutput:
    """What one supervision step gives.

    Attributes:
        carry: the state for the next step, still attached to the graph.
        state: y after recursion and, where planned, planning.
        logits: class scores of every slot.
        plan: what the paths proposed, for every row; None for an arm that does not plan.
    """

    carry: Carry
    state: Float[Tensor, "batch slots dim"]
    logits: Float[Tensor, "batch slots classes"]
    plan: Plan | None = None


class HybridModel(nn.Module):
    """One arm. Build it with ``build_model``, which seeds the shared parts alike for every arm.

    Args:
        arm: components and variant.
        config: sizes.
        shape: of the task's images, slots and frozen tokens.

    Raises:
        ValueError: where the arm needs frozen tokens and ``shape`` has none, or where COCONUT is
            asked of an MLP-mixing core.
    """

    def __init__(self, arm: Arm, config: ModelConfig, shape: InputShape, *, seed: int = 0) -> None:
        super().__init__()
        check_components(arm.components)
        if arm.has("clip") and not shape.clip_width:
            raise ValueError(f"arm {arm.name!r} needs frozen tokens, and none were cached")
        self.arm, self.config, self.shape = arm, config, shape
        self._seed = seed
        dim = config.core.dim
        token_dim, grid = self._build_encoder(config, shape)
        with self._seeded("reader"):
            self.reader = build_reader(grid, shape.slot_grid, token_dim, dim)
            self.head = nn.Linear(dim, shape.num_classes)
        self._build_core(config, shape)
        if arm.has("coconut"):
            coconut = config.coconut
            if arm.num_paths is not None:
                coconut = coconut.model_copy(update={"num_paths": arm.num_paths})
            with self._seeded("coconut"):
                self.planner = LatentPlanner(coconut, dim, shape.num_slots)

    @property
    def max_steps(self) -> int:
        """Supervision steps at full depth: 1 without TRM."""
        return self.config.trm.supervision_steps if self.arm.has("trm") else 1

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Recompute the ViT's blocks in the backward pass: less memory, the same numbers."""
        if self.arm.backbone != "none":
            self.vit.gradient_checkpointing = on

    def _seeded(self, part: str) -> AbstractContextManager[None]:
        return _seeded(part, self._seed)

    def _build_encoder(self, config: ModelConfig, shape: InputShape) -> tuple[int, tuple[int, int]]:
        token_dim, grid = shape.clip_width, _square(shape.clip_tokens)
        if self.arm.backbone != "none":
            with self._seeded("vit"):
                self.vit = CustomViT(config.vit, shape.image_size)
            token_dim, grid = config.vit.embed_dim, self.vit.grid
        if self.arm.has("n2n"):
            adapter = NoiseAdapter if self.arm.adapter == "n2n" else MlpAdapter
            with self._seeded("n2n"):
                self.adapter = adapter(config.n2n, shape.clip_width)
            self.adapter.requires_grad_(self.arm.adapter == "mlp")
        if self.arm.has("clip") and self.arm.backbone != "none":
            with self._seeded("fusion"):
                self.fusion = GatedFusion(shape.clip_width, config.vit.embed_dim, config.core.dim)
            token_dim = config.core.dim
        return token_dim, grid

    def _build_core(self, config: ModelConfig, shape: InputShape) -> None:
        arm, trm = self.arm, config.trm
        if arm.backbone == "none":
            return
        with self._seeded("core"):
            self.core = Core(config.core, shape.num_slots)
        if arm.core == "deep":
            depth = trm.supervision_steps * trm.H_cycles * (trm.L_cycles + 1)
            with self._seeded("deep_core"):
                self.deeper = nn.ModuleList(
                    Core(config.core, shape.num_slots) for _ in range(depth - 1)
                )
        if arm.has("trm"):
            with self._seeded("trm"):
                low = Core(config.core, shape.num_slots) if trm.separate_networks else None
                self.recursion = Recursion(trm, self.core, low)

    def encode(
        self,
        images: Float[Tensor, "batch 1 height width"],
        clip: Float[Tensor, "batch tokens width"] | None,
    ) -> Encoding:
        """Images and, for arms with CLIP, frozen tokens -> slots x."""
        gate = None
        if self.arm.has("clip") and clip is None:
            raise ValueError(f"arm {self.arm.name!r} needs frozen tokens with its images")
        if self.arm.has("n2n") and clip is not None:
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.arm.adapter == "mlp"):
                clip = self.adapter(clip)
        if self.arm.backbone == "none":
            tokens = clip
        else:
            tokens = self.vit(images)
            if self.arm.has("clip"):
                fused = self.fusion(clip, tokens)
                tokens, gate = fused.tokens, fused.gate
        x = self.reader(tokens)
        if self.arm.backbone != "none":
            x = self.core.add_positions(x)
        return Encoding(x, gate)

    def initial_carry(self, x: Float[Tensor, "batch slots dim"]) -> Carry:
        """The carry before the first supervision step; without TRM it holds x."""
        if self.arm.has("trm"):
            return self.recursion.initial_carry(x.shape[0], x.shape[1])
        steps = torch.zeros(x.shape[0], dtype=torch.long, device=x.device)
        return Carry(z_H=x, z_L=x, steps=steps, halted=torch.zeros_like(steps, dtype=torch.bool))

    def step(
        self,
        carry: Carry,
        x: Float[Tensor, "batch slots dim"],
        expand: Bool[Tensor, " batch"] | None = None,
    ) -> StepOutput:
        """One supervision step: the core once or TRM's recursion, then COCONUT's planning.

        Args:
            carry: of the step before, detached by the caller.
            x: slots of the images.
            expand: rows that plan in this step; None plans every row.
        """
        if self.arm.has("trm"):
            carry = self.recursion(carry, x)
        else:
            carry = replace(carry, z_H=self._apply_once(x), steps=carry.steps + 1)
        logits = self.head(carry.z_H)
        if not self.arm.has("coconut"):
            return StepOutput(carry, carry.z_H, logits)
        return self._plan(carry, logits, expand)

    def _apply_once(self, x: Tensor) -> Tensor:
        if self.arm.backbone == "none":
            return x
        hidden = self.core(x)
        for core in getattr(self, "deeper", ()):
            hidden = core(hidden, x)
        return hidden

    def _plan(self, carry: Carry, logits: Tensor, expand: Tensor | None) -> StepOutput:
        """Plan with every row and keep the plan where it was asked for: the shapes never change."""
        plan: Plan = self.planner(self.core, carry.z_H)
        planned = plan.mixed_state()
        planned_logits = self._planned_logits(plan, planned)
        if expand is not None:
            here = expand[:, None, None]
            planned = torch.where(here, planned.to(carry.z_H.dtype), carry.z_H)
            planned_logits = torch.where(here, planned_logits.to(logits.dtype), logits)
        return StepOutput(replace(carry, z_H=planned), planned, planned_logits, plan)

    def _planned_logits(self, plan: Plan, mixed: Tensor) -> Tensor:
        if self.config.coconut.mix == "states":
            return self.head(mixed)
        return plan.mixed_log_probabilities(self.head(plan.states).float())


def build_model(arm: Arm, config: ModelConfig, shape: InputShape, *, seed: int) -> HybridModel:
    """Build an arm; parts that two arms share start from the same weights for the same seed.

    The ``wide_vit`` control gets a wider MLP in its ViT until its trainable parameters match the
    full model's (arm 5), rounded to the nearest reachable count.
    """
    if arm.backbone == "wide_vit":
        config = config.model_copy(update={"vit": _widened_vit(config, shape)})
    return HybridModel(arm, config, shape, seed=seed)


def _widened_vit(config: ModelConfig, shape: InputShape) -> VitConfig:
    if not shape.clip_width:
        raise ValueError("the wide_vit control is matched to the full model: cache features first")
    goal = _num_trainable(HybridModel(FULL, config, shape))
    base = _num_trainable(HybridModel(BASELINE, config, shape))
    vit = config.vit
    per_hidden = vit.depth * (2 * vit.embed_dim + 1)  # weights in and out, one bias
    extra = max(0, round((goal - base) / per_hidden))
    hidden = int(vit.embed_dim * vit.mlp_ratio) + extra
    return vit.model_copy(update={"mlp_ratio": (hidden + 1e-6) / vit.embed_dim})


def _num_trainable(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _square(tokens: int) -> tuple[int, int]:
    side = max(1, round(tokens**0.5))
    return (side, side) if side * side == tokens else (1, max(1, tokens))


@contextmanager
def _seeded(part: str, seed: int) -> Iterator[None]:
    """Draw a part's initial weights from a stream of its own; the global one stays untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(f"init/{part}", seed))
        yield
