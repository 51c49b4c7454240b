"""Stage gains at every training length: signs, verdicts, and the paired change between them."""

import numpy as np
import pandas as pd
import pytest

from hybrid_pipeline.config import EvaluationConfig
from hybrid_pipeline.report.sentences import length_sentences, length_summary
from hybrid_pipeline.report.wording import main_task
from hybrid_pipeline.stats.analysis import Study, analyse
from hybrid_pipeline.stats.lengths import _figure
from hybrid_pipeline.stats.results import Interval, LengthGain
from hybrid_pipeline.stats.scores import ScoreTableError
from hybrid_pipeline.stats.text import render_text

FAST = EvaluationConfig(num_resamples=100)
SETS = {"arm_1_baseline": (), "arm_2_clip": ("clip",)}


def at(make_table, length, updates, gain, *, seeds=range(4), **options):
    table = make_table(
        {"arm_1_baseline": 0.4, "arm_2_clip": 0.4 + gain}, seeds=seeds, seed_sd=0.01, **options
    )
    return table.assign(length=length, updates=updates)


def judged(*tables, **fields):
    table = pd.concat(tables, ignore_index=True)
    return analyse(Study(table, list(SETS), FAST, SETS, **fields))


def test_a_sign_that_changes_is_said(make_table):
    results = judged(at(make_table, 1.0, 1000, 0.1), at(make_table, 0.25, 250, -0.2, rng_seed=4))
    assert [(k.length, k.updates) for k in results.lengths] == [
        (0.25, {"maze": 250}), (1.0, {"maze": 1000}),
    ]  # fmt: skip
    gains = [g for g in results.length_gains if g.task == "maze"]
    assert [(g.length, g.updates, g.num_seeds) for g in gains] == [(0.25, 250, 4), (1.0, 1000, 4)]
    assert [g.difference.estimate for g in gains] == pytest.approx([-0.2, 0.1], abs=0.03)
    assert gains[1].difference == results.effect("arm_2_clip", "arm_1_baseline", "maze").difference
    (change,) = [c for c in results.length_changes if c.task == "maze"]
    assert change.sign_changes
    assert change.verdict_changes
    (sentence,) = length_sentences(results)
    low, mid, high = (100 * x for x in (gains[0].difference.low, gains[0].difference.estimate,
                                        gains[0].difference.high))  # fmt: skip
    shown = f"{mid:+.1f} points [{low:+.1f}, {high:+.1f}] at 250 updates"
    assert change.sentence.startswith(f"arm_2_clip's gain changes sign: {shown}, +")
    assert sentence.startswith("CLIP's gain changes sign: ")
    assert length_summary(results) == (sentence,)
    assert "at 1,000 updates" in sentence
    assert "Gains by training length" in render_text(results)


def test_the_change_is_paired_by_seed_and_example(make_table):
    """By hand for one example more: mean over seeds and examples of the difference of gains."""
    short, long = at(make_table, 0.5, 50, -0.1), at(make_table, 1.0, 100, 0.2, rng_seed=9)
    (change,) = [c for c in judged(short, long).length_changes if c.task == "maze"]
    gain = {
        name: table[table["arm"] == "arm_2_clip"]["correct"].to_numpy(float)
        - table[table["arm"] == "arm_1_baseline"]["correct"].to_numpy(float)
        for name, table in (("short", short), ("long", long))
    }
    assert change.change.estimate == pytest.approx(np.mean(gain["long"] - gain["short"]))
    assert change.change.low < change.change.estimate < change.change.high


def test_a_sign_within_the_noise_does_not_change(make_table):
    results = judged(
        at(make_table, 0.25, 250, -0.005, num_examples=40), at(make_table, 1.0, 1000, 0.3)
        .query("example < 40").reset_index(drop=True),
    )  # fmt: skip
    (change,) = [c for c in results.length_changes if c.task == "maze"]
    assert not change.sign_changes


def test_stages_that_keep_their_verdict_are_one_sentence(make_table):
    results = judged(at(make_table, 0.25, 250, 0.3), at(make_table, 1.0, 1000, 0.3))
    (change,) = [c for c in results.length_changes if c.task == main_task(results)]
    assert not change.verdict_changes
    assert length_summary(results) == (
        "The stage keeps its verdict between 250 updates and 1,000 updates.",
    )
    turned = change.model_copy(update={"verdict_changes": True})
    both = results.model_copy(update={"length_changes": (change, change)})
    assert length_summary(both) == (
        "All 2 stages keep their verdict between 250 updates and 1,000 updates.",
    )
    one = results.model_copy(update={"length_changes": (turned, change)})
    assert length_summary(one)[1] == (
        "The other 1 stage keeps its verdict between 250 updates and 1,000 updates."
    )


def test_below_the_floor_no_verdict_is_said_to_stay(make_table):
    results = judged(
        at(make_table, 0.25, 2, 0.3, seeds=range(2)), at(make_table, 1.0, 8, 0.3, seeds=range(2))
    )
    assert not results.floor.reached
    assert length_summary(results) == ()


def test_verdicts_effects_and_holes_are_of_the_longest(make_table):
    short = at(make_table, 0.25, 250, -0.2, seeds=range(3))
    results = judged(short, at(make_table, 1.0, 1000, 0.2))
    alone = judged(at(make_table, 1.0, 1000, 0.2))
    assert results.effects == alone.effects
    assert results.accuracies == alone.accuracies
    assert results.missing == ()
    (change,) = [c for c in results.length_changes if c.task == "maze"]
    assert change.change is None  # the seeds are not the same


def test_one_length_says_nothing_about_lengths(make_table):
    results = judged(at(make_table, 1.0, 1000, 0.2))
    assert results.length_changes == ()
    assert length_sentences(results) == ()
    assert "Gains by training length" not in render_text(results)


def test_seeds_that_gave_up_count_at_their_own_length(make_table):
    results = judged(
        at(make_table, 0.25, 250, 0.2), at(make_table, 1.0, 1000, 0.2),
        diverged={0.25: {"arm_2_clip": [9]}},
    )  # fmt: skip
    codes = {g.length: g.verdict_code for g in results.length_gains if g.task == "maze"}
    assert codes == {0.25: "not_evaluable", 1.0: "helps_by_delta"}


def test_every_length_needs_the_same_examples(make_table):
    table = pd.concat(
        [at(make_table, 0.25, 250, 0.2).query("example > 0"), at(make_table, 1.0, 1000, 0.2)],
        ignore_index=True,
    )
    with pytest.raises(ScoreTableError, match="unpaired"):
        judged(table)


@pytest.mark.parametrize("length", [0, -1, "x", np.inf])
def test_strange_lengths_are_refused(make_table, length):
    table = at(make_table, 1.0, 1000, 0.2).astype({"length": object})
    table.loc[3, "length"] = length
    with pytest.raises(ScoreTableError, match="row 4: the length is no positive number"):
        judged(table)


def test_a_difference_that_rounds_to_zero_has_no_minus_sign():
    interval = Interval(estimate=-1e-5, low=-0.01, high=0.01, level=0.95)
    gain = LengthGain.model_construct(length=1.0, updates=8, difference=interval, verdict="")
    assert _figure(gain, with_verdict=False) == "+0.0 points [-1.0, +1.0] at 8 updates"
