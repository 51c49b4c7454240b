"""Everything a run needs to go on as if it had not been stopped, in one atomic file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch

from hybrid_pipeline.storage import write_atomically


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
    write_atomically(path, lambda file: torch.save(state, file))


def load_checkpoint(path: Path, parts: dict[str, Stateful]) -> tuple[int, dict[str, Any]]:
    """Put every part back and return (updates done, logs).

    Raises:
        KeyError: if the file holds other parts than those asked for. A checkpoint lies under the
            key of what made it, so this means a damaged file, and the run must not start over
            silently.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    if set(state["parts"]) != set(parts):
        raise KeyError(f"checkpoint {path} holds {sorted(state['parts'])}, not {sorted(parts)}")
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    return int(state["step"]), dict(state["logs"])
