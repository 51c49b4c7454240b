"""How every figure looks: Okabe-Ito colours, marks that survive grey print, room for a phone.

Colour never carries a meaning alone: verdicts also differ in symbol, arms in dash, claims in
hatching.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import Any

import plotly.graph_objects as go

from hybrid_pipeline.report.wording import TIMES, Tone
from hybrid_pipeline.stats.results import Interval

# Okabe & Ito (2008), "Color Universal Design".
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, LIGHT, INK, BAND = "#7A7A7A", "#D9D9D9", "#1B1F24", "rgba(0,0,0,0.07)"

TONE_COLORS: dict[Tone, str] = {
    "gain": BLUE,
    "loss": VERMILLION,
    "none": "#4D4D4D",
    "open": GREY,
    "blank": GREY,
}
TONE_SYMBOLS: dict[Tone, str] = {
    "gain": "triangle-right",
    "loss": "triangle-left",
    "none": "square",
    "open": "circle-open",
    "blank": "x-thin-open",
}
TONE_LABELS: dict[Tone, str] = {
    "gain": "helps",
    "loss": "hurts",
    "none": "no meaningful or detectable effect",
    "open": "underpowered",
    "blank": "not evaluable",
}
ARM_COLORS = ("#4D4D4D", ORANGE, GREEN, BLUE, PURPLE, SKY, VERMILLION, YELLOW)
ARM_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "solid", "dash", "dot")
RATIO_TICKS = (  # by preference
    1.0, 2.0, 0.5, 5.0, 0.2, 10.0, 0.1, 1.5, 0.7, 3.0, 1.2, 0.8, 1.1, 0.9, 1.05, 0.95, 1.02, 0.98,
    0.02, 50.0, 0.01, 100.0,
)  # fmt: skip
TICK_DISTANCE = 0.17  # of the axis; closer labels would touch on a phone
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
AXIS: dict[str, Any] = {
    "showgrid": True,
    "gridcolor": "#E8E8E8",
    "zeroline": False,
    "linecolor": "#8C8C8C",
    "ticks": "outside",
    "tickcolor": "#8C8C8C",
    "ticklen": 4,
    "automargin": True,
    "fixedrange": True,
    "title": {"standoff": 6, "font": {"size": 12}},
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "colorway": list(ARM_COLORS),
        "margin": {"l": 12, "r": 14, "t": 52, "b": 40, "pad": 2},
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": -0.12,
            "yanchor": "top",
            "font": {"size": 12},
        },
        "hoverlabel": {"font": {"family": FONT, "size": 12}},
        "xaxis": AXIS,
        "yaxis": AXIS,
    }
)


def arm_color(index: int) -> str:
    """The colour of the arm at this place of the chain."""
    return ARM_COLORS[index % len(ARM_COLORS)]


def arm_dash(index: int) -> str:
    """The line dash of the arm at this place of the chain."""
    return ARM_DASHES[index % len(ARM_DASHES)]


def error_bars(bounds: Sequence[Interval], color: str, *, scale: float = 100) -> dict[str, Any]:
    """Plotly error bars from intervals; ``scale`` 100 turns fractions into points."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [scale * (b.high - b.estimate) for b in bounds],
        "arrayminus": [scale * (b.estimate - b.low) for b in bounds],
        "color": color,
        "thickness": 2.5,
        "width": 5,
    }


def ratio_axis(values: Sequence[float]) -> dict[str, Any]:
    """A log axis of ratios over these values, with few round ticks even where it is short."""
    low, high = min(values), max(values)
    pad = max((high / low) ** 0.06, 1.02)
    low, high = low / pad, high * pad
    apart = TICK_DISTANCE * log10(high / low)
    ticks: list[float] = []
    for tick in RATIO_TICKS:
        if low <= tick <= high and all(abs(log10(tick / t)) >= apart for t in ticks):
            ticks.append(tick)
    return {
        "type": "log",
        "range": [log10(low), log10(high)],
        "tickmode": "array",
        "tickangle": 0,
        "tickvals": sorted(ticks),
        "ticktext": [f"{TIMES}{t:g}" for t in sorted(ticks)],
    }


def finish(figure: go.Figure, title: str, *, height: int) -> go.Figure:
    """Give a figure its title, height and the common template.

    The legend stands a fixed number of pixels below the plot whatever the height.
    """
    figure.update_layout(
        template=TEMPLATE,
        title={"text": title, "x": 0, "xref": "paper", "font": {"size": 15}},
        height=height,
        legend_y=-62 / max(height - 100, 60),
    )
    return figure
