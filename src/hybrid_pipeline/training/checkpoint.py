"""Everything a run needs to go on as if it had not been stopped, in one atomic file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from hybrid_pipeline.storage import DamagedError, check_noted, write_noted

CHECKPOINT = "checkpoint.pt"  # beside a cell's results until it is finished
MAY_BE_NAN = {"log", "replay"}  # what was measured, and columns that are stored and never read


class Stateful(Protocol):
    """Something with a state that can be saved and put back."""

    def state_dict(self) -> dict[str, Any]:
        """The whole state: tensors, numbers, lists and mappings."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Put a saved state back."""
        ...


def save_checkpoint(
    path: Path, step: int, parts: dict[str, Stateful], logs: dict[str, Any]
) -> None:
    """Write the state after ``step`` updates; a reader sees the old file or the new one."""
    state = {
        "step": step,
        "logs": logs,
        "parts": {name: part.state_dict() for name, part in parts.items()},
    }
    write_noted(path, lambda file: torch.save(state, file))


def load_checkpoint(path: Path, parts: Mapping[str, Stateful]) -> tuple[int, dict[str, Any]]:
    """Put every part back and return (updates done, logs).

    Raises:
        DamagedError: when its bytes differ from their checksum, when it lacks a part, or when it
            holds one of another shape or a number that is not finite. Some parts may have been put
            back by then: build all of them anew.
    """
    check_noted(path)
    state = _read(path, parts)
    try:
        for name, part in parts.items():
            part.load_state_dict(state["parts"][name])
    except Exception as error:  # a state that does not fit fails in any way
        raise DamagedError(path, f"does not fit the run ({type(error).__name__})") from error
    return state["step"], state["logs"]


def _read(path: Path, parts: Mapping[str, Stateful]) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = set(state["parts"])
        whole = isinstance(state["step"], int) and isinstance(state["logs"], dict)
    except Exception as error:  # a damaged file fails in any way
        raise DamagedError(path, f"is no checkpoint ({type(error).__name__})") from error
    if found != set(parts) or not whole:
        raise DamagedError(path, f"holds {sorted(found)}, not {sorted(parts)}")
    for name, part in parts.items():
        kept = state["parts"][name]
        if isinstance(part, nn.Module) and _shapes(kept) != _shapes(part.state_dict()):
            raise DamagedError(path, f"holds a {name} of another shape")
        if not all(bool(torch.isfinite(t).all()) for t in _tensors({name: kept})):
            raise DamagedError(path, f"holds a number in {name} that is not finite")
    return {"step": state["step"], "logs": state["logs"], "parts": state["parts"]}


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, "shape", None) for name, value in state.items()}


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Tensors in nested mappings and lists whose numbers must be finite."""
    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            if name not in MAY_BE_NAN:
                yield from _tensors(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
