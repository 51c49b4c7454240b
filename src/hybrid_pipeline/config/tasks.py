"""What every task has, from whichever source; a source adds its own (``tasks/``)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from hybrid_pipeline.config.base import MAX_SEED, BoundedConfig

PrimaryMetric = Literal["correct", "slots"]


class TaskConfig(BoundedConfig):
    """A task's parameters; a source adds ``source``, its name, and its own."""

    primary_metric: PrimaryMetric = Field(
        default="correct", description="preregistered: what the verdicts are about"
    )
    data_seed: int = Field(
        default=0, ge=0, le=MAX_SEED, description="of the generator and the splits"
    )

    @property
    def files(self) -> dict[str, str]:
        """The files that the task reads: parameter -> path from the project root."""
        return {}


class GeneratedTask(TaskConfig):
    """A task whose examples are drawn: so many for each split."""

    num_train: int = Field(ge=1, le=10**8, description="examples")
    num_validation: int = Field(ge=1, le=10**8, description="examples")
    num_test: int = Field(ge=2, le=10**8, description="examples, scored once")


def without_removed(tasks: Any) -> Any:
    """The tasks that an environment did not set to ``null``."""
    return {k: v for k, v in tasks.items() if v is not None} if isinstance(tasks, dict) else tasks
