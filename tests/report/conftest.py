"""Realistic inputs of a report, simulated and analysed as a study would be."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hybrid_pipeline.advisor.notes import AdvisorNote
from hybrid_pipeline.arms import chain, find_arm
from hybrid_pipeline.claims.claims import Claims
from hybrid_pipeline.claims.study import analyse_with_claims
from hybrid_pipeline.config import EvaluationConfig
from hybrid_pipeline.report.inputs import (
    CellFailure,
    CellRecord,
    LearningCurve,
    PolicyScores,
    ReportInputs,
    TaskBaseline,
    TowerDisclosure,
)
from hybrid_pipeline.stability.section import ExtraFigure, ExtraTable, StabilitySection
from hybrid_pipeline.stats.analysis import Study
from hybrid_pipeline.stats.results import StudyResults

TASKS = ("sudoku_4x4", "maze_4x4")
TRUTH: Mapping[str, Sequence[float]] = {
    "arm_1_baseline": (0.45, 0.18),
    "arm_2_clip": (0.66, 0.19),
    "arm_3_n2n": (0.655, 0.18),
    "arm_4_trm": (0.72, 0.34),
    "arm_5_coconut": (0.70, 0.32),
    "subset_T": (0.50, 0.33),
    "subset_K": (0.44, 0.18),
    "subset_CT": (0.725, 0.34),
    "subset_CK": (0.65, 0.185),
    "subset_TK": (0.49, 0.31),
    "subset_CTK": (0.70, 0.33),
    "subset_CNK": (0.64, 0.18),
    "control_random_tower": (0.46, 0.18),
    "control_deep_core": (0.73, 0.25),
    "control_one_path": (0.71, 0.33),
}
CHAIN = tuple(a.name for a in chain() if a.name in TRUTH)


def simulate_scores(
    arms: Sequence[str], seeds: int = 3, examples: int = 300, noise: float = 0.02
) -> pd.DataFrame:
    """A tidy score table with example difficulty, seed effects and a primary metric of slots."""
    rng = np.random.default_rng(7)
    frames = []
    for t, task in enumerate(TASKS):
        ease = rng.normal(0, 0.15, examples)
        for arm in arms:
            for seed in range(seeds):
                share = np.clip(TRUTH[arm][t] + ease + rng.normal(0, noise), 0.01, 0.99)
                slots = rng.binomial(8, share)
                frames.append(
                    pd.DataFrame(
                        {
                            "arm": arm,
                            "seed": seed,
                            "task": task,
                            "example": np.arange(examples),
                            "correct": (slots == 8).astype(int)
                            if t == 0
                            else (rng.random(examples) < share).astype(int),
                            "slots_correct": slots,
                            "slots_total": 8,
                            "supervision_steps": 2 if "trm" in arm else 1,
                        }
                    )
                )
    return pd.concat(frames, ignore_index=True)


def some_claims() -> Claims:
    """A claims file of one's own: single figures, ranges, a sum, one above any ceiling."""

    def gain(component: str, value: Any, section: str) -> dict[str, Any]:
        words = f"{component} brings {value}"
        return {
            "id": f"{component}-{section}", "section": section, "quote": words, "kind": "gain",
            "value": value, "unit": "gain", "component": component,
        }  # fmt: skip

    return Claims.model_validate(
        {
            "source": "invented for this test",
            "statements": [
                gain("clip", 0.30, "slides"),
                gain("clip", (0.05, 0.20), "appendix"),
                gain("n2n", 0.15, "slides"),
                gain("n2n", (0.02, 0.04), "appendix"),
                gain("trm", 0.20, "slides"),
                gain("coconut", 0.12, "slides"),
                gain("total", 0.77, "slides"),
                gain("total", (9.0, 9.5), "dreams"),
                {
                    "id": "sum",
                    "section": "slides",
                    "quote": "30+15+20+12 = 77 %",
                    "kind": "arithmetic",
                    "value": 0.77,
                    "unit": "gain",
                    "recompute": "sum_of_gains",
                    "inputs": {"gains": [0.30, 0.15, 0.20, 0.12]},
                },
                {
                    "id": "product",
                    "section": "slides",
                    "quote": "together +80 %",
                    "kind": "arithmetic",
                    "value": 0.80,
                    "unit": "gain",
                    "recompute": "compound_of_gains",
                    "inputs": {"gains": [0.30, 0.15, 0.20, 0.12]},
                },
            ],
        }
    )


def study(
    arms: Sequence[str] = CHAIN,
    *,
    seeds: int = 3,
    noise: float = 0.02,
    claims: bool = True,
    drop: Sequence[tuple[str, int]] = (),
    level: float = 0.95,
) -> StudyResults:
    """Simulate and analyse; ``drop`` lists (arm, seed) cells that never finished."""
    scores = simulate_scores(arms, seeds, noise=noise)
    for arm, seed in drop:
        scores = scores[~((scores["arm"] == arm) & (scores["seed"] == seed))]
    controls = {a: find_arm(a).control_of or "" for a in arms if a.startswith("control")}
    study = Study(
        scores=scores,
        arms=arms,
        components={a: find_arm(a).components for a in arms},
        metrics={"sudoku_4x4": "slots", "maze_4x4": "correct"},
        chance={"sudoku_4x4": 0.25, "maze_4x4": 0.0},
        evaluation=EvaluationConfig(num_resamples=200, level=level),
        controls=controls,
        seeds=range(seeds),
    )
    return analyse_with_claims(study, some_claims() if claims else None)


def records(results: StudyResults) -> tuple[CellRecord, ...]:
    """Cost and inner life for every cell that has scores."""
    cells = []
    for row in results.accuracies:
        if not row.primary or row.task not in results.tasks:
            continue
        for seed, score in row.by_seed.items():
            cells.append(_record(row.arm, seed, row.task, score))
    return tuple(cells)


def _record(arm: str, seed: int, task: str, score: float) -> CellRecord:
    parts = find_arm(arm).components
    depth = "trm" in parts
    policies = PolicyScores(
        halted=score,
        full_depth=score + 0.006 if depth else None,
        random=max(score - 0.012, 0) if depth else None,
        oracle=min(score + 0.05, 1) if depth else None,
    )
    trained = 199_412 + 14_018 * ("clip" in parts) + 6_640 * ("coconut" in parts)
    return CellRecord(
        arm=arm,
        seed=seed,
        task=task,
        parameters=trained + 221_000 * ("n2n" in parts),
        flops_per_example=2.3e7 * (1 + 0.1 * len(parts) + 2.4 * depth + 1.5 * ("coconut" in parts)),
        mean_steps=1.7 if depth else 1.0,
        policies=policies,
        mean_gate=0.61 if "clip" in parts else None,
        path_disagreement=0.012 if "coconut" in parts else None,
        path_weight_entropy=1.36 if "coconut" in parts else None,
        n2n_error=0.583 if "n2n" in parts else None,
        n2n_identity_error=0.834 if "n2n" in parts else None,
    )


def curves(results: StudyResults) -> tuple[LearningCurve, ...]:
    """Rising validation scores and falling losses that end near the test score."""
    rng = np.random.default_rng(5)
    steps = np.arange(0, 625, 25)
    found = []
    for cell in records(results):
        final = cell.policies.halted or 0.0
        rise = 1 - np.exp(-steps / 160)
        validation = 0.1 + (final - 0.1) * rise + rng.normal(0, 0.008, steps.size)
        loss = 0.5 + 1.1 * np.exp(-steps / 200) + rng.normal(0, 0.02, steps.size)
        found.append(
            LearningCurve(
                arm=cell.arm,
                seed=cell.seed,
                task=cell.task,
                steps=tuple(int(s) for s in steps),
                validation=tuple(round(float(v), 5) for v in validation),
                loss=tuple(round(float(v), 5) for v in loss),
            )
        )
    return tuple(found)


def inputs_of(results: StudyResults, **extra: Any) -> ReportInputs:
    """Full inputs around an analysis."""
    given: dict[str, Any] = {
        "results": results,
        "cells": records(results),
        "curves": curves(results),
        "baselines": (
            TaskBaseline(
                task="sudoku_4x4", majority=0.225, chance=0.25,
                description="4 x 4 Sudoku with 7 to 9 blanks and a unique solution.",
            ),
            TaskBaseline(
                task="maze_4x4", majority=0.014,
                description="4 x 4 maze: mark the squares of the one shortest path from S to G.",
            ),
        ),
        "tower": TowerDisclosure(
            name="bundled (width 96, 2 layers, patch 8)", source="bundled", key="0123456789abcdef",
            sentence="A small open_clip tower pretrained on rendered strings and 4 x 4 layouts.",
        ),
        "provenance": {
            "commit": "0" * 40,
            "keys": {"data": "aaaa", "features": "bbbb"},
            "versions": {"torch": "2.15.0", "timm": "1.0.31"},
            "hardware": "2 CPU cores",
        },
        "disclosures": (
            "Sudoku splits are by puzzle, up to symmetry; the 288 grids fall into two "
            "orbits, so solutions are shared between splits.",
        ),
        **extra,
    }  # fmt: skip
    return ReportInputs(**given)


def extras() -> dict[str, Any]:
    """Failures, advisor and stability, for a report with every section."""
    return {
        "failures": (
            CellFailure(
                arm="arm_4_trm", seed=2, task="maze_4x4", reason="diverged at step 214: loss is NaN"
            ),
        ),
        "advisor": (
            AdvisorNote(
                level="warning", where="5 + COCONUT, maze_4x4", text="still rising at the end",
                suggestion="more epochs",
            ),
        ),
        "stability": StabilitySection(
            points=("Two learning rates, three seeds each.",),
            tables=(
                ExtraTable(
                    title="Loss spikes", columns=("setting", "spikes"), rows=(("3e-4", "2"),)
                ),
            ),
            figures=(
                ExtraFigure(
                    name="stability_maze_loss", caption="Training loss by update.",
                    figure={
                        "data": [{"type": "scatter", "x": [1, 2], "y": [2.0, 1.5]}],
                        "layout": {"title": {"text": "maze: training loss"}, "height": 420},
                    },
                ),
            ),
        ),
    }  # fmt: skip


@pytest.fixture(scope="session")
def default_inputs() -> ReportInputs:
    """Five arms, two tasks, three seeds, with claims."""
    return inputs_of(study())


@pytest.fixture(scope="session")
def sequential_inputs() -> ReportInputs:
    """A look of the sequential ladder, which has a level of its own."""
    return inputs_of(study(level=1 - 0.0158))


@pytest.fixture(scope="session")
def full_inputs() -> ReportInputs:
    """The factorial design with controls, a failure, advisor and stability."""
    return inputs_of(study(tuple(TRUTH), seeds=5, drop=[("arm_4_trm", 2)]), **extras())


@pytest.fixture(scope="session")
def sparse_inputs() -> ReportInputs:
    """Two seeds, no claims, no records: nothing is evaluable."""
    return ReportInputs(results=study(seeds=2, claims=False))


@pytest.fixture(scope="session")
def factorial_inputs() -> ReportInputs:
    """The factorial design without holes."""
    return inputs_of(study(tuple(TRUTH)))


@pytest.fixture(scope="session")
def tiny_png() -> str:
    """A PNG of one grey pixel, in base64."""
    buffer = BytesIO()
    Image.new("L", (1, 1), 128).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture(scope="session")
def leave_one_out_results() -> StudyResults:
    """The chain and the three cells that leave a component out."""
    return study((*CHAIN, "subset_TK", "subset_CTK", "subset_CNK"))
