"""settings x seeds as cells, then one report."""

from __future__ import annotations

from functools import partial

from kedro.pipeline import Node, Pipeline

from hybrid_pipeline.config import HaltingConfig, ReviewConfig, StabilityConfig, TrainingConfig
from hybrid_pipeline.pipelines.stability.nodes import report_stability, train_setting
from hybrid_pipeline.review.stability_design import stability_settings

SHARED = [f"params:{name}" for name in ("model", "training", "halting", "review", "stability")]


def create_pipeline(
    training: TrainingConfig,
    halting: HaltingConfig,
    review: ReviewConfig,
    stability: StabilityConfig,
) -> Pipeline:
    """Build the pipeline: its cells are the settings of the design x the seeds."""
    settings = stability_settings(training, halting, review.document, stability)
    seeds = range(stability.first_seed, stability.first_seed + stability.num_seeds)
    nodes, cells = [], []
    for block, seed in enumerate(seeds):
        for setting in settings:
            train = partial(train_setting, (setting.name, seed))
            train.__name__ = "train_setting"  # type: ignore[attr-defined]
            cells.append(f"stability.{setting.name}.seed_{seed}.run")
            nodes.append(
                Node(
                    train,
                    ["task_data", *SHARED, "params:storage"],
                    cells[-1],
                    name="train",
                    namespace=f"stability.{setting.name}.seed_{seed}",
                    tags=["cell", f"arm.{setting.name}", f"seed.{seed}", f"block.{block}"],
                )
            )
    outputs = ["results", "page", "summary", "findings", "figures"]
    nodes.append(
        Node(
            report_stability,
            [*SHARED, "params:storage", *cells],
            [f"stability.{name}" for name in outputs],
            name="report",
            namespace="stability",
        )
    )
    return Pipeline(nodes)
