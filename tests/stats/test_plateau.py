"""Whether training had reached its plateau, read off validation curves."""

import math

import numpy as np
import pandas as pd
import pytest

from hybrid_pipeline.stats.plateau import judge_plateau


def curves(rows):
    return pd.DataFrame(rows, columns=["arm", "seed", "task", "step", "score"])


def test_the_last_fifth_is_a_mean_over_seeds():
    plateau = judge_plateau(
        curves(
            [
                ("a", 0, "t", 500, 0.2), ("a", 0, "t", 800, 0.40), ("a", 0, "t", 1000, 0.44),
                ("a", 1, "t", 500, 0.2), ("a", 1, "t", 800, 0.40), ("a", 1, "t", 1000, 0.38),
            ]
        ),
        ["a"],
    )  # fmt: skip
    (mean, row) = plateau.rows
    assert (mean.task, row.task, row.num_seeds) == ("mean", "t", 2)
    assert (row.before, row.final) == pytest.approx((0.40, 0.41))
    assert row.last_fifth == pytest.approx(0.01)
    assert plateau.reached
    assert plateau.sentences == ()


def test_between_validations_a_score_is_interpolated():
    """Validations at 0, 50 and 100 %: 80 % lies three fifths of the way from .5 to .6."""
    plateau = judge_plateau(curves([("a", 0, "t", 50, 0.5), ("a", 0, "t", 100, 0.6)]), ["a"])
    assert plateau.rows[1].before == pytest.approx(0.56)
    assert not plateau.reached


def test_every_arm_on_every_task_must_have_reached_it():
    """The mean over tasks hides one that rises while another falls."""
    flat = [("a", 0, t, s, 0.5) for t in ("x", "y") for s in (80, 100)]
    rising = [("b", 0, "x", 80, 0.5), ("b", 0, "x", 100, 0.6),
              ("b", 0, "y", 80, 0.6), ("b", 0, "y", 100, 0.5)]  # fmt: skip
    plateau = judge_plateau(curves(flat + rising), ["a", "b"])
    reached = {(r.arm, r.task): r.reached for r in plateau.rows}
    assert reached == {
        ("a", "mean"): True, ("a", "x"): True, ("a", "y"): True,
        ("b", "mean"): True, ("b", "x"): False, ("b", "y"): True,
    }  # fmt: skip
    assert not plateau.reached
    (sentence,) = plateau.sentences
    assert sentence.startswith("This study measures early training: ")
    assert "10.0 points to b on x" in sentence
    assert "no comparison with b is judged. training.epochs" in sentence


@pytest.mark.parametrize(("added", "reached"), [(0.0199, True), (0.02, False), (-0.3, True)])
def test_the_rule_is_below_two_points(added, reached):
    rows = [("a", 0, "t", 80, 0.5), ("a", 0, "t", 100, 0.5 + added)]
    assert judge_plateau(curves(rows), ["a"]).reached is reached


@pytest.mark.parametrize(
    ("final", "words"),
    [(0.1, "too low to tell components apart"), (0.95, "leaves little to gain"), (0.5, None)],
)
def test_the_baseline_needs_room(final, words):
    rows = [(a, 0, "t", s, f) for a, f in (("a", final), ("b", 0.99)) for s in (80, 100)]
    plateau = judge_plateau(curves(rows), ["a", "b"])
    assert plateau.baseline_in_range is (words is None)
    assert [words in sentence for sentence in plateau.sentences] == ([True] if words else [])


def ends(arm, task, gains, start=0.5):
    """Curves of one arm on one task whose last fifth adds these gains, a seed each."""
    return [
        (arm, seed, task, step, start + (step == 100) * gain)
        for seed, gain in enumerate(gains)
        for step in (80, 100)
    ]


def test_the_margin_by_hand():
    """Two groups of three seeds: deviations -1, 0, 1 and -2, 0, 2 points, 4 degrees of freedom."""
    given = ends("a", "t", (0.01, 0.02, 0.03)) + ends("b", "t", (0.00, 0.02, 0.04))
    pooled = math.sqrt((2 * 0.01**2 + 2 * 0.02**2) / 4)
    margin = 2.131846786 * pooled / math.sqrt(3)  # t(.95; 4), from a table
    found = judge_plateau(curves(given), ["a", "b"])
    assert [row.margin for row in found.rows] == pytest.approx([margin] * 4)
    two_tasks = judge_plateau(curves(given + ends("a", "u", (0.0, 0.0, 0.0))), ["a", "b"])
    of_mean, of_task = (r.margin for r in two_tasks.rows[:2])
    assert of_mean == pytest.approx(of_task / math.sqrt(2))


def test_noise_alone_does_not_silence_an_arm():
    """The same mean of 2.6 points: rising if all seeds say so, within the noise if one makes it."""
    steady, noisy = (0.025, 0.026, 0.027), (0.000, 0.026, 0.052)
    for gains, reached in ((steady, False), (noisy, True)):
        found = judge_plateau(curves(ends("a", "t", gains)), ["a"])
        row = found.rows[1]
        assert row.last_fifth == pytest.approx(0.026)
        assert (found.reached, row.reached, row.at_limit) == (reached, reached, reached)
        (sentence,) = found.sentences
        assert "2.6 points to a on t" in sentence
        assert ("it is judged all the same" in sentence) is reached
        assert ("no comparison with a is judged" in sentence) is not reached


def test_a_steep_curve_is_silenced_through_any_noise_that_was_seen():
    """250 updates: 10 points and more in the last fifth, 3 points of noise between seeds."""
    gains = np.random.default_rng(0).normal(0.10, 0.03, (10, 3))
    given = [row for i, g in enumerate(gains) for row in ends("abcde"[i // 2], "tu"[i % 2], g)]
    assert not any(row.reached for row in judge_plateau(curves(given), "abcde").rows)


def test_at_the_limit_itself_one_arm_in_twenty_is_silenced():
    rng, silenced = np.random.default_rng(1), 0
    for _ in range(60):
        gains = rng.normal(0.02, 0.0125, (10, 3))
        given = [row for i, g in enumerate(gains) for row in ends("abcde"[i // 2], "tu"[i % 2], g)]
        silenced += sum(not r.reached for r in judge_plateau(curves(given), "abcde").single_tasks)
    assert 0.025 < silenced / 600 < 0.085  # .05 and three standard errors, arms share the noise


def test_a_control_has_its_row_and_no_say_in_the_rule():
    rows = [(a, 0, "t", s, 0.5 + (a == "c") * s / 1e3) for a in "abc" for s in (80, 100)]
    plateau = judge_plateau(curves(rows), ["a", "b"], ["c"])
    assert plateau.reached
    assert plateau.sentences == ()
    reached = {r.arm: r.reached for r in plateau.single_tasks}
    assert reached == {"a": True, "b": True, "c": False}


def test_no_curve():
    assert judge_plateau(curves([]), ["a"]) is None


def test_a_curve_that_begins_in_the_last_fifth_says_nothing():
    """With one validation, at the end, nothing is known about what was added before."""
    assert judge_plateau(curves([("a", 0, "t", 100, 0.5)]), ["a"]) is None
    assert judge_plateau(curves([("a", 0, "t", s, 0.5) for s in (80, 100)]), ["a"]).reached
