"""Which tasks are posed, from which source, and how many examples of each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, RootModel, model_validator

from hybrid_pipeline.config.base import StrictConfig

PrimaryMetric = Literal["correct", "slots"]
REASONING_GYM_GENERATORS = ("mini_sudoku", "sudoku", "syllogism")


class _Task(StrictConfig):
    num_train: int = Field(ge=1)
    num_validation: int = Field(ge=1)
    num_test: int = Field(ge=2)
    primary_metric: PrimaryMetric = "correct"
    data_seed: int = Field(default=0, ge=0)


class ReasoningGymTask(_Task):
    """A generator of the reasoning_gym package; grids are drawn from its metadata."""

    source: Literal["reasoning_gym"]
    generator: Literal["mini_sudoku", "sudoku", "syllogism"]
    options: dict[str, bool | int | float | str] = Field(default_factory=dict)


class MazeTask(_Task):
    """A random spanning tree with extra openings and a unique shortest path from S to G."""

    source: Literal["maze"]
    size: int = Field(default=4, ge=3, le=32)
    extra_openings: int = Field(default=2, ge=0)
    min_path_steps: int = Field(default=4, ge=1)


class PlanningTask(_Task):
    """A ProsQA-style question over a random graph of concepts (COCONUT, appendix)."""

    source: Literal["planning"]
    num_nodes: int = Field(default=12, ge=6, le=64)
    num_hops: int = Field(default=3, ge=2, le=8)


class TableTask(StrictConfig):
    """The user's own CSV or Parquet: one text column, one label column."""

    source: Literal["table"]
    path: str
    text_column: str = "text"
    label_column: str = "label"
    validation_share: float = Field(default=0.1, gt=0, lt=0.5)
    test_share: float = Field(default=0.2, gt=0, lt=0.5)
    primary_metric: PrimaryMetric = "correct"
    data_seed: int = Field(default=0, ge=0)


TaskConfig = Annotated[
    ReasoningGymTask | MazeTask | PlanningTask | TableTask, Field(discriminator="source")
]


class TasksConfig(RootModel[dict[str, TaskConfig]]):
    """Task name -> task. Names become folder and metric names."""

    model_config = {"frozen": True}

    @model_validator(mode="after")
    def _names_are_identifiers(self) -> TasksConfig:
        if not self.root:
            raise ValueError("at least one task is needed")
        for name in self.root:
            if not name.isidentifier():
                raise ValueError(
                    f"task name {name!r} must be letters, digits and '_', not starting with a digit"
                )
        return self
