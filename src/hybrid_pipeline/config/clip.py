"""The frozen tower: where it comes from, what is read from it, and how it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hybrid_pipeline.config.base import MAX_SEED, BoundedConfig, PathText


class ClipConfig(BoundedConfig):
    """Which frozen open_clip tower gives which features."""

    source: str = Field(default="bundled", description="only hub needs a network")
    model: PathText | None = Field(default=None, description="open_clip model name; hub and file")
    pretrained: str | None = Field(default=None, description="open_clip tag; hub")
    path: PathText | None = Field(default=None, description="local checkpoint; file")
    random_seed: int = Field(default=0, ge=0, le=MAX_SEED, description="weights of source: random")
    output: Literal["tokens", "pooled"] = Field(
        default="tokens", description="patch tokens, or one vector"
    )
    projected: bool = Field(default=False, description="after the projection shared with text")
    batch_size: int = Field(
        default=64, ge=1, le=65_536, description="fixed; the last batch is padded"
    )
    storage: Literal["float16", "int8"] = Field(default="float16", description="of cached tokens")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="cpu", description="of the extraction; auto: a GPU if torch sees one"
    )
    precision: Literal["auto", "fp32", "fp16"] = Field(
        default="auto", description="of the extraction; auto: fp16 by autocast on a GPU, else fp32"
    )

    @model_validator(mode="after")
    def _source_is_complete(self) -> ClipConfig:
        for name in _needs.get(self.source, ()):
            if getattr(self, name) is None:
                raise ValueError(f"source {self.source!r} needs {name!r}")
        return self


_needs: dict[str, tuple[str, ...]] = {}


def set_tower_sources(needs: Mapping[str, tuple[str, ...]]) -> None:
    """Make these the values of ``clip.source``.

    Args:
        needs: source -> parameters of ``clip`` that it cannot do without.
    """
    global _needs
    if _needs == needs:  # nothing is rebuilt while another thread may read it
        return
    names: Any = Literal[*needs]
    _needs, ClipConfig.__pydantic_fields__["source"].annotation = dict(needs), names
    ClipConfig.model_rebuild(force=True)


class ClipPretrainingConfig(BoundedConfig):
    """Contrastive pretraining of the bundled tower on rendered strings and their text."""

    num_pairs: int = Field(default=180_000, ge=64, le=10**9)
    batch_size: int = Field(default=128, ge=8, le=65_536)
    lr: float = Field(default=1e-3, gt=0, le=0.1)
    warmup_ratio: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: float = Field(default=0.1, ge=0, le=10)
    vision_width: int = Field(default=96, ge=32, le=8_192)
    vision_layers: int = Field(default=2, ge=1, le=256)
    patch_size: int = Field(default=8, ge=4, le=512)
    text_width: int = Field(default=96, ge=32, le=8_192)
    text_layers: int = Field(default=2, ge=1, le=256)
    context_length: int = Field(default=24, ge=8, le=8_192)
    embed_dim: int = Field(default=96, ge=16, le=8_192)
    head_width: int = Field(default=24, ge=8, le=1_024)
    mlp_ratio: float = Field(default=4.0, gt=0, le=64)
    stem_channels: tuple[Annotated[int, Field(ge=1, le=4_096)], ...] = (16, 32, 64)
    pool: Literal["tok", "avg"] = "avg"
    num_variants: int = Field(default=1, ge=0, le=64, description="hard negatives per string")
    hard_negative_edits: int = Field(default=2, ge=1, le=64)
    max_grad_norm: float = Field(default=1.0, gt=0, le=1e6)
    checkpoint_every_steps: int = Field(default=100, ge=1, le=10**9)
    num_evaluation_batches: int = Field(default=16, ge=2, le=10**6)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)

    @model_validator(mode="after")
    def _sizes_fit(self) -> ClipPretrainingConfig:
        for name in ("vision_width", "text_width"):
            if getattr(self, name) % self.head_width:
                raise ValueError(f"{name} must be a multiple of head_width {self.head_width}")
        if 2 ** len(self.stem_channels) != self.patch_size:
            raise ValueError(
                f"{len(self.stem_channels)} stem_channels halve the image to patches of"
                f" {2 ** len(self.stem_channels)}, but patch_size is {self.patch_size}"
            )
        if self.batch_size % (1 + self.num_variants):
            raise ValueError(f"batch_size must be a multiple of {1 + self.num_variants}")
        return self
