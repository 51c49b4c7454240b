"""One root seed -> named, counter-based generators.

A stream is addressed, never advanced: (name, seed, counters) always gives the same numbers, on any
worker and after any interruption (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
SC 2011).
"""

from __future__ import annotations

import hashlib

import numpy as np


def seed_for(name: str, seed: int, *counters: int) -> int:
    """A 63-bit seed for generators that take one integer, such as ``torch.manual_seed``."""
    return int.from_bytes(_digest(name, seed, counters)[:8], "little") >> 1


def rng_for(name: str, seed: int, *counters: int) -> np.random.Generator:
    """The generator of one named stream.

    Args:
        name: what the numbers are for, such as ``"data_order"`` or ``"view_noise"``.
        seed: the root seed of the study, task or data set.
        counters: position inside the stream, such as (epoch,) or (view, example).
    """
    key = np.frombuffer(_digest(name, seed, counters), dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def _digest(name: str, seed: int, counters: tuple[int, ...]) -> bytes:
    text = "/".join([name, str(int(seed)), *(str(int(c)) for c in counters)])
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
