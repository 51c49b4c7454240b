"""A layout as the renderer reads it: text, or a grid as JSON in the form that the tasks use."""

from __future__ import annotations

import json

import numpy as np

from hybrid_pipeline.features.layouts import BLANK, Layout


def prompt_text(layout: Layout) -> str:
    """The text, or ``{"sudoku": clues}`` or ``{"maze": {"right", "down", "start", "goal"}}``."""
    if layout.kind == "text":
        return layout.caption
    if layout.kind == "grid":
        digits = np.array([0 if c == BLANK else int(c) for c in layout.squares])
        return json.dumps({"sudoku": digits.reshape(layout.rows, layout.cols).tolist()})
    walls = np.array(layout.walls).reshape(layout.rows, layout.cols)
    maze = {
        "right": (1 - (walls[:, :-1] & 1)).tolist(),
        "down": (1 - (walls[:-1] >> 1)).tolist(),
        "start": layout.marks[0],
        "goal": layout.marks[1],
    }
    return json.dumps({"maze": maze})
