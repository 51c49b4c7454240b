"""How many parameters a configuration trains and freezes: counted if the tower is at hand."""

from __future__ import annotations

import math
from pathlib import Path

from hybrid_pipeline.arms import full
from hybrid_pipeline.config import (
    ClipConfig,
    ConfigError,
    ModelConfig,
    RenderingConfig,
    ReviewConfig,
    TaskConfig,
)
from hybrid_pipeline.features.clip import load_tower
from hybrid_pipeline.features.sources import origin_of, with_random_weights
from hybrid_pipeline.features.tower import Tower
from hybrid_pipeline.models.parts import InputShape
from hybrid_pipeline.models.shapes import build_shapes
from hybrid_pipeline.review.findings import TrainedAndFrozen
from hybrid_pipeline.tasks import TasksConfig, source_of
from hybrid_pipeline.training.cost import parameter_counts


def count_parameters(
    tasks: TasksConfig,
    rendering: RenderingConfig,
    model: ModelConfig,
    clip: ClipConfig,
    config: ReviewConfig,
) -> TrainedAndFrozen:
    """Build the full arm without weights, and the tower, and count; the largest over the tasks.

    Nothing is downloaded: of a tower from the hub the architecture is built with random weights.

    Returns:
        The counts; those of ``review.counts`` with the reason if the model cannot be built.
    """
    try:
        tower = tower_of(clip)
        shapes = {input_shape(name, task, rendering, tower) for name, task in tasks.root.items()}
        trainable = max(
            parameter_counts(build_shapes(full(), model, shape))["trainable"] for shape in shapes
        )
    except (ConfigError, ValueError, OSError) as error:
        return assumed_counts(clip, config, str(error))
    frozen = sum(weights.numel() for weights in tower.source.visual.parameters())
    return TrainedAndFrozen(trainable, frozen)


def assumed_counts(clip: ClipConfig, config: ReviewConfig, reason: str) -> TrainedAndFrozen:
    """Parameter counts by the tower's source, if the model was not built."""
    counts = config.counts.get(clip.source, config.counts["bundled"])
    return TrainedAndFrozen(counts.trainable, counts.frozen, assumed_because=reason)


def tower_of(clip: ClipConfig) -> Tower:
    """The tower on the CPU; of one to be downloaded, its architecture with random weights."""
    return load_tower(with_random_weights(clip) if origin_of(clip).downloads else clip)


def input_shape(
    name: str, task: TaskConfig, rendering: RenderingConfig, tower: Tower
) -> InputShape:
    """What a model has to know about a task."""
    source = source_of(name, task, Path())
    return InputShape(
        image_size=rendering.image_size,
        num_slots=math.prod(source.grid_shape or (1,)),
        num_classes=len(source.classes),
        slot_grid=source.grid_shape,
        clip_tokens=tower.num_tokens,
        clip_width=tower.width,
    )
