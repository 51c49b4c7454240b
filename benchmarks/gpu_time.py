"""How long a study takes on a GPU, by arithmetic and before anything is bought or waited for.

An example of training costs three forward passes: one forward, two for the gradients with respect
to weights and inputs (Kaplan et al., "Scaling Laws for Neural Language Models", 2020, section 2.1).
A forward pass is counted at full depth by the project's own counter (``training.work``). The sum
has the training of every cell, its validations and its test, the fit of N2N's adapter once per
task and seed, and the features of the frozen tower. It does not have what gradient checkpointing
computes again, the DQN, rendering, or waiting for the disk.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from hybrid_pipeline.arms import Arm, arms_of_design, chain
from hybrid_pipeline.components import component
from hybrid_pipeline.config import (
    ConfigError,
    GeneratedTask,
    ModelConfig,
    TaskConfig,
    TrainingConfig,
)
from hybrid_pipeline.features.tower import Tower
from hybrid_pipeline.models.parts import InputShape
from hybrid_pipeline.models.shapes import build_shapes
from hybrid_pipeline.review.counts import input_shape, tower_of
from hybrid_pipeline.training import work
from hybrid_pipeline.training.optim import total_steps

T4_FLOPS = 25e12
"""Sustained on a T4: 38 % of the 65 TFLOP/s in fp16 that NVIDIA's data sheet names."""
PASSES = 3


@dataclass(frozen=True)
class Line:
    """One line of the sum.

    Attributes:
        what: an arm, or a stage that all share.
        gflops: of one forward pass on one example; the mean over the tasks.
        passes: forward passes on one example, in all.
        flops: in all.
    """

    what: str
    gflops: float
    passes: float
    flops: float

    def hours(self, flops_per_second: float = T4_FLOPS) -> float:
        """At a sustained rate."""
        return self.flops / flops_per_second / 3600


def study_lines(groups: Mapping[str, Any]) -> list[Line]:
    """The sum of a study, a line per arm and per shared stage.

    Args:
        groups: validated parameters by group.

    Raises:
        ConfigError: for a task whose examples lie in a file.
    """
    tasks, model, training = groups["tasks"].root, groups["model"], groups["training"]
    rows = {name: _rows(name, task) for name, task in tasks.items()}
    ablation, tower = groups["ablation"], tower_of(groups["clip"])
    shapes = {n: input_shape(n, t, groups["rendering"], tower) for n, t in tasks.items()}
    seeds = ablation.num_blocks
    passes = {
        name: seeds * sum(cell_passes(at(training, x), *rows[name]) for x in ablation.lengths)
        for name in tasks
    }
    flops = {
        arm.name: {name: float(forward_flops(arm, model, shape)) for name, shape in shapes.items()}
        for arm in arms_of_design(ablation)
    }
    lines = [_line(arm, each, passes) for arm, each in flops.items()]
    return [*lines, *_adapters(model, flops, seeds), _features(groups, tower, rows)]


def _rows(name: str, task: TaskConfig) -> tuple[int, int, int]:
    if not isinstance(task, GeneratedTask):
        raise ConfigError(
            f"the examples of task {name!r} lie in a file and are not counted here: sum the time "
            "of generated tasks of its size"
        )
    return task.num_train, task.num_validation, task.num_test


def at(training: TrainingConfig, length: float) -> TrainingConfig:
    """The training of a share of the epochs."""
    return training.model_copy(update={"epochs": training.epochs * length})


def cell_passes(
    training: TrainingConfig, num_train: int, num_validation: int, num_test: int
) -> float:
    """Forward passes on one example in a cell: training, validations, test."""
    trained = total_steps(training, num_train) * min(training.global_batch_size, num_train)
    validations = max(1, round(training.epochs / training.eval_interval))
    return PASSES * trained + validations * num_validation + num_test


def forward_flops(arm: Arm, model: ModelConfig, shape: InputShape) -> int:
    """Floating-point operations of one forward pass of an arm on one example.

    They follow from shapes: nothing is drawn or computed.
    """
    return work.forward_flops(build_shapes(arm, model, shape))


def tower_flops(tower: Tower) -> int:
    """Floating-point operations of the frozen tower on one image."""
    size = tower.source.preprocessing.size
    visual = copy.deepcopy(tower.source.visual).to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        visual(torch.zeros(1, 3, size, size, device="meta"))
    return int(counter.get_total_flops())


def _line(what: str, flops: Mapping[str, float], passes: Mapping[str, float]) -> Line:
    return Line(
        what,
        sum(flops.values()) / len(flops) / 1e9,
        sum(passes.values()),
        sum(flops[name] * passes[name] for name in flops),
    )


def _adapters(
    model: ModelConfig, flops: Mapping[str, Mapping[str, float]], seeds: int
) -> Iterator[Line]:
    """The fit of an adapter costs what the arm that adds it costs more than the one before."""
    for before, arm in pairwise(chain()):
        name = arm.components[-1]
        if component(name).part.fit is None:
            continue
        config = getattr(model, name)
        more = {task: each - flops[before.name][task] for task, each in flops[arm.name].items()}
        passes = dict.fromkeys(more, float(PASSES * seeds * config.steps * config.batch_size))
        yield _line(f"fit of {name}", more, passes)


def _features(
    groups: Mapping[str, Any], tower: Tower, rows: Mapping[str, tuple[int, int, int]]
) -> Line:
    passes = {name: 2.0 * sum(sizes) for name, sizes in rows.items()}
    flops = dict.fromkeys(passes, float(tower_flops(tower)))
    return _line(f"features, {groups['clip'].model or 'bundled tower'}", flops, passes)
