"""Figures of what the components gain together, and whose gain it is."""

from __future__ import annotations

import plotly.graph_objects as go

from hybrid_pipeline.plot_style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, finish
from hybrid_pipeline.report.effect_figures import ROW
from hybrid_pipeline.report.style import error_bars, ratio_axis
from hybrid_pipeline.report.wording import component_label, main_task, task_label
from hybrid_pipeline.stats.results import Interval, StudyResults


def compounding(results: StudyResults) -> go.Figure | None:
    """Additive prediction, multiplicative prediction and the measured total side by side."""
    kept = [c for c in results.compounds if c.additive is not None and c.total is not None]
    if not kept:
        return None
    names = [task_label(c.task) for c in kept]
    looks = (
        ("if points add", [c.additive for c in kept], ORANGE, "diamond"),
        ("if ratios multiply", [c.multiplicative for c in kept], PURPLE, "cross"),
        ("if log-odds add", [c.logit_additive for c in kept], GREEN, "circle"),
    )
    figure = go.Figure()
    totals = [c.total for c in kept if c.total is not None]
    figure.add_trace(
        go.Scatter(
            x=[t.estimate for t in totals],
            y=[i + 0.24 for i in range(len(kept))],
            error_x=error_bars(totals, BLUE, scale=1),
            mode="markers",
            marker={"color": BLUE, "size": 12, "symbol": "square"},
            name="measured, with interval",
        )
    )
    for row, (label, values, color, symbol) in enumerate(looks):
        marker = {"color": color, "size": 11, "symbol": symbol}
        heights = [i - 0.24 + 0.16 * row for i in range(len(kept))]
        figure.add_trace(go.Scatter(x=values, y=heights, mode="markers", marker=marker, name=label))
    figure.add_vline(x=1, line={"color": GREY, "width": 1, "dash": "dash"})
    reached = [1.0, *(v for _, row, _, _ in looks for v in row if v is not None)]
    reached += [bound for t in totals for bound in (t.low, t.high)]
    figure.update_xaxes(**ratio_axis(reached))
    figure.update_xaxes(title_text="full model / baseline (log axis)")
    _name_rows(figure, names)
    title = "Additive, multiplicative, measured"
    return finish(figure, title, height=190 + 64 * len(kept))


def _name_rows(figure: go.Figure, names: list[str]) -> None:
    """Label the heights 0, 1, ... from the top with names."""
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(names))),
        ticktext=names,
        range=[len(names) - 0.5, -0.5],
        showgrid=False,
        ticks="",
    )


def shares(results: StudyResults) -> go.Figure | None:
    """Shapley against cumulative against leave-one-out gains, if the design has them."""
    rows = _share_rows(results)
    if not rows or sum(any(r[i] is not None for r in rows) for i in (1, 2, 3)) < 2:
        return None
    figure = go.Figure()
    names = [component_label(r[0]) for r in rows]
    looks = (
        (1, "Shapley", BLUE, "square", -0.2),
        (2, "cumulative (added in order)", ORANGE, "diamond", 0.0),
        (3, "leave one out (added last)", GREEN, "circle", 0.2),
    )
    for column, label, color, symbol, offset in looks:
        kept = [(i, r[column]) for i, r in enumerate(rows) if r[column] is not None]
        bounds = [b for _, b in kept if isinstance(b, Interval)]
        if bounds:
            marker = {"color": color, "symbol": symbol, "size": 10}
            figure.add_trace(
                go.Scatter(
                    x=[100 * b.estimate for b in bounds],
                    y=[i + offset for i, _ in kept],
                    error_x=error_bars(bounds, color),
                    mode="markers",
                    marker=marker,
                    name=label,
                )
            )
    figure.add_vline(x=0, line={"color": BLACK, "width": 1})
    figure.update_xaxes(title_text="difference, percentage points")
    _name_rows(figure, names)
    return finish(figure, "Whose gain is it?", height=170 + 2 * ROW * len(rows))


ShareRow = tuple[str, Interval | None, Interval | None, Interval | None]


def _share_rows(results: StudyResults) -> list[ShareRow]:
    """(component, Shapley, cumulative, leave one out) on the main task, in points."""
    task = main_task(results)
    shapley = [r for r in results.shapley if r.task == task and r.scale == "difference"]
    if shapley:
        return [(r.component, r.shapley, r.cumulative, r.leave_one_out) for r in shapley]
    last = {
        e.component: e.difference
        for e in results.effects
        if e.kind == "leave_one_out" and e.task == task and e.component
    }
    if not last:
        return []
    return [
        (e.component, None, e.difference, last.get(e.component))
        for e in results.stages(task)
        if e.component
    ]
