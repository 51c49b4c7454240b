import math

import numpy as np
import pytest

from hybrid_pipeline.arms import arms_of_design, chain, requirements, subset_arm
from hybrid_pipeline.config import AblationConfig, EvaluationConfig
from hybrid_pipeline.stats.analysis import Study, analyse
from hybrid_pipeline.stats.attribution import leave_one_out, shapley_rows
from hybrid_pipeline.stats.coalitions import Game, interaction_coalitions, shapley
from hybrid_pipeline.stats.contrasts import contrast_interval, contrast_variance, exponentiate
from hybrid_pipeline.stats.interactions import compound, predict
from hybrid_pipeline.stats.results import Interval
from hybrid_pipeline.stats.scores import ScoreMatrix
from hybrid_pipeline.stats.text import render_text

LETTER = {"C": "clip", "N": "n2n", "T": "trm", "K": "coconut"}
FAST = EvaluationConfig(num_resamples=100)


def accuracy(components, synergy=-0.02):
    c, n, t, k = (LETTER[x] in components for x in "CNTK")
    return 0.5 + 0.12 * c + 0.02 * n + 0.05 * t - 0.01 * k + synergy * (c and t)


def study(make_table, design, synergy=-0.02, **kwargs):
    arms = arms_of_design(AblationConfig(design=design))
    given = {"num_examples": 200, "seeds": range(4), "seed_sd": 0.004, **kwargs}
    table = make_table({a.name: accuracy(a.components, synergy) for a in arms}, **given)
    results = analyse(
        Study(table, [a.name for a in arms], FAST, {a.name: a.components for a in arms})
    )
    return table, results


def test_the_factorial_design_recovers_the_shares(make_table):
    _, results = study(make_table, "factorial", seed_sd=0.0)
    shares = {r.component: r for r in results.shapley if r.scale == "difference"
              and r.task == "mean"}  # fmt: skip
    expected = {"clip": 0.113333, "n2n": 0.02, "trm": 0.036667, "coconut": -0.01}
    for name, value in expected.items():
        assert shares[name].shapley.estimate == pytest.approx(value, abs=1e-6)
    assert shares["clip"].cumulative.estimate == pytest.approx(0.12)
    assert shares["clip"].leave_one_out.estimate == pytest.approx(0.12)  # drops N2N: .66 - .54
    logs = {r.component: r.shapley.estimate for r in results.shapley
            if r.scale == "log" and r.task == "mean"}  # fmt: skip
    by_hand = shapley(lambda s: math.log(accuracy(s)), list(LETTER.values()), dict(requirements()))
    assert logs == pytest.approx(by_hand, abs=1e-6)


def test_three_totals_and_the_interaction(make_table):
    _, results = study(make_table, "factorial", seed_sd=0.0)
    found = results.compound()
    assert found.additive == pytest.approx(1.36)
    assert found.multiplicative == pytest.approx(1.3798, abs=5e-5)
    assert found.measured == pytest.approx(1.32)
    assert found.interaction.estimate == pytest.approx(math.log(1.32 / 1.37983), abs=1e-5)
    logit = math.log(0.66 / 0.34)
    gains = found.predicted_log_odds
    assert found.measured_log_odds == pytest.approx(logit)
    assert found.interaction_logit.estimate == pytest.approx(logit - gains, abs=1e-9)
    assert found.logit_additive == pytest.approx(1 / (1 + math.exp(-gains)) / 0.5)
    assert "x1.360" in render_text(results)


@pytest.mark.parametrize(
    ("synergy", "words"),
    [(-0.2, "gain less than"), (0.15, "gain more than"), (0.017, "contains 0")],
)
def test_the_note_follows_the_interval(make_table, synergy, words):
    _, results = study(make_table, "factorial", synergy=synergy)
    assert words in results.compound().note


def test_the_interaction_interval_covers_the_truth():
    """Delta method against simulation: seeds of every cell vary, the truth is known."""
    arms = arms_of_design(AblationConfig(design="factorial"))
    cells = Game.build(
        [a.name for a in chain()], {a.name: a.components for a in arms}, requirements()
    )  # fmt: skip
    weights = cells.weights(interaction_coalitions(cells))
    rng, hits, studies = np.random.default_rng(4), 0, 400
    for _ in range(studies):
        values = {
            (a.name, "t"): (
                rng.random((5, 200)) < accuracy(a.components) + rng.normal(0, 0.03, (5, 1))
            ).astype(float)
            for a in arms
        }
        matrix = ScoreMatrix(tuple(a.name for a in arms), ("t",), tuple(range(5)), values, {})
        interval = contrast_interval(matrix, weights, ["t"], "log", level=0.95)
        hits += interval.low <= math.log(1.32 / 1.37983) <= interval.high
    assert 0.92 <= hits / studies <= 0.995


def test_leave_one_out_drops_what_depends_on_clip(make_table):
    _, results = study(make_table, "leave_one_out")
    rows = {e.component: e for e in results.effects if e.kind == "leave_one_out"
            and e.task == "mean"}  # fmt: skip
    assert {name: e.reference for name, e in rows.items()} == {
        "clip": subset_arm(("trm", "coconut")).name,
        "n2n": subset_arm(("clip", "trm", "coconut")).name,
        "trm": subset_arm(("clip", "n2n", "coconut")).name, "coconut": "arm_4_trm",
    }  # fmt: skip
    assert rows["clip"].difference.estimate == pytest.approx(0.12, abs=0.02)
    assert results.shapley == ()
    assert "Isolated gains were not measured" in results.compound().note


def test_the_cumulative_design_has_neither_shares_nor_left_out_arms(make_table):
    _, results = study(make_table, "cumulative")
    assert results.shapley == ()
    assert {e.kind for e in results.effects} == {"stage", "total"}


def test_precedence_only_between_components_of_the_study():
    cells = Game.build(["a", "b"], {"a": (), "b": ("n2n", "trm")}, requirements())
    assert cells.precedence == {"n2n": [], "trm": []}
    assert cells.isolated("n2n") == (frozenset({"n2n"}), frozenset())


def test_isolated_cells_without_a_common_seed(make_table):
    arms = arms_of_design(AblationConfig(design="factorial"))
    table = make_table({a.name: 0.5 for a in arms}, num_examples=10)
    table = table[(table["arm"] != "subset_T") | (table["seed"] > 9)]
    results = analyse(
        Study(table, [a.name for a in arms], FAST, {a.name: a.components for a in arms})
    )
    assert "no seed in common" in results.compound().note
    assert results.shapley == ()


def test_two_seeds_give_figures_without_interaction_interval(make_table):
    _, results = study(make_table, "factorial", seeds=(0, 1))
    assert results.compound().measured == pytest.approx(1.32, abs=0.05)
    assert results.compound().interaction is None
    assert results.compound().note == "Not judged."


def test_an_isolated_cell_at_zero_leaves_predictions_undefined(make_table):
    arms = arms_of_design(AblationConfig(design="factorial"))
    values = {a.name: 0.0 if a.name == "subset_K" else 0.5 for a in arms} | {"arm_5_coconut": 0.6}
    table = make_table(values, num_examples=20)
    results = analyse(Study(table, list(values), FAST, {a.name: a.components for a in arms}))
    assert results.compound().multiplicative is None
    assert results.compound().total is not None


def test_predictions_at_the_boundary():
    cells = Game(("a", "b"), {}, {})
    full = predict(lambda s: 1.0 if len(s) == 2 else 0.5, cells)
    assert full.measured_log_odds is None
    assert full.logit_additive == pytest.approx(1.0)
    one = predict(lambda s: 1.0 if s else 0.5, cells)
    assert one.logit_additive is None
    assert one.additive == pytest.approx(3.0)


def test_a_negative_additive_prediction_over_tasks_is_not_defined(make_table):
    arms = arms_of_design(AblationConfig(design="factorial"))
    values = {a.name: max(0.9 - 0.8 * len(a.components), 0.05) for a in arms}
    table = make_table(values, num_examples=100)
    results = analyse(Study(table, list(values), FAST, {a.name: a.components for a in arms}))
    assert results.compound().additive is None
    assert results.compound().multiplicative is not None
    assert "not defined" in render_text(results)


def test_one_component_leaves_nothing_to_share(make_table):
    table = make_table({"arm_1_baseline": 0.4, "arm_2_clip": 0.5}, seed_sd=0.01)
    matrix = ScoreMatrix.from_table(table, {})
    names = [a.name for a in chain()[:2]]
    cells = Game.build(names, {a.name: a.components for a in chain()[:2]}, requirements())
    group = ("maze", ("maze",))
    assert shapley_rows(matrix, names, cells, group, level=0.95) == ()
    assert leave_one_out(names, cells) == ()
    assert compound(matrix, names, cells, group, level=0.95).interaction is None


def test_a_chain_that_adds_two_at_once_has_no_single_step(make_table):
    values = {"base": 0.4, "c": 0.45, "t": 0.42, "both": 0.5}
    sets = {"base": (), "c": ("clip",), "t": ("trm",), "both": ("clip", "trm")}
    matrix = ScoreMatrix.from_table(make_table(values, seed_sd=0.01), {})
    cells = Game.build(["base", "both"], sets, requirements())
    rows = shapley_rows(matrix, ["base", "both"], cells, ("maze", ("maze",)), level=0.95)
    assert [r.cumulative for r in rows] == [None] * 4
    assert all(r.leave_one_out is not None for r in rows)


def test_log_contrast_is_the_specified_influence(make_table):
    """The interval of a ratio uses Y1/mean(Y1) - Y0/mean(Y0), centred on the log ratio."""
    table = make_table({"a": 0.4, "b": 0.6}, seed_sd=0.05, seeds=range(5))
    matrix = ScoreMatrix.from_table(table, {})
    y0, y1 = matrix.values["a", "maze"], matrix.values["b", "maze"]
    g = y1 / y1.mean() - y0 / y0.mean() + np.log(y1.mean() / y0.mean())
    from hybrid_pipeline.stats.intervals import two_component

    expected = two_component([g]).interval(0.95)
    found = contrast_interval(matrix, {"b": 1.0, "a": -1.0}, ["maze"], "log", level=0.95)
    assert found.low == pytest.approx(expected.low)
    ratio = exponentiate(found)
    assert ratio.estimate == pytest.approx(y1.mean() / y0.mean())
    assert ratio.high == pytest.approx(math.exp(expected.high))


def test_undefined_scales(make_table):
    matrix = ScoreMatrix.from_table(make_table({"a": 0.0, "b": 1.0}), {})
    weights = {"b": 1.0, "a": -1.0}
    assert contrast_variance(matrix, weights, ["maze"], "log") is None
    assert contrast_variance(matrix, {"b": 1.0}, ["maze"], "logit") is None
    assert contrast_interval(matrix, {"b": 1.0}, ["maze"], "log", level=0.9) is not None
    assert contrast_variance(matrix, {"z": 1.0}, ["maze"]) is None
    assert exponentiate(Interval(estimate=0, low=-7, high=1)) is None
    assert exponentiate(Interval(estimate=0, low=-1, high=7)) is None
    assert exponentiate(None) is None
