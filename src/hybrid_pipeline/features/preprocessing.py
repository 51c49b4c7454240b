"""Grey images to what a tower was trained on: its size, its interpolation, its mean and std."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hybrid_pipeline.config import ConfigError

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preprocessing:
    """How a tower wants its images.

    Attributes:
        size: side of the square input, in pixels.
        mean: per channel, of pixels in 0 to 1.
        std: likewise.
        interpolation: ``bicubic`` or ``bilinear``, used when the size differs.
    """

    size: int
    mean: tuple[float, ...] = OPENAI_MEAN
    std: tuple[float, ...] = OPENAI_STD
    interpolation: str = "bicubic"

    @classmethod
    def of(cls, size: int, found: dict[str, Any]) -> Preprocessing:
        """From open_clip's description of a model; what is missing is open_clip's default."""
        return cls(
            size=size,
            mean=tuple(found.get("mean") or OPENAI_MEAN),
            std=tuple(found.get("std") or OPENAI_STD),
            interpolation="bilinear" if found.get("interpolation") == "bilinear" else "bicubic",
        )

    def to_dict(self) -> dict[str, Any]:
        """For keys and cards."""
        return asdict(self)

    def __call__(self, images: np.ndarray, device: str = "cpu") -> Tensor:
        """Turn grey images into the tower's input.

        The resize is Pillow's, image by image on the host, because open_clip's own transform uses
        it and torch's differs by a grey level here and there. Images of the tower's size go to the
        device as they are, one byte per pixel.

        Args:
            images: uint8 [B, H, W], square.
            device: where the result is wanted.

        Returns:
            float32 [B, 3, size, size].

        Raises:
            ConfigError: for anything but square uint8 images.
        """
        if images.ndim != 3 or images.dtype != np.uint8 or images.shape[1] != images.shape[2]:
            raise ConfigError(
                f"a tower reads square grey images, uint8 [B, H, H], not {images.dtype}"
                f" {list(images.shape)}"
            )
        if images.shape[1] != self.size:
            images = np.stack([self._resized(image) for image in images])
        grey = torch.from_numpy(np.ascontiguousarray(images)).to(device)
        grey = grey.float().div(255.0)[:, None]
        mean = torch.tensor(self.mean, dtype=torch.float32, device=device)[:, None, None]
        std = torch.tensor(self.std, dtype=torch.float32, device=device)[:, None, None]
        return (grey - mean) / std

    def _resized(self, image: np.ndarray) -> np.ndarray:
        bilinear = self.interpolation == "bilinear"
        method = Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC
        return np.asarray(Image.fromarray(image).resize((self.size, self.size), method))
