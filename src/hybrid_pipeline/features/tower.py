"""A frozen tower: grey images in, patch tokens or one pooled vector out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hybrid_pipeline.config import ClipConfig, ConfigError
from hybrid_pipeline.features.preprocessing import Preprocessing
from hybrid_pipeline.features.quantise import MIN_COSINE, ChannelScale, Moments, worst_cosine
from hybrid_pipeline.storage import content_key

HALF = torch.float16


class PrecisionError(ValueError):
    """Half precision loses too much in this tower."""


@dataclass(frozen=True)
class TowerSource:
    """A loaded vision tower and where it came from.

    Attributes:
        visual: open_clip's vision module, any of its three families.
        weights_key: hash of the weights file, or of the tensors where there is none.
        model: the part of open_clip's model config that shapes the tower.
        preprocessing: what the tower was trained on.
        name: for tables and tags.
        disclosure: one sentence for the report.
    """

    visual: nn.Module
    weights_key: str
    model: dict[str, Any]
    preprocessing: Preprocessing
    name: str
    disclosure: str


@dataclass(frozen=True)
class Layer:
    """Which features are read: patch tokens or pooled, before or after the projection."""

    output: str
    projected: bool

    def __str__(self) -> str:
        return f"{self.output}, {'after' if self.projected else 'before'} the projection"


@dataclass(frozen=True)
class Tower:
    """A frozen encoder with a key.

    Attributes:
        name: for tables and tags.
        disclosure: one sentence for the report.
        key: hash over weights, model config, preprocessing and layer.
        grid: patches (rows, columns); (1, 1) for pooled features.
        width: channels of a token.
        precision: ``fp32``, or ``fp16`` by autocast.
    """

    source: TowerSource
    layer: Layer
    device: str
    precision: str
    key: str
    grid: tuple[int, int]
    width: int
    name: str = field(default="")
    disclosure: str = field(default="")

    @property
    def num_tokens(self) -> int:
        """Tokens an image: rows times columns of the grid."""
        return self.grid[0] * self.grid[1]

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Frozen features of grey images.

        Args:
            images: uint8 [B, H, W], square.

        Returns:
            float32 [B, T, C]: patch tokens in row-major order, or T = 1 for pooled features.

        Raises:
            ConfigError: for anything but square uint8 images.
        """
        return self.encode_on_device(images).cpu().numpy()

    def encode_on_device(self, images: np.ndarray) -> Tensor:
        """The same as a tensor on the tower's device."""
        pixels = self.source.preprocessing(images, self.device)
        half = self.precision == "fp16"
        with torch.inference_mode(), torch.autocast(pixels.device.type, HALF, enabled=half):
            features = read_features(self.source.visual, pixels, self.layer)
            return features.flatten(1, 2).float()

    def check_precision(self, images: np.ndarray) -> None:
        """Compare features in half precision with those in float32.

        Args:
            images: a sample, uint8 [B, H, W].

        Raises:
            PrecisionError: when the worst cosine between a token, standardised per channel, and
                its exact version is below ``quantise.MIN_COSINE``.
        """
        if self.precision == "fp32":
            return
        exact, found = (t.encode_on_device(images) for t in (replace(self, precision="fp32"), self))
        mean, std = ChannelScale.of_parts([Moments.of(exact)]).on(exact.device)
        worst = worst_cosine((exact - mean) / std, (found - mean) / std)
        if not worst >= MIN_COSINE:
            raise PrecisionError(
                f"features in fp16 have a cosine of {worst:.4f} to those in fp32, at least"
                f" {MIN_COSINE} is needed: set clip.precision to 'fp32'"
            )


def make_tower(source: TowerSource, config: ClipConfig, device: str = "cpu") -> Tower:
    """Freeze a source and find out the shape of its features by encoding one blank image.

    Raises:
        ConfigError: when the tower cannot give the wanted layer.
    """
    source.visual.requires_grad_(False).eval().to(device)
    layer = Layer(config.output, config.projected)
    size = source.preprocessing.size
    with torch.inference_mode():
        blank = torch.zeros(1, 3, size, size, device=device)
        _, rows, columns, width = read_features(source.visual, blank, layer).shape
    key = content_key(
        {
            "weights": source.weights_key,
            "model": source.model,
            "preprocessing": source.preprocessing.to_dict(),
            "output": config.output,
            "projected": config.projected,
        }
    )
    return Tower(
        source=source,
        layer=layer,
        device=device,
        precision=precision_on(device, config.precision),
        key=key,
        grid=(rows, columns),
        width=width,
        name=source.name,
        disclosure=source.disclosure,
    )


def precision_on(device: str, wanted: str) -> str:
    """What ``clip.precision`` means on a device: ``auto`` is fp16 on a GPU, else fp32."""
    if wanted != "auto":
        return wanted
    return "fp16" if torch.device(device).type == "cuda" else "fp32"


def read_features(visual: nn.Module, pixels: Tensor, layer: Layer) -> Tensor:
    """Features at a layer, [B, h, w, C]; h = w = 1 for pooled ones."""
    if layer.output == "pooled":
        return _pooled(visual, pixels, layer)[:, None, None]
    return _tokens(visual, pixels, layer)


def _tokens(visual: Any, pixels: Tensor, layer: Layer) -> Tensor:
    """The last block's patch tokens through the tower's final norm, without prefix tokens.

    Towers that pool by attention have no norm for single tokens: theirs are read before it.
    """
    norm = getattr(visual, "attn_pool", None) is None
    maps = visual.forward_intermediates(
        pixels, indices=1, normalize_intermediates=norm, intermediates_only=True
    )["image_intermediates"][-1]
    tokens: Tensor = maps.permute(0, 2, 3, 1)
    return _project_tokens(visual, tokens, layer) if layer.projected else tokens


def _project_tokens(visual: Any, tokens: Tensor, layer: Layer) -> Tensor:
    if not hasattr(visual, "trunk"):
        projection = getattr(visual, "proj", None)
        if projection is None or getattr(visual, "attn_pool", None) is not None:
            raise _no_such_layer(visual, layer)
        return tokens @ projection
    pools_by_attention = getattr(visual.trunk, "attn_pool", None) is not None
    if pools_by_attention or "pool" in visual.head._modules or len(visual.head) == 0:
        raise _no_such_layer(visual, layer)
    norm = getattr(visual.trunk, "fc_norm", nn.Identity())
    return visual.head(norm(tokens))


def _pooled(visual: Any, pixels: Tensor, layer: Layer) -> Tensor:
    if layer.projected:
        return _first(visual(pixels))
    if hasattr(visual, "trunk"):
        if "pool" in visual.head._modules:
            raise _no_such_layer(visual, layer)
        features = visual.trunk.forward_features(pixels)
        return visual.trunk.forward_head(features, pre_logits=True)
    if getattr(visual, "proj", None) is None:
        raise _no_such_layer(visual, layer)
    projection = visual.proj
    try:
        visual.proj = None
        return _first(visual(pixels))
    finally:
        visual.proj = projection


def _first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def _no_such_layer(visual: nn.Module, layer: Layer) -> ConfigError:
    return ConfigError(
        f"this {type(visual).__name__} has no features {layer}: it pools and projects in one"
        f" layer; change clip.output or clip.projected"
    )
