"""The comparisons with the published TRM code: their sizes, weights, inputs, and our side."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from golden.weights import integers, uniform
from hybrid_pipeline.config import CoreConfig, TrmConfig, swiglu_width
from hybrid_pipeline.models.layers import Core
from hybrid_pipeline.models.trm import Recursion
from hybrid_pipeline.training.losses import example_losses

PUBLISHED_ROOT_OF_HALF = 0.707106781  # ours has all digits: 2.6e-10 apart, which float64 sees
OUR_LOSS = {
    "stablemax_cross_entropy": "stablemax_cross_entropy",
    "softmax_cross_entropy": "cross_entropy",
}


@dataclass(frozen=True)
class Case:
    """One setting in which both codes are run."""

    name: str
    pos_encodings: str = "rope"
    mlp_t: bool = False
    gradient: str = "one_step"
    loss: str = "stablemax_cross_entropy"
    batch: int = 3
    slots: int = 6
    classes: int = 5
    dim: int = 16
    heads: int = 2
    layers: int = 2
    expansion: float = 2.0
    H_cycles: int = 3
    L_cycles: int = 2
    supervision_steps: int = 3
    separate: bool = False

    @property
    def scale(self) -> float:
        """What the published code multiplies embeddings by: sqrt(dim)."""
        return self.dim**0.5


CASES = (
    Case("attention"),
    Case("attention_full", gradient="full", loss="softmax_cross_entropy"),
    Case("attention_learned", pos_encodings="learned", layers=1),
    Case("attention_none", pos_encodings="none", layers=1),
    Case("separate", separate=True, gradient="last_updates", layers=1),
    Case("mlp_t", mlp_t=True, pos_encodings="none"),
    Case("mlp_t_full", mlp_t=True, pos_encodings="none", gradient="full", layers=1),
)


def inputs(case: Case) -> tuple[Tensor, Tensor]:
    """Tokens and labels [B, S]; -100 where a slot is not scored."""
    shape = (case.batch, case.slots)
    tokens = integers(f"{case.name}/tokens", shape, case.classes)
    labels = integers(f"{case.name}/labels", shape, case.classes)
    given = integers(f"{case.name}/given", shape, 3) == 0
    return tokens, labels.masked_fill(given, -100)


def weights(case: Case) -> dict[str, Tensor]:
    """All weights in our names, in the published code's scale."""
    dim, wide = case.dim, swiglu_width(case.dim, case.expansion, 256)
    shapes = {"embedding": (case.classes, dim), "head": (case.classes, dim)}
    shapes |= {"H_init": (dim,), "L_init": (dim,)}
    if case.pos_encodings == "learned":
        shapes["positions"] = (case.slots, dim)
    cores = ("core", "core_L") if case.separate else ("core",)
    for core, layer in product(cores, range(case.layers)):
        block = f"{core}.blocks.{layer}"
        if case.mlp_t:
            tall = swiglu_width(case.slots, case.expansion, 256)
            shapes[f"{block}.mlp_t.gate_up.weight"] = (2 * tall, case.slots)
            shapes[f"{block}.mlp_t.down.weight"] = (case.slots, tall)
        else:
            shapes[f"{block}.attention.qkv.weight"] = (3 * dim, dim)
            shapes[f"{block}.attention.out.weight"] = (dim, dim)
        shapes[f"{block}.mlp.gate_up.weight"] = (2 * wide, dim)
        shapes[f"{block}.mlp.down.weight"] = (dim, wide)
    unit = {"H_init", "L_init"}
    return {
        key: uniform(f"{case.name}/{key}", shape, 1.0 if key in unit else shape[-1] ** -0.5)
        for key, shape in shapes.items()
    }


def build_ours(case: Case) -> Recursion:
    """Our recursion with the case's weights."""
    core_config = CoreConfig(
        dim=case.dim,
        num_layers=case.layers,
        num_heads=case.heads,
        expansion=case.expansion,
        hidden_multiple=256,
        pos_encodings=case.pos_encodings,
        mlp_t=case.mlp_t,
    )
    trm_config = TrmConfig(
        H_cycles=case.H_cycles,
        L_cycles=case.L_cycles,
        gradient=case.gradient,
        separate_networks=case.separate,
    )
    core, second = Core(core_config, case.slots), Core(core_config, case.slots)
    recursion = Recursion(trm_config, core, second if case.separate else None)
    state = {k: v for k, v in weights(case).items() if k not in ("embedding", "head")}
    if "positions" in state:  # theirs is multiplied by sqrt(dim) on the way, ours is not
        state["core.positions"] = state.pop("positions") * case.scale
    recursion.load_state_dict(state)
    return recursion


def run_ours(case: Case) -> dict[str, Tensor]:
    """The same quantities as ``make_trm.run_official``, from our code."""
    recursion = build_ours(case)
    embedding = weights(case)["embedding"].requires_grad_()
    head = weights(case)["head"].requires_grad_()
    tokens, labels = inputs(case)
    carry, out = recursion.initial_carry(case.batch, case.slots), {}
    for step in range(case.supervision_steps):
        x = recursion.core.add_positions(case.scale * embedding[tokens])
        if case.pos_encodings == "learned":
            x = x * (PUBLISHED_ROOT_OF_HALF / 0.5**0.5)
        carry = recursion(carry, x)
        logits = functional.linear(carry.z_H, head)
        loss = example_losses(logits, labels, labels != -100, OUR_LOSS[case.loss]).sum()
        loss.backward()
        carry = carry.detach()
        out[f"logits_{step}"], out[f"loss_{step}"] = logits.detach(), loss.detach()
    out["z_H"], out["z_L"] = carry.z_H, carry.z_L
    out["grad/embedding"], out["grad/head"] = embedding.grad, head.grad
    for key, parameter in recursion.named_parameters():
        out[f"grad/{key}"] = parameter.grad
    if "grad/core.positions" in out:
        out["grad/positions"] = out.pop("grad/core.positions") * case.scale
    return out


def sketch(key: str, value: Tensor) -> Tensor:
    """A large matrix, multiplied from either side with fixed random vectors; others as they are.

    Keeps the golden file small; an error in any entry shows in both products.
    """
    if value.ndim != 2 or value.numel() <= 512:
        return value
    rows, columns = value.shape
    right = value @ uniform(f"{key}/right", (columns,), 1.0)
    left = uniform(f"{key}/left", (rows,), 1.0) @ value
    return torch.cat([right, left])
