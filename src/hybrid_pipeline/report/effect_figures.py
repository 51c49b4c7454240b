"""Figures of single effects: the forest of intervals and the waterfall of factors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import mul

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hybrid_pipeline.plot_style import BAND, BLACK, GREY, finish
from hybrid_pipeline.report.style import (
    TONE_COLORS,
    TONE_LABELS,
    TONE_SYMBOLS,
    error_bars,
    ratio_axis,
)
from hybrid_pipeline.report.wording import (
    TIMES,
    TONES,
    Tone,
    arm_label,
    component_label,
    interval_text,
    main_task,
    points,
    task_label,
    threshold,
)
from hybrid_pipeline.stats.results import Effect, StudyResults

ROW = 30  # pixels a row of a figure takes


def task_groups(results: StudyResults) -> list[str]:
    """The mean over tasks first, then every task; one group if a study has one task."""
    main = main_task(results)
    if len(results.tasks) <= 1:
        return [main]
    return [*dict.fromkeys([main, *results.tasks])]


def forest(results: StudyResults) -> go.Figure | None:
    """Every stage and the total with its interval, against the band of effects too small to matter.

    Thin grey lines are the crossed bootstrap, a sensitivity check.
    """
    rows = _forest_rows(results)
    drawn = [(y, e) for y, e, _ in rows if e is not None and e.difference is not None]
    if not drawn:
        return None
    figure = go.Figure()
    delta = 100 * results.delta
    figure.add_vrect(x0=-delta, x1=delta, fillcolor=BAND, line_width=0, layer="below")
    figure.add_vline(x=0, line={"color": BLACK, "width": 1})
    _bootstrap_lines(figure, drawn)
    _seed_dots(figure, results, drawn)
    for tone in dict.fromkeys(TONES[e.verdict_code] for _, e in drawn):
        members = [(y, e) for y, e in drawn if TONES[e.verdict_code] == tone]
        figure.add_trace(_forest_trace(members, tone))
    figure.update_xaxes(title_text="difference, percentage points")
    figure.update_yaxes(
        tickmode="array",
        tickvals=[y for y, _, _ in rows],
        ticktext=[text for _, _, text in rows],
        range=[rows[-1][0] + 0.8, rows[0][0] - 0.8],
        showgrid=False,
        ticks="",
    )
    title = f"Gains with intervals; grey band: less than {threshold(results.delta)}"
    return finish(figure, title, height=130 + ROW * len(rows))


def _forest_rows(results: StudyResults) -> list[tuple[float, Effect | None, str]]:
    """(position, effect or ``None`` for a heading, label), from top to bottom."""
    rows: list[tuple[float, Effect | None, str]] = []
    position = 0.0
    for task in task_groups(results):
        rows.append((position, None, f"<b>{task_label(task)}</b>"))
        total = results.total(task)
        for effect in [*results.stages(task), *([total] if total is not None else [])]:
            position += 1
            name = component_label(effect.component) if effect.component else effect.arm
            label = "all stages" if effect.kind == "total" else f"+ {name}"
            rows.append((position, effect, label))
        position += 1.3
    return rows


def _forest_trace(members: Sequence[tuple[float, Effect]], tone: Tone) -> go.Scatter:
    bounds = [e.difference for _, e in members if e.difference is not None]
    return go.Scatter(
        x=[100 * b.estimate for b in bounds],
        y=[y for y, _ in members],
        error_x=error_bars(bounds, TONE_COLORS[tone]),
        mode="markers",
        name=TONE_LABELS[tone],
        marker={
            "color": TONE_COLORS[tone],
            "symbol": TONE_SYMBOLS[tone],
            "size": 11,
            "line": {"width": 2, "color": TONE_COLORS[tone]},
        },
        text=[
            f"{arm_label(e.arm)}, {task_label(e.task)}<br>{points(b.estimate)} points "
            f"{interval_text(b)}<br>{e.verdict}"
            for (_, e), b in zip(members, bounds, strict=True)
        ],
        hovertemplate="%{text}<extra></extra>",
    )


def _bootstrap_lines(figure: go.Figure, drawn: Sequence[tuple[float, Effect]]) -> None:
    xs: list[float | None] = []
    ys: list[float | None] = []
    for y, effect in drawn:
        if effect.bootstrap is not None:
            xs += [100 * effect.bootstrap.low, 100 * effect.bootstrap.high, None]
            ys += [y + 0.28, y + 0.28, None]
    if xs:
        line = {"color": "#A6A6A6", "width": 2, "dash": "dot"}
        figure.add_trace(
            go.Scatter(
                x=xs,
                y=ys,
                mode="lines",
                line=line,
                name="bootstrap",
                hoverinfo="skip",
                legendrank=2000,
            )
        )


def _seed_dots(
    figure: go.Figure, results: StudyResults, drawn: Sequence[tuple[float, Effect]]
) -> None:
    """The difference of every seed above its interval: what the interval is made of."""
    by_seed = {(a.arm, a.task): a.by_seed for a in results.accuracies if a.primary}
    dots: list[tuple[float, float, str]] = []
    for y, effect in drawn:
        new = by_seed.get((effect.arm, effect.task), {})
        old = by_seed.get((effect.reference, effect.task), {})
        for seed in sorted(new.keys() & old.keys()):
            dots.append((100 * (new[seed] - old[seed]), y - 0.26, f"seed {seed}"))
    if not dots:
        return
    figure.add_trace(
        go.Scatter(
            x=[x for x, _, _ in dots],
            y=[y for _, y, _ in dots],
            text=[text for _, _, text in dots],
            mode="markers",
            marker={"color": GREY, "size": 5, "symbol": "circle"},
            name="one seed",
            hovertemplate="%{text}: %{x:+.1f} points<extra></extra>",
            legendrank=1900,
        )
    )


def waterfall(results: StudyResults) -> go.Figure | None:
    """The ratio to the baseline after every stage, on a log axis, where factors have lengths."""
    groups = [t for t in task_groups(results) if _ratios(results, t)]
    if not groups:
        return None
    figure = make_subplots(
        rows=len(groups),
        cols=1,
        shared_xaxes=True,
        subplot_titles=[task_label(t) for t in groups],
        vertical_spacing=0.12 / max(len(groups) - 1, 1) if len(groups) > 1 else 0,
    )
    for index, task in enumerate(groups, start=1):
        _waterfall_rows(figure, results, task, index)
    figure.update_annotations(x=0, xanchor="left", font={"size": 13})
    figure.update_xaxes(**ratio_axis([b for t in groups for b in _levels(results, t)]))
    figure.update_xaxes(title_text="ratio to the baseline (log axis)", row=len(groups))
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="")
    figure.update_layout(barmode="overlay", showlegend=False)
    height = 120 + sum(40 + ROW * (len(_ratios(results, t)) + 1) for t in groups)
    return finish(figure, "From the baseline to the full model, factor by factor", height=height)


def _levels(results: StudyResults, task: str) -> list[float]:
    """Every ratio that the waterfall of a task reaches, bounds of the total included."""
    factors = [factor for _, _, factor in _ratios(results, task)]
    compound = results.compound(task)
    total = compound.total if compound is not None else None
    bounds = [total.low, total.high] if total is not None else []
    return [1.0, *accumulate(factors, mul), *bounds]


def _ratios(results: StudyResults, task: str) -> list[tuple[str, str, float]]:
    """(component, arm, ratio) of every stage of the chain, in order."""
    compound = results.compound(task)
    if compound is None:
        return []
    rows = []
    for stage in compound.stages:
        effect = results.effect(stage.arm, stage.reference, task)
        name = effect.component if effect is not None and effect.component else stage.arm
        rows.append((name, stage.arm, stage.ratio))
    return rows


def _waterfall_rows(figure: go.Figure, results: StudyResults, task: str, row: int) -> None:
    level = 1.0
    for name, arm, factor in _ratios(results, task):
        effect = next((e for e in results.stages(task) if e.arm == arm), None)
        tone: Tone = TONES[effect.verdict_code] if effect is not None else "blank"
        label = f"+ {component_label(name)} {TIMES}{factor:.2f}"
        figure.add_trace(_factor_bar(label, level, level * factor, tone), row=row, col=1)
        level *= factor
    compound = results.compound(task)
    if compound is None or compound.total is None:
        return
    total = results.total(task)
    tone = TONES[total.verdict_code] if total is not None else "blank"
    ratio = compound.total.estimate
    bar = _factor_bar(f"all stages {TIMES}{ratio:.2f}", 1.0, ratio, tone)
    bar.update(error_x=error_bars([compound.total], BLACK, scale=1))
    figure.add_trace(bar, row=row, col=1)


def _factor_bar(label: str, start: float, end: float, tone: Tone) -> go.Bar:
    certain = tone in ("gain", "loss")
    stripes = {"shape": "/", "fillmode": "overlay", "fgcolor": "white", "size": 6}
    pattern = {} if certain else {"pattern": stripes}
    return go.Bar(
        y=[label],
        x=[end - start],
        base=[start],
        orientation="h",
        marker={"color": TONE_COLORS[tone], **pattern},
        hovertemplate=f"{label}<br>{TONE_LABELS[tone]}<extra></extra>",
    )
