"""All figures of a report by name; Kedro saves them as ``figures/<name>.json``."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from textwrap import wrap

import plotly.graph_objects as go

from hybrid_pipeline.report.all_claims_figure import all_claims
from hybrid_pipeline.report.claim_figures import claimed_vs_measured
from hybrid_pipeline.report.compound_figures import compounding, shares
from hybrid_pipeline.report.effect_figures import forest, waterfall
from hybrid_pipeline.report.halting import halting_by_depth
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.length_figure import gain_by_length
from hybrid_pipeline.report.path_figure import paths_over_training
from hybrid_pipeline.report.score_figures import heatmap, learning_curves
from hybrid_pipeline.report.wording import readable

BANNER_CHARACTERS = 66  # of a line: what the side panel of Kedro-Viz shows
ROOM = 0.12  # of the figure's height, for the banner; Kedro-Viz sets margins of its own
ADVICE = " What would help:"  # stands in the report; a figure has no room for it
PALE = 0.45  # as in page.css

BUILDERS: dict[str, Callable[[ReportInputs], go.Figure | None]] = {
    "claimed_vs_measured": lambda inputs: claimed_vs_measured(inputs.results),
    "forest": lambda inputs: forest(inputs.results),
    "heatmap": lambda inputs: heatmap(inputs.results),
    "waterfall": lambda inputs: waterfall(inputs.results),
    "compounding": lambda inputs: compounding(inputs.results),
    "shares": lambda inputs: shares(inputs.results),
    "learning_curves": learning_curves,
    "training_loss": lambda inputs: learning_curves(inputs, "loss"),
    "other_curves": lambda inputs: learning_curves(inputs, others=True),
    "gain_by_length": lambda inputs: gain_by_length(inputs.results),
    "halting_by_depth": halting_by_depth,
    "paths": paths_over_training,
    "all_claims": lambda inputs: all_claims(inputs.results),
}


def figures(inputs: ReportInputs) -> dict[str, go.Figure]:
    """The figures that these inputs can fill; one that has nothing to show is left out."""
    built = {name: build(inputs) for name, build in BUILDERS.items()}
    drawn = inputs.stability.figures if inputs.stability is not None else ()
    return {
        **{name: figure for name, figure in built.items() if figure is not None},
        **{extra.name: go.Figure(extra.figure) for extra in drawn},
    }


def placeholder(text: str) -> go.Figure:
    """A figure that says why there is none, for a catalog that expects a file."""
    figure = go.Figure()
    figure.add_annotation(text=text, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def all_figures(inputs: ReportInputs) -> dict[str, go.Figure]:
    """Every name of ``BUILDERS``; a figure that has nothing to show says so.

    Those of a study below the floor are pale and say what is missing: they are looked at alone, in
    Kedro-Viz.
    """
    built = figures(inputs)
    floor = inputs.results.floor
    if not floor.reached:
        built = {name: _below_the_floor(figure, floor.sentence) for name, figure in built.items()}
    return {name: built.get(name, placeholder("nothing to show here")) for name in BUILDERS}


def _below_the_floor(figure: go.Figure, sentence: str) -> go.Figure:
    lines = wrap(readable(sentence.partition(ADVICE)[0]), BANNER_CHARACTERS)
    small = [f"<sup>{escape(line)}</sup>" for line in lines]
    pale = go.Figure(figure).update_traces(opacity=PALE)
    for axis in pale.select_yaxes():
        low, high = axis.domain or (0.0, 1.0)
        axis.domain = (low * (1 - ROOM), high * (1 - ROOM))
    for words in pale.layout.annotations:
        if words.yref == "paper":
            words.y *= 1 - ROOM
    return pale.update_layout(
        title_text="<br>".join([str(figure.layout.title.text or ""), *small]),
        margin_t=(figure.layout.margin.t or 52) + 18 * len(lines),
    )
