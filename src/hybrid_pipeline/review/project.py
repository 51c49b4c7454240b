"""The review of a project's resolved parameters, beside that of the seed analysis' settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hybrid_pipeline.config import (
    ClipConfig,
    ConfigError,
    HaltingConfig,
    ModelConfig,
    ReviewConfig,
    TaskConfig,
    TrainingConfig,
)
from hybrid_pipeline.review.adapter import (
    from_document,
    inputs_from_parameters,
    measured_figures,
    read_settings,
)
from hybrid_pipeline.review.all_fixes import all_fixes
from hybrid_pipeline.review.findings import EarlierRuns, ReviewInputs, TrainedAndFrozen
from hybrid_pipeline.review.render import review_summary, review_to_json, review_to_markdown
from hybrid_pipeline.review.rules import by_size, review
from hybrid_pipeline.tasks import TasksConfig
from hybrid_pipeline.tasks import num_train as num_train_of

ORIGINAL = "original settings of the seed analysis"
CORRECTED = "corrected settings of the seed analysis"


@dataclass(frozen=True)
class ProjectReview:
    """A review in the three forms that are written."""

    json: dict[str, Any]
    markdown: str
    summary: str


@dataclass(frozen=True)
class ProjectFacts:
    """What is known beside the parameters.

    Attributes:
        counts: of the built model, or assumed.
        lr_difference: what the stability study measured for the learning rate; None without it.
    """

    counts: TrainedAndFrozen
    lr_difference: str | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ProjectFacts:
        """From JSON values with the names of the attributes."""
        return cls(TrainedAndFrozen(**value["counts"]), value["lr_difference"])


def review_project(
    tasks: TasksConfig,
    configs: tuple[TrainingConfig, HaltingConfig, ModelConfig, ClipConfig],
    config: ReviewConfig,
    evidence: ProjectFacts,
) -> ProjectReview:
    """Review resolved parameters at each task's data size, then the seed analysis' two settings.

    Args:
        tasks: the tasks; a table is counted in its file.
        configs: training, halting, model and clip as they resolved.
        config: document and thresholds; the settings file where one is named.
        evidence: parameter counts and what was measured.

    Raises:
        ConfigError: when the settings file is unusable.
    """
    inputs = _own_inputs(tasks, configs, config, evidence)
    if config.settings_file is not None:
        inputs[config.settings_file] = settings_inputs(config, read_settings(config.settings_file))
    original = document_inputs(config, "original")
    inputs[ORIGINAL] = replace(original, measured=EarlierRuns(lr_difference=evidence.lr_difference))
    inputs[CORRECTED] = document_inputs(config, "corrected")
    reviews = {name: review(found) for name, found in inputs.items()}
    fixes = {name: all_fixes(found) for name, found in inputs.items()}
    return ProjectReview(
        json=review_to_json(reviews, fixes, next(iter(inputs.values()))),
        markdown=review_to_markdown(reviews, fixes),
        summary=review_summary(reviews),
    )


def _own_inputs(
    tasks: TasksConfig,
    configs: tuple[TrainingConfig, HaltingConfig, ModelConfig, ClipConfig],
    config: ReviewConfig,
    evidence: ProjectFacts,
) -> dict[str, ReviewInputs]:
    """The configuration at each size of data, under the heading that it is reviewed as."""
    training, halting, model, clip = configs
    own = {
        name: ReviewInputs(
            training=training,
            halting=halting,
            model=model,
            clip=clip,
            num_train=num_train(name, task, config),
            counts=evidence.counts,
            rules=config.rules,
            measured=measured_figures(config, evidence.lr_difference),
            drop_last=True,
        )
        for name, task in tasks.root.items()
    }
    return {f"this configuration, {names}": found for names, found in by_size(own).items()}


def document_inputs(config: ReviewConfig, which: str) -> ReviewInputs:
    """The seed analysis' ``original`` or ``corrected`` settings as what the rules read."""
    document = config.document
    return settings_inputs(
        config, {"original": document.original, "corrected": document.corrected}[which]
    )


def settings_inputs(config: ReviewConfig, settings: Mapping[str, Any]) -> ReviewInputs:
    """Settings in any key names, at the seed analysis' data size, width and parameter counts.

    What was measured in this project's own runs says nothing about them and is left out.
    """
    document = config.document
    stated = TrainedAndFrozen(document.counts.trainable, document.counts.frozen)
    inputs = inputs_from_parameters(
        from_document(settings, width=document.width),
        config,
        num_train=document.num_train,
        counts=stated,
    )
    return replace(inputs, measured=EarlierRuns())


def num_train(name: str, task: TaskConfig, config: ReviewConfig) -> int:
    """Training examples of a task; a table's are counted in its file.

    A table that cannot be read counts as ``review.num_train_of_table``.
    """
    try:
        return num_train_of(name, task, Path())
    except (ConfigError, ValueError, OSError):
        return config.num_train_of_table
