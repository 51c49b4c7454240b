"""image -> tokens -> (adapted frozen tokens, fused) -> slots x [B, S, D]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hybrid_pipeline.models.parts import FusionOutput


@dataclass(frozen=True)
class Encoding:
    """A batch, encoded once for all supervision steps.

    Attributes:
        x: the slots.
        gate: of the fusion, 1 keeps CLIP; also of rows that a rollout has dropped from x.
    """

    x: Float[Tensor, "batch slots dim"]
    gate: Float[Tensor, "images tokens 1"] | None


class Encoder(nn.Module):
    """The parts that turn an image and its frozen tokens into slots.

    Args:
        backbone: image to tokens; without it the frozen tokens are read themselves.
        adapters: frozen tokens to frozen tokens, applied in order.
        fusion: frozen tokens and the image's tokens to tokens.
        reader: tokens to slots.
        mixers: slots to slots, applied in order.
    """

    def __init__(
        self,
        backbone: nn.Module | None,
        adapters: Mapping[str, nn.Module],
        fusion: nn.Module | None,
        reader: nn.Module,
        mixers: Mapping[str, nn.Module],
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.adapters = nn.ModuleDict(adapters)
        self.fusion = fusion
        self.reader = reader
        self.mixers = nn.ModuleDict(mixers)

    def forward(
        self,
        images: Float[Tensor, "batch 1 height width"],
        clip: Float[Tensor, "batch clip_tokens clip_width"] | None,
    ) -> Encoding:
        """Slots, and the gate of the fusion if there is one."""
        tokens, gate = clip, None
        for adapter in self.adapters.values():
            tokens = _adapted(adapter, cast("Tensor", tokens))
        if self.backbone is not None:
            frozen, tokens = tokens, self.backbone(images)
            if self.fusion is not None:
                fused: FusionOutput = self.fusion(frozen, tokens)
                tokens, gate = fused.tokens, fused.gate
        x = self.reader(tokens)
        for mixer in self.mixers.values():
            x = mixer(x)
        return Encoding(x, gate)


def _adapted(adapter: nn.Module, tokens: Tensor) -> Tensor:
    """Adapted tokens; an adapter that is not trained keeps no graph."""
    trained = any(p.requires_grad for p in adapter.parameters())
    with torch.set_grad_enabled(torch.is_grad_enabled() and trained):
        return cast("Tensor", adapter(tokens))
