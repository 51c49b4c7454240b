"""Adapters between the catalog and the stats and report rooms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hybrid_pipeline.config import (
    AblationConfig,
    EvaluationConfig,
    HaltingConfig,
    ModelConfig,
    ReviewConfig,
    StabilityConfig,
    StorageConfig,
    TrainingConfig,
)
from hybrid_pipeline.tasks import TasksConfig
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.result import Cell


def gather_cells(
    task_data: dict[str, TaskHandle],
    model: ModelConfig,
    training: TrainingConfig,
    halting: HaltingConfig,
    storage: StorageConfig,
    *arms: list[Cell],
) -> list[Cell]:
    """All cells of the study, arm by arm; none of other parameters, data or code."""
    from hybrid_pipeline.report.records import check_records
    from hybrid_pipeline.training.learner import Learner

    cells = [cell for arm in arms for cell in arm]
    check_records(cells, task_data, Learner(training, halting, model), storage)
    return cells


def gather_scores(cells: list[Cell], storage: StorageConfig) -> Any:
    """The tidy table of all per-example scores."""
    from hybrid_pipeline.training.study import load_scores

    return load_scores(cells, storage)


def gather_curves(cells: list[Cell], storage: StorageConfig) -> tuple[Any, Any]:
    """The validation scores and the losses of every longest training."""
    from hybrid_pipeline.training.result import longest
    from hybrid_pipeline.training.study import load_curves

    judged = [cell.at(longest(cells)) for cell in cells]
    updates = load_curves(judged, storage, "updates")
    return (
        load_curves(judged, storage, "validations"),
        updates[["arm", "seed", "task", "length", "step", "loss"]],
    )


def advise_on_curves(
    cells: list[Cell],
    task_data: dict[str, TaskHandle],
    model: ModelConfig,
    training: TrainingConfig,
    halting: HaltingConfig,
    review: ReviewConfig,
    storage: StorageConfig,
) -> list[dict[str, Any]]:
    """What the training curves of the study suggest."""
    from hybrid_pipeline.advisor.study import RunSettings, study_advice

    settings = RunSettings(training, halting, model, review.advisor)
    notes = study_advice(cells, task_data, settings, storage)
    return [note.model_dump(mode="json") for note in notes]


def read_stability(
    findings: dict[str, Any],
    model: ModelConfig,
    training: TrainingConfig,
    halting: HaltingConfig,
    review: ReviewConfig,
    stability: StabilityConfig,
) -> dict[str, Any]:
    """The stability study's findings where it was run under the same parameters and code."""
    from hybrid_pipeline.stability.study import stability_key
    from hybrid_pipeline.training.learner import Learner

    key = stability_key(Learner(training, halting, model), review.document, stability)
    return findings if findings.get("key") == key else {}


def analyse_study(  # noqa: PLR0913 - one per dataset and group of parameters
    scores: Any,
    validations: Any,
    cells: list[Cell],
    task_data: dict[str, TaskHandle],
    findings: dict[str, Any],
    ablation: AblationConfig,
    evaluation: EvaluationConfig,
    claims: dict[str, Any],
    review: ReviewConfig,
) -> dict[str, Any]:
    """Effects, compound estimate, shares, claims: all that the report says."""
    from hybrid_pipeline.kedro_ext.project_parameters import current_state
    from hybrid_pipeline.report.study import analyse_records, study_of

    state = current_state()
    study = study_of(
        scores,
        validations,
        cells,
        task_data,
        evaluation,
        min_updates=review.rules.min_total_steps,
        environment=(state.env if state is not None else None) or "",
    )
    results = analyse_records(study, ablation, claims, findings.get("topics", {}))
    return results.model_dump(mode="json")


def tabulate(results: dict[str, Any]) -> tuple[Any, dict[str, Any], list[dict[str, Any]]]:
    """The effects as a table, the compound estimate and the audited claims."""
    from hybrid_pipeline.report.study import claims_document, compound_document, effects_frame

    return effects_frame(results), compound_document(results), claims_document(results)


def gather_context(
    results: dict[str, Any],
    scores: Any,
    cells: list[Cell],
    task_data: dict[str, TaskHandle],
    claims: dict[str, Any],
    halting: HaltingConfig,
    storage: StorageConfig,
) -> dict[str, Any]:
    """What stands around the figures: examples with answers, the command, the claims' document."""
    from hybrid_pipeline.kedro_ext.study_folder import study_command
    from hybrid_pipeline.report.study import context_of

    named = claims.get("document")
    document = Path(named) if named else None
    context = context_of(results, scores, cells, task_data, halting, document, storage)
    return context.model_dump(mode="json") | {"command": study_command()}


def assemble_report(  # noqa: PLR0913 - one per dataset
    results: dict[str, Any],
    validations: Any,
    updates: Any,
    cells: list[Cell],
    task_data: dict[str, TaskHandle],
    advice: list[dict[str, Any]],
    findings: dict[str, Any],
    context: dict[str, Any],
    tasks: TasksConfig,
) -> dict[str, Any]:
    """What a report is made of: results, costs, curves, advice and provenance."""
    from hybrid_pipeline.report.study import inputs_of

    section = findings.get("section")
    inputs = inputs_of(
        results, (validations, updates), cells, task_data, tasks, advice, section, context
    )
    return inputs.model_dump(mode="json")


def draw_figures(report: dict[str, Any]) -> tuple[Any, ...]:
    """Every figure of the report, in the order of ``FIGURES``."""
    from hybrid_pipeline.report.figures import all_figures
    from hybrid_pipeline.report.inputs import ReportInputs

    return tuple(all_figures(ReportInputs.model_validate(report)).values())


def write_report(report: dict[str, Any]) -> tuple[str, str]:
    """The report as Markdown and as one self-contained page."""
    from hybrid_pipeline.report.inputs import ReportInputs
    from hybrid_pipeline.report.render import render_html, render_markdown

    inputs = ReportInputs.model_validate(report)
    return render_markdown(inputs), render_html(inputs)


def write_pages(report: dict[str, Any]) -> tuple[str, str]:
    """All examples, and all figures, as pages that show one thing: MLflow previews them."""
    from hybrid_pipeline.report.inputs import ReportInputs
    from hybrid_pipeline.report.render import render_examples, render_figures

    inputs = ReportInputs.model_validate(report)
    return render_examples(inputs), render_figures(inputs)


def write_timing(report: dict[str, Any], cells: list[Cell]) -> tuple[dict[str, Any], str]:
    """Measured minutes and the table for the terminal: what differs from run to run."""
    from hybrid_pipeline.report.inputs import ReportInputs
    from hybrid_pipeline.report.timing import summary_text, training_minutes

    inputs, minutes = ReportInputs.model_validate(report), training_minutes(cells)
    return minutes, summary_text(inputs, minutes)


def index_documents(**documents: Any) -> dict[str, str]:
    """A fingerprint of every document: equal in two runs of the same study."""
    from hybrid_pipeline.report.study import document_fingerprint

    return {name: document_fingerprint(document) for name, document in documents.items()}
