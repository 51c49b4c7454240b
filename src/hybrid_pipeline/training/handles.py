"""What the nodes of a task's data exchange: names of what lies under keys, and what was counted."""

from __future__ import annotations

from pydantic import Field

from hybrid_pipeline.config import PrimaryMetric, StrictConfig


class TowerHandle(StrictConfig):
    """Which frozen tower made the features; ``disclosure`` is a sentence for the report."""

    source: str
    name: str
    key: str
    disclosure: str


class TaskHandle(StrictConfig):
    """One task; each step of the preparation sets the fields of what it made, ``|`` joins them.

    Attributes:
        task: its name.
        table: key of the task table.
        splits: number of examples by split.
        examples_read: read or drawn for the table; 0 if they were not counted.
        repeats_dropped: of these, repeats of others.
        slots_by_class: split to class to scored slots.
        remarks: where the examples are not what was asked for.
        num_slots: of an answer.
        classes: of a slot.
        primary_metric: that decides.
        majority: score of the majority class on the test split, by metric.
        chance_scores: score of guessing, by metric.
        views: key of the rendered views.
        features: key of the frozen tokens; ``None`` if there are none.
        features_tower: that made them.
        random_features: the same with random weights, for the control.
        random_features_tower: that made those.
    """

    task: str
    table: str = ""
    splits: dict[str, int] = Field(default_factory=dict)
    examples_read: int = 0
    repeats_dropped: int = 0
    slots_by_class: dict[str, dict[str, int]] = Field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    num_slots: int = 0
    classes: tuple[str, ...] = ()
    primary_metric: PrimaryMetric = "correct"
    majority: dict[str, float] = Field(default_factory=dict)
    chance_scores: dict[str, float] = Field(default_factory=dict)
    views: str = ""
    features: str | None = None
    features_tower: TowerHandle | None = None
    random_features: str | None = None
    random_features_tower: TowerHandle | None = None

    def __or__(self, other: TaskHandle) -> TaskHandle:
        """Both handles of one task; what ``other`` sets counts."""
        made = {name: getattr(other, name) for name in other.model_fields_set}
        return self.model_copy(update=made)

    @property
    def keys(self) -> dict[str, str]:
        """The keys of table, views and features, as far as they are set."""
        names = ("table", "views", "features")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    @property
    def majority_score(self) -> float:
        """Of the majority class, in the primary metric."""
        return self.majority[self.primary_metric]

    @property
    def chance_score(self) -> float:
        """Of guessing, in the primary metric."""
        return self.chance_scores[self.primary_metric]

    @property
    def guessing(self) -> float:
        """What no learning reaches: the larger of majority and chance."""
        return max(self.majority_score, self.chance_score)
