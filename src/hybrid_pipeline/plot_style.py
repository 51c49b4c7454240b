"""How every figure looks: Okabe-Ito colours, marks that survive grey print, room for a phone."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

# Okabe & Ito (2008), "Color Universal Design".
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, LIGHT, INK, BAND = "#7A7A7A", "#D9D9D9", "#1B1F24", "rgba(0,0,0,0.07)"

# What the page puts in the place of a colour where the reader's system is dark; keys in lower case.
DARK_COLORS = {
    "white": "#12161c", "#000000": "#e6e9ed", "#1b1f24": "#e6e9ed", "#e8e8e8": "#2b333d",
    "#8c8c8c": "#76818c", "#4d4d4d": "#c3c9d0", "#7a7a7a": "#9aa5b1", "#0072b2": "#4aa8e8",
    "#d55e00": "#f07f2e", "#c9c9c9": "#4b5560", "#d9d9d9": "#3a434d", "#a6a6a6": "#7d8894",
    "rgba(0,0,0,0.07)": "rgba(255,255,255,0.10)",
}  # fmt: skip

# Instead of what a black or a white paper would hide, for a figure that may be shown on either.
EITHER_THEME = {
    BLACK: "#8C8C8C", INK: "#8C8C8C", "#4D4D4D": "#8C8C8C", BAND: "rgba(128,128,128,0.2)",
    "#E8E8E8": "rgba(128,128,128,0.25)",
}  # fmt: skip

ARM_COLORS = ("#4D4D4D", ORANGE, GREEN, BLUE, PURPLE, SKY, VERMILLION, YELLOW)
ARM_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "solid", "dash", "dot")
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
