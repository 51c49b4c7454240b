"""GPUs without importing torch: how many there are, which nodes want one, what is refused.

And how many cells a run trains at once, which hangs on them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hybrid_pipeline.config import ConfigError

GPU_TAG = "gpu"
"""Of a node that computes on a GPU where there is one; the Dask runner gives it one of its own."""


cells_at_once: ContextVar[int] = ContextVar("cells_at_once", default=1)
"""How many cells this run trains at the same time; a runner that trains several sets it."""


def device_tags(device: str) -> list[str]:
    """Tags of a node with this ``device`` parameter."""
    return [] if device == "cpu" else [GPU_TAG]


def visible_gpus() -> int:
    """How many NVIDIA devices this process may use."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return len([d for d in listed.split(",") if d.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def check_devices(parameters: Mapping[str, Any], tags: Iterable[str], runner: str) -> None:
    """Refuse ``device: cuda`` where no GPU is in reach.

    Args:
        parameters: merged parameters.
        tags: of the nodes that will run; without the tag ``gpu`` nothing is refused.
        runner: as it describes itself; one with a scheduler's address computes elsewhere.

    Raises:
        ConfigError: naming the parameter.
    """
    if GPU_TAG not in tags or "://" in runner or visible_gpus():
        return
    for group in ("clip", "training"):
        if (parameters.get(group) or {}).get("device") == "cuda":
            raise ConfigError(
                f"parameter '{group}.device' = 'cuda' is refused: no NVIDIA GPU is visible to "
                "this process; allowed here: cpu, auto."
            )
