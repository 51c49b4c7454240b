"""Whether the cells of a report belong together: one set of parameters, data and code for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from hybrid_pipeline.config import StorageConfig
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.learner import Learner
from hybrid_pipeline.training.loader import TaskData
from hybrid_pipeline.training.preparation import open_task_data
from hybrid_pipeline.training.result import Cell


class ForeignCellsError(ValueError):
    """Cells that were made under other parameters, data or code than the report is about."""


def check_records(
    cells: Sequence[Cell],
    task_data: Mapping[str, TaskHandle],
    learner: Learner,
    storage: StorageConfig,
) -> None:
    """Compare the key of every result with the key that its cell has now.

    A run of one arm, or of another environment, leaves records behind that a later report would
    set beside cells of other settings: arms that differ in more than their component.

    Args:
        cells: of the study, with their results by task and length.
        task_data: the handle of every task.
        learner: that the report is about.
        storage: where data and features lie.

    Raises:
        ForeignCellsError: naming the arms and seeds whose results are of something else.
    """

    @cache
    def data_of(task: str, random_tower: bool) -> TaskData:
        return open_task_data(task_data[task], storage, random_tower=random_tower)

    def is_own(cell: Cell) -> bool:
        spec = learner.cell(cell.arm, cell.seed)
        if cell.status == "not_run":
            return True
        return {r.task for r in cell.results} == set(task_data) and all(
            r.key == spec.at(r.length).key(data_of(r.task, spec.arm.tower == "random"))
            for r in cell.results
        )

    foreign = [cell for cell in cells if not is_own(cell)]
    if foreign:
        raise ForeignCellsError(
            f"the results of {', '.join(_named(foreign))} were made under other parameters, data or"
            " code than this report's: run the ablation again (finished cells are read back)"
        )


def _named(cells: Sequence[Cell]) -> Iterator[str]:
    for arm in dict.fromkeys(cell.arm for cell in cells):
        seeds = [str(cell.seed) for cell in cells if cell.arm == arm]
        yield f"{arm} (seed{'s' * (len(seeds) > 1)} {', '.join(seeds)})"
