"""GPUs without importing torch: how many there are, which nodes want one, what is refused.

Also how many cells a run trains at once, which depends on them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hybrid_pipeline.config import ConfigError
from hybrid_pipeline.training.cards import Card, Cards, ask

logger = logging.getLogger(__name__)

NO_GPU = "no NVIDIA GPU is visible to this process"
NOT_BIT_EQUAL = (
    "On a GPU results repeat up to rounding, not bit for bit: some of torch's kernels add in an "
    "order that varies. This is said once; torch's own warnings about it are switched off."
)
GPU_TAG = "gpu"
"""Of a node that computes on a GPU if there is one; the Dask runner gives it one of its own."""


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


def check_devices(
    parameters: Mapping[str, Any],
    tags: Iterable[str],
    runner: str,
    ask_cards: Callable[[], Cards] = ask,
) -> Card | None:
    """Refuse a device or a precision that this machine does not have.

    Args:
        parameters: merged parameters.
        tags: of the nodes that will run; without the tag ``gpu`` nothing is asked or refused.
        runner: as it describes itself; one with a scheduler's address computes elsewhere.
        ask_cards: says which GPUs there are.

    Returns:
        The GPU that the run computes on, the smallest if there are several; ``None`` for a CPU or
        another machine.

    Raises:
        ConfigError: one sentence with the parameter.
    """
    if GPU_TAG not in tags or "://" in runner:
        return None
    devices = {g: (parameters.get(g) or {}).get("device") for g in ("clip", "training")}
    demanded = next((g for g, device in devices.items() if device == "cuda"), None)
    found = ask_cards() if visible_gpus() else Cards(problem=NO_GPU)
    problem = _problem(found)
    if problem and demanded:
        raise ConfigError(
            f"parameter '{demanded}.device' = 'cuda' is refused: {problem}; "
            "allowed here: cpu, auto."
        )
    if problem:
        if visible_gpus():
            logger.warning("device 'auto' computes on the CPU: %s.", problem)
        return None
    card = min(found.cards, key=lambda card: card.num_bytes)
    if devices["training"] in ("cuda", "auto"):
        _check_precision(parameters, card)
        logger.warning(NOT_BIT_EQUAL)
    return card


def _problem(found: Cards) -> str:
    """Why no GPU can be used, in words that end a sentence; empty if one can."""
    if found.driver_is_too_old:
        has = "" if found.driver is None else f" {found.driver}"
        wants = "" if found.min_driver is None else f" {found.min_driver} or newer"
        return (
            f"the NVIDIA driver{has} is too old for this torch, which was built for CUDA "
            f"{found.cuda} and needs a driver{wants}; update the driver, or keep the torch that "
            "came with the machine"
        )
    if found.problem or not found.cards:
        words = found.problem.rstrip(". ") or "torch lists no device"
        return words if words == NO_GPU else f"torch can use no GPU here ({words})"
    old = next((card for card in found.cards if not found.has_code_for(card)), None)
    if old is not None:
        major, minor = old.capability
        return (
            f"this torch holds no code for {old.name} (sm_{major}{minor}), only for "
            f"{', '.join(found.architectures)}; keep the torch that came with the machine"
        )
    return ""


def _check_precision(parameters: Mapping[str, Any], card: Card) -> None:
    if parameters["training"].get("precision") == "bf16" and not card.has_bf16:
        raise ConfigError(
            f"parameter 'training.precision' = 'bf16' is refused: {card.name} has no bf16 and "
            "would only imitate it; allowed here: fp32, fp16."
        )
