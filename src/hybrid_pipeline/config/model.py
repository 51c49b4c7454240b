"""Sizes of the skeleton and of each component."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, Field, model_validator
from pydantic.fields import FieldInfo

from hybrid_pipeline.config.base import BoundedConfig


class VitConfig(BoundedConfig):
    """The custom, trainable ViT (timm blocks)."""

    stem: Literal["conv", "patch"] = Field(
        default="conv", description="3 x 3 convolutions, or patches as in ViT"
    )
    patch_size: int = Field(default=8, ge=4, le=512, description="pixels per token side")
    embed_dim: int = Field(default=64, ge=16, le=65_536, description="width")
    depth: int = Field(default=2, ge=1, le=1_024, description="blocks")
    num_heads: int = Field(default=4, ge=1, le=1_024, description="of attention")
    mlp_ratio: float = Field(default=2.0, gt=0, le=64, description="hidden over width")
    pos_encodings: Literal["learned", "sincos"] = Field(
        default="learned", description="of the tokens"
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> VitConfig:
        if self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim {self.embed_dim} is no multiple of {self.num_heads} heads")
        if self.stem == "conv" and self.patch_size & (self.patch_size - 1):
            raise ValueError(
                f"patch_size {self.patch_size} must be a power of two for stem 'conv'; or set stem "
                "to 'patch'"
            )
        if self.pos_encodings == "sincos" and self.embed_dim % 4:
            raise ValueError(
                f"embed_dim {self.embed_dim} must be a multiple of 4 for pos_encodings 'sincos'"
            )
        return self


class N2NConfig(BoundedConfig):
    """The Noise2Noise adapter on frozen features and its label-free stage."""

    depth: int = Field(default=1, ge=1, le=256, description="blocks")
    num_heads: int = Field(default=4, ge=1, le=1_024, description="of attention")
    mlp_ratio: float = Field(default=2.0, gt=0, le=64, description="hidden over width")
    steps: int = Field(default=120, ge=1, le=10**7, description="updates of the label-free stage")
    batch_size: int = Field(default=64, ge=1, le=2**20, description="noisy pairs per update")
    lr: float = Field(default=1e-3, gt=0, le=0.1, description="of the label-free stage")


class CoreConfig(BoundedConfig):
    """The network f that arms 1 to 3 apply once and TRM recurses (TRM, section 4)."""

    dim: int = Field(default=64, ge=16, le=65_536, description="width of the slots")
    num_layers: int = Field(default=2, ge=1, le=1_024, description="blocks")
    num_heads: int = Field(default=4, ge=1, le=1_024, description="of attention")
    expansion: float = Field(default=2.0, gt=0, le=64, description="of the SwiGLU")
    hidden_multiple: int = Field(
        default=64, ge=1, le=65_536, description="SwiGLU width; published: 256"
    )
    rms_norm_eps: float = Field(default=1e-5, gt=0, le=1, description="of the post-norm")
    pos_encodings: Literal["rope", "learned", "none"] = Field(
        default="rope", description="of the slots"
    )
    rope_theta: float = Field(
        default=10_000.0, gt=0, le=1e12, description="base of the rotary angles"
    )
    mlp_t: bool = Field(default=False, description="MLP over the slots instead of attention")

    @model_validator(mode="after")
    def _heads_divide(self) -> CoreConfig:
        if self.dim % self.num_heads:
            raise ValueError(f"dim {self.dim} is no multiple of {self.num_heads} heads")
        if self.pos_encodings == "rope" and not self.mlp_t and (self.dim // self.num_heads) % 2:
            raise ValueError(
                f"dim {self.dim} over num_heads {self.num_heads} must be even for pos_encodings "
                "'rope'"
            )
        if self.expansion * self.dim * 2 / 3 < 1:
            raise ValueError(
                f"expansion {self.expansion} leaves no hidden channel: at dim {self.dim} it must "
                f"be at least {1.5 / self.dim:.3g}"
            )
        return self


def swiglu_width(size: int, expansion: float, multiple: int) -> int:
    """Hidden width of a SwiGLU: 2/3 of ``expansion * size``, rounded up to a multiple.

    The 2/3 keeps the parameters of a two-matrix MLP of that expansion. The published code rounds
    up to 256, which at ``size`` 64 would mean three times the asked width; see ``docs``.
    """
    return -(-round(expansion * size * 2 / 3) // multiple) * multiple


class TrmConfig(BoundedConfig):
    """Recursion (TRM, figure 3).

    The gradient covers the last of the H_cycles under ``one_step`` (TRM as published), the last
    update of z_L and of z_H under ``last_updates`` (HRM as published), everything under ``full``.
    """

    H_cycles: int = Field(default=2, ge=1, le=1_024, description="T: cycles of a supervision step")
    L_cycles: int = Field(default=2, ge=1, le=1_024, description="n: updates of z_L per cycle")
    supervision_steps: int = Field(
        default=2, ge=1, le=64, description="N_sup: steps with a loss each, at most"
    )
    gradient: Literal["last_updates", "one_step", "full"] = Field(
        default="full", description="how far back within a step"
    )
    separate_networks: bool = Field(default=False, description="one net for z_H, one for z_L")


class CoconutConfig(BoundedConfig):
    """Continuous thoughts on parallel latent paths (COCONUT, section 3)."""

    num_paths: int = Field(default=4, ge=1, le=64, description="K: parallel latent paths")
    num_thoughts: int = Field(default=2, ge=1, le=64, description="d: continuous thoughts per path")
    mix: Literal["states", "probabilities"] = Field(
        default="states", description="what the path weights average"
    )
    diversity_weight: float = Field(
        default=0.0, ge=0, le=1_000, description="of the cosine between paths, in the loss"
    )


class ModelConfig(BoundedConfig):
    """The skeleton's width and its components."""

    core: CoreConfig = CoreConfig()
    vit: VitConfig = VitConfig()
    n2n: N2NConfig = N2NConfig()
    trm: TrmConfig = TrmConfig()
    coconut: CoconutConfig = CoconutConfig()


_OWN_GROUPS = frozenset(ModelConfig.model_fields)


def set_model_groups(groups: Mapping[str, type[BaseModel]]) -> None:
    """Make these the groups of ``ModelConfig`` besides its own, each with its defaults.

    Raises:
        ValueError: for the name of a group that ``ModelConfig`` has.
    """
    taken = sorted(_OWN_GROUPS & set(groups))
    if taken:
        raise ValueError(
            f"the parameter group {taken[0]!r} is the model's own; choose another name"
        )
    fields = ModelConfig.__pydantic_fields__
    added = {name: field.annotation for name, field in fields.items() if name not in _OWN_GROUPS}
    if added == dict(groups):
        return
    for name in added:
        del fields[name]
    for name, group in groups.items():
        fields[name] = FieldInfo(annotation=group, default_factory=group)
    ModelConfig.model_rebuild(force=True)
