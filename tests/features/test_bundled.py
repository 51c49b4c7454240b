"""Is the bundled tower of use: a linear probe reads digits in noisy 4 x 4 grids."""

from __future__ import annotations

import json

import numpy as np

from hybrid_pipeline.config import ClipConfig, NoiseConfig, RenderingConfig
from hybrid_pipeline.features.clip import load_tower
from hybrid_pipeline.rendering import noisy_views, render_prompts

RENDERING = RenderingConfig(noise=NoiseConfig(gaussian_std=0.25))
NUM_GRIDS, NUM_TRAIN, BLANK = 130, 30, 0


def grids() -> np.ndarray:
    """Digits 0 (blank) to 4, int64 [n, 4, 4]."""
    rng = np.random.default_rng(0)
    return rng.choice(5, size=(NUM_GRIDS, 4, 4), p=[0.5, 0.125, 0.125, 0.125, 0.125])


def share_of_digits_read(config: ClipConfig) -> float:
    """Ridge regression from the 2 x 2 tokens of a square to its digit, scored on new grids."""
    squares = grids()
    prompts = [json.dumps({"sudoku": grid.tolist()}) for grid in squares]
    ids = np.arange(NUM_GRIDS, dtype=np.int64)
    views = noisy_views(render_prompts(prompts, RENDERING), ids, RENDERING)[:, 0]
    tokens = load_tower(config).encode(views)
    width = tokens.shape[-1]
    merged = tokens.reshape(NUM_GRIDS, 4, 2, 4, 2, width).transpose(0, 1, 3, 2, 4, 5)
    inputs = merged.reshape(NUM_GRIDS, 16, 4 * width).astype(np.float64)
    train = inputs[:NUM_TRAIN].reshape(-1, 4 * width)
    mean, std = train.mean(axis=0), train.std(axis=0) + 1e-6
    wanted = np.eye(5)[squares.reshape(NUM_GRIDS, 16)]
    design = (train - mean) / std
    penalty = 10.0 * np.eye(4 * width)
    targets = wanted[:NUM_TRAIN].reshape(-1, 5)
    weights = np.linalg.solve(
        design.T @ design + penalty, design.T @ (targets - targets.mean(axis=0))
    )
    scores = (inputs[NUM_TRAIN:] - mean) / std @ weights + targets.mean(axis=0)
    answers = squares.reshape(NUM_GRIDS, 16)[NUM_TRAIN:]
    filled = answers != BLANK
    return float((scores.argmax(axis=-1) == answers)[filled].mean())


def test_its_tokens_tell_digits_better_than_random_ones() -> None:
    bundled = share_of_digits_read(ClipConfig())
    random = [share_of_digits_read(ClipConfig(source="random", random_seed=s)) for s in (0, 1)]
    assert bundled > 0.97
    assert bundled > max(random) + 0.02
