"""Figures of the stability study (Plotly)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from hybrid_pipeline.curves.curve import FloatArray, StabilityCurve
from hybrid_pipeline.plot_style import arm_color, arm_dash, finish
from hybrid_pipeline.stability.design import CORRECTED, ORIGINAL
from hybrid_pipeline.stability.report import StabilityReport, TaskStability

MAX_POINTS = 800
HEIGHT = 420
CURVES = "Every line is one seed."
CAPTIONS = {
    "loss": f"Training loss, original against corrected settings, on a log axis. {CURVES}",
    "grad_norm": (
        "Gradient norm before clipping, on a log axis. The largest lie at the start, where the "
        f"weights are new; the norms that decide follow the warm-up. {CURVES}"
    ),
    "diverged": "Share of diverged runs with its Clopper-Pearson interval; few runs leave it wide.",
    "effects": (
        "Corrected minus original: the mean over the fraction's runs at the corrected value minus "
        "that at the original one, with its t interval over seeds, not corrected for four changes."
    ),
}


def loss_figure(curves: Sequence[StabilityCurve], task: str) -> go.Figure:
    """Training loss of every seed, original against corrected settings, on a log axis."""
    return _curve_figure(curves, task, "loss", "Training loss", "loss, nats")


def grad_norm_figure(curves: Sequence[StabilityCurve], task: str) -> go.Figure:
    """Gradient norm before clipping, every seed, on a log axis."""
    return _curve_figure(curves, task, "grad_norm", "Gradient norm before clipping", "global norm")


def effects_figure(report: StabilityReport, task: str, response: str) -> go.Figure:
    """Effect of each of the four changes on one response, with its interval.

    A change without an interval, such as one that differs by nothing, is not drawn.

    Args:
        report: the study.
        task: name of a task of the report.
        response: a key of ``RESPONSES``.
    """
    effects = [
        e
        for e in _task(report, task).main
        if e.response == response and None not in (e.estimate, e.low, e.high)
    ]
    figure = go.Figure()
    for index, effect in enumerate(effects):
        estimate, low, high = (float(v or 0.0) for v in (effect.estimate, effect.low, effect.high))
        figure.add_scatter(
            x=[estimate],
            y=[effect.name],
            mode="markers",
            marker={"size": 11, "color": arm_color(index)},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [high - estimate],
                "arrayminus": [estimate - low],
            },
            name=effect.name,
            showlegend=False,
            hovertemplate=f"{estimate:+.3g} [{low:+.3g}, {high:+.3g}]<extra></extra>",
        )
    figure.add_vline(x=0, line_width=1, line_color="#7A7A7A")
    figure.update_xaxes(title_text="corrected minus original")
    return finish(figure, f"{task}: effect of each change on {response}", height=HEIGHT - 100)


def divergence_figure(report: StabilityReport, task: str) -> go.Figure:
    """Share of diverged runs of every setting with the Clopper-Pearson interval."""
    rates = _task(report, task).rates
    shares = [rate.count / rate.total for rate in rates.values()]
    figure = go.Figure(
        go.Scatter(
            x=[100 * share for share in shares],
            y=list(rates),
            mode="markers",
            marker={"size": 11, "color": arm_color(3)},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [100 * (r.high - s) for r, s in zip(rates.values(), shares, strict=True)],
                "arrayminus": [
                    100 * (s - r.low) for r, s in zip(rates.values(), shares, strict=True)
                ],
            },
        )
    )
    figure.update_xaxes(title_text="diverged runs, %", range=[-2, 102])
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(rates),
        ticktext=[name.replace("_and_", " +<br>") for name in rates],  # room on a phone
    )
    return finish(figure, f"{task}: diverged runs", height=HEIGHT)


def _curve_figure(
    curves: Sequence[StabilityCurve], task: str, attribute: str, title: str, axis: str
) -> go.Figure:
    figure = go.Figure()
    for index, setting in enumerate((ORIGINAL, CORRECTED)):
        chosen = [c for c in curves if c.setting == setting and c.tasks == task]
        for position, curve in enumerate(chosen):
            x, y = thin_out(curve.step, getattr(curve, attribute))
            figure.add_scatter(
                x=x,
                y=y,
                mode="lines",
                line={"color": arm_color(1 + 2 * index), "dash": arm_dash(index), "width": 1.2},
                opacity=0.75,
                name=setting,
                legendgroup=setting,
                showlegend=position == 0,
                hovertemplate=f"{setting}, seed {curve.seed}: %{{y:.3g}} at %{{x}}<extra></extra>",
            )
    figure.update_yaxes(type="log", title_text=axis)
    figure.update_xaxes(title_text="update")
    return finish(figure, f"{task}: {title.lower()}", height=HEIGHT)


def thin_out(step: FloatArray, values: FloatArray) -> tuple[list[float], list[float | None]]:
    """At most ``MAX_POINTS`` points; each keeps the largest value of its stretch (spikes stay).

    A stretch with a non-finite value becomes a gap.
    """
    if not len(step):
        return [], []
    pieces = np.array_split(np.arange(len(step)), min(MAX_POINTS, len(step)))
    x = [float(step[piece[-1]]) for piece in pieces]
    peaks = [float(np.max(values[piece])) for piece in pieces]
    return x, [peak if np.isfinite(peak) else None for peak in peaks]


def _task(report: StabilityReport, task: str) -> TaskStability:
    for outcome in report.tasks:
        if outcome.task == task:
            return outcome
    names = ", ".join(outcome.task for outcome in report.tasks)
    raise ValueError(f"no task {task!r} in this report; expected one of {names}")
