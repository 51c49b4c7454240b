"""The node of the hyperparameter review."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from hybrid_pipeline.config import (
    ClipConfig,
    HaltingConfig,
    ModelConfig,
    ReviewConfig,
    TasksConfig,
    TrainingConfig,
)

logger = logging.getLogger(__name__)


def review_hyperparameters(
    tasks: TasksConfig,
    training: TrainingConfig,
    halting: HaltingConfig,
    model: ModelConfig,
    clip: ClipConfig,
    review: ReviewConfig,
    configuration_files: dict[str, Callable[[], str]],
) -> tuple[dict[str, Any], str, str]:
    """Apply every rule to the parameters as they resolved; also to the document's settings."""
    from hybrid_pipeline.review.project import load_texts, review_project

    result = review_project(
        tasks,
        (training, halting, model, clip),
        review,
        conf_files=load_texts(configuration_files),
    )
    logger.info("Hyperparameter review:\n%s", result.summary)
    return result.json, result.markdown, result.summary
