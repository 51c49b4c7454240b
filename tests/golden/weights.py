"""Numbers that need no file: exact on every platform, from the raw bits of a counter generator."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor


def uniform(name: str, shape: tuple[int, ...], std: float) -> Tensor:
    """Uniform numbers of mean 0 and standard deviation ``std``, addressed by name.

    They are fp32 numbers, in the default dtype: a run in float64 starts from the same values.
    """
    drawn = (_unit(name, shape) - np.float32(0.5)) * np.float32(std * 12**0.5)
    return torch.from_numpy(drawn).to(torch.get_default_dtype())


def integers(name: str, shape: tuple[int, ...], high: int) -> Tensor:
    """Integers in [0, high), addressed by name."""
    return torch.from_numpy(np.floor(_unit(name, shape) * np.float32(high)).astype(np.int64))


def _unit(name: str, shape: tuple[int, ...]) -> np.ndarray:
    key = np.frombuffer(hashlib.blake2b(name.encode(), digest_size=16).digest(), dtype=np.uint64)
    raw = np.random.Philox(key=key).random_raw(int(np.prod(shape)))  # raw bits never change
    return ((raw >> np.uint64(40)).astype(np.float32) / np.float32(2**24)).reshape(shape)
