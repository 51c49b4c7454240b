"""Whether COCONUT's paths differ, over training."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hybrid_pipeline.plot_style import arm_color, arm_dash, finish
from hybrid_pipeline.report.inputs import LearningCurve, ReportInputs
from hybrid_pipeline.report.wording import arm_label, task_label

PANELS = (("disagreement", 100.0, "paths disagree, % of slots"), ("entropy", 1.0, "entropy, nats"))


def paths_over_training(inputs: ReportInputs) -> go.Figure | None:
    """Disagreement of the paths and entropy of their weights by step; a line per seed and task."""
    curves = [c for c in inputs.curves if any(v is not None for v in c.disagreement)]
    if not curves:
        return None
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.1)
    tasks = list(dict.fromkeys(c.task for c in curves))
    arms = list(dict.fromkeys(c.arm for c in curves))
    shown: set[tuple[str, str]] = set()
    for curve in sorted(curves, key=lambda c: (c.arm, c.task, c.seed)):
        for row, (name, factor, _) in enumerate(PANELS, start=1):
            index = tasks.index(curve.task) + len(tasks) * arms.index(curve.arm)
            group = (curve.arm, curve.task)
            line = _line(curve, name, factor, index, show=row == 1 and group not in shown)
            figure.add_trace(line, row=row, col=1)
            shown.add(group)
    for row, (_, _, title) in enumerate(PANELS, start=1):
        figure.update_yaxes(title_text=title, rangemode="tozero", row=row)
    figure.update_xaxes(title_text="optimiser step", row=2)
    return finish(figure, "Do the paths differ? Over training, every seed", height=520)


def _line(curve: LearningCurve, name: str, factor: float, index: int, *, show: bool) -> go.Scatter:
    values = getattr(curve, name)
    kept = [(s, v) for s, v in zip(curve.steps, values, strict=True) if v is not None]
    label = f"{arm_label(curve.arm)}, {task_label(curve.task)}"
    return go.Scatter(
        x=[s for s, _ in kept],
        y=[factor * v for _, v in kept],
        mode="lines",
        line={"color": arm_color(index + 1), "dash": arm_dash(index), "width": 1.8},
        name=label,
        legendgroup=label,
        showlegend=show,
        hovertemplate=f"{label}, seed {curve.seed}<br>step %{{x}}: %{{y:.3~g}}<extra></extra>",
    )
