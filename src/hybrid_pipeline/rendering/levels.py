"""How ink becomes a byte: levels with headroom, so that noise is (almost) never clipped.

Background is 96 and full ink is 160. One unit of ink contrast is 64 levels, and 1.5 units are free
below the background and 1.48 above the ink: Gaussian noise of a standard deviation of 0.5 is
clipped at 3 sigma (bias below 2e-4 units), of 0.3 at 5 sigma. With the usual 0 and 255 every second
draw would be clipped and the mean of a view would not be its clean image (Lehtinen et al.,
"Noise2Noise", ICML 2018, section 2: the targets' noise must be zero-mean).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BACKGROUND_LEVEL = 96
INK_LEVEL = 160
CONTRAST = INK_LEVEL - BACKGROUND_LEVEL

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]


def from_coverage(coverage: UInt8) -> UInt8:
    """Levels of an anti-aliased coverage (0 none to 255 full), same shape."""
    levels: UInt8 = _COVERAGE_LEVELS[coverage]
    return levels


def to_float(images: UInt8) -> Float32:
    """Ink units: 0 for the background, 1 for full ink before noise; same shape."""
    return np.asarray(LEVEL_VALUES[images])


def from_float(ink: Float32) -> UInt8:
    """The nearest level, clipped to a byte; the inverse of :func:`to_float` up to rounding."""
    levels = np.rint(ink * np.float32(CONTRAST) + np.float32(BACKGROUND_LEVEL))
    clipped: UInt8 = np.clip(levels, 0, 255).astype(np.uint8)
    return clipped


_COVERAGE_LEVELS: UInt8 = np.rint(np.arange(256) / 255 * CONTRAST + BACKGROUND_LEVEL).astype(
    np.uint8
)
LEVEL_VALUES: Float32 = ((np.arange(256) - BACKGROUND_LEVEL) / CONTRAST).astype(np.float32)
"""Ink units of each of the 256 levels."""
