"""Whether the cells of a report belong together: one set of parameters, data and code for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from hybrid_pipeline.arms import find_arm
from hybrid_pipeline.config import HaltingConfig, ModelConfig, StorageConfig, TrainingConfig
from hybrid_pipeline.training.loader import TaskData
from hybrid_pipeline.training.preparation import open_task_data
from hybrid_pipeline.training.spec import CellSpec


class ForeignCellsError(ValueError):
    """Cells that were made under other parameters, data or code than the report is about."""


def check_records(
    records: Sequence[Mapping[str, Any]],
    task_data: Mapping[str, Any],
    model: ModelConfig,
    training: TrainingConfig,
    halting: HaltingConfig,
    storage: StorageConfig,
) -> None:
    """Compare the key of every result with the key that its cell has now.

    A run of one arm, or of another environment, leaves records behind that a later report would
    set beside cells of other settings: arms that differ in more than their component.

    Args:
        records: one record a cell, with its results by task.
        task_data: the handle of every task.
        model: the model that the report is about.
        training: how it is trained.
        halting: how it halts.
        storage: where data and features lie.

    Raises:
        ForeignCellsError: naming the arms and seeds whose results are of something else.
    """

    @cache
    def data_of(task: str, random_tower: bool) -> TaskData:
        return open_task_data(dict(task_data[task]), storage, random_tower=random_tower)

    def is_own(record: Mapping[str, Any]) -> bool:
        spec = CellSpec(find_arm(record["arm"]), record["seed"], model, training, halting)
        tasks = record.get("tasks", {})
        if record["status"] == "not_run":
            return True
        return set(tasks) == set(task_data) and all(
            result["key"] == spec.key(data_of(task, spec.arm.tower == "random"))
            for task, result in tasks.items()
        )

    foreign = [record for record in records if not is_own(record)]
    if foreign:
        raise ForeignCellsError(
            f"the results of {', '.join(_named(foreign))} were made under other parameters, data or"
            " code than this report's: run the ablation again (finished cells are read back)"
        )


def _named(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for arm in dict.fromkeys(record["arm"] for record in records):
        seeds = [str(record["seed"]) for record in records if record["arm"] == arm]
        yield f"{arm} (seed{'s' * (len(seeds) > 1)} {', '.join(seeds)})"
