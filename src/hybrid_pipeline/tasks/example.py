"""One example, before it is a row of a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """What is posed and what is to be answered.

    Attributes:
        posed: prompt, or grid as JSON.
        canonical: the same up to the task's symmetries.
        answer: class of each slot.
        scored: whether each slot is to be answered.
    """

    posed: str
    canonical: str
    answer: tuple[int, ...]
    scored: tuple[bool, ...]


@dataclass(frozen=True)
class Source:
    """Where examples of a task come from.

    Attributes:
        examples: endless (or, for a file, finite) stream; the same at every call.
        classes: names of the classes of a slot.
        grid_shape: of the slots; None for text.
        verify: whether an answer to what is posed is right; None where only the label tells.
        held_out: shares of the canonical forms kept for validation and test, where forms are few;
            None where the shares of the examples do.
    """

    examples: Callable[[], Iterator[Example]]
    classes: tuple[str, ...]
    grid_shape: tuple[int, int] | None
    verify: Callable[[str, Sequence[int]], bool] | None
    held_out: tuple[float, float] | None = None


def posed_grid(kind: str, content: object) -> str:
    """A grid as the JSON that the renderer draws (``rendering.grids``)."""
    return json.dumps({kind: content}, separators=(",", ":"))
