"""A study's records through the statistics to the documents under ``data/08_reporting``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from hybrid_pipeline.advisor.notes import AdvisorNote
from hybrid_pipeline.arms import find_arm
from hybrid_pipeline.claims.claims import Claims, StabilityFinding
from hybrid_pipeline.claims.study import analyse_with_claims
from hybrid_pipeline.config import (
    AblationConfig,
    EvaluationConfig,
    HaltingConfig,
    StorageConfig,
)
from hybrid_pipeline.report.answers import build_gallery
from hybrid_pipeline.report.assemble import assemble
from hybrid_pipeline.report.html_blocks import figure_json
from hybrid_pipeline.report.inputs import ClaimsDocument, ReportContext, ReportInputs
from hybrid_pipeline.stability.section import StabilitySection
from hybrid_pipeline.stats.analysis import Study
from hybrid_pipeline.stats.budget import sequential_evaluation
from hybrid_pipeline.stats.halting import HaltingRow, halting_rows
from hybrid_pipeline.stats.results import StudyResults
from hybrid_pipeline.tasks import TasksConfig
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.result import Cell, diverged_seeds, finished_results, longest
from hybrid_pipeline.training.study import load_halting

EFFECT_COLUMNS = (
    "kind",
    "arm",
    "reference",
    "task",
    "estimate",
    "low",
    "high",
    "p",
    "p_adjusted",
    "verdict",
)


def study_of(
    scores: pd.DataFrame,
    validations: pd.DataFrame,
    cells: Sequence[Cell],
    task_data: Mapping[str, TaskHandle],
    evaluation: EvaluationConfig,
    *,
    min_updates: int,
    environment: str = "",
) -> Study:
    """The scores of a study with what was preregistered about it.

    Args:
        scores: the tidy table.
        validations: curves of the longest training.
        cells: of the study; tell the arms, and which seeds diverged.
        task_data: primary metric, chance and majority of every task.
        evaluation: delta, level and resampling.
        min_updates: fewer updates are a trial run.
        environment: name of the configuration environment.
    """
    arms = [find_arm(name) for name in dict.fromkeys(cell.arm for cell in cells)]
    lengths = {result.length for cell in cells for result in cell.results}
    return Study(
        scores=scores,
        arms=[arm.name for arm in arms],
        components={arm.name: arm.components for arm in arms},
        metrics={task: handle.primary_metric for task, handle in task_data.items()},
        chance={task: handle.chance_score for task, handle in task_data.items()},
        guessing={task: handle.guessing for task, handle in task_data.items()},
        evaluation=evaluation,
        controls={arm.name: arm.control_of for arm in arms if arm.control_of is not None},
        seeds=sorted({cell.seed for cell in cells if cell.status != "not_run"}),
        diverged={
            length: diverged_seeds([cell.at(length) for cell in cells]) for length in lengths
        },
        validations=validations,
        min_updates=min_updates,
        environment=environment,
    )


def analyse_records(
    study: Study,
    ablation: AblationConfig,
    claims: Mapping[str, Any],
    stability: Mapping[str, Any],
) -> StudyResults:
    """Analyse a study.

    Args:
        study: from ``study_of``.
        ablation: whether the level is corrected for looks.
        claims: content of ``parameters/claims.yml``.
        stability: topic -> finding of the stability study; empty if there is none.
    """
    if ablation.sequential:
        study = replace(study, evaluation=sequential_evaluation(study.evaluation, ablation.looks))
    return analyse_with_claims(
        study,
        Claims.model_validate(claims) if claims else None,
        {topic: StabilityFinding.model_validate(found) for topic, found in stability.items()},
    )


def effects_frame(results: Mapping[str, Any]) -> pd.DataFrame:
    """One row per comparison and task, and one for the mean over tasks."""
    effects = StudyResults.model_validate(results).effects
    rows = [
        (
            e.kind,
            e.arm,
            e.reference,
            e.task,
            None if e.difference is None else e.difference.estimate,
            None if e.difference is None else e.difference.low,
            None if e.difference is None else e.difference.high,
            e.p,
            e.p_adjusted,
            e.verdict,
        )
        for e in effects
    ]
    return pd.DataFrame(rows, columns=list(EFFECT_COLUMNS))


def compound_document(results: Mapping[str, Any]) -> dict[str, Any]:
    """The compound estimates, with what an identity can and cannot say."""
    study = StudyResults.model_validate(results)
    return {"compounds": [c.model_dump(mode="json") for c in study.compounds]}


def claims_document(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every claim with its verdict."""
    study = StudyResults.model_validate(results)
    return [claim.model_dump(mode="json") for claim in study.claims]


def inputs_of(
    results: Mapping[str, Any],
    curves: tuple[pd.DataFrame, pd.DataFrame],
    cells: Sequence[Cell],
    task_data: Mapping[str, TaskHandle],
    tasks: TasksConfig,
    advice: Sequence[Mapping[str, Any]],
    stability: Mapping[str, Any] | None,
    context: Mapping[str, Any],
) -> ReportInputs:
    """Everything the report shows.

    ``curves`` are the validation scores and the losses of the longest training.
    """
    around = ReportContext.model_validate(context)
    validations, updates = curves
    inputs = assemble(
        StudyResults.model_validate(results),
        [cell.at(longest(cells)) for cell in cells],
        task_data,
        tasks,
        validations,
        updates,
        advice=[AdvisorNote.model_validate(note) for note in advice],
        stability=None if stability is None else StabilitySection.model_validate(stability),
    )
    kept = {name: value for name, value in around if value or name != "provenance"}
    return inputs.model_copy(update=kept)


def context_of(
    results: Mapping[str, Any],
    scores: pd.DataFrame,
    cells: Sequence[Cell],
    task_data: Mapping[str, TaskHandle],
    halting: HaltingConfig,
    document: Path | None,
    storage: StorageConfig,
) -> ReportContext:
    """What stands around the figures: the gallery, what halting does, the claims' document.

    Args:
        results: of the analysis.
        scores: of all lengths; the gallery is of the longest.
        cells: with their results at every length.
        task_data: the handle of every task.
        halting: its step cost and least number of steps are the oracle's.
        document: the file that the claims are taken from; left out if it does not exist.
        storage: where the cells lie.
    """
    arms = StudyResults.model_validate(results).arms
    judged = longest(cells)
    finished = [r for r in finished_results(cells) if r.length == judged]
    keys = {(r.arm, r.seed, r.task): r.key for r in finished}
    rows = scores[scores["length"] == judged] if "length" in scores else scores
    text = None
    if document is not None and document.is_file():
        text = ClaimsDocument(path=document.as_posix(), text=document.read_text("utf-8"))
    return ReportContext(
        gallery=build_gallery(rows, keys, task_data, arms, storage),
        document=text,
        halting=_halting(cells, task_data, halting, storage),
    )


def _halting(
    cells: Sequence[Cell],
    task_data: Mapping[str, TaskHandle],
    halting: HaltingConfig,
    storage: StorageConfig,
) -> tuple[HaltingRow, ...]:
    """The DQN against other policies; nothing for cells that did not keep their answers."""
    try:
        table = load_halting(cells, task_data, storage, halting)
    except FileNotFoundError:
        return ()
    return halting_rows(table) if len(table) else ()


def document_fingerprint(document: Any) -> str:
    """SHA-256 of a document's content, whatever holds it: text, JSON, a table or a figure."""
    if isinstance(document, pd.DataFrame):
        text = document.to_csv(index=False)
    elif hasattr(document, "to_json"):
        text = figure_json(document)
    else:
        text = document if isinstance(document, str) else json.dumps(document, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
