"""The block that every arm shares: TRM's post-norm attention (or slot-mixing) layer and SwiGLU.

Source: Jolicoeur-Martineau, "Less is More: Recursive Reasoning with Tiny Networks",
arXiv:2510.04871, section 4 and the published code's block options. No biases, no learned norm
gains, LeCun-normal weights truncated at two standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from hybrid_pipeline.config import CoreConfig, swiglu_width
from hybrid_pipeline.models.elementwise import gated, rms_norm, rotated

MAX_THOUGHT_POSITIONS = 65
"""RoPE positions kept beyond the slots: COCONUT's start embedding and up to 64 thoughts."""

_PHI_2 = math.exp(-2.0) / math.sqrt(2 * math.pi)
_TRUNCATED_STD = math.sqrt(1 - 4 * _PHI_2 / math.erf(math.sqrt(2)))
"""Standard deviation of a unit normal cut at +-2 (0.8796)."""


def truncated_normal_(tensor: Tensor, std: float) -> Tensor:
    """Fill in place with a normal cut at two sigma whose standard deviation *after* the cut is std.

    Args:
        tensor: any shape; overwritten.
        std: wanted standard deviation; 0 fills with zeros.
    """
    if std == 0:
        return nn.init.zeros_(tensor)
    sigma = std / _TRUNCATED_STD
    return nn.init.trunc_normal_(tensor, std=sigma, a=-2 * sigma, b=2 * sigma)


class Linear(nn.Linear):
    """A bias-free linear map with truncated LeCun-normal weights (std 1 / sqrt(fan in))."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def reset_parameters(self) -> None:
        """Draw the weights again."""
        truncated_normal_(self.weight, std=self.in_features**-0.5)


class SwiGLU(nn.Module):
    """``down(silu(gate(x)) * up(x))`` over the last axis (Shazeer, arXiv:2002.05202)."""

    def __init__(self, size: int, expansion: float, multiple: int) -> None:
        super().__init__()
        width = swiglu_width(size, expansion, multiple)
        self.gate_up = Linear(size, 2 * width)
        self.down = Linear(width, size)

    def forward(self, x: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Apply the gated MLP."""
        mixed: Tensor = self.down(gated(self.gate_up(x)))
        return mixed


@dataclass(frozen=True)
class Rotation:
    """How the queries and keys of some tokens turn.

    Attributes:
        cos: laid out as queries and keys are, so that one pass over memory takes both.
        sin: likewise, with the signs of the halves.
    """

    cos: Float[Tensor, "tokens 2 heads width"]
    sin: Float[Tensor, "tokens 2 heads width"]

    def __call__(
        self, x: Float[Tensor, "batch tokens parts heads width"], *, turned: int
    ) -> tuple[Float[Tensor, "batch tokens heads width"], ...]:
        """The parts of x, the first ``turned`` (at most 2) of them rotated."""
        return rotated(x, self.cos[:, :turned], self.sin[:, :turned])


class RotaryEmbedding(nn.Module):
    """Rotary position embedding, first half against second half (Su et al., arXiv:2104.09864)."""

    def __init__(self, head_dim: int, num_heads: int, num_positions: int, theta: float) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"RoPE needs an even head width, got {head_dim}")
        self.num_heads = num_heads
        dtype = torch.get_default_dtype()
        inverse = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=dtype) / head_dim)
        angle = torch.outer(torch.arange(num_positions, dtype=dtype), inverse)
        cos, sin = angle.cos(), angle.sin()
        self.register_buffer("cos", torch.cat([cos, cos], dim=-1), persistent=False)
        self.register_buffer("sin", torch.cat([-sin, sin], dim=-1), persistent=False)
        self.cos: Tensor
        self.sin: Tensor

    def forward(self, positions: Int[Tensor, " tokens"]) -> Rotation:
        """The rotation of tokens at these positions."""
        shape = (-1, 2, self.num_heads, -1)
        cos, sin = (
            angle[positions][:, None, None].expand(shape).contiguous()
            for angle in (self.cos, self.sin)
        )
        return Rotation(cos, sin)


class Cache:
    """Keys and values of the tokens seen so far, one pair per layer: [B, heads, tokens, width]."""

    def __init__(self, num_layers: int) -> None:
        self.layers: list[tuple[Tensor, Tensor] | None] = [None] * num_layers

    @property
    def num_tokens(self) -> int:
        """How many tokens every layer has seen."""
        last = self.layers[-1]
        return 0 if last is None else last[0].shape[2]

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add tokens to a layer; returns all of its keys and values."""
        past = self.layers[layer]
        if past is not None:
            key = torch.cat([past[0], key], dim=2)
            value = torch.cat([past[1], value], dim=2)
        self.layers[layer] = (key, value)
        return key, value

    def __getitem__(self, layer: int) -> tuple[Tensor, Tensor]:
        pair = self.layers[layer]
        if pair is None:
            raise ValueError("the cache is empty: extend the core with the context first")
        return pair


def attend(
    query: Float[Tensor, "batch heads queries width"],
    key: Float[Tensor, "batch heads keys width"],
    value: Float[Tensor, "batch heads keys width"],
    mask: Bool[Tensor, "queries keys"] | None,
) -> Float[Tensor, "batch queries heads*width"]:
    """Scaled dot-product attention; ``mask`` is True where a query may look.

    With a mask the product is written out: at these sizes on a CPU that takes three quarters of
    the time of the fused kernel with a mask.
    """
    if mask is None:
        out = functional.scaled_dot_product_attention(query, key, value)
    else:
        closed = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, -torch.inf)
        turned = key.flatten(0, 1).transpose(1, 2)
        scale = query.shape[-1] ** -0.5
        score = torch.baddbmm(closed, query.flatten(0, 1), turned, alpha=scale)
        out = score.softmax(dim=-1).view(*query.shape[:2], *score.shape[1:]) @ value
    return out.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Multi-head attention with one fused projection, no biases and optional RoPE."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = Linear(dim, 3 * dim)
        self.out = Linear(dim, dim)

    def project(
        self, x: Float[Tensor, "batch tokens dim"], rotation: Rotation | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, heads, tokens, width]; the first two rotated."""
        qkv = self.qkv(x).view(*x.shape[:2], 3, self.num_heads, -1)
        parts = qkv.unbind(2) if rotation is None else rotation(qkv, turned=2)
        query, key, value = (part.transpose(1, 2) for part in parts)
        return query, key, value

    def project_query(
        self, x: Float[Tensor, "batch tokens dim"], rotation: Rotation | None
    ) -> Float[Tensor, "batch heads tokens width"]:
        """Only the queries, rotated."""
        query = functional.linear(x, self.qkv.weight[: x.shape[-1]])
        query = query.view(*x.shape[:2], 1, self.num_heads, -1)
        parts = query.unbind(2) if rotation is None else rotation(query, turned=1)
        return parts[0].transpose(1, 2)

    def project_memory(
        self, x: Float[Tensor, "batch tokens dim"], rotation: Rotation | None
    ) -> tuple[Tensor, Tensor]:
        """Only the keys, rotated, and the values, each [B, heads, tokens, width]."""
        pairs = functional.linear(x, self.qkv.weight[x.shape[-1] :])
        pairs = pairs.view(*x.shape[:2], 2, self.num_heads, -1)
        key, value = pairs.unbind(2) if rotation is None else rotation(pairs, turned=1)
        return key.transpose(1, 2), value.transpose(1, 2)


class AttentionBlock(nn.Module):
    """Attention, add, norm; SwiGLU, add, norm (post-norm)."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.eps = config.rms_norm_eps
        self.attention = Attention(config.dim, config.num_heads)
        self.mlp = SwiGLU(config.dim, config.expansion, config.hidden_multiple)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        rotation: Rotation | None,
        mask: Bool[Tensor, "tokens tokens"] | None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Every token looks at every token, or where ``mask`` is True."""
        return self.finish(x, *self.attention.project(x, rotation), mask)

    def finish(
        self,
        x: Float[Tensor, "batch tokens dim"],
        query: Float[Tensor, "batch heads tokens width"],
        key: Float[Tensor, "batch heads keys width"],
        value: Float[Tensor, "batch heads keys width"],
        mask: Bool[Tensor, "tokens keys"] | None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """The layer after its projections, for keys from wherever."""
        mixed = self.attention.out(attend(query, key, value, mask))
        x = rms_norm(x + mixed, self.eps)
        return rms_norm(x + self.mlp(x), self.eps)


class SlotMixingBlock(nn.Module):
    """SwiGLU over the slots, add, norm; SwiGLU over the channels, add, norm (``mlp_t``).

    As published, the norm after the slot mixing runs over the slots, not over the channels.
    """

    def __init__(self, config: CoreConfig, num_slots: int) -> None:
        super().__init__()
        self.eps = config.rms_norm_eps
        self.mlp_t = SwiGLU(num_slots, config.expansion, config.hidden_multiple)
        self.mlp = SwiGLU(config.dim, config.expansion, config.hidden_multiple)

    def forward(self, x: Float[Tensor, "batch slots dim"]) -> Float[Tensor, "batch slots dim"]:
        """Mix the slots, then the channels."""
        turned = x.transpose(1, 2)
        x = rms_norm(turned + self.mlp_t(turned), self.eps).transpose(1, 2)
        return rms_norm(x + self.mlp(x), self.eps)


class Core(nn.Module):
    """The network f: arms 1 to 3 apply it once, TRM recurses it, COCONUT thinks with it.

    Args:
        config: width, layers, heads, positions.
        num_slots: S, the answer slots; ``mlp_t`` and learned positions are tied to it.
    """

    def __init__(self, config: CoreConfig, num_slots: int) -> None:
        super().__init__()
        self.config = config
        self.num_slots = num_slots
        self.blocks = nn.ModuleList(
            SlotMixingBlock(config, num_slots) if config.mlp_t else AttentionBlock(config)
            for _ in range(config.num_layers)
        )
        num_positions = num_slots + MAX_THOUGHT_POSITIONS
        self.rotary = (
            RotaryEmbedding(
                config.dim // config.num_heads, config.num_heads, num_positions, config.rope_theta
            )
            if config.pos_encodings == "rope" and not config.mlp_t
            else None
        )
        self.positions = None
        if config.pos_encodings == "learned":
            self.positions = nn.Parameter(torch.empty(num_slots, config.dim))
            truncated_normal_(self.positions, std=1.0)
        self.register_buffer("default_positions", torch.arange(num_positions), persistent=False)
        self.default_positions: Tensor

    def add_positions(
        self, x: Float[Tensor, "batch slots dim"]
    ) -> Float[Tensor, "batch slots dim"]:
        """Add the learned positions to the encoded input, once; identity for RoPE and none.

        Scaled by 1 / sqrt(2) to keep the variance, as published (there both summands are scaled
        by sqrt(dim) afterwards; here the input arrives at unit scale).
        """
        return x if self.positions is None else math.sqrt(0.5) * (x + self.positions)

    def forward(
        self,
        hidden: Float[Tensor, "batch tokens dim"],
        injection: Float[Tensor, "batch tokens dim"] | None = None,
        mask: Bool[Tensor, "tokens tokens"] | None = None,
        positions: Int[Tensor, " tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Run all layers on ``hidden + injection``.

        Args:
            hidden: the state to update.
            injection: what it is updated from; None adds nothing.
            mask: True where the row's token may look at the column's; None is everywhere.
            positions: of the tokens for RoPE; 0, 1, ... by default.

        Raises:
            ValueError: under ``mlp_t``, for a mask or another number of tokens than slots.
        """
        x = hidden if injection is None else hidden + injection
        if self.config.mlp_t:
            self._check_slots(x, mask)
            for block in self.blocks:
                x = block(x)
            return x
        if positions is None:
            positions = self.default_positions[: x.shape[1]]
        rotation = self._rotation(positions)
        for block in self.blocks:
            x = block(x, rotation, mask)
        return x

    def _rotation(self, positions: Tensor) -> Rotation | None:
        if self.rotary is None:
            return None
        rotation: Rotation = self.rotary(positions)
        return rotation

    def _check_slots(self, x: Tensor, mask: Tensor | None) -> None:
        if mask is not None or x.shape[1] != self.num_slots:
            raise ValueError(
                f"a core with mlp_t=true mixes exactly {self.num_slots} slots and takes no mask; "
                f"got {x.shape[1]} tokens. Use attention (mlp_t=false) for other layouts."
            )

    def extend(
        self,
        x: Float[Tensor, "batch tokens dim"],
        cache: Cache,
        positions: Int[Tensor, " tokens"],
        mask: Bool[Tensor, "tokens keys"] | None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Run all layers on new tokens, which see the cached ones and enter the cache.

        Equal to the new tokens' rows of ``forward`` over all tokens, if no earlier token may look
        at a later one.

        Args:
            x: the new tokens.
            cache: keys and values of earlier tokens; extended in place.
            positions: of the new tokens.
            mask: True where a new token may look, over cached then new tokens.

        Raises:
            ValueError: under ``mlp_t``, which has no keys to keep.
        """
        rotation = self._rotation(positions)
        for layer, block in self._attention_blocks():
            query, key, value = block.attention.project(x, rotation)
            x = block.finish(x, query, *cache.append(layer, key, value), mask)
        return x

    def remember(
        self,
        x: Float[Tensor, "batch tokens dim"],
        cache: Cache,
        positions: Int[Tensor, " tokens"],
        mask: Bool[Tensor, "tokens keys"] | None,
    ) -> None:
        """``extend`` for tokens whose output nobody needs: the last layer makes keys and values.

        Args:
            x: the new tokens.
            cache: keys and values of earlier tokens; extended in place.
            positions: of the new tokens.
            mask: True where a new token may look, over cached then new tokens.

        Raises:
            ValueError: under ``mlp_t``, which has no keys to keep.
        """
        rotation = self._rotation(positions)
        for layer, block in self._attention_blocks():
            if layer == len(self.blocks) - 1:
                cache.append(layer, *block.attention.project_memory(x, rotation))
                return
            query, key, value = block.attention.project(x, rotation)
            x = block.finish(x, query, *cache.append(layer, key, value), mask)

    def read(
        self,
        x: Float[Tensor, "batch tokens dim"],
        cache: Cache,
        positions: Int[Tensor, " tokens"],
        mask: Bool[Tensor, "tokens keys"] | None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Run all layers on tokens that see the cached ones and nothing else.

        Args:
            x: the reading tokens; they make no keys, so they see neither each other nor themselves
                but through the residual.
            cache: keys and values of earlier tokens; left as it is.
            positions: of the reading tokens.
            mask: True where a reading token may look, over the cached tokens.

        Raises:
            ValueError: under ``mlp_t``, or for an empty cache.
        """
        rotation = self._rotation(positions)
        for layer, block in self._attention_blocks():
            query = block.attention.project_query(x, rotation)
            x = block.finish(x, query, *cache[layer], mask)
        return x

    def _attention_blocks(self) -> Iterator[tuple[int, AttentionBlock]]:
        for layer, block in enumerate(self.blocks):
            if not isinstance(block, AttentionBlock):
                raise ValueError("a core with mlp_t=true keeps no keys; set mlp_t=false")
            yield layer, block
