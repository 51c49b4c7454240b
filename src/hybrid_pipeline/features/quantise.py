"""Tokens in one byte a value: per-channel mean and std, per-token scale, and a gate.

Without the per-channel std a few outlier channels take the whole range and spoil the rest. Rounding
is done on the tokens' device: on a CPU it gives the bits that numpy gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MIN_COSINE = 0.999
LEVELS = 127.0


class QuantisationError(ValueError):
    """Int8 loses too much on these features."""


@dataclass(frozen=True)
class Moments:
    """The number of tokens and, per channel, float64 sums [C] of values and of squares."""

    count: int
    total: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, tokens: Tensor) -> Moments:
        """Of tokens [..., C], summed on their device; on a CPU by numpy, whose order is kept."""
        flat = tokens.reshape(-1, tokens.shape[-1]).double()
        if flat.device.type != "cpu":
            return cls(len(flat), *sums_on_device(flat))
        values = flat.numpy()
        return cls(len(values), values.sum(axis=0), np.square(values).sum(axis=0))


def sums_on_device(flat: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Sums [C] of values and of squares of float64 [N, C], added up where they lie."""
    values, squares = torch.stack([flat.sum(0), flat.square().sum(0)]).cpu().numpy()
    return values, squares


@dataclass(frozen=True)
class ChannelScale:
    """Mean and std of each channel, float32 [C]; channels that never vary have std 1."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, tokens: np.ndarray) -> ChannelScale:
        """From tokens [..., C]."""
        return cls.of_parts([Moments.of(torch.from_numpy(tokens))])

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

    @classmethod
    def of_parts(cls, parts: Iterable[Moments]) -> ChannelScale:
        """From the moments of parts, added in their order."""
        count, total, squares = 0, np.zeros(1), np.zeros(1)
        for part in parts:
            count += part.count
            total = total + part.total
            squares = squares + part.squares
        return cls.from_moments(count, total, squares)

    def on(self, device: torch.device | None) -> tuple[Tensor, Tensor]:
        """Mean and std, float32 [C], on a device."""
        return torch.from_numpy(self.mean).to(device), torch.from_numpy(self.std).to(device)

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
    rounded, scales = quantise_tensor(torch.from_numpy(tokens), channels)
    return rounded.numpy(), scales.numpy()


def quantise_tensor(tokens: Tensor, channels: ChannelScale) -> tuple[Tensor, Tensor]:
    """The same for a tensor [..., C], on its device."""
    mean, std = channels.on(tokens.device)
    standardised = (tokens.float() - mean) / std
    scales = standardised.abs().amax(-1, keepdim=True) / LEVELS
    scales = torch.where(scales > 0, scales, 1.0)
    rounded = torch.round(standardised / scales).to(torch.int8)
    worst = worst_cosine(standardised, rounded * scales)
    if not worst >= MIN_COSINE:
        raise QuantisationError(
            f"int8 features have a cosine of {worst:.4f} to the exact ones, at least {MIN_COSINE}"
            " is needed: set clip.storage to 'float16'"
        )
    return rounded, scales


def dequantise(rounded: np.ndarray, scales: np.ndarray, channels: ChannelScale) -> np.ndarray:
    """Tokens float32 [..., C] from int8 [..., C] and scales [..., 1]."""
    return channels.undo(rounded.astype(np.float32) * scales)


def dequantise_tensor(rounded: Tensor, scales: Tensor, channels: tuple[Tensor, Tensor]) -> Tensor:
    """The same for tensors, by the channels' mean and std on their device (``on``)."""
    mean, std = channels
    return (rounded.float() * scales).mul_(std).add_(mean)


def worst_cosine(a: Tensor, b: Tensor) -> float:
    """The smallest cosine between two tokens of [..., C]; tokens of zeros count as equal."""
    norms = a.norm(dim=-1) * b.norm(dim=-1)
    inner = (a * b).sum(-1)
    return float(torch.where(norms > 0, inner / norms, 1.0).amin())
