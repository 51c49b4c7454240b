"""The review of a project's resolved parameters, beside that of the document's own settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hybrid_pipeline.config import (
    ClipConfig,
    HaltingConfig,
    ModelConfig,
    ReviewConfig,
    TableTask,
    TaskConfig,
    TasksConfig,
    TrainingConfig,
)
from hybrid_pipeline.review.adapter import from_document, inputs_from_parameters
from hybrid_pipeline.review.comments import read_comments
from hybrid_pipeline.review.findings import (
    Finding,
    Measured,
    ParameterCounts,
    ReviewInputs,
)
from hybrid_pipeline.review.render import review_summary, review_to_json, review_to_markdown
from hybrid_pipeline.review.rules import review, review_sizes

ORIGINAL = "the document's original settings"
CORRECTED = "the document's corrected settings"


@dataclass(frozen=True)
class ProjectReview:
    """A review in the three forms that are written."""

    json: dict[str, Any]
    markdown: str
    summary: str


def review_project(
    tasks: TasksConfig,
    configs: tuple[TrainingConfig, HaltingConfig, ModelConfig, ClipConfig],
    config: ReviewConfig,
    *,
    counts: ParameterCounts | None = None,
    conf_files: Mapping[str, str] | None = None,
) -> ProjectReview:
    """Review resolved parameters at each task's data size, then the document's two settings.

    Args:
        tasks: the tasks; a table's size is ``review.num_train_of_table``.
        configs: training, halting, model and clip as they resolved.
        config: document and thresholds.
        counts: of the built model; ``review.counts`` of the tower's source if not given.
        conf_files: configuration files (name -> text) whose comments are searched for claims.
    """
    training, halting, model, clip = configs
    comments = read_comments(conf_files or {})
    inputs = {
        name: ReviewInputs(
            training=training,
            halting=halting,
            model=model,
            clip=clip,
            num_train=num_train(task, config),
            counts=counts or assumed_counts(clip, config),
            rules=config.rules,
            document=config.document,
            measured=Measured(config.peak_memory_gib, config.overfit_from_epoch),
            comments=comments,
            drop_last=True,
        )
        for name, task in tasks.root.items()
    }
    reviews: dict[str, tuple[Finding, ...]] = {
        f"this configuration, {names}": found for names, found in review_sizes(inputs).items()
    }
    reviews[ORIGINAL] = review(document_inputs(config, "original"))
    reviews[CORRECTED] = review(document_inputs(config, "corrected"))
    return ProjectReview(
        json=review_to_json(reviews, next(iter(inputs.values()))),
        markdown=review_to_markdown(reviews),
        summary=review_summary(reviews),
    )


def document_inputs(config: ReviewConfig, which: str) -> ReviewInputs:
    """The document's ``original`` or ``corrected`` settings as what the rules read."""
    document = config.document
    settings = {"original": document.original, "corrected": document.corrected}[which]
    return inputs_from_parameters(
        from_document(settings, width=document.width),
        config,
        num_train=document.num_train,
        counts=ParameterCounts(document.counts.trainable, document.counts.frozen),
    )


def num_train(task: TaskConfig, config: ReviewConfig) -> int:
    """Training examples of a task; an assumption for a table that is not read yet."""
    return config.num_train_of_table if isinstance(task, TableTask) else task.num_train


def assumed_counts(clip: ClipConfig, config: ReviewConfig) -> ParameterCounts:
    """Parameter counts by the tower's source, where the model was not built."""
    counts = config.counts.get(clip.source, config.counts["bundled"])
    return ParameterCounts(counts.trainable, counts.frozen)


def load_texts(files: Mapping[str, str | Callable[[], str]]) -> dict[str, str]:
    """Texts of configuration files, calling those that load lazily; credentials stay closed."""
    return {
        name: text() if callable(text) else text
        for name, text in files.items()
        if "credentials" not in name
    }
