"""The figure of every single claim over the band of the measured gain."""

from __future__ import annotations

import plotly.graph_objects as go

from hybrid_pipeline.plot_style import BLACK, BLUE, GREY, finish
from hybrid_pipeline.report.audit_tables import claim_bounds, claimed_text, gain_claims
from hybrid_pipeline.report.claim_figures import (
    at_edge,
    by_component,
    lower_limit,
    measured_gain,
    upper_limit,
)
from hybrid_pipeline.report.style import TONE_COLORS
from hybrid_pipeline.report.wording import CLAIM_TONES, component_label
from hybrid_pipeline.stats.results import ClaimVerdict, Interval, StudyResults


def all_claims(results: StudyResults) -> go.Figure | None:
    """Every claimed gain as its own line, over the band of the measured interval."""
    groups = by_component(gain_claims(results))
    if not groups or all(len(claims) == 1 for claims in groups.values()):
        return None
    figure = go.Figure()
    limits = [lower_limit(groups), upper_limit(groups)]
    labels: list[tuple[float, str]] = []
    position = 0.0
    for name, claims in groups.items():
        labels.append((position, f"<b>{component_label(name)}</b>"))
        top = position
        for claim in claims:
            position += 1
            labels.append((position, claim.section))
            figure.add_trace(_claim_line(claim, position))
            if 100 * claim_bounds(claim)[0] > limits[1]:
                at_edge(figure, position, f"{claimed_text(claim)} \N{RIGHTWARDS ARROW}")
        _measured_band(figure, measured_gain(claims), top + 0.45, position + 0.45)
        position += 1.2
    figure.add_vline(x=0, line={"color": BLACK, "width": 1})
    figure.update_xaxes(title_text="relative gain in accuracy, %", ticksuffix=" %", range=limits)
    figure.update_yaxes(
        tickmode="array",
        tickvals=[y for y, _ in labels],
        ticktext=[_short(text) for _, text in labels],
        range=[position, -0.8],
        showgrid=False,
        ticks="",
    )
    figure.update_layout(showlegend=False)
    return finish(figure, "Every claimed gain", height=110 + 24 * len(labels))


def _claim_line(claim: ClaimVerdict, position: float) -> go.Scatter:
    low, high = claim_bounds(claim)
    tone = CLAIM_TONES[claim.verdict_code]
    color = TONE_COLORS["loss"] if tone == "loss" else GREY
    return go.Scatter(
        x=[100 * low, 100 * high],
        y=[position, position],
        mode="lines+markers",
        line={"color": color, "width": 3},
        marker={
            "symbol": "x" if tone == "loss" else "circle-open",
            "size": 9,
            "color": color,
            "line": {"width": 2, "color": color},
        },
        hovertemplate=f"claimed {claimed_text(claim)}: {claim.verdict}<extra></extra>",
    )


def _measured_band(figure: go.Figure, measured: Interval | None, top: float, low: float) -> None:
    if measured is None:
        return
    figure.add_shape(
        type="rect",
        x0=100 * measured.low,
        x1=100 * measured.high,
        y0=top,
        y1=low,
        fillcolor=BLUE,
        opacity=0.18,
        line_width=0,
        layer="below",
    )
    figure.add_shape(
        type="line",
        x0=100 * measured.estimate,
        x1=100 * measured.estimate,
        y0=top,
        y1=low,
        line={"color": BLUE, "width": 2},
    )


def _short(text: str, limit: int = 26) -> str:
    return text if len(text) <= limit or text.startswith("<") else text[: limit - 1] + "\u2026"
