"""Tokens in one byte a value: per-channel mean and std, per-token scale, and a gate.

Without the per-channel std a few outlier channels take the whole range and spoil the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_COSINE = 0.999
LEVELS = 127.0


class QuantisationError(ValueError):
    """Int8 loses too much on these features."""


@dataclass(frozen=True)
class ChannelScale:
    """Mean and std of each channel, float32 [C]; channels that never vary have std 1."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, tokens: np.ndarray) -> ChannelScale:
        """From tokens [..., C]."""
        flat = tokens.reshape(-1, tokens.shape[-1]).astype(np.float64)
        return cls.from_moments(len(flat), flat.sum(axis=0), np.square(flat).sum(axis=0))

    @classmethod
    def from_moments(cls, count: int, total: np.ndarray, squares: np.ndarray) -> ChannelScale:
        """From the number of tokens and, per channel, float64 sums of values and of squares."""
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - np.square(mean), 0.0))
        std = np.where(std > 1e-6 * np.maximum(1.0, np.abs(mean)), std, 1.0)
        return cls(mean.astype(np.float32), std.astype(np.float32))

    @classmethod
    def from_lists(cls, lists: dict[str, list[float]]) -> ChannelScale:
        """From JSON."""
        return cls(*(np.array(lists[name], dtype=np.float32) for name in ("mean", "std")))

    def to_lists(self) -> dict[str, list[float]]:
        """For JSON."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    def apply(self, tokens: np.ndarray) -> np.ndarray:
        """Standardised tokens, float32, same shape."""
        return (tokens.astype(np.float32) - self.mean) / self.std

    def undo(self, standardised: np.ndarray) -> np.ndarray:
        """The inverse of :meth:`apply`."""
        return standardised * self.std + self.mean


def quantise(tokens: np.ndarray, channels: ChannelScale) -> tuple[np.ndarray, np.ndarray]:
    """Round standardised tokens to int8, each token with its own scale.

    Args:
        tokens: [..., C].
        channels: mean and std to standardise by.

    Returns:
        int8 [..., C] and float32 scales [..., 1].

    Raises:
        QuantisationError: when the worst cosine between a standardised token and its rounded
            version is below ``MIN_COSINE``.
    """
    standardised = channels.apply(tokens)
    scales = np.abs(standardised).max(axis=-1, keepdims=True) / np.float32(LEVELS)
    scales = np.where(scales > 0, scales, np.float32(1.0)).astype(np.float32)
    rounded = np.rint(standardised / scales).astype(np.int8)
    worst = float(_cosine(standardised, rounded * scales).min())
    if worst < MIN_COSINE:
        raise QuantisationError(
            f"int8 features have a cosine of {worst:.4f} to the exact ones, at least {MIN_COSINE}"
            " is needed: set clip.storage to 'float16'"
        )
    return rounded, scales


def dequantise(rounded: np.ndarray, scales: np.ndarray, channels: ChannelScale) -> np.ndarray:
    """Tokens float32 [..., C] from int8 [..., C] and scales [..., 1]."""
    return channels.undo(rounded.astype(np.float32) * scales)


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    inner = (a * b).sum(axis=-1)
    return np.where(norms > 0, inner / np.where(norms > 0, norms, 1.0), 1.0)
