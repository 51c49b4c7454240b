"""scores -> effects -> report, in a namespace of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kedro.pipeline import Node, Pipeline

from hybrid_pipeline.pipelines.reporting.nodes import (
    advise_on_curves,
    analyse_study,
    assemble_report,
    draw_figures,
    gather_cells,
    gather_context,
    gather_curves,
    gather_scores,
    index_documents,
    read_stability,
    tabulate,
    write_pages,
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
    "gain_by_length",
    "halting_by_depth",
    "paths",
    "all_claims",
)
DOCUMENTS = (
    "markdown",
    "html",
    "examples_page",
    "figures_page",
    "effects",
    "compound",
    "claims_audit",
    *(f"figure_{name}" for name in FIGURES),
)
# Nodes that read cells: a finished study keeps what they wrote.
GATHERED = {
    "gather_cells",
    "gather_scores",
    "gather_curves",
    "advise_on_curves",
    "read_stability",
    "gather_context",
}
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


def create_pipeline(arms: Sequence[str], *, from_files: bool = False) -> Pipeline:
    """Build the pipeline.

    Args:
        arms: names of the arms whose results are reported.
        from_files: begin with what was gathered, as it was kept from a finished study.
    """
    arm_cells = {} if from_files else {f"{arm}_cells": f"{arm}.cells" for arm in arms}
    nodes = [
        _node(gather_cells, ["task_data", *TRAINED, "params:storage", *arm_cells], "cells"),
        _node(gather_scores, ["cells", "params:storage"], "scores"),
        _node(gather_curves, ["cells", "params:storage"], ["validations", "updates"]),
        _node(
            advise_on_curves,
            ["cells", "task_data", *TRAINED, "params:review", "params:storage"],
            "advice",
        ),
        _node(
            read_stability,
            ["findings", *TRAINED, "params:review", "params:stability"],
            "stability",
        ),
        _node(
            analyse_study,
            ["scores", "validations", "cells", "task_data", "stability", *PARAMETERS[3:7]],
            "results",
        ),
        _node(tabulate, "results", ["effects", "compound", "claims_audit"]),
        _node(
            gather_context,
            [
                "results",
                "scores",
                "cells",
                "task_data",
                "params:claims",
                "params:halting",
                "params:storage",
            ],
            "context",
        ),
        _node(
            assemble_report,
            [
                "results",
                "validations",
                "updates",
                "cells",
                "task_data",
                "advice",
                "stability",
                "context",
                "params:tasks",
            ],
            "inputs",
        ),
        _node(draw_figures, "inputs", [f"figure_{name}" for name in FIGURES]),
        _node(write_report, "inputs", ["markdown", "html"]),
        _node(write_pages, "inputs", ["examples_page", "figures_page"]),
        _node(index_documents, {name: name for name in DOCUMENTS}, "index"),
        _node(write_timing, ["inputs", "cells"], ["minutes", "summary"]),
    ]
    outer = arm_cells | {"task_data": "task_data", "findings": "stability.findings"}
    if from_files:
        nodes = [node for node in nodes if node.name not in GATHERED]
        outer = {"task_data": "task_data"}
    used = {name for node in nodes for name in node.inputs if name.startswith("params:")}
    return Pipeline(nodes, namespace="reporting", inputs=outer, parameters=used)


def _node(function: Callable[..., Any], inputs: Any, outputs: Any) -> Node:
    """A node that is called as its function is; without a name Kedro makes one with a hash."""
    return Node(function, inputs, outputs, name=function.__name__)
