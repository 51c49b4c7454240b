"""From the records of a study to what a report is made of."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hybrid_pipeline.advisor.notes import AdvisorNote
from hybrid_pipeline.checkout import read_checkout
from hybrid_pipeline.cores import num_cores
from hybrid_pipeline.report.inputs import (
    CellFailure,
    CellRecord,
    LearningCurve,
    PolicyScores,
    ReportInputs,
    TaskBaseline,
    TowerDisclosure,
)
from hybrid_pipeline.stability.section import StabilitySection
from hybrid_pipeline.stats.results import StudyResults
from hybrid_pipeline.storage import PACKAGE_ROOT, code_fingerprint, library_versions
from hybrid_pipeline.tasks import TasksConfig, source_of
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.result import Cell, CellResult, PolicyScore, finished_results

LOSS_POINTS = 60
LIBRARIES = (
    "torch",
    "open_clip_torch",
    "timm",
    "numpy",
    "scipy",
    "statsmodels",
    "kedro",
    "mlflow",
    "reasoning-gym",
)


GRID_SLOTS = 16
"""Of a 4 x 4 grid, which the bundled tower was pretrained on; a text has one slot."""


def assemble(
    results: StudyResults,
    cells: Sequence[Cell],
    task_data: Mapping[str, TaskHandle],
    tasks: TasksConfig,
    validations: pd.DataFrame,
    updates: pd.DataFrame,
    *,
    advice: Sequence[AdvisorNote] = (),
    stability: StabilitySection | None = None,
) -> ReportInputs:
    """Put a study's records in the shape that a report shows.

    Training times are left out: two runs of the same study differ in nothing else, and their
    reports are equal byte by byte. ``report.timing`` puts them beside the report.

    Args:
        results: the analysis.
        cells: with their results at the longest training.
        task_data: the handle of every task.
        tasks: parameters of the tasks; decide what is said about the splits.
        validations: curves of all cells; arm, seed, task, step, score.
        updates: the same for the training loss.
        advice: of the learning-curve advisor.
        stability: the section of the stability study, where it was run.
    """
    finished = finished_results(cells)
    return ReportInputs(
        results=results,
        cells=tuple(_cell(r) for r in finished),
        curves=tuple(_curves(validations, updates)),
        baselines=tuple(
            TaskBaseline(task=name, majority=handle.majority_score, chance=handle.chance_score)
            for name, handle in sorted(task_data.items())
        ),
        tower=tower_disclosure(task_data),
        failures=tuple(_failures(cells)),
        provenance=_provenance(task_data, finished),
        disclosures=(*split_disclosures(tasks), *_table_remarks(task_data)),
        advisor=tuple(advice),
        stability=stability,
    )


def split_disclosures(tasks: TasksConfig) -> list[str]:
    """What a reader must know about the splits of the tasks that are in the study."""
    sources = (source_of(name, task, Path()) for name, task in tasks.root.items())
    return list(dict.fromkeys(note for source in sources for note in source.splits_notes))


def _table_remarks(task_data: Mapping[str, TaskHandle]) -> list[str]:
    """Where a task's examples are not what was asked for."""
    return [
        f"Task {name}: {remark}."
        for name in sorted(task_data)
        for remark in task_data[name].remarks
    ]


def _cell(result: CellResult) -> CellRecord:
    metrics, policies = result.metrics, result.policies
    return CellRecord(
        arm=result.arm,
        seed=result.seed,
        task=result.task,
        parameters=result.parameters.total,
        flops_per_example=result.flops_per_example,
        mean_steps=result.mean_steps,
        policies=PolicyScores(
            halted=_score(policies, "dqn"),
            fixed=tuple(_fixed_depths(policies)),
            full_depth=result.test_score,
            random=_score(policies, "random"),
            oracle=_score(policies, "oracle"),
        ),
        mean_gate=metrics.get("fusion/gate_mean"),
        path_disagreement=metrics.get("coconut/disagreement"),
        path_weight_entropy=metrics.get("coconut/weight_entropy"),
        n2n_error=metrics.get("n2n/heldout_loss"),
        n2n_identity_error=metrics.get("n2n/heldout_identity_loss"),
    )


def _score(policies: Mapping[str, PolicyScore], name: str) -> float | None:
    return policies[name].score if name in policies else None


def _fixed_depths(policies: Mapping[str, PolicyScore]) -> Iterator[float]:
    depth = 1
    while (name := f"fixed_{depth}") in policies:
        yield policies[name].score
        depth += 1


def _curves(validations: pd.DataFrame, updates: pd.DataFrame) -> Iterator[LearningCurve]:
    losses = {key: group for key, group in updates.groupby(["arm", "seed", "task"], sort=False)}
    for (arm, seed, task), group in validations.groupby(["arm", "seed", "task"], sort=False):
        loss = losses[(arm, seed, task)]
        every = max(1, len(loss) // LOSS_POINTS)
        smooth = loss.set_index("step")["loss"].rolling(every, min_periods=1).mean()[::every]
        score = group.set_index("step")["score"]
        steps = sorted(set(smooth.index) | set(score.index))
        yield LearningCurve(
            arm=arm,
            seed=seed,
            task=task,
            steps=tuple(int(s) for s in steps),
            validation=tuple(float(score[s]) if s in score.index else None for s in steps),
            loss=tuple(float(smooth[s]) if s in smooth.index else None for s in steps),
            disagreement=_metric(group, "coconut/disagreement", steps),
            entropy=_metric(group, "coconut/weight_entropy", steps),
        )


def _metric(group: pd.DataFrame, name: str, steps: Sequence[int]) -> tuple[float | None, ...]:
    """A component metric at these steps; empty for an arm that has none."""
    if name not in group or group[name].isna().all():
        return ()
    known = group.dropna(subset=[name]).set_index("step")[name]
    return tuple(float(known[s]) if s in known.index else None for s in steps)


def tower_disclosure(task_data: Mapping[str, TaskHandle]) -> TowerDisclosure | None:
    """What the report says about the frozen tower; ``None`` if no task has features."""
    towers = (handle.features_tower for handle in task_data.values())
    tower = next((tower for tower in towers if tower is not None), None)
    if tower is None:
        return None
    grids = (task for task, handle in task_data.items() if handle.num_slots == GRID_SLOTS)
    return TowerDisclosure(
        name=tower.name,
        source=tower.source,
        sentence=tower.disclosure,
        key=tower.key,
        close_tasks=tuple(sorted(grids)) if tower.source == "bundled" else (),
    )


def _failures(cells: Sequence[Cell]) -> Iterator[CellFailure]:
    for result in (failure for cell in cells for failure in cell.failures):
        yield CellFailure(arm=result.arm, seed=result.seed, task=result.task, reason=result.reason)


def _provenance(
    task_data: Mapping[str, TaskHandle], finished: Sequence[CellResult]
) -> dict[str, Any]:
    return {
        "code": {"commit": read_checkout(PACKAGE_ROOT).short, "fingerprint": code_fingerprint(".")},
        "keys": {name: handle.keys for name, handle in sorted(task_data.items())},
        "seeds": sorted({r.seed for r in finished}),
        "updates per cell": sorted({r.updates for r in finished}),
        "versions": {"python": platform.python_version(), **library_versions(*LIBRARIES)},
        "report written on": {"machine": platform.machine(), "cores": num_cores()},
    }
