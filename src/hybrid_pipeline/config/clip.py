"""The frozen tower: where it comes from, what is read from it, and how it is stored."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hybrid_pipeline.config.base import StrictConfig


class ClipConfig(StrictConfig):
    """Which frozen open_clip tower gives which features."""

    source: Literal["bundled", "hub", "file", "random"] = "bundled"
    model: str | None = Field(default=None, description="open_clip model name; hub and file")
    pretrained: str | None = Field(default=None, description="open_clip tag; hub")
    path: str | None = Field(default=None, description="local checkpoint; file")
    random_seed: int = Field(default=0, ge=0, description="weights of source: random")
    output: Literal["tokens", "pooled"] = "tokens"
    projected: bool = False
    batch_size: int = Field(default=64, ge=1, description="fixed; the last batch is padded")
    storage: Literal["float16", "int8"] = "float16"

    @model_validator(mode="after")
    def _source_is_complete(self) -> ClipConfig:
        needed = {"hub": ("model", "pretrained"), "file": ("model", "path")}.get(self.source, ())
        for name in needed:
            if getattr(self, name) is None:
                raise ValueError(f"source {self.source!r} needs {name!r}")
        return self


class ClipPretrainingConfig(StrictConfig):
    """Contrastive pretraining of the bundled tower on rendered strings and their text."""

    num_pairs: int = Field(default=233_000, ge=64)
    batch_size: int = Field(default=128, ge=8)
    lr: float = Field(default=1e-3, gt=0, le=0.1)
    warmup_ratio: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=0.1, ge=0)
    vision_width: int = Field(default=96, ge=32)
    vision_layers: int = Field(default=2, ge=1)
    patch_size: int = Field(default=8, ge=4)
    text_width: int = Field(default=96, ge=32)
    text_layers: int = Field(default=2, ge=1)
    context_length: int = Field(default=24, ge=8)
    embed_dim: int = Field(default=96, ge=16)
    hard_negative_edits: int = Field(default=2, ge=1)
    seed: int = Field(default=0, ge=0)
