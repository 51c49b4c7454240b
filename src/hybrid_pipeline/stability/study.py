"""The stability study between the training room and the report: cells in, documents out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hybrid_pipeline.advisor.study import RunSettings, advisor_notes
from hybrid_pipeline.claims.claims import StabilityFinding
from hybrid_pipeline.config import (
    DocumentConfig,
    StabilityConfig,
    StorageConfig,
    TrainingConfig,
)
from hybrid_pipeline.curves.cells import read_curves
from hybrid_pipeline.curves.curve import StabilityCurve
from hybrid_pipeline.stability.design import (
    Setting,
    apply_setting,
    stability_settings,
)
from hybrid_pipeline.stability.effects import (
    EARLY_SPIKES,
    FINAL,
    Q_EXCESS,
    SETTLED_NORM,
    SPIKES,
)
from hybrid_pipeline.stability.figures import (
    divergence_figure,
    effects_figure,
    grad_norm_figure,
    loss_figure,
)
from hybrid_pipeline.stability.render import (
    stability_markdown,
    stability_section,
    stability_summary,
)
from hybrid_pipeline.stability.report import StabilityReport, stability_report
from hybrid_pipeline.storage import code_fingerprint, content_key
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.learner import Learner
from hybrid_pipeline.training.optim import warmup_steps
from hybrid_pipeline.training.result import Cell
from hybrid_pipeline.training.spec import NOT_IN_KEY, CellSpec

EFFECT_FIGURES = {
    "final_score": FINAL,
    "spikes": SPIKES,
    "early_spikes": EARLY_SPIKES,
    "grad_norm": SETTLED_NORM,
    "largest_q": Q_EXCESS,
}
CODE_OF_FINDINGS = ("stability", "curves", "advisor", "text_tables.py", "plot_style.py")


def study_training(training: TrainingConfig, config: StabilityConfig) -> TrainingConfig:
    """The profile's training under AdamW, which the seed analysis is about, for its own epochs."""
    changes: dict[str, Any] = {"optimizer": "adamw"}
    if config.epochs is not None:
        changes |= {"epochs": config.epochs, "eval_interval": config.epochs / 5}
    return training.model_copy(update=changes)


def setting_spec(
    setting: str,
    seed: int,
    learner: Learner,
    document: DocumentConfig,
    config: StabilityConfig,
) -> CellSpec:
    """The cell of one setting and seed: the full model with that setting's values.

    Raises:
        ValueError: when the design has no such setting.
    """
    training, halting = learner.training, learner.halting
    settings = {s.name: s for s in stability_settings(training, halting, document, config)}
    if setting not in settings:
        raise ValueError(f"unknown setting {setting!r}; expected one of {', '.join(settings)}")
    budget = study_training(training, config)
    changed_training, changed_halting = apply_setting(settings[setting], budget, halting)
    return Learner(changed_training, changed_halting, learner.model).cell(config.arm, seed)


def stability_key(learner: Learner, document: DocumentConfig, config: StabilityConfig) -> str:
    """Key of a study's findings: a report shows them only under the same parameters and code."""
    return content_key(
        learner.model,
        learner.training.model_dump(mode="json", exclude=NOT_IN_KEY),
        learner.halting,
        document,
        config,
        learner.cell(config.arm, 0).code(),
        code_fingerprint(*CODE_OF_FINDINGS),
    )


def stability_documents(
    run: RunSettings,
    document: DocumentConfig,
    config: StabilityConfig,
    storage: StorageConfig,
    cells: Sequence[Cell],
    task_data: Mapping[str, TaskHandle],
) -> tuple[dict[str, Any], str, str, dict[str, Any], dict[str, Any]]:
    """What the study writes.

    Args:
        run: the profile's settings, and the thresholds of the advisor.
        document: the two settings that are compared.
        config: the study's design and constants.
        storage: where the cells lie.
        cells: one per run, with its setting.
        task_data: the handle of every task.

    Returns:
        The results as JSON; the page as Markdown; the summary; the findings for the ablation's
        report (``topics``: topic -> outcome for the claims audit, ``section``: for its page); the
        figures by name, as Plotly JSON.
    """
    settings = stability_settings(run.training, run.halting, document, config)
    budget = replace(run, training=study_training(run.training, config))
    curves = read_curves(cells, budget.training, storage, task_data=task_data)
    runs = [_under_setting(curve, settings, budget) for curve in curves]
    curves, notes = [curve for curve, _ in runs], advisor_notes(runs)
    report = stability_report(curves, settings, config)
    figures = stability_figures(curves, report)
    findings = {
        "topics": {
            topic: finding.model_dump(mode="json")
            for topic, finding in stability_findings(report).items()
        },
        "section": stability_section(report, figures, notes).model_dump(mode="json"),
    }
    return (
        report.to_json(),
        stability_markdown(report, notes),
        stability_summary(report, notes),
        findings,
        figures,
    )


def _under_setting(
    curve: StabilityCurve, settings: Sequence[Setting], run: RunSettings
) -> tuple[StabilityCurve, RunSettings]:
    """The curve with its warm-up, and what it was trained with."""
    setting = next(s for s in settings if s.name == curve.setting)
    training, halting = apply_setting(setting, run.training, run.halting)
    warmup = warmup_steps(training, curve.planned_steps)
    return (
        replace(curve, warmup_steps=warmup),
        replace(run, training=training, halting=halting),
    )


def stability_findings(report: StabilityReport) -> dict[str, StabilityFinding]:
    """Topic -> outcome over all tasks, for the claims audit.

    ``supported`` if the promise holds on a task and is contradicted on none, ``refuted`` the
    other way round, ``inconclusive`` otherwise.
    """
    found: dict[str, StabilityFinding] = {}
    topics = [promise.topic for promise in report.tasks[0].promises]
    for topic in topics:
        rows = [(t.task, p) for t in report.tasks for p in t.promises if p.topic == topic]
        codes = {promise.code for _, promise in rows}
        outcome = "inconclusive"
        if "holds" in codes and "contradicted" not in codes:
            outcome = "supported"
        elif "contradicted" in codes and "holds" not in codes:
            outcome = "refuted"
        detail = " ".join(f"{task}: {p.recomputed} ({p.verdict})." for task, p in rows)
        found[topic] = StabilityFinding.model_validate({"outcome": outcome, "detail": detail})
    return found


def stability_figures(
    curves: Sequence[StabilityCurve], report: StabilityReport
) -> dict[str, dict[str, Any]]:
    """Every figure of the study by ``<task>_<figure>``, as Plotly JSON.

    A figure of effects on which no change has an interval is left out.
    """
    figures = {}
    for outcome in report.tasks:
        task = outcome.task
        figures[f"{task}_loss"] = loss_figure(curves, task)
        figures[f"{task}_grad_norm"] = grad_norm_figure(curves, task)
        figures[f"{task}_diverged"] = divergence_figure(report, task)
        for name, response in EFFECT_FIGURES.items():
            if any(e.response == response and e.low is not None for e in outcome.main):
                figures[f"{task}_effects_{name}"] = effects_figure(report, task, response)
    return {name: json.loads(figure.to_json()) for name, figure in figures.items()}
