"""How verdicts, intervals and ratios look in the report's figures.

Colour never carries a meaning alone: verdicts also differ in symbol, arms in dash, claims in
hatching.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hybrid_pipeline.plot_style import BLUE, GREY, VERMILLION
from hybrid_pipeline.report.wording import TIMES, Tone, task_label
from hybrid_pipeline.stats.results import Interval

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
RATIO_TICKS = (  # by preference
    1.0, 2.0, 0.5, 5.0, 0.2, 10.0, 0.1, 1.5, 0.7, 3.0, 1.2, 0.8, 1.4, 0.6, 1.1, 0.9, 1.3, 1.05,
    0.95, 1.02, 0.98, 0.02, 50.0, 0.01, 100.0,
)  # fmt: skip
TICK_DISTANCE = 0.17  # of the axis; closer labels would touch on a phone


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


def task_panels(tasks: Sequence[str]) -> go.Figure:
    """An empty figure with a panel per task, one below the other, over one axis."""
    return make_subplots(
        rows=len(tasks),
        cols=1,
        shared_xaxes=True,
        subplot_titles=[task_label(task) for task in tasks],
        vertical_spacing=0.14 / max(len(tasks) - 1, 1) if len(tasks) > 1 else 0,
    )
