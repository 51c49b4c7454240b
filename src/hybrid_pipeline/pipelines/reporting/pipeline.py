"""scores -> effects -> report, in a namespace of its own."""

from __future__ import annotations

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from hybrid_pipeline.pipelines.reporting.nodes import (
    advise_on_curves,
    analyse_study,
    assemble_report,
    draw_figures,
    gather_cells,
    gather_scores,
    read_stability,
    tabulate,
    write_report,
    write_timing,
)

FIGURES = (
    "claimed_vs_measured",
    "forest",
    "heatmap",
    "waterfall",
    "compounding",
    "shares",
    "learning_curves",
    "training_loss",
    "all_claims",
)


def create_pipeline(arms: Sequence[str]) -> Pipeline:
    """Build the pipeline.

    Args:
        arms: names of the arms whose results are reported.
    """
    r = "reporting"
    study = [f"{r}.scores", f"{r}.cells", "task_data"]
    trained = ["params:model", "params:training", "params:halting"]
    settings = ["params:ablation", "params:evaluation", "params:claims"]
    nodes = [
        Node(gather_cells, [f"{arm}.results" for arm in arms], f"{r}.cells", namespace=r),
        Node(gather_scores, [f"{r}.cells", "params:storage"], f"{r}.scores", namespace=r),
        Node(
            advise_on_curves,
            [*study[1:], *trained, "params:review", "params:storage"],
            f"{r}.advice",
            namespace=r,
        ),
        Node(
            read_stability,
            ["stability.findings", *trained, "params:review", "params:stability"],
            f"{r}.stability",
            namespace=r,
        ),
        Node(analyse_study, [*study, f"{r}.stability", *settings], f"{r}.results", namespace=r),
        Node(
            tabulate,
            f"{r}.results",
            [f"{r}.effects", f"{r}.compound", f"{r}.claims_audit"],
            namespace=r,
        ),
        Node(
            assemble_report,
            [f"{r}.results", *study[1:], f"{r}.advice", f"{r}.stability", "params:storage"],
            f"{r}.inputs",
            namespace=r,
        ),
        Node(
            draw_figures,
            f"{r}.inputs",
            [f"{r}.figure_{name}" for name in FIGURES],
            namespace=r,
        ),
        Node(write_report, f"{r}.inputs", [f"{r}.markdown", f"{r}.html"], namespace=r),
        Node(
            write_timing,
            [f"{r}.inputs", f"{r}.cells"],
            [f"{r}.minutes", f"{r}.minutes_script", f"{r}.summary"],
            namespace=r,
        ),
    ]
    return Pipeline(nodes)
