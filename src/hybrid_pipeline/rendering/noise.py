"""Noise of a view: affine jitter, blur, Gaussian, salt and pepper, JPEG, in this order.

Noise2Noise asks that the noise of the two views is independent and zero-mean given the clean image
(Lehtinen et al., ICML 2018, section 2). Gaussian noise is both. The geometry is drawn once per
example and shared by its two views. Salt and pepper, blur and JPEG are biased;
``benchmarks/noise_bias.py`` measures by how much.

Random numbers are addressed by (noise seed, view, example): any shard can be rendered again on any
worker and in any order.
"""

from __future__ import annotations

import cv2
import numpy as np

from hybrid_pipeline.config import NoiseConfig, RenderingConfig
from hybrid_pipeline.rendering.levels import (
    BACKGROUND_LEVEL,
    Float32,
    Int64,
    UInt8,
    from_float,
    to_float,
)
from hybrid_pipeline.seeding import rng_for

NUM_VIEWS = 2


def noisy_views(clean: UInt8, example_ids: Int64, config: RenderingConfig) -> UInt8:
    """Two views of each image with independent noise and shared geometry.

    Args:
        clean: uint8 [n, H, W].
        example_ids: int64 [n], the address of each example's random numbers.
        config: the noise and its seed.

    Returns:
        uint8 [n, 2, H, W].
    """
    noise = config.noise
    moved = jitter(clean, example_ids, config.noise_seed, noise.affine_jitter_px)
    base = blur(moved, noise.blur_sigma_px)
    draws = noise.gaussian_std > 0 or noise.salt_and_pepper_share > 0
    views = np.empty((len(clean), NUM_VIEWS, *clean.shape[1:]), dtype=np.uint8)
    for view in range(NUM_VIEWS):
        noisy = _random_noise(base, example_ids, config, view) if draws else base
        views[:, view] = jpeg(noisy, noise.jpeg_quality)
    return views


def _random_noise(clean: UInt8, example_ids: Int64, config: RenderingConfig, view: int) -> UInt8:
    normal, uniform = _draw(example_ids, clean.shape[1:], config, view)
    noisy = gaussian(clean, normal, config.noise.gaussian_std)
    return salt_and_pepper(noisy, uniform, config.noise.salt_and_pepper_share)


def _draw(
    example_ids: Int64, shape: tuple[int, ...], config: RenderingConfig, view: int
) -> tuple[Float32, Float32]:
    """Standard normal and uniform numbers float32 [n, H, W]; those not needed stay undrawn."""
    noise: NoiseConfig = config.noise
    normal = np.zeros((len(example_ids), *shape), dtype=np.float32)
    uniform = np.zeros_like(normal)
    for row, example in enumerate(example_ids):
        rng = rng_for("view_noise", config.noise_seed, view, int(example))
        if noise.gaussian_std > 0:
            rng.standard_normal(out=normal[row], dtype=np.float32)
        if noise.salt_and_pepper_share > 0:
            rng.random(out=uniform[row], dtype=np.float32)
    return normal, uniform


def gaussian(images: UInt8, normal: Float32, std: float) -> UInt8:
    """Add ``std`` (ink units) times standard normal numbers of the images' shape."""
    if std == 0:
        return images
    return from_float(to_float(images) + np.float32(std) * normal)


def salt_and_pepper(images: UInt8, uniform: Float32, share: float) -> UInt8:
    """Set a share of the pixels to background or full ink, half each, by uniform numbers."""
    if share == 0:
        return images
    specks = from_float((uniform < share / 2).astype(np.float32))
    return np.where(uniform < share, specks, images)


def blur(images: UInt8, sigma_px: float) -> UInt8:
    """Gaussian blur of each image [n, H, W]; outside lies background."""
    if sigma_px == 0 or not len(images):
        return images
    pad = int(np.ceil(4 * sigma_px))
    around = ((pad, pad), (pad, pad))
    blurred = [
        cv2.GaussianBlur(np.pad(image, around, constant_values=BACKGROUND_LEVEL), (0, 0), sigma_px)[
            pad:-pad, pad:-pad
        ]
        for image in images
    ]
    return np.stack(blurred)


def jpeg(images: UInt8, quality: int) -> UInt8:
    """Compress and decompress each image [n, H, W]; 100 leaves it out."""
    if quality == 100 or not len(images):
        return images
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    decoded = np.empty_like(images)
    for row, image in enumerate(images):
        compressed = cv2.imencode(".jpg", image, options)[1]
        decoded[row] = np.asarray(cv2.imdecode(compressed, cv2.IMREAD_GRAYSCALE))
    return decoded


def jitter(clean: UInt8, example_ids: Int64, seed: int, jitter_px: float) -> UInt8:
    """Move each image by a random affine map, drawn once per example for both its views.

    Three corners are displaced by up to ``jitter_px`` pixels each way, uniformly; the map through
    them shifts, turns, scales and shears a little. Interpolation is linear, outside is background.
    """
    if jitter_px == 0 or not len(clean):
        return clean
    height, width = clean.shape[1:]
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1]], dtype=np.float32)
    moved = np.empty_like(clean)
    for row, example in enumerate(example_ids):
        rng = rng_for("view_geometry", seed, int(example))
        offsets = rng.uniform(-jitter_px, jitter_px, corners.shape).astype(np.float32)
        matrix = cv2.getAffineTransform(corners, corners + offsets)
        moved[row] = cv2.warpAffine(
            clean[row],
            matrix,
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=BACKGROUND_LEVEL,
        )
    return moved
