"""What each stage gains at each training length."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hybrid_pipeline.plot_style import BLACK, arm_color, arm_dash, finish
from hybrid_pipeline.report.effect_figures import task_groups
from hybrid_pipeline.report.style import error_bars
from hybrid_pipeline.report.wording import arm_label, component_label, task_label
from hybrid_pipeline.stats.results import LengthGain, StudyResults

APART = 0.006  # of the axis, between the stages of one length


def gain_by_length(results: StudyResults) -> go.Figure | None:
    """Gain against updates with intervals, a line per stage and a panel per task."""
    gains = [g for g in results.length_gains if g.difference is not None]
    tasks = [t for t in task_groups(results) if any(g.task == t for g in gains)]
    if not tasks or len({g.length for g in gains}) < 2:
        return None
    figure = make_subplots(
        rows=len(tasks),
        cols=1,
        shared_xaxes=True,
        subplot_titles=[task_label(t) for t in tasks],
        vertical_spacing=0.14 / max(len(tasks) - 1, 1) if len(tasks) > 1 else 0,
    )
    counted = all(g.updates is not None for g in gains)
    width = max(_place(g, counted) for g in gains)
    stages = list(dict.fromkeys((g.arm, g.component) for g in gains))
    for row, task in enumerate(tasks, start=1):
        for index, stage in enumerate(stages, start=1):
            found = [g for g in gains if g.task == task and (g.arm, g.component) == stage]
            if found:
                shift = (index - (len(stages) + 1) / 2) * APART * width
                line = _line(found, index, counted, shift, show=row == 1)
                figure.add_trace(line, row=row, col=1)
        figure.add_hline(y=0, row=row, col=1, line={"color": BLACK, "width": 1})
    figure.update_annotations(x=0, xanchor="left", font={"size": 13})
    figure.update_yaxes(title_text="gain, points")
    unit = "updates" if counted else "share of the longest training, %"
    figure.update_xaxes(title_text=unit, row=len(tasks))
    figure.update_xaxes(range=[0, 1.06 * width])
    title = "What each stage gains, by training length"
    return finish(figure, title, height=130 + 220 * len(tasks))


def _place(gain: LengthGain, counted: bool) -> float:
    return float(gain.updates or 0) if counted else 100 * gain.length


def _line(
    gains: list[LengthGain], index: int, counted: bool, shift: float, *, show: bool
) -> go.Scatter:
    gains = sorted(gains, key=lambda g: g.length)
    bounds = [g.difference for g in gains if g.difference is not None]
    name = component_label(gains[0].component) if gains[0].component else arm_label(gains[0].arm)
    color = arm_color(index)
    return go.Scatter(
        x=[_place(g, counted) + shift for g in gains],
        y=[100 * b.estimate for b in bounds],
        error_y=error_bars(bounds, color),
        mode="lines+markers",
        line={"color": color, "dash": arm_dash(index), "width": 2},
        name=f"+ {name}",
        legendgroup=name,
        showlegend=show,
        text=[g.verdict for g in gains],
        hovertemplate=f"{name}: %{{y:+.1f}} points<br>%{{text}}<extra></extra>",
    )
