"""How far each kind of noise is from the zero mean that Noise2Noise asks for, measured.

    python benchmarks/noise_bias.py [--images 1000]

Prints the table of docs/explanation/rendering.md as Markdown.
"""

from __future__ import annotations

import argparse
import string
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from hybrid_pipeline.config import NoiseConfig, RenderingConfig
from hybrid_pipeline.rendering.levels import UInt8, to_float
from hybrid_pipeline.rendering.noise import noisy_views
from hybrid_pipeline.rendering.text import render_text, text_grid
from hybrid_pipeline.seeding import rng_for

NoiseKind = Literal[
    "gaussian_std", "salt_and_pepper_share", "blur_sigma_px", "jpeg_quality", "affine_jitter_px"
]
NOISE_KINDS: tuple[NoiseKind, ...] = get_args(NoiseKind)
_BATCH = 256
TABLE: tuple[tuple[str, NoiseKind, float], ...] = (
    ("Gaussian 0.25 (default)", "gaussian_std", 0.25),
    ("Gaussian 0.5", "gaussian_std", 0.5),
    ("Gaussian 1.0", "gaussian_std", 1.0),
    ("salt and pepper 0.05", "salt_and_pepper_share", 0.05),
    ("salt and pepper 0.1", "salt_and_pepper_share", 0.1),
    ("blur 0.7 px", "blur_sigma_px", 0.7),
    ("JPEG 80", "jpeg_quality", 80),
    ("JPEG 30", "jpeg_quality", 30),
    ("jitter 1 px", "affine_jitter_px", 1.0),
    ("jitter 2 px", "affine_jitter_px", 2.0),
)


@dataclass(frozen=True)
class Estimate:
    """A mean over images and its standard error, ink units."""

    mean: float
    standard_error: float


@dataclass(frozen=True)
class BiasReport:
    """What one kind of noise does to the mean of a view given its clean image.

    Attributes:
        kind: the field of the noise parameters.
        intensity: its value.
        num_images: over how many images the means and standard errors are.
        all_pixels: mean of noisy - clean.
        background: the same over pixels without ink.
        ink: the same over pixels with full ink.
        shared: mean of (view A - clean)(view B - clean), ink units squared: the expected squared
            bias of a pixel, plus whatever noise the two views share. 0 is what Noise2Noise needs.
    """

    kind: NoiseKind
    intensity: float
    num_images: int
    all_pixels: Estimate
    background: Estimate
    ink: Estimate
    shared: Estimate


def noise_bias(kind: NoiseKind, config: RenderingConfig, n: int) -> BiasReport:
    """Measure one kind of noise, alone, at its intensity in ``config.noise``.

    Args:
        kind: the field of the noise parameters.
        config: image and font size, noise seed, and the intensity.
        n: number of images, each of random characters filling every line.

    Raises:
        ValueError: if the kind is unknown or n is below 2.
    """
    if kind not in NOISE_KINDS or n < 2:
        raise ValueError(f"kind {kind!r} must be one of {NOISE_KINDS} and n ({n}) at least 2")
    intensity = getattr(config.noise, kind)
    alone = config.model_copy(update={"noise": NoiseConfig(**{kind: intensity})})
    parts = [
        _image_means(np.arange(start, min(n, start + _BATCH), dtype=np.int64), alone)
        for start in range(0, n, _BATCH)
    ]
    means = np.concatenate(parts)
    estimates = [
        Estimate(float(m), float(s))
        for m, s in zip(means.mean(0), means.std(0, ddof=1) / np.sqrt(n), strict=True)
    ]
    return BiasReport(kind, float(intensity), n, *estimates)


def _image_means(ids: np.ndarray, config: RenderingConfig) -> np.ndarray:
    """Float64 [n, 4]: per image the means over all, background, ink pixels, and the product."""
    clean = random_text_images(ids, config)
    ink = to_float(clean)
    error = to_float(noisy_views(clean, ids, config)) - ink[:, None]
    mean = error.mean(1, dtype=np.float64)
    columns = [mean.mean((1, 2)), _masked(mean, ink == 0), _masked(mean, ink == 1)]
    columns.append((error[:, 0] * error[:, 1]).mean((1, 2), dtype=np.float64))
    return np.stack(columns, 1)


def _masked(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.asarray((values * mask).sum((1, 2)) / np.maximum(mask.sum((1, 2)), 1))


def random_text_images(ids: np.ndarray, config: RenderingConfig) -> UInt8:
    """Images full of random letters, digits and blanks, uint8 [n, H, W], addressed by id."""
    grid = text_grid(config)
    alphabet = np.array(list(string.ascii_letters + string.digits + " " * 12))
    texts = []
    for example in ids:
        rng = rng_for("bias_text", config.noise_seed, int(example))
        drawn = rng.choice(alphabet, (grid.rows, grid.columns))
        texts.append("\n".join("".join(line) for line in drawn))
    return render_text(texts, config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    num_images = parser.parse_args().images
    print("| kind | all pixels | background | ink | product of the views' errors |")
    print("|---|---|---|---|---|")
    for label, kind, value in TABLE:
        config = RenderingConfig(image_size=64, noise=NoiseConfig(**{kind: value}))
        report = noise_bias(kind, config, num_images)
        shown = (report.all_pixels, report.background, report.ink, report.shared)
        columns = " | ".join(f"{e.mean:+.5f} ± {e.standard_error:.5f}" for e in shown)
        print(f"| {label} | {columns} |")


if __name__ == "__main__":
    main()
