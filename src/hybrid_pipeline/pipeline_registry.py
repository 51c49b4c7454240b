"""All pipelines by name; arms, seeds and tasks come from the merged parameters."""

from __future__ import annotations

from typing import Any

from kedro.pipeline import Pipeline

from hybrid_pipeline.arms import arms_of_design, find_arm
from hybrid_pipeline.config import (
    AblationConfig,
    ClipConfig,
    HaltingConfig,
    ReviewConfig,
    StabilityConfig,
    StorageConfig,
    TrainingConfig,
)
from hybrid_pipeline.kedro_ext.devices import device_tags
from hybrid_pipeline.kedro_ext.project_parameters import current_parameters
from hybrid_pipeline.pipelines import (
    ablation,
    clip_pretraining,
    data_rendering,
    feature_caching,
    hybrid_training,
    hyperparameter_review,
    reporting,
    stability,
)


def register_pipelines() -> dict[str, Pipeline]:
    """Compose the pipelines; ``kedro run`` without a name runs the ablation."""
    parameters = current_parameters()
    design = AblationConfig.model_validate(parameters.get("ablation") or {})
    training = TrainingConfig.model_validate(parameters.get("training") or {})
    clip = ClipConfig.model_validate(parameters.get("clip") or {})
    trains, extracts = device_tags(training.device), device_tags(clip.device)
    tasks = sorted(parameters["tasks"])
    arms = arms_of_design(design)
    needs_random = any(arm.tower == "random" for arm in arms)
    rendering = data_rendering.create_pipeline(tasks)
    description = data_rendering.create_description(tasks)
    caching = feature_caching.create_pipeline(
        tasks,
        random_tower=needs_random or find_arm(training.arm).tower == "random",
        tags=extracts,
    )
    prepared = rendering + caching
    kept = StorageConfig.model_validate(parameters.get("storage") or {}).reference
    report = reporting.create_pipeline([arm.name for arm in arms], from_files=kept is not None)
    trained = ablation.create_pipeline(arms, design, tags=trains)
    study = report if kept is not None else prepared + description + trained + report
    one_arm = hybrid_training.create_pipeline(training.arm, training.seed, tags=trains)
    advice = hybrid_training.create_advice(training.arm, training.seed)
    return {
        "__default__": study,
        "ablation": study,
        "data_rendering": rendering + description,
        "clip_pretraining": _tables(rendering) + clip_pretraining.create_pipeline(tasks),
        "feature_caching": prepared,
        "hybrid_training": prepared + one_arm + advice,
        "reporting": report,
        "hyperparameter_review": hyperparameter_review.create_pipeline(),
        "stability": prepared + _stability(parameters, training),
    }


def _tables(rendering: Pipeline) -> Pipeline:
    """The part of the rendering that builds the task tables."""
    return Pipeline([node for node in rendering.nodes if node.name.endswith(".build")])


def _stability(parameters: dict[str, Any], training: TrainingConfig) -> Pipeline:
    return stability.create_pipeline(
        training,
        HaltingConfig.model_validate(parameters.get("halting") or {}),
        ReviewConfig.model_validate(parameters["review"]),
        StabilityConfig.model_validate(parameters.get("stability") or {}),
        tags=device_tags(training.device),
    )
