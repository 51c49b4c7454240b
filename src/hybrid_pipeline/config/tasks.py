"""Which tasks are posed, from which source, and how many examples of each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, RootModel, model_validator

from hybrid_pipeline.config.base import StrictConfig

PrimaryMetric = Literal["correct", "slots"]
RESERVED_NAMES = ("mean",)  # rows of effects.csv
REASONING_GYM_GENERATORS = ("mini_sudoku", "sudoku", "syllogism")

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


class _Task(StrictConfig):
    num_train: int = Field(ge=1, description="examples")
    num_validation: int = Field(ge=1, description="examples")
    num_test: int = Field(ge=2, description="examples, scored once")
    primary_metric: PrimaryMetric = Field(
        default="correct", description="preregistered: what the verdicts are about"
    )
    data_seed: int = Field(default=0, ge=0, description="of the generator and the splits")


class ReasoningGymTask(_Task):
    """A generator of the reasoning_gym package; grids are drawn from its metadata."""

    source: Literal["reasoning_gym"]
    generator: Literal["mini_sudoku", "sudoku", "syllogism"] = Field(description="of reasoning_gym")
    options: dict[str, bool | int | float] = Field(
        default_factory=dict, description="of the generator; bounds in config/tasks.py"
    )

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
        given = {name: default for name, (_, _, default) in allowed.items()} | self.options
        if given.get("min_empty", 0) > given.get("max_empty", 0):
            raise ValueError(
                f"option 'min_empty' = {given['min_empty']} must be at most 'max_empty' = "
                f"{given['max_empty']}"
            )
        return self


class MazeTask(_Task):
    """A random spanning tree with extra openings and a unique shortest path from S to G."""

    source: Literal["maze"]
    size: int = Field(default=4, ge=3, le=32, description="cells a side")
    extra_openings: int = Field(default=2, ge=0, description="walls opened after the spanning tree")
    min_path_steps: int = Field(default=4, ge=1, description="of the shortest path")

    @model_validator(mode="after")
    def _possible_in_this_size(self) -> MazeTask:
        for name, limit in (
            ("extra_openings", (self.size - 1) ** 2),
            ("min_path_steps", self.size**2 - 1),
        ):
            if getattr(self, name) > limit:
                raise ValueError(
                    f"{name} {getattr(self, name)} must be at most {limit} in a maze of size "
                    f"{self.size}"
                )
        return self


class PlanningTask(_Task):
    """A ProsQA-style question over a random graph of concepts (COCONUT, appendix)."""

    source: Literal["planning"]
    num_nodes: int = Field(default=12, ge=6, le=64, description="concepts")
    num_hops: int = Field(default=3, ge=2, le=8, description="steps to the answer")
    max_facts: int = Field(default=18, ge=6, description="18 fill 64 px at font_size_px 9")


class TableTask(StrictConfig):
    """The user's own CSV or Parquet: one text column, one label column."""

    source: Literal["table"]
    path: str = Field(description=".csv or .parquet, from the project root")
    text_column: str = Field(default="text", description="what is drawn")
    label_column: str = Field(default="label", description="what is to be answered")
    validation_share: float = Field(default=0.1, gt=0, lt=0.5, description="of the rows")
    test_share: float = Field(default=0.2, gt=0, lt=0.5, description="of the rows")
    primary_metric: PrimaryMetric = Field(
        default="correct", description="one slot: both metrics agree"
    )
    data_seed: int = Field(default=0, ge=0, description="of the splits")


def without_removed(tasks: Any) -> Any:
    """The tasks that an environment did not set to ``null``."""
    return {k: v for k, v in tasks.items() if v is not None} if isinstance(tasks, dict) else tasks


TaskConfig = Annotated[
    ReasoningGymTask | MazeTask | PlanningTask | TableTask, Field(discriminator="source")
]


class TasksConfig(RootModel[dict[str, TaskConfig]]):
    """Task name -> task. Names become folder and metric names; ``null`` removes a task."""

    model_config = {"frozen": True}

    @model_validator(mode="before")
    @classmethod
    def _null_removes(cls, value: Any) -> Any:
        return without_removed(value)

    @model_validator(mode="after")
    def _names_are_identifiers(self) -> TasksConfig:
        if not self.root:
            raise ValueError("at least one task is needed")
        for name in self.root:
            if name in RESERVED_NAMES:
                raise ValueError(f"task name {name!r} is kept for the mean over tasks")
            if not name.isidentifier():
                raise ValueError(
                    f"task name {name!r} must be letters, digits and '_', not starting with a digit"
                )
        return self
