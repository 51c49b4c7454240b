"""Figures of claims: what was claimed beside what was measured, and the ceiling."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from hybrid_pipeline.plot_style import BLACK, ORANGE, finish
from hybrid_pipeline.report.audit_tables import claim_bounds, claimed_text, gain_claims
from hybrid_pipeline.report.style import TONE_COLORS, TONE_LABELS, error_bars
from hybrid_pipeline.report.wording import (
    TONES,
    Tone,
    component_label,
    interval_text,
    main_task,
    signed_percent,
)
from hybrid_pipeline.stats.results import ClaimVerdict, Interval, StudyResults

OFFSET = 0.2
EDGE = 0.47  # of a row, above or below its bars
ROW = 54  # pixels
CEILING = 26  # the mark's size; Plotly draws it 1.4 times as long, which is the height of the bars
TOOLBAR = 0.5  # of a row, kept free above words that stand over the first row


def claimed_vs_measured(results: StudyResults) -> go.Figure | None:
    """For every component the span of all claims above the measured gain with its interval.

    The black mark is the ceiling of the measured baseline.
    """
    found = by_component(gain_claims(results))
    groups = {name: c for name, c in found.items() if measured_gain(c) is not None} or found
    if not groups:
        return None
    figure = go.Figure()
    figure.add_trace(_claim_bars(groups))
    figure.add_trace(_claim_marks(groups))
    tones = [_tone(results, name) for name in groups]
    for tone in dict.fromkeys(tones):
        figure.add_trace(_measured_bars(groups, tones, tone))
    limit = upper_limit(groups)
    _ceilings(figure, groups, limit)
    _claims_beyond(figure, groups, limit)
    figure.add_vline(x=0, line={"color": BLACK, "width": 1})
    figure.update_xaxes(
        title_text="relative gain in accuracy, %",
        ticksuffix=" %",
        range=[lower_limit(groups), limit],
    )
    names = [component_label(name) for name in groups]
    room = TOOLBAR if any(words.y < 0 for words in figure.layout.annotations) else 0.0
    figure.update_yaxes(
        tickmode="array",
        tickvals=list(range(len(names))),
        ticktext=names,
        range=[len(names) - 0.45, -0.55 - room],
        showgrid=False,
        ticks="",
    )
    figure.update_layout(barmode="overlay", bargap=0)
    height = round(150 + ROW * (len(names) + room))
    return finish(figure, "Claimed (estimates) against measured", height=height)


def by_component(claims: Sequence[ClaimVerdict]) -> dict[str, list[ClaimVerdict]]:
    """Claims grouped by what they are about, the total last."""
    groups: dict[str, list[ClaimVerdict]] = {}
    for claim in claims:
        groups.setdefault(claim.component, []).append(claim)
    if "total" in groups:  # the whole comes last
        groups["total"] = groups.pop("total")
    return groups


def claimed_span(claims: Sequence[ClaimVerdict]) -> tuple[float, float]:
    """The lowest and the highest gain that any of the claims states."""
    bounds = [claim_bounds(c) for c in claims]
    return min(b[0] for b in bounds), max(b[1] for b in bounds)


def measured_gain(claims: Sequence[ClaimVerdict]) -> Interval | None:
    """The measured gain that the claims are held against, if there is one."""
    return next((c.measured for c in claims if c.measured is not None), None)


def _claim_bars(groups: dict[str, list[ClaimVerdict]]) -> go.Bar:
    spans = [claimed_span(claims) for claims in groups.values()]
    return go.Bar(
        y=[i - OFFSET for i in range(len(spans))],
        base=[100 * low for low, _ in spans],
        x=[max(100 * (high - low), 0.4) for low, high in spans],
        orientation="h",
        width=0.3,
        name="claimed: lowest to highest statement",
        marker={
            "color": ORANGE,
            "pattern": {"shape": "/", "fillmode": "overlay", "fgcolor": "white", "size": 6},
            "line": {"color": ORANGE, "width": 1},
        },
        hovertext=[_claims_text(claims) for claims in groups.values()],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _claims_text(claims: Sequence[ClaimVerdict]) -> str:
    return "<br>".join(f"claimed {claimed_text(c)} ({c.section})" for c in claims)


def _claim_marks(groups: dict[str, list[ClaimVerdict]]) -> go.Scatter:
    """A diamond for every single-figure claim; ranges are in the bar."""
    singles = [
        (i - OFFSET, claim)
        for i, claims in enumerate(groups.values())
        for claim in claims
        if claim_bounds(claim)[0] == claim_bounds(claim)[1]
    ]
    return go.Scatter(
        x=[100 * claim_bounds(c)[0] for _, c in singles],
        y=[y for y, _ in singles],
        mode="markers",
        name="claimed: a single figure",
        marker={
            "symbol": "diamond",
            "size": 12,
            "color": ORANGE,
            "line": {"color": BLACK, "width": 1.5},
        },
        text=[f"claimed {claimed_text(c)} ({c.section})" for _, c in singles],
        hovertemplate="%{text}<extra></extra>",
    )


def _tone(results: StudyResults, component: str) -> Tone:
    """The tone of the verdict on what a component, or all of them, gained."""
    task = main_task(results)
    total = results.total(task)
    if component == "total":
        return TONES[total.verdict_code] if total is not None else "blank"
    stages = [e for e in results.stages(task) if component in (e.component, e.arm)]
    return TONES[stages[0].verdict_code] if stages else "blank"


def _measured_bars(
    groups: dict[str, list[ClaimVerdict]], tones: Sequence[Tone], tone: Tone
) -> go.Bar:
    """The measured gains whose verdict has this tone; pale where no gain or loss is shown."""
    found = [
        (i, measured_gain(claims)) for i, claims in enumerate(groups.values()) if tones[i] == tone
    ]
    kept = [(i, m) for i, m in found if m is not None]
    return go.Bar(
        y=[i + OFFSET for i, _ in kept],
        x=[100 * m.estimate for _, m in kept],
        orientation="h",
        width=0.3,
        name=f"measured: {TONE_LABELS[tone]}",
        marker={
            "color": TONE_COLORS[tone] if tone in ("gain", "loss") else "#C9C9C9",
            "line": {"color": TONE_COLORS[tone], "width": 1},
        },
        error_x=error_bars([m for _, m in kept], BLACK),
        hovertext=[
            f"measured {signed_percent(m.estimate)} {interval_text(m, digits=0)}" for _, m in kept
        ],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _ceilings(figure: go.Figure, groups: dict[str, list[ClaimVerdict]], limit: float) -> None:
    """A black bar across the row at the ceiling; beyond the axis its value in words."""
    inside: list[tuple[int, float]] = []
    for i, claims in enumerate(groups.values()):
        ceiling = next((100 * c.ceiling for c in claims if c.ceiling is not None), None)
        if ceiling is None:
            continue
        if ceiling <= limit:
            inside.append((i, ceiling))
        else:
            above = 100 * claimed_span(claims)[1] <= limit  # else the claim's words stand there
            at_edge(
                figure,
                i + (-EDGE if above else EDGE),
                f"ceiling {ceiling:+z.0f} % \N{RIGHTWARDS ARROW}",
            )
    figure.add_trace(
        go.Scatter(
            x=[c for _, c in inside],
            y=[i for i, _ in inside],
            mode="markers",
            name="ceiling of the measured baseline",
            marker={
                "symbol": "line-ns",
                "size": CEILING,
                "line": {"color": BLACK, "width": 3},
                "color": BLACK,
            },
            hovertemplate="ceiling %{x:+.0f} %<extra></extra>",
            visible=True if inside else "legendonly",
            showlegend=bool(inside),
        )
    )


def _claims_beyond(figure: go.Figure, groups: dict[str, list[ClaimVerdict]], limit: float) -> None:
    for i, claims in enumerate(groups.values()):
        high = 100 * claimed_span(claims)[1]
        if high > limit:
            words = f"claimed up to {high:+z.0f} % \N{RIGHTWARDS ARROW}"
            at_edge(figure, i - EDGE, words)


def at_edge(figure: go.Figure, y: float, text: str) -> None:
    """Words at the right edge for what lies beyond the axis."""
    figure.add_annotation(
        x=1,
        xref="x domain",
        xanchor="right",
        y=y,
        showarrow=False,
        text=text,
        font={"size": 11, "color": "#4D4D4D"},
    )


def upper_limit(groups: dict[str, list[ClaimVerdict]]) -> float:
    """The end of the axis in percent: every interval, and claims up to just above the ceilings."""
    highest = max(claimed_span(c)[1] for c in groups.values())
    ceilings = [c.ceiling for claims in groups.values() for c in claims if c.ceiling is not None]
    if ceilings:
        highest = min(highest, 1.15 * max(ceilings))
    highs = [m.high for m in map(measured_gain, groups.values()) if m is not None]
    return max(10.0, 108 * max([highest, *highs]))


def lower_limit(groups: dict[str, list[ClaimVerdict]]) -> float:
    """The start of the axis in percent: zero with some room, or the lowest interval."""
    lows = [m.low for m in map(measured_gain, groups.values()) if m is not None]
    return min(-4.0, 108 * min(lows, default=0.0))
