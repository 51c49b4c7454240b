"""What halting does: accuracy by depth, and the DQN against every other way to choose a depth."""

from __future__ import annotations

import plotly.graph_objects as go

from hybrid_pipeline.plot_style import arm_color, arm_dash, finish
from hybrid_pipeline.report.arm_tables import interval_entry
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.style import task_panels
from hybrid_pipeline.report.tables import Column, Entry, Table
from hybrid_pipeline.report.wording import (
    MINUS,
    arm_label,
    bare,
    percent,
    plural,
    points,
    task_label,
)
from hybrid_pipeline.stats.halting import HaltingRow
from hybrid_pipeline.stats.results import Interval

FIXED = "fixed_"
OTHERS = (("random", "x", "random depth"), ("oracle", "diamond-open", "oracle, reads the label"))


def halting_by_depth(inputs: ReportInputs) -> go.Figure | None:
    """Accuracy after each supervision step, with the DQN where it halts; a panel per task."""
    rows = inputs.halting
    tasks = list(dict.fromkeys(row.task for row in rows))
    if not tasks:
        return None
    figure = task_panels(tasks)
    arms = list(dict.fromkeys(row.arm for row in rows))
    for panel, task in enumerate(tasks, start=1):
        for arm in arms:
            found = [row for row in rows if (row.arm, row.task) == (arm, task)]
            index = inputs.results.arms.index(arm) if arm in inputs.results.arms else len(arms)
            for trace in _traces(found, index, show=panel == 1):
                figure.add_trace(trace, row=panel, col=1)
    figure.update_annotations(x=0, xanchor="left", font={"size": 13})
    figure.update_yaxes(title_text="accuracy, %")
    figure.update_xaxes(title_text="supervision steps", row=len(tasks))
    title = "Accuracy by depth, and where the DQN halts"
    return finish(figure, title, height=130 + 210 * len(tasks))


def _traces(rows: list[HaltingRow], index: int, *, show: bool) -> list[go.Scatter]:
    """The curve of fixed depths; the DQN, the random policy and the oracle as points."""
    fixed = sorted((r for r in rows if r.policy.startswith(FIXED)), key=lambda r: r.steps)
    if not fixed:
        return []
    name, color = arm_label(fixed[0].arm), arm_color(index)
    line = go.Scatter(
        x=[r.steps for r in fixed],
        y=[100 * r.score for r in fixed],
        mode="lines+markers",
        line={"color": color, "dash": arm_dash(index), "width": 2},
        name=f"{name}, fixed depth",
        showlegend=show,
    )
    full = fixed[-1]
    kept = full.kept
    bars = _bars(kept, full.dqn_score - (kept.estimate if kept else 0.0), full.dqn_score, color)
    dqn = _point(full.dqn_steps, full.dqn_score, "star", color, f"{name}, DQN", show=show)
    dqn.update(error_y=bars)
    other = [
        _point(r.steps, r.score, symbol, color, f"{name}, {label}", show=show)
        for policy, symbol, label in OTHERS
        for r in rows
        if r.policy == policy
    ]
    return [line, dqn, *other]


def _point(x: float, y: float, symbol: str, color: str, name: str, *, show: bool) -> go.Scatter:
    marker = {"symbol": symbol, "size": 12, "color": color, "line": {"width": 2, "color": color}}
    return go.Scatter(x=[x], y=[100 * y], mode="markers", marker=marker, name=name, showlegend=show)


def _bars(kept: Interval | None, base: float, score: float, color: str) -> dict[str, object] | None:
    """The interval of the difference to full depth, drawn about the DQN's score."""
    if kept is None:
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": [100 * (base + kept.high - score)],
        "arrayminus": [100 * (score - base - kept.low)],
        "color": color,
        "thickness": 2,
        "width": 5,
    }


def halting_intervals(inputs: ReportInputs) -> Table:
    """The DQN against every other policy: points kept and steps saved, with intervals."""
    columns = (
        Column("Arm", "left"),
        Column("Task", "left"),
        Column("Against", "left"),
        Column("Accuracy", group="the other policy"),
        Column("Steps", group="the other policy"),
        Column("Accuracy", group="DQN"),
        Column("Steps", group="DQN"),
        Column("Points kept", group="DQN minus the other"),
        Column("Steps saved", group="DQN minus the other"),
    )
    rows = [
        [
            Entry(arm_label(row.arm)),
            Entry(task_label(row.task)),
            Entry(_policy(row)),
            Entry(percent(row.score)),
            Entry(bare(row.steps)),
            Entry(percent(row.dqn_score)),
            Entry(bare(row.dqn_steps)),
            interval_entry(row.kept) if row.kept else Entry(points(row.dqn_score - row.score)),
            _steps_entry(row),
        ]
        for row in inputs.halting
    ]
    notes = (
        "On the same weights. Points kept: accuracy of the DQN minus that of the other policy; "
        "steps saved: steps of the other minus those of the DQN; in brackets intervals over seeds "
        "and examples. The oracle reads the label: an optimistic bound that no policy can reach.",
    )
    return Table("halting-intervals", "What halting keeps and saves", columns, rows, notes)


def _policy(row: HaltingRow) -> str:
    if row.policy.startswith(FIXED):
        return f"fixed, {plural(int(row.policy.removeprefix(FIXED)), 'step')}"
    return dict((policy, label) for policy, _, label in OTHERS).get(row.policy, row.policy)


def _steps_entry(row: HaltingRow) -> Entry:
    saved = row.saved
    if saved is None:
        return Entry(bare(row.steps - row.dqn_steps))
    bounds = f"[{saved.low:.2f}, {saved.high:.2f}]".replace("-", MINUS)
    return Entry(bare(saved.estimate), bounds)
