"""Generators of the reasoning_gym package: their options, and their entries in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, model_validator

from hybrid_pipeline.config import GeneratedTask
from hybrid_pipeline.seeding import seed_for
from hybrid_pipeline.tasks.registry import register_source
from hybrid_pipeline.tasks.source import TaskSource

# What a generator's options may be: (lowest, highest, default); True and False are 0 and 1.
GENERATOR_OPTIONS: dict[str, dict[str, tuple[float, float, float | bool]]] = {
    "mini_sudoku": {"min_empty": (1, 12, 8), "max_empty": (1, 12, 12)},
    "sudoku": {"min_empty": (1, 64, 30), "max_empty": (1, 64, 50)},
    "syllogism": {
        "allow_all": (0, 1, True),
        "allow_no": (0, 1, True),
        "allow_some": (0, 1, True),
        "allow_some_not": (0, 1, True),
        "invalid_ratio": (0, 1, 0.3),
        "inversion_probability": (0, 1, 0.3),
    },
}

Generator = TypeVar("Generator", bound=type[TaskSource[Any]])
_GENERATORS: dict[str, type[TaskSource[Any]]] = {}


class ReasoningGymTask(GeneratedTask):
    """A generator of the reasoning_gym package; grids are drawn from its metadata."""

    source: Literal["reasoning_gym"]
    generator: Literal["mini_sudoku", "sudoku", "syllogism"] = Field(description="of reasoning_gym")
    options: dict[str, bool | int | float] = Field(
        default_factory=dict, description="of the generator; bounds in tasks/reasoning_gym.py"
    )

    @property
    def all_options(self) -> dict[str, float | bool]:
        """The options that are given and the generator's own values of the others."""
        defaults = GENERATOR_OPTIONS[self.generator]
        return {name: default for name, (_, _, default) in defaults.items()} | self.options

    @model_validator(mode="after")
    def _options_are_known_and_in_bounds(self) -> ReasoningGymTask:
        allowed = GENERATOR_OPTIONS[self.generator]
        for name, value in self.options.items():
            if name not in allowed:
                raise ValueError(
                    f"option {name!r} is unknown to {self.generator}; allowed: {', '.join(allowed)}"
                )
            low, high, default = allowed[name]
            if not low <= value <= high or (isinstance(default, bool) != isinstance(value, bool)):
                kind = "true or false" if isinstance(default, bool) else f"{low:g} to {high:g}"
                raise ValueError(f"option {name!r} = {value!r} must be {kind}")
        given = self.all_options
        if given.get("min_empty", 0) > given.get("max_empty", 0):
            raise ValueError(
                f"option 'min_empty' = {given['min_empty']} must be at most 'max_empty' = "
                f"{given['max_empty']}"
            )
        return self


@register_source(ReasoningGymTask)
def reasoning_gym_source(name: str, task: ReasoningGymTask, base_dir: Path) -> TaskSource[Any]:
    """The source of the generator that the task names."""
    return _GENERATORS[task.generator](name, task, base_dir)


def register_generator(name: str) -> Callable[[Generator], Generator]:
    """Make a class the source of a generator of reasoning_gym."""

    def register(source: Generator) -> Generator:
        _GENERATORS[name] = source
        return source

    return register


def generated(task: ReasoningGymTask, chunk: int) -> Iterator[list[dict[str, Any]]]:
    """Endless chunks of entries of a reasoning_gym generator; entry i has its own seed."""
    import reasoning_gym  # seconds to import, and only where data are made

    seed = seed_for(f"reasoning_gym/{task.generator}", task.data_seed) % 2**31
    start = 0
    while True:
        data = reasoning_gym.create_dataset(
            task.generator, seed=seed + start, size=chunk, **task.options
        )
        yield [data[i] for i in range(chunk)]
        start += chunk
