"""How a task becomes an image, and which noise each of its two views gets."""

from __future__ import annotations

from pydantic import Field, model_validator

from hybrid_pipeline.config.base import MAX_SEED, BoundedConfig


class NoiseConfig(BoundedConfig):
    """Noise of a view, each kind off at 0; intensities in units of the ink contrast (0 to 1)."""

    gaussian_std: float = Field(default=0.0, ge=0, le=2, description="in ink contrasts; zero mean")
    salt_and_pepper_share: float = Field(default=0.0, ge=0, lt=1, description="of the pixels")
    blur_sigma_px: float = Field(default=0.0, ge=0, le=8, description="the same in both views")
    jpeg_quality: int = Field(default=100, ge=1, le=100, description="100 leaves JPEG out")
    affine_jitter_px: float = Field(
        default=0.0, ge=0, le=8, description="shared by both views: independent jitter breaks N2N"
    )


class RenderingConfig(BoundedConfig):
    """Image size in pixels, text layout and noise."""

    image_size: int = Field(default=64, ge=16, le=512, description="pixels a side, a multiple of 8")
    font_size_px: int = Field(default=9, ge=5, le=64, description="of text")
    rows_per_shard: int = Field(default=512, ge=1, le=10**6, description="examples a file")
    noise_seed: int = Field(default=0, ge=0, le=MAX_SEED, description="of both views")
    noise: NoiseConfig = NoiseConfig()

    @model_validator(mode="after")
    def _multiple_of_eight(self) -> RenderingConfig:
        if self.image_size % 8:
            raise ValueError(f"image_size {self.image_size} must be a multiple of 8")
        return self
