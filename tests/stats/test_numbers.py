"""The numbered rows of the statistics specification, by hand or by another implementation."""

import math

import pytest
import shapiq
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from hybrid_pipeline.claims import recompute
from hybrid_pipeline.stats import measures
from hybrid_pipeline.stats.coalitions import Game, orders, shapley
from hybrid_pipeline.stats.contrasts import exponentiate
from hybrid_pipeline.stats.interactions import predict
from hybrid_pipeline.stats.multiplicity import holm
from hybrid_pipeline.stats.results import Interval

CONSERVATIVE = [0.10, 0.03, 0.05, 0.02], [0.15, 0.05, 0.10, 0.05]
OPTIMISTIC = [0.20, 0.08, 0.15, 0.08], [0.25, 0.12, 0.20, 0.12]
ARCHITECTURE = [0.10, 0.05, 0.03, 0.05, 0.02], [0.20, 0.10, 0.08, 0.15, 0.08]
PRECEDENCE = {"N": ("C",)}


def test_row_1_sum_and_compound():
    gains = [0.25, 0.12, 0.18, 0.10]
    assert recompute.sum_of_gains(gains).values == pytest.approx((0.65,))
    assert recompute.compound_of_gains(gains).values == pytest.approx((0.8172,))


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        (CONSERVATIVE, 0.213443, 0.3946625),
        (OPTIMISTIC, 0.609632, 0.8816),
        (ARCHITECTURE, 0.27411515, 0.7705952),
    ],
)
def test_rows_2_to_4_tables(table, low, high):
    assert recompute.compound_range(*table).values == pytest.approx((low, high), abs=1e-8)


def test_row_5_learning_rate():
    assert recompute.sqrt_ratio(192, 82).values[0] == pytest.approx(1.5301841, abs=1e-7)
    assert recompute.scaled_rate(3e-4, 192, 82).values[0] == pytest.approx(4.59e-4, abs=1e-6)


def test_row_6_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_row_7_shapley_of_two():
    v = {"": 0.50, "A": 0.60, "B": 0.52, "AB": 0.70}

    def value(coalition):
        return v["".join(sorted(coalition))]

    assert shapley(value, ["A", "B"]) == pytest.approx({"A": 0.14, "B": 0.06})
    cells = Game(("A", "B"), {}, {})
    total, isolated = value("AB") - value(""), value("A") + value("B") - 2 * value("")
    assert total - isolated == pytest.approx(0.08)
    factors = {p: math.exp(x) for p, x in
               shapley(lambda c: math.log(value(c)), ["A", "B"]).items()}  # fmt: skip
    assert factors == pytest.approx({"A": 1.27098, "B": 1.10151}, abs=1e-5)
    assert math.prod(factors.values()) == pytest.approx(1.4)
    assert predict(value, cells).measured == pytest.approx(1.4)


def example_value(coalition):
    c, n, t, k = (player in coalition for player in "CNTK")
    return 0.5 + 0.12 * c + 0.02 * n + 0.05 * t - 0.01 * k - 0.02 * (c and t)


def test_row_8_shapley_with_and_without_precedence():
    free = shapley(example_value, "CNTK")
    assert free == pytest.approx({"C": 0.11, "N": 0.02, "T": 0.04, "K": -0.01})
    ordered = shapley(example_value, "CNTK", PRECEDENCE)
    assert ordered == pytest.approx({"C": 0.113333, "N": 0.02, "T": 0.036667, "K": -0.01}, abs=1e-6)
    assert len(orders("CNTK", PRECEDENCE)) == 12


def test_row_8_three_totals_side_by_side():
    cells = Game(tuple("CNTK"), {}, {"N": ("C",)})
    found = predict(example_value, cells)
    assert found.additive == pytest.approx(1.36)
    assert found.multiplicative == pytest.approx(1.3798, abs=5e-5)
    assert found.measured == pytest.approx(1.32)


def test_row_8_agrees_with_shapiq():
    class Game(shapiq.Game):
        def value_function(self, coalitions):
            import numpy as np

            return np.array(
                [example_value({p for p, on in zip("CNTK", row, strict=True) if on})
                 for row in coalitions]
            )  # fmt: skip

    exact = shapiq.ExactComputer(game=Game(n_players=4, normalize=False), n_players=4)
    theirs = exact(index="SV", order=1)
    ours = shapley(example_value, "CNTK")
    for i, player in enumerate("CNTK"):
        assert ours[player] == pytest.approx(float(theirs[(i,)]), abs=1e-9)


def relative(new, old):
    """The relative gain as an effect states it: from the interval of the log ratio."""
    log = math.log(new / old)
    found = exponentiate(Interval(estimate=log, low=log, high=log, level=0.95), minus_one=True)
    return found.estimate


def test_row_9_measures():
    steps = [(0.75, 0.5), (0.9, 0.75)]
    assert [relative(*s) for s in steps] == pytest.approx([0.5, 0.2])
    assert [measures.error_reduction(*s) for s in steps] == pytest.approx([0.5, 0.6])
    assert [measures.log_odds(*s) for s in steps] == pytest.approx([math.log(3)] * 2)


def test_measures_say_when_they_are_not_defined():
    assert measures.error_reduction(1.0, 1.0) is None
    assert measures.log_odds(1.0, 0.5) is None
    assert measures.log_odds(0.5, 0.0) is None
    assert measures.kappa(0.5, 1.0) is None
    assert measures.kappa(0.75, 0.5) == pytest.approx(0.5)


def test_ceiling():
    assert measures.ceiling_baseline(0.65) == pytest.approx(0.606, abs=5e-4)
    assert measures.ceiling_baseline(0.8172) == pytest.approx(0.550, abs=5e-4)
    assert measures.ceiling_baseline(0.90) == pytest.approx(0.526, abs=5e-4)
    assert measures.ceiling_gain(0.5) == pytest.approx(1.0)
    assert measures.ceiling_gain(0.0) is None


def test_holm_counts_a_hole_as_a_test():
    assert holm([0.02, None, 0.03, 0.01]) == pytest.approx([0.06, None, 0.06, 0.04])
    assert holm([]) == []


accuracies = st.floats(0.01, 0.99)


@given(accuracies)
def test_a_gain_at_the_ceiling_reaches_one(baseline):
    gain = measures.ceiling_gain(baseline)
    assert baseline * (1 + gain) == pytest.approx(1.0)
    assert measures.ceiling_baseline(gain) == pytest.approx(baseline)


@given(st.lists(st.floats(-1, 1), min_size=16, max_size=16))
def test_shapley_shares_sum_to_the_total(values):
    def value(coalition):
        return values[sum(2**i for i, p in enumerate("CNTK") if p in coalition)]

    for precedence in ({}, PRECEDENCE):
        shares = shapley(value, "CNTK", precedence)
        assert math.fsum(shares.values()) == pytest.approx(values[15] - values[0], abs=1e-9)


P_VALUES = st.one_of(st.sampled_from([0.0, 0.02, 0.02, 1.0]), st.floats(0, 1))


def test_holm_is_that_of_statsmodels(monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # in every call of theirs

    @settings(max_examples=200, deadline=None)
    @given(st.lists(P_VALUES, min_size=1, max_size=12))
    def equal(p_values):
        assert holm(p_values) == multipletests(p_values, method="holm")[1].tolist()

    equal()


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=8))
def test_holm_is_monotone_and_never_below_p(p_values):
    adjusted = holm(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))
    ranked = [adjusted[i] for i in order]
    assert ranked == sorted(ranked)
