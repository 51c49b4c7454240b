"""settings x seeds as cells, then one report."""

from __future__ import annotations

from collections.abc import Iterable

from kedro.pipeline import Node, Pipeline

from hybrid_pipeline.config import HaltingConfig, ReviewConfig, StabilityConfig, TrainingConfig
from hybrid_pipeline.kedro_ext.binding import bind
from hybrid_pipeline.pipelines.stability.nodes import report_stability, train_setting
from hybrid_pipeline.stability.design import stability_settings

PARAMETERS = [
    f"params:{name}" for name in ("model", "training", "halting", "review", "stability", "storage")
]


def create_pipeline(
    training: TrainingConfig,
    halting: HaltingConfig,
    review: ReviewConfig,
    stability: StabilityConfig,
    *,
    tags: Iterable[str] = (),
) -> Pipeline:
    """Build the pipeline: its cells are the settings of the design x the seeds.

    ``tags`` are put on the nodes that train.
    """
    settings = stability_settings(training, halting, review.document, stability)
    seeds = range(stability.first_seed, stability.first_seed + stability.num_seeds)
    runs = [(block, setting.name) for block in range(len(seeds)) for setting in settings]
    parts = [_run(setting, seeds[block], [f"block.{block}", *tags]) for block, setting in runs]
    cells = {
        f"{setting}_{seeds[block]}": f"stability.{setting}.seed_{seeds[block]}.run"
        for block, setting in runs
    }
    outputs = ["results", "page", "summary", "findings", "figures"]
    report = Node(report_stability, [*PARAMETERS, "task_data", *cells], outputs, name="report")
    inputs = cells | {"task_data": "task_data"}
    parts.append(
        Pipeline([report], namespace="stability", inputs=inputs, parameters=set(PARAMETERS))
    )
    return sum(parts, Pipeline([]))


def _run(setting: str, seed: int, tags: Iterable[str]) -> Pipeline:
    node = Node(
        bind(train_setting, (setting, seed)),
        ["task_data", *PARAMETERS],
        "run",
        name="train",
        tags=["cell", f"arm.{setting}", f"setting.{setting}", f"seed.{seed}", *tags],
    )
    return Pipeline(
        [node],
        namespace=f"stability.{setting}.seed_{seed}",
        inputs={"task_data"},
        parameters=set(PARAMETERS),
    )
