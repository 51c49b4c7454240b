"""What a task source brings: examples, canonical form, verifier and painter in one class."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from numpy.typing import NDArray

from hybrid_pipeline.config import GeneratedTask, RenderingConfig, TaskConfig
from hybrid_pipeline.rendering import UInt8, render_text, text_lines
from hybrid_pipeline.tasks.table import Split

Config = TypeVar("Config", bound=TaskConfig)
Generated = TypeVar("Generated", bound=GeneratedTask)

GENERATED_SPLITS = (
    "Splits share no example, nor one whose prompt is the same up to the task's symmetries."
)


@dataclass(frozen=True)
class Example:
    """A prompt and its answer.

    Attributes:
        prompt: text, or a grid as JSON.
        answer: class of each slot.
        scored: whether each slot is to be answered.
    """

    prompt: str
    answer: tuple[int, ...]
    scored: tuple[bool, ...]


class TaskSource(ABC, Generic[Config]):
    """Where the examples of one task come from, and all that is known about them.

    A class that lacks one of the abstract members is refused when it is registered
    (:func:`hybrid_pipeline.tasks.registry.register_source`).

    Args:
        name: of the task, for messages.
        task: its parameters.
        base_dir: what relative paths are relative to.
    """

    chunk: ClassVar[int] = 256
    """How many examples are drawn and named at once."""
    held_out: ClassVar[tuple[float, float] | None] = None
    """Shares of the canonical forms kept for validation and test, if forms are few."""
    splits_notes: ClassVar[tuple[str, ...]] = (GENERATED_SPLITS,)
    """What the report says about the splits, in whole sentences."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions whose version may change the examples; they enter the table's key."""

    def __init__(self, name: str, task: Config, base_dir: Path) -> None:
        self.name, self.task, self.base_dir = name, task, base_dir

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of a slot."""

    @property
    @abstractmethod
    def grid_shape(self) -> tuple[int, int] | None:
        """Rows and columns of the slots; None for a single slot."""

    @abstractmethod
    def examples(self) -> Iterator[Example]:
        """The stream of examples, the same at every call; endless if they are generated."""

    @abstractmethod
    def canonical(self, prompts: Sequence[str]) -> list[str]:
        """A name for each example that is the same for what is the same up to symmetry.

        Examples that share it are in one split. It is computed from the prompt only.
        """

    @abstractmethod
    def verify(self, prompt: str, answer: Sequence[int]) -> bool:
        """Whether an answer is right, found out anew; True if only the label can tell."""

    @abstractmethod
    def paint(
        self, prompts: Sequence[str], rendering: RenderingConfig, names: Sequence[str]
    ) -> UInt8:
        """Clean images uint8 [n, H, W], in the levels of :mod:`hybrid_pipeline.rendering.levels`.

        Args:
            prompts: of n examples.
            rendering: image and font size.
            names: what an error calls each example.

        Raises:
            UndrawableError: if an example cannot be drawn, naming it.
        """

    @property
    @abstractmethod
    def wanted(self) -> dict[Split, int] | None:
        """How many examples each split shall have; None takes whatever comes."""

    @property
    @abstractmethod
    def shares(self) -> tuple[float, float]:
        """Shares of validation and test among the canonical forms."""

    def check_drawable(
        self, prompts: Sequence[str], rendering: RenderingConfig, names: Sequence[str]
    ) -> None:
        """Refuse what cannot be drawn before anything is: all grids of a task have one size."""
        self.paint(prompts[:1], rendering, names[:1])

    def label(self, example: int) -> str:
        """What a message calls an example."""
        return f"example {example}"

    def key_parameters(self) -> dict[str, Any]:
        """The parameters that shape the table, as JSON; a file is named by its content."""
        return self.task.model_dump(mode="json")

    def remarks(self, prompts: Sequence[str], targets: NDArray[Any]) -> list[str]:
        """Whole sentences on where the examples are not what was asked for.

        Args:
            prompts: all examples of the table.
            targets: class of each slot, [N, S].
        """
        del prompts, targets
        return []


class GeneratedSource(TaskSource[Generated]):
    """A source that draws examples until every split has its number."""

    @property
    def wanted(self) -> dict[Split, int]:
        """The numbers in the task's parameters."""
        task = self.task
        return {"train": task.num_train, "validation": task.num_validation, "test": task.num_test}

    @property
    def shares(self) -> tuple[float, float]:
        """Those of the examples, or ``held_out``."""
        total = sum(self.wanted.values())
        task = self.task
        return self.held_out or (task.num_validation / total, task.num_test / total)


class TextSource(TaskSource[Config]):
    """A source of prompts with a single answer, drawn as text."""

    @property
    def grid_shape(self) -> None:
        """There is a single slot."""
        return

    def paint(
        self, prompts: Sequence[str], rendering: RenderingConfig, names: Sequence[str]
    ) -> UInt8:
        """The text, wrapped at words."""
        return render_text(prompts, rendering, names)

    def check_drawable(
        self, prompts: Sequence[str], rendering: RenderingConfig, names: Sequence[str]
    ) -> None:
        """Set every text, so that the message can say how many do not fit."""
        text_lines(prompts, rendering, names)


def grid_prompt(kind: str, content: object) -> str:
    """A grid as the JSON that is stored (``rendering.grids`` draws the kinds it knows)."""
    return json.dumps({kind: content}, separators=(",", ":"))
