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
    index_documents,
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
    "other_curves",
    "all_claims",
)
DOCUMENTS = (
    "markdown",
    "html",
    "effects",
    "compound",
    "claims_audit",
    *(f"figure_{name}" for name in FIGURES),
)
TRAINED = ["params:model", "params:training", "params:halting"]
PARAMETERS = [
    *TRAINED,
    "params:ablation",
    "params:evaluation",
    "params:claims",
    "params:review",
    "params:stability",
    "params:storage",
    "params:tasks",
]


def create_pipeline(arms: Sequence[str]) -> Pipeline:
    """Build the pipeline.

    Args:
        arms: names of the arms whose results are reported.
    """
    results = {f"{arm}_results": f"{arm}.results" for arm in arms}
    nodes = [
        Node(gather_cells, ["task_data", *TRAINED, "params:storage", *results], "cells"),
        Node(gather_scores, ["cells", "params:storage"], "scores"),
        Node(
            advise_on_curves,
            ["cells", "task_data", *TRAINED, "params:review", "params:storage"],
            "advice",
        ),
        Node(
            read_stability,
            ["findings", *TRAINED, "params:review", "params:stability"],
            "stability",
        ),
        Node(
            analyse_study,
            ["scores", "cells", "task_data", "stability", *PARAMETERS[3:6]],
            "results",
        ),
        Node(tabulate, "results", ["effects", "compound", "claims_audit"]),
        Node(
            assemble_report,
            [
                "results",
                "cells",
                "task_data",
                "advice",
                "stability",
                "params:tasks",
                "params:storage",
            ],
            "inputs",
        ),
        Node(draw_figures, "inputs", [f"figure_{name}" for name in FIGURES]),
        Node(write_report, "inputs", ["markdown", "html"]),
        Node(index_documents, {name: name for name in DOCUMENTS}, "index"),
        Node(write_timing, ["inputs", "cells"], ["minutes", "minutes_script", "summary"]),
    ]
    return Pipeline(
        nodes,
        namespace="reporting",
        inputs=results | {"task_data": "task_data", "findings": "stability.findings"},
        parameters=set(PARAMETERS),
    )
