"""Figures of scores: arms by tasks, learning curves with every seed, cost against accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from textwrap import wrap
from typing import Literal

import plotly.graph_objects as go

from hybrid_pipeline.plot_style import INK, arm_color, arm_dash, finish
from hybrid_pipeline.report.arm_tables import accuracy_of, mean_accuracy
from hybrid_pipeline.report.effect_figures import task_groups
from hybrid_pipeline.report.inputs import LearningCurve, ReportInputs
from hybrid_pipeline.report.style import task_panels
from hybrid_pipeline.report.wording import arm_label, interval_text, percent, task_label
from hybrid_pipeline.stats.results import StudyResults

Measure = Literal["validation", "loss"]


def heatmap(results: StudyResults) -> go.Figure | None:
    """Accuracy of every arm on every task; the numbers stand in the cells."""
    tasks = task_groups(results)
    values = [[mean_accuracy(results, arm, t) for t in tasks] for arm in results.arms]
    if not any(v is not None for row in values for v in row):
        return None
    shown = [[None if v is None else 100 * v for v in row] for row in values]
    figure = go.Figure(
        go.Heatmap(
            z=shown,
            x=["<br>".join(wrap(task_label(t), 12)) for t in tasks],
            y=[arm_label(a) for a in results.arms],
            colorscale="Cividis",
            xgap=3,
            ygap=3,
            showscale=False,
            hoverongaps=False,
            hovertemplate="%{y}, %{x}: %{z:.1f} %<extra></extra>",
        )
    )
    low, high = _range([v for row in shown for v in row if v is not None])
    for y, arm in enumerate(results.arms):
        for x, task in enumerate(tasks):
            value = shown[y][x]
            bright = value is not None and high > low and (value - low) / (high - low) > 0.55
            figure.add_annotation(
                x=x,
                y=y,
                text=_cell_text(results, arm, task),
                showarrow=False,
                font={
                    "size": 12,
                    "color": INK if value is None else "#111111" if bright else "#FFFFFF",
                },
            )
    figure.update_xaxes(side="top", tickangle=0, showgrid=False, ticks="")
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="")
    figure = finish(figure, "Accuracy, arms by tasks", height=120 + 52 * len(results.arms))
    figure.update_layout(margin_t=84, margin_b=16)
    return figure


def _range(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _cell_text(results: StudyResults, arm: str, task: str) -> str:
    row = accuracy_of(results, arm, task)
    if row is None:
        value = mean_accuracy(results, arm, task)
        return "missing" if value is None else f"<b>{percent(value)}</b>"
    bounds = interval_text(row.interval, signed=False)
    small = f'<br><span style="font-size:10px">{bounds}</span>' if bounds else ""
    return f"<b>{percent(row.estimate)}</b>{small}"


def learning_curves(
    inputs: ReportInputs, measure: Measure = "validation", *, others: bool = False
) -> go.Figure | None:
    """The mean over seeds of every arm in the band of its seeds, one panel for every task.

    Args:
        inputs: the curves.
        measure: validation score or training loss.
        others: the arms outside the chain (subsets, controls) instead of the chain.
    """
    curves = _chosen(inputs, measure, others=others)
    tasks = [t for t in inputs.results.tasks if any(c.task == t for c in curves)]
    if not tasks:
        return None
    figure = task_panels(tasks)
    chain = () if others else inputs.results.arms
    arms = list(dict.fromkeys([*chain, *(c.arm for c in curves)]))
    labelled: set[str] = set()
    for row, task in enumerate(tasks, start=1):
        for index, arm in enumerate(arms):
            seeds = [c for c in curves if (c.task, c.arm) == (task, arm)]
            if seeds:
                show = arm not in labelled
                for trace in _band(seeds, index, measure, show=show):
                    figure.add_trace(trace, row=row, col=1)
                labelled.add(arm)
    figure.update_annotations(x=0, xanchor="left", font={"size": 13})
    if measure == "validation":
        figure.update_yaxes(title_text="validation, %")
    else:
        figure.update_yaxes(title_text="loss (log)", type="log", dtick="D2", tickformat="~g")
    figure.update_xaxes(title_text="optimiser step", row=len(tasks))
    figure.update_layout(legend_traceorder="normal")
    what = "Validation score" if measure == "validation" else "Training loss"
    where = ", other arms" if others else ""
    return finish(
        figure, f"{what} by arm, mean and range over seeds{where}", height=120 + 250 * len(tasks)
    )


def _chosen(inputs: ReportInputs, measure: Measure, *, others: bool) -> list[LearningCurve]:
    return [
        c
        for c in inputs.curves
        if any(v is not None for v in getattr(c, measure))
        and (c.arm not in inputs.results.arms) is others
    ]


def _band(
    curves: Sequence[LearningCurve], index: int, measure: Measure, *, show: bool
) -> Iterator[go.Scatter]:
    """The range over the seeds as a band, if there are several, and their mean as a line."""
    factor = 100 if measure == "validation" else 1
    values: dict[int, list[float]] = {}
    for curve in curves:
        for step, value in zip(curve.steps, getattr(curve, measure), strict=True):
            if value is not None:
                values.setdefault(step, []).append(factor * value)
    steps = sorted(step for step, found in values.items() if len(found) == len(curves))
    arm = curves[0].arm
    if len(curves) > 1:
        low, high = [min(values[s]) for s in steps], [max(values[s]) for s in steps]
        yield go.Scatter(
            x=[*steps, *reversed(steps)],
            y=[*high, *reversed(low)],
            fill="toself",
            fillcolor=arm_color(index),
            opacity=0.18,
            line={"width": 0},
            mode="lines",
            name=f"{arm_label(arm)}, range over seeds",
            legendgroup=arm,
            showlegend=False,
            hoverinfo="skip",
        )
    yield go.Scatter(
        x=steps,
        y=[fmean(values[s]) for s in steps],
        mode="lines",
        line={"color": arm_color(index), "dash": arm_dash(index), "width": 2},
        name=arm_label(arm),
        legendgroup=arm,
        legendrank=index + 1,
        showlegend=show,
        hovertemplate=f"{arm_label(arm)}, mean of {len(curves)}<br>step %{{x}}: %{{y:.3~g}}"
        "<extra></extra>",
    )
