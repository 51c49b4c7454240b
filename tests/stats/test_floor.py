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
SETS = {"arm_1_baseline": (), "arm_2_clip": ("clip",), "arm_3_n2n": ("clip", "n2n")}


def judged(table, **fields):
    arms = list(GAINS)
    controls = {"control_random_tower": "arm_2_clip"}
    sets = {arm: SETS[arm] for arm in arms if arm in SETS}
    return analyse(Study(table, arms, FAST, sets, controls=controls, **fields))


def curves(rising, tasks=("maze",)):
    """Validation curves of every arm, of which the given ones gain 5 points in the last fifth."""
    rows = [
        (arm, seed, task, step, 0.5 + 0.05 * (arm in rising and step == 100))
        for arm in (*SETS, "control_random_tower")
        for seed in range(3)
        for task in tasks
        for step in (80, 100)
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "task", "step", "score"])


def three_arms(make_table, **fields):
    gains = {"arm_1_baseline": 0.2, "arm_2_clip": 0.5, "arm_3_n2n": 0.8}
    table = make_table(gains, seed_sd=0.01)
    study = Study(table, list(gains), FAST, SETS, guessing={"maze": 0.1}, **fields)
    return analyse(study)


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


def test_an_arm_that_still_learns_silences_what_it_is_compared_in(make_table):
    flat = three_arms(make_table, validations=curves(()))
    codes = {e.arm: e.verdict_code for e in flat.effects if e.task == "maze"}
    assert set(codes.values()) == {"helps_by_delta"}
    results = three_arms(make_table, validations=curves(["arm_3_n2n"]))
    assert results.floor.reached
    found = {(e.kind, e.arm): e for e in results.effects}
    assert found["stage", "arm_2_clip"].verdict_code == "helps_by_delta"
    for kind in ("stage", "total"):
        silent = found[kind, "arm_3_n2n"]
        assert (silent.verdict_code, silent.verdict) == (
            "not_judged",
            "not judged: arm_3_n2n still learning",
        )
        assert silent.difference is not None
    assert results.headline.startswith("This study measures early training: its last fifth ")
    opening, stages = verdict_sentence(results)
    assert "The full model is not judged: +" in opening
    assert stages.endswith("N2N is not judged.")
    assert "CLIP helps" in stages


def test_no_verdict_at_all_if_every_arm_still_learns(make_table):
    results = three_arms(make_table, validations=curves(SETS))
    assert not results.floor.reached
    assert {e.verdict_code for e in results.effects} == {"not_judged"}
    assert "every arm was still learning in the last fifth of training" in results.headline
    assert "What would help: more training.epochs." in results.headline
    assert not VERDICT_WORDS.search(terminal_text(results))


def test_a_control_that_still_learns_is_not_beaten(make_table):
    table = make_table(GAINS, seed_sd=0.01)
    flat = judged(table, validations=curves(()))
    assert flat.controls[0].beats_control
    results = judged(table, validations=curves(["control_random_tower"]))
    assert results.controls[0].beats_control is None
    assert results.controls[0].verdict == "not judged: control_random_tower still learning"
    assert results.stages()[0].verdict_code == "helps_by_delta"
    assert results.plateau.reached


def test_the_mean_is_not_judged_if_one_of_its_tasks_still_rises(make_table):
    maze, other = make_table(GAINS, seed_sd=0.01), make_table(GAINS, seed_sd=0.01, rng_seed=1)
    table = pd.concat([maze, other.assign(task="lights")], ignore_index=True)
    both = pd.concat([curves(()), curves(["arm_2_clip"], ["lights"])], ignore_index=True)
    codes = {e.task: e.verdict_code for e in judged(table, validations=both).effects}
    assert codes == {"mean": "not_judged", "maze": "helps_by_delta", "lights": "not_judged"}


def test_only_the_longest_training_has_curves(make_table):
    gains = {"arm_1_baseline": 0.2, "arm_2_clip": 0.5}
    table = pd.concat(
        [make_table(gains, seed_sd=0.01).assign(length=x) for x in (0.25, 1.0)], ignore_index=True
    )
    sets = {arm: SETS[arm] for arm in gains}
    results = analyse(Study(table, list(gains), FAST, sets, validations=curves(["arm_2_clip"])))
    codes = {g.length: g.verdict_code for g in results.length_gains if g.task == "maze"}
    assert codes == {0.25: "helps_by_delta", 1.0: "not_judged"}


def test_an_arm_at_the_level_of_guessing_is_named(make_table):
    """The others are judged, and the reader is told what a comparison with it means."""
    table = make_table(GAINS, seed_sd=0.01)
    results = judged(table, guessing={"maze": 0.4})
    assert results.stages()[0].verdict_code == "helps_by_delta"
    named = [note for note in results.notes if "did not beat guessing" in note]
    assert [note.split(" did")[0] for note in named] == [
        "On maze arm_1_baseline",
        "On maze control_random_tower",
    ]
    assert "says whether it learned at all" in named[0]
    assert not any("guessing" in note for note in judged(table, guessing={"maze": 0.1}).notes)
