"""The nodes of the hyperparameter review."""

from __future__ import annotations

import logging
from typing import Any

from hybrid_pipeline.config import (
    ClipConfig,
    HaltingConfig,
    ModelConfig,
    RenderingConfig,
    ReviewConfig,
    StabilityConfig,
    TrainingConfig,
)
from hybrid_pipeline.tasks import TasksConfig

logger = logging.getLogger(__name__)


def count_model(
    tasks: TasksConfig,
    rendering: RenderingConfig,
    model: ModelConfig,
    clip: ClipConfig,
    review: ReviewConfig,
) -> dict[str, Any]:
    """Count the parameters of the full arm and of the tower, or say why they are assumed."""
    from hybrid_pipeline.review.counts import count_parameters

    return vars(count_parameters(tasks, rendering, model, clip, review))


def gather_evidence(
    counts: dict[str, Any],
    findings: dict[str, Any],
    model: ModelConfig,
    training: TrainingConfig,
    halting: HaltingConfig,
    review: ReviewConfig,
    stability: StabilityConfig,
) -> dict[str, Any]:
    """The counts, and what the stability study measured under these parameters and code."""
    from hybrid_pipeline.stability.lr_measured import lr_difference
    from hybrid_pipeline.training.learner import Learner

    learner = Learner(training, halting, model)
    measured = lr_difference(findings, learner, review.document, stability)
    return {"counts": counts, "lr_difference": measured}


def review_hyperparameters(
    tasks: TasksConfig,
    training: TrainingConfig,
    halting: HaltingConfig,
    model: ModelConfig,
    clip: ClipConfig,
    review: ReviewConfig,
    evidence: dict[str, Any],
) -> tuple[dict[str, Any], str, str]:
    """Apply every rule to the parameters as they resolved; also to the seed analysis' settings."""
    from hybrid_pipeline.review.project import ProjectFacts, review_project

    configs = (training, halting, model, clip)
    result = review_project(tasks, configs, review, ProjectFacts.from_json(evidence))
    logger.info("Hyperparameter review:\n%s", result.summary)
    return result.json, result.markdown, result.summary
