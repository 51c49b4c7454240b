"""Continuous thoughts on parallel latent paths.

Source: Hao et al., "Training Large Language Models to Reason in a Continuous Latent Space"
(COCONUT), arXiv:2412.06769, section 3: the last hidden state becomes the next input embedding.
The parallel paths, their scorer and the soft selection are this project's; see
``docs/explanation/coconut.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from hybrid_pipeline.config import CoconutConfig
from hybrid_pipeline.models.layers import Cache, Core, Linear, truncated_normal_
from hybrid_pipeline.models.parts import Site

Step = Callable[[Tensor], Tensor]
"""Feeds input embeddings [B, N, D] at the next position, returns their last hidden states."""


def continuous_thoughts(step: Step, start: Tensor, num_thoughts: int) -> list[Tensor]:
    """The mechanism itself, over any transformer (COCONUT, section 3, "latent mode").

    Args:
        step: appends one token per path to what the transformer has seen and returns its last
            hidden state; remembers keys and values between calls.
        start: embedding of the token that opens latent mode, one per path [B, K, D].
        num_thoughts: hidden states to produce. The last one is *not* fed here: it is the first
            input of the pass that reads the answer out.

    Returns:
        The thoughts, ``num_thoughts`` tensors [B, K, D].
    """
    thoughts = []
    embedding = start
    for _ in range(num_thoughts):
        embedding = step(embedding)
        thoughts.append(embedding)
    return thoughts


@dataclass(frozen=True)
class PathPlan:
    """What the paths propose, and how much each is trusted.

    Attributes:
        states: answer state read out after each path's thoughts [B, K, S, D].
        weights: softmax of the scorer over the paths [B, K].
        thoughts: the continuous thoughts [B, K, d, D].
    """

    states: Float[Tensor, "batch paths slots dim"]
    weights: Float[Tensor, "batch paths"]
    thoughts: Float[Tensor, "batch paths thoughts dim"]

    def mixed_state(self) -> Float[Tensor, "batch slots dim"]:
        """The states, averaged with the path weights."""
        return torch.einsum("bk,bksd->bsd", self.weights, self.states)

    def mixed_log_probabilities(
        self, logits: Float[Tensor, "batch paths slots classes"]
    ) -> Float[Tensor, "batch slots classes"]:
        """Log of the paths' class probabilities, averaged with the path weights.

        Serves as logits: its softmax is the mixture.
        """
        weighted = logits.log_softmax(dim=-1) + self.weights.log()[:, :, None, None]
        return weighted.logsumexp(dim=1)

    def weight_entropy(self) -> Float[Tensor, ""]:
        """Mean entropy of the path weights in nats: 0 is one path, ln K is no selection."""
        return torch.special.entr(self.weights).sum(dim=1).mean()

    def diversity(self) -> Float[Tensor, " batch"]:
        """Each example's mean cosine between the states of two different paths; 0 for one path.

        In [-1/(K-1), 1]; 1 means collapsed paths. Enters the loss with ``diversity_weight``.
        """
        num_paths = self.states.shape[1]
        if num_paths == 1:
            return self.states.new_zeros(len(self.states))
        unit = functional.normalize(self.states, dim=-1)
        pairs = unit.sum(dim=1).square().sum(dim=-1) - num_paths  # sum over k != l of cosines
        return (pairs / (num_paths * (num_paths - 1))).mean(dim=-1)


def disagreement(
    logits: Float[Tensor, "batch paths slots classes"], scored: Bool[Tensor, "batch slots"]
) -> Float[Tensor, ""]:
    """Share of (pair of paths, scored slot) whose most likely classes differ; 0 for one path."""
    num_paths = logits.shape[1]
    if num_paths == 1:
        return logits.new_zeros(())
    answer = logits.argmax(dim=-1)
    differs = (answer[:, :, None] != answer[:, None]).sum(dim=(1, 2))  # [B, S], ordered pairs
    share = (differs * scored).sum() / scored.sum().clamp(min=1)
    return share / (num_paths * (num_paths - 1))


class LatentPlanner(nn.Module):
    """Thinks on K paths with the core's own weights and weighs what each proposes.

    Only the path embeddings and the scorer are new parameters. Layout of the tokens: the context
    (slots at positions 0 to S-1), then thought by thought one token per path (positions S, S+1,
    ...), then the readout of each path (positions 0 to S-1 again). The context looks at itself
    alone, so it is run once; a thought looks at the context and at its own path's tokens up to
    itself; a readout slot looks at the context and at its path's tokens.

    Args:
        config: number of paths and thoughts.
        dim: D, the core's width.
        num_slots: S.
    """

    def __init__(self, config: CoconutConfig, dim: int, num_slots: int) -> None:
        super().__init__()
        self.config = config
        self.num_slots = num_slots
        self.path_embeddings = nn.Parameter(torch.empty(config.num_paths, dim))
        truncated_normal_(self.path_embeddings, std=1.0)
        self.scorer = nn.Sequential(Linear(dim, dim), nn.SiLU(), Linear(dim, 1))
        positions, mask = token_layout(num_slots, config.num_paths, config.num_thoughts + 1)
        self.register_buffer("positions", positions, persistent=False)
        self.register_buffer("mask", mask, persistent=False)
        self.positions: Tensor
        self.mask: Tensor

    def forward(self, core: Core, y: Float[Tensor, "batch slots dim"]) -> PathPlan:
        """Plan from the answer state.

        Args:
            core: the network that TRM recurses (or that arm K applies once).
            y: the state to plan from; both the context and the readout's input.

        Raises:
            ValueError: for a core without attention.
        """
        if core.config.mlp_t:
            raise ValueError(
                "COCONUT needs a core with attention: mlp_t=true ties the core to a fixed number "
                "of slots, so no thought can be appended. Set model.core.mlp_t=false."
            )
        positions, mask = self.positions, self.mask
        num_paths, cache = self.config.num_paths, Cache(len(core.blocks))

        def place(tokens: Tensor) -> tuple[Tensor, Tensor | None]:
            """Positions of the next tokens, and where they may look."""
            rows = slice(cache.num_tokens, cache.num_tokens + tokens.shape[1])
            return positions[rows], mask[rows, : rows.stop] if rows.start else None

        def feed(tokens: Tensor) -> Tensor:
            return core.extend(tokens, cache, *place(tokens))

        core.remember(y, cache, *place(y))
        start = self.path_embeddings.expand(len(y), -1, -1)
        thoughts = continuous_thoughts(feed, start, self.config.num_thoughts)
        core.remember(thoughts[-1], cache, *place(thoughts[-1]))
        seen = cache.num_tokens
        readout = core.read(y.repeat(1, num_paths, 1), cache, positions[seen:], mask[seen:, :seen])
        states = readout.view(len(y), num_paths, self.num_slots, -1)
        score = self.scorer(states.mean(dim=2)).squeeze(-1)
        return PathPlan(states, score.softmax(dim=-1), torch.stack(thoughts, dim=2))

    def answer(self, plan: PathPlan, head: nn.Module) -> tuple[Tensor, Tensor]:
        """The mixed state [B, S, D], and its class scores or the paths' mixed ones [B, S, V]."""
        mixed = plan.mixed_state()
        if self.config.mix == "states":
            return mixed, head(mixed)
        return mixed, plan.mixed_log_probabilities(head(plan.states).float())

    def penalty(self, plan: PathPlan) -> Tensor | None:
        """``diversity_weight`` x the cosine between paths [B]; None at weight 0."""
        weight = self.config.diversity_weight
        return weight * plan.diversity() if weight else None

    def metrics(self, plan: PathPlan, head: nn.Module) -> dict[str, Tensor]:
        """Entropy of the path weights (nats) and disagreement of the paths, each []."""
        paths = head(plan.states)
        everywhere = torch.ones_like(paths[:, 0, :, 0], dtype=torch.bool)
        return {
            "coconut/weight_entropy": plan.weight_entropy(),
            "coconut/disagreement": disagreement(paths, everywhere),
        }


def build_planner(site: Site) -> LatentPlanner:
    """The paths that think with the arm's core."""
    return LatentPlanner(site.config.coconut, site.config.core.dim, site.shape.num_slots)


def token_layout(
    num_slots: int, num_paths: int, num_path_tokens: int
) -> tuple[Int[Tensor, " tokens"], Bool[Tensor, "tokens tokens"]]:
    """Positions of all tokens and who may look at whom (rows look at columns).

    Args:
        num_slots: S.
        num_paths: K.
        num_path_tokens: the start embedding and the thoughts, d + 1.

    Returns:
        Positions and the mask, over context (S), path tokens ((d + 1) K) and readouts (K S).
    """
    slots, paths, turns = (torch.arange(n) for n in (num_slots, num_paths, num_path_tokens))
    positions = torch.cat(
        [slots, num_slots + turns.repeat_interleave(num_paths), slots.repeat(num_paths)]
    )
    context, thought, readout = 0, 1, 2
    kind = torch.tensor([context, thought, readout]).repeat_interleave(
        torch.tensor([num_slots, num_path_tokens * num_paths, num_paths * num_slots])
    )
    no_path = torch.full((num_slots,), -1)
    path = torch.cat([no_path, paths.repeat(num_path_tokens), paths.repeat_interleave(num_slots)])
    own_past = (
        (kind[None] == thought)
        & (path[None] == path[:, None])
        & ((kind[:, None] == readout) | (positions[None] <= positions[:, None]))
    )
    return positions, (kind[None] == context) | own_past
