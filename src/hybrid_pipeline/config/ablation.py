"""The study: design, seeds, controls, budget."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from hybrid_pipeline.config.base import MAX_SEED, BoundedConfig


def length_name(length: float) -> str:
    """A share of ``training.epochs`` as a name: .25 is ``25_percent``."""
    return f"{100 * length:.10g}_percent".replace(".", "_").replace("-", "_").replace("+", "")


class AblationConfig(BoundedConfig):
    """Which cells (arm x seed) make the study, and how long each is trained."""

    design: Literal["cumulative", "leave_one_out", "factorial"] = Field(
        default="cumulative", description="which subsets of the components"
    )
    lengths: tuple[Annotated[float, Field(le=1_000)], ...] = Field(
        default=(0.25, 1.0),
        description="shares of training.epochs; the longest is judged, the others show whether "
        "the answer depends on how long one trains",
    )
    num_seeds: int = Field(default=3, ge=1, le=64, description="blocks of all arms")
    first_seed: int = Field(default=0, ge=0, le=MAX_SEED, description="seeds count up from here")
    controls: bool | list[str] = Field(default=False, description="all, none or a list of names")
    time_budget_minutes: float | None = Field(
        default=None, gt=0, le=525_600, description="whole blocks that fit; replaces num_seeds"
    )
    num_pilot_blocks: int = Field(
        default=2, ge=2, le=64, description="before the budget is planned"
    )
    max_blocks: int = Field(default=20, ge=3, le=64, description="of a time budget")
    sequential: bool = Field(default=False, description="look at the ladder and stop when decided")
    looks: tuple[Annotated[int, Field(le=64)], ...] = Field(
        default=(3, 5, 8, 12), description="numbers of seeds; 3, 5, 8, 12 has a simulated level"
    )
    order_seed: int = Field(
        default=0, ge=0, le=MAX_SEED, description="order of the arms within a seed block"
    )

    @property
    def is_gated(self) -> bool:
        """Whether blocks of seeds run only when a budget or a look lets them."""
        return self.sequential or self.time_budget_minutes is not None

    @property
    def num_blocks(self) -> int:
        """Blocks of seeds at most."""
        if self.sequential:
            return self.looks[-1]
        return self.num_seeds if self.time_budget_minutes is None else self.max_blocks

    @field_validator("lengths")
    @classmethod
    def _shares(cls, lengths: tuple[Annotated[float, Field(le=1_000)], ...]) -> tuple[float, ...]:
        """In increasing order, whatever the order they were given in."""
        if not lengths or not all(0 < length <= 1 for length in lengths):
            raise ValueError("lengths are one share of training.epochs or more, above 0 and to 1")
        if len({length_name(length) for length in lengths}) < len(lengths):
            raise ValueError("a length stands twice")
        return tuple(sorted(lengths))

    @model_validator(mode="after")
    def _budget_or_ladder(self) -> AblationConfig:
        if self.sequential and self.time_budget_minutes is not None:
            raise ValueError("give either time_budget_minutes or sequential, not both")
        if not self.looks or self.looks[0] < 1 or list(self.looks) != sorted(set(self.looks)):
            raise ValueError(f"looks {self.looks} must be one number or more, from 1, increasing")
        return self
