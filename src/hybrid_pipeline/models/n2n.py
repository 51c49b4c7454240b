"""The Noise2Noise adapter on frozen features, its label-free stage, and the MLP control.

Source: Lehtinen et al., "Noise2Noise: learning image restoration without clean data", ICML 2018,
section 2: under squared error a network trained on noisy targets learns the conditional mean of the
target given its input, which is that of the clean target where the target's noise has zero mean.
Here both views are features of a frozen tower, so the targets do not move and the trivial solution
of learned targets (a constant) does not lower the loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from hybrid_pipeline.config import N2NConfig
from hybrid_pipeline.models.parts import Site
from hybrid_pipeline.seeding import seed_for
from hybrid_pipeline.torch_seeding import torch_seeded

Views = tuple[Tensor, Tensor]
WARMUP_SHARE = 0.1


class _Strength(nn.Module):
    """How much of the correction each token gets, in (0, 1): sigmoid(Linear(LayerNorm(token)))."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm, self.score = nn.LayerNorm(dim), nn.Linear(dim, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.sigmoid(self.score(self.norm(tokens)))


class NoiseAdapter(nn.Module):
    """tokens + strength * Linear(blocks(tokens)); the identity until it is trained.

    The last Linear starts at zero. It reads the residual stream without a norm, so a linear
    shrinkage (the Wiener filter, the optimum for Gaussian features) is within reach.

    Args:
        config: depth, heads and MLP ratio.
        dim: channels of the frozen tokens.

    Raises:
        ValueError: when the heads do not divide ``dim``.
    """

    def __init__(self, config: N2NConfig, dim: int) -> None:
        super().__init__()
        if dim % config.num_heads:
            raise ValueError(f"n2n.num_heads {config.num_heads} does not divide {dim} channels")
        self.blocks = nn.Sequential(
            *(
                Block(
                    dim, config.num_heads, config.mlp_ratio, qkv_bias=True, norm_layer=nn.LayerNorm
                )
                for _ in range(config.depth)
            )
        )
        self.correction = nn.Linear(dim, dim)
        self.strength = _Strength(dim)
        _zero(self.correction)

    def forward(
        self, tokens: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch tokens dim"]:
        """Denoised tokens, in the units of the frozen (standardised) features."""
        return tokens + self.strength(tokens) * self.correction(self.blocks(tokens))


class MlpAdapter(nn.Module):
    """The control: a residual MLP per token with the parameters of the ``NoiseAdapter``.

    It is trained by the classification loss, with the rest of the arm, and never sees a pair of
    views. Its hidden width is the one that comes closest to the adapter's number of parameters.

    Args:
        config: the adapter that it matches.
        dim: channels of the frozen tokens.
    """

    def __init__(self, config: N2NConfig, dim: int) -> None:
        super().__init__()
        self.norm, self.strength = nn.LayerNorm(dim), _Strength(dim)
        spent = sum(p.numel() for p in self.parameters()) + dim  # and the last bias
        with torch.device("meta"):
            target = num_parameters(NoiseAdapter(config, dim))
        hidden = max(1, round((target - spent) / (2 * dim + 1)))
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        _zero(self.mlp[2])

    def forward(
        self, tokens: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch tokens dim"]:
        """Adapted tokens; the identity until it is trained."""
        return tokens + self.strength(tokens) * self.mlp(self.norm(tokens))


def build_adapter(site: Site) -> NoiseAdapter:
    """The adapter; frozen for the learner, because a stage of its own trains it."""
    adapter = NoiseAdapter(site.config.n2n, site.shape.clip_width)
    return adapter.requires_grad_(False)


def build_mlp_adapter(site: Site) -> MlpAdapter:
    """The control's adapter, which the learner trains."""
    return MlpAdapter(site.config.n2n, site.shape.clip_width)


def num_parameters(module: nn.Module) -> int:
    """How many trainable numbers a module has."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def n2n_loss(
    adapter: nn.Module,
    features_a: Float[Tensor, "batch tokens dim"],
    features_b: Float[Tensor, "batch tokens dim"],
) -> Float[Tensor, ""]:
    """.5 (|a(fA) - fB|^2 + |a(fB) - fA|^2), means over elements; the targets carry no gradient."""
    a, b = features_a.detach(), features_b.detach()
    batch = adapter(torch.cat([a, b]))
    return F.mse_loss(batch, torch.cat([b, a]))


@dataclass
class AdapterHistory:
    """What the label-free stage logged, one value per update, on the batch before its update.

    Attributes:
        loss: ``n2n_loss`` of the adapter.
        identity: the same of leaving the features alone, |fA - fB|^2.
    """

    loss: list[float] = field(default_factory=list)
    identity: list[float] = field(default_factory=list)

    def metrics(self) -> dict[str, float]:
        """Final values, each a mean over the last tenth of the stage."""
        last = max(1, len(self.loss) // 10)
        loss, identity = sum(self.loss[-last:]) / last, sum(self.identity[-last:]) / last
        return {
            "n2n/loss": loss,
            "n2n/identity_loss": identity,
            "n2n/loss_over_identity": loss / identity if identity else math.nan,
        }


def fit_adapter(
    adapter: NoiseAdapter,
    batch: Callable[[int], Views],
    config: N2NConfig,
    seed: int,
    device: torch.device | None = None,
) -> AdapterHistory:
    """Train the adapter on pairs of views, without labels, in place.

    Its weights are drawn anew from ``seed``, so the result depends only on the seed and the
    batches. Adam, linear warm-up over the first tenth, cosine to zero; always fp32.

    Args:
        adapter: the module to train.
        batch: update (from 0) to a pair (fA, fB), each [batch, tokens, dim], of training rows.
        config: number of updates and learning rate.
        seed: root seed of the weights, which are drawn on the CPU whatever the device.
        device: where the adapter is moved to and trained; where it lies, if left out.

    Returns:
        The loss of each update beside the identity's on the same batch.
    """
    device = device or adapter.correction.weight.device
    _redraw(adapter.cpu(), seed)
    adapter.to(device)
    optimizer = torch.optim.Adam(adapter.parameters(), lr=config.lr)
    history = AdapterHistory()
    for step in range(config.steps):
        features_a, features_b = (f.to(device).float() for f in batch(step))
        for group in optimizer.param_groups:
            group["lr"] = config.lr * _schedule(step, config.steps)
        loss = n2n_loss(adapter, features_a, features_b)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        history.loss.append(loss.item())
        history.identity.append(F.mse_loss(features_a, features_b).item())
    return history


@torch.no_grad()
def view_errors(
    adapter: nn.Module,
    features_a: Float[Tensor, "batch tokens dim"],
    features_b: Float[Tensor, "batch tokens dim"],
) -> dict[str, float]:
    """Errors on held-out views and the spread of the output, whose fall to 0 would be a collapse.

    Returns:
        ``n2n/heldout_loss``, ``n2n/heldout_identity_loss``, and ``n2n/output_std`` and
        ``n2n/input_std``: standard deviation over examples and tokens, averaged over channels.
    """
    device = next(adapter.parameters()).device
    inputs = torch.cat([features_a, features_b]).to(device).float()
    targets = torch.cat([features_b, features_a]).to(device).float()
    outputs = adapter(inputs)
    return {
        "n2n/heldout_loss": F.mse_loss(outputs, targets).item(),
        "n2n/heldout_identity_loss": F.mse_loss(inputs, targets).item(),
        "n2n/output_std": outputs.flatten(0, 1).std(dim=0).mean().item(),
        "n2n/input_std": inputs.flatten(0, 1).std(dim=0).mean().item(),
    }


def _schedule(step: int, num_steps: int) -> float:
    """As ``schedule.scheduled_rate``, in the order of operations that changes no fitted adapter."""
    warmup = max(1, round(WARMUP_SHARE * num_steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _redraw(adapter: NoiseAdapter, seed: int) -> None:
    with torch_seeded(seed_for("n2n_adapter", seed)):
        for module in adapter.modules():
            if isinstance(module, nn.Linear | nn.LayerNorm):
                module.reset_parameters()
    _zero(adapter.correction)
