"""Sizes of the skeleton and of each component."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hybrid_pipeline.config.base import StrictConfig


class VitConfig(StrictConfig):
    """The custom, trainable ViT (timm blocks)."""

    stem: Literal["conv", "patch"] = "conv"
    patch_size: int = Field(default=8, ge=4, description="pixels per token side")
    embed_dim: int = Field(default=64, ge=16)
    depth: int = Field(default=2, ge=1)
    num_heads: int = Field(default=4, ge=1)
    mlp_ratio: float = Field(default=2.0, gt=0)
    pos_encodings: Literal["learned", "sincos"] = "learned"

    @model_validator(mode="after")
    def _heads_divide(self) -> VitConfig:
        if self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim {self.embed_dim} is no multiple of {self.num_heads} heads")
        return self


class N2NConfig(StrictConfig):
    """The Noise2Noise adapter on frozen features and its label-free stage."""

    depth: int = Field(default=1, ge=1)
    num_heads: int = Field(default=4, ge=1)
    mlp_ratio: float = Field(default=2.0, gt=0)
    steps: int = Field(default=120, ge=1, description="updates of the label-free stage")
    batch_size: int = Field(default=64, ge=1)
    lr: float = Field(default=1e-3, gt=0, le=0.1)


class CoreConfig(StrictConfig):
    """The network f that arms 1 to 3 apply once and TRM recurses (TRM, section 4)."""

    dim: int = Field(default=64, ge=16)
    num_layers: int = Field(default=2, ge=1)
    num_heads: int = Field(default=4, ge=1)
    expansion: float = Field(default=2.0, gt=0)
    hidden_multiple: int = Field(default=64, ge=1, description="SwiGLU width; published: 256")
    rms_norm_eps: float = Field(default=1e-5, gt=0)
    pos_encodings: Literal["rope", "learned", "none"] = "rope"
    rope_theta: float = Field(default=10_000.0, gt=0)
    mlp_t: bool = Field(default=False, description="MLP over the slots instead of attention")

    @model_validator(mode="after")
    def _heads_divide(self) -> CoreConfig:
        if self.dim % self.num_heads:
            raise ValueError(f"dim {self.dim} is no multiple of {self.num_heads} heads")
        return self


class TrmConfig(StrictConfig):
    """Recursion (TRM, figure 3).

    The gradient covers the last of the H_cycles under ``one_step`` (TRM as published), the last
    update of z_L and of z_H under ``last_updates`` (HRM as published), everything under ``full``.
    """

    H_cycles: int = Field(default=2, ge=1)
    L_cycles: int = Field(default=2, ge=1)
    supervision_steps: int = Field(default=2, ge=1, le=64)
    gradient: Literal["last_updates", "one_step", "full"] = "full"
    separate_networks: bool = Field(default=False, description="one net for z_H, one for z_L")


class CoconutConfig(StrictConfig):
    """Continuous thoughts on parallel latent paths (COCONUT, section 3)."""

    num_paths: int = Field(default=4, ge=1, le=64)
    num_thoughts: int = Field(default=2, ge=1, le=64)
    mix: Literal["states", "probabilities"] = "states"
    diversity_weight: float = Field(default=0.0, ge=0)


class ModelConfig(StrictConfig):
    """The skeleton's width and its components."""

    core: CoreConfig = CoreConfig()
    vit: VitConfig = VitConfig()
    n2n: N2NConfig = N2NConfig()
    trm: TrmConfig = TrmConfig()
    coconut: CoconutConfig = CoconutConfig()
