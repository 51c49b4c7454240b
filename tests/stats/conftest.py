"""Small score tables with known contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

CHAIN = ("arm_1_baseline", "arm_2_clip", "arm_3_n2n", "arm_4_trm", "arm_5_coconut")


def table_of(
    accuracies: Mapping[str, float],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    num_examples: int = 100,
    tasks: Sequence[str] = ("maze",),
    seed_sd: float = 0.0,
    slots: int | None = None,
    rng_seed: int = 0,
) -> pd.DataFrame:
    """A table in which an arm answers a fixed share of the examples, plus seed noise."""
    rng = np.random.default_rng(rng_seed)
    rows = []
    for task in tasks:
        for arm, accuracy in accuracies.items():
            for seed in seeds:
                wanted = accuracy + rng.normal(0, seed_sd)
                num = int(np.clip(round(wanted * num_examples), 0, num_examples))
                right = np.arange(num_examples) < num
                for example, correct in enumerate(right):
                    rows.append((arm, seed, task, example, int(correct)))
    frame = pd.DataFrame(rows, columns=["arm", "seed", "task", "example", "correct"])
    if slots is not None:
        frame["slots_total"] = slots
        frame["slots_correct"] = np.where(frame["correct"] == 1, slots, 1)
        frame["supervision_steps"] = 2.0
    return frame


@pytest.fixture
def make_table():
    return table_of


@pytest.fixture
def chain():
    return CHAIN
