"""Below the floor there are figures, and no verdict words anywhere."""

import re

import pandas as pd
import pytest

from hybrid_pipeline.config import EvaluationConfig
from hybrid_pipeline.report.sentences import verdict_sentence
from hybrid_pipeline.report.terminal import terminal_text
from hybrid_pipeline.stats.analysis import Study, analyse
from hybrid_pipeline.stats.text import render_text

FAST = EvaluationConfig(num_resamples=100)
VERDICT_WORDS = re.compile(r"\b(helps|hurts|no meaningful|underpowered|refuted|beats|loses to)\b")
GAINS = {"arm_1_baseline": 0.3, "arm_2_clip": 0.6, "control_random_tower": 0.2}


def judged(table, **fields):
    arms = list(GAINS)
    controls = {"control_random_tower": "arm_2_clip"}
    sets = {"arm_1_baseline": (), "arm_2_clip": ("clip",)}
    return analyse(Study(table, arms, FAST, sets, controls=controls, **fields))


def test_above_the_floor_everything_is_judged(make_table):
    table = make_table(GAINS, seed_sd=0.01).assign(updates=500)
    results = judged(table, min_updates=100, guessing={"maze": 0.2})
    assert results.floor.reached
    assert results.stages()[0].verdict_code == "helps_by_delta"
    assert results.controls[0].beats_control


@pytest.mark.parametrize(
    ("seeds", "updates", "guessing", "words"),
    [
        (range(2), 500, 0.2, "2 seeds, at least 3 are needed"),
        (range(3), 8, 0.2, "8 updates per model, at least 100 are needed"),
        (range(3), 8, 0.2, "What would help: at least 13 times as many training.epochs."),
        (range(3), 8, 0.65, "at least 13 times as many training.epochs or easier examples."),
        (range(3), 500, 0.65, "No arm beat guessing (maze 65.0 %), so nothing is judged"),
    ],
)
def test_below_the_floor_figures_have_no_verdict(make_table, seeds, updates, guessing, words):
    table = make_table(GAINS, seeds=seeds, seed_sd=0.01).assign(updates=updates)
    results = judged(table, min_updates=100, guessing={"maze": guessing}, environment="smoke")
    assert not results.floor.reached
    assert words in results.headline
    assert f"environment smoke, {updates} updates per model, {len(seeds)} seeds" in results.headline
    assert {e.verdict_code for e in results.effects} == {"not_judged"}
    assert results.controls[0].beats_control is None
    opening, stages = verdict_sentence(results)
    assert (opening, stages) == (results.headline, "")
    for text in (render_text(results), terminal_text(results)):
        assert "not judged" in text
        assert not VERDICT_WORDS.search(text), VERDICT_WORDS.search(text)
        assert "mean over tasks" not in text  # of a study with one task
    if len(seeds) > 2:
        assert results.stages()[0].difference is not None  # the figures stay


def test_guessing_must_be_beaten_by_the_interval(make_table):
    """A mean above the majority that its interval reaches is no sign of learning."""
    table = make_table(GAINS, seed_sd=0.05)
    near = judged(table, guessing={"maze": 0.58})
    assert not near.floor.reached
    assert max(a.estimate for a in near.accuracies) > 0.58


def test_a_task_at_the_level_of_guessing_is_left_out_of_the_verdicts(make_table):
    maze, other = make_table(GAINS, seed_sd=0.01), make_table(GAINS, seed_sd=0.01, rng_seed=1)
    table = pd.concat([maze, other.assign(task="lights")], ignore_index=True)
    results = judged(table, guessing={"maze": 0.2, "lights": 0.9})
    assert results.floor.reached
    codes = {e.task: e.verdict_code for e in results.stages("maze") + results.stages("lights")}
    assert codes["lights"] == "not_judged"
    assert codes["maze"] == "helps_by_delta"
    assert "On lights no arm beat guessing, so nothing is judged there." in results.notes
