"""torch's generator of the CPU, which all threads of a process share, for one of them at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_GENERATOR = threading.RLock()


@contextmanager
def torch_seeded(seed: int) -> Iterator[None]:
    """Draw from a seed; afterwards the generator is as it was. Other threads wait meanwhile."""
    with _GENERATOR, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
