"""Coverage and error rates, simulated; the figures are those of docs/explanation/statistics.md."""

import numpy as np
import pytest
from scipy.stats import binomtest
from simulated_studies import (
    Design,
    coverage,
    family_wise_error,
    ladder_error,
    p_values,
    percentile_bootstrap_limits,
    simulate_arms,
)

from hybrid_pipeline.stats.budget import LADDER, LADDER_ALPHA
from hybrid_pipeline.stats.multiplicity import holm

STUDIES = 1000
LITTLE, MUCH = 0.002, 0.06


def in_band(share, expected, num=STUDIES):
    return binomtest(round(share * num), num, expected).pvalue > 0.002


@pytest.fixture(scope="module")
def found():
    return {
        (sd, seeds): coverage(
            Design(seeds, seed_sd=sd), STUDIES, np.random.default_rng([11, seeds])
        )
        for sd in (LITTLE, MUCH)
        for seeds in (3, 5, 10)
    }


@pytest.mark.parametrize(
    ("sd", "seeds", "expected"),
    [
        (LITTLE, 3, 0.985),
        (LITTLE, 5, 0.975),
        (LITTLE, 10, 0.97),
        (MUCH, 3, 0.94),
        (MUCH, 5, 0.95),
        (MUCH, 10, 0.94),
    ],
)
def test_the_primary_interval_covers(found, sd, seeds, expected):
    share = found[sd, seeds]["two-component t"]
    assert in_band(share, expected), share
    assert share > 0.92


@pytest.mark.parametrize(("seeds", "expected"), [(3, 0.75), (5, 0.84), (10, 0.90)])
def test_the_percentile_bootstrap_is_overconfident(found, seeds, expected):
    share = found[MUCH, seeds]["percentile bootstrap over seeds"]
    assert in_band(share, expected), share
    assert not in_band(share, 0.95), "the bootstrap would cover: this test proves nothing"


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_examples_alone_are_overconfident_where_seeds_differ(found, seeds):
    assert 0.58 < found[MUCH, seeds]["examples only"] < 0.72


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_paired_t_covers_where_seeds_dominate(found, seeds):
    assert in_band(found[MUCH, seeds]["paired t over seeds"], 0.95)


def test_the_band_rejects_a_wrong_interval(found):
    assert not in_band(found[MUCH, 3]["percentile bootstrap over seeds"], 0.94)


FAMILIES = 4000


@pytest.mark.parametrize(
    ("sd", "seeds", "expected"),
    [(LITTLE, 3, 0.014), (LITTLE, 10, 0.021), (MUCH, 5, 0.06), (MUCH, 10, 0.055)],
)
def test_family_wise_error(sd, seeds, expected):
    rng = np.random.default_rng([5, seeds])
    design = Design(seeds, num_examples=200, seed_sd=sd)
    error = np.mean([family_wise_error(design, 250, rng) for _ in range(FAMILIES // 250)])
    assert in_band(error, expected, FAMILIES), error


def test_the_band_of_the_family_wise_error_is_narrow():
    assert not in_band(0.08, 0.06, FAMILIES)
    assert not in_band(0.04, 0.06, FAMILIES)


def test_family_wise_error_is_not_kept_at_three_seeds_that_differ_much():
    """A limit of the method that the page and a note in every result of 3 or 4 seeds state."""
    rng = np.random.default_rng(6)
    design = Design(3, num_examples=200, seed_sd=MUCH)
    error = np.mean([family_wise_error(design, 250, rng) for _ in range(4)])
    assert in_band(error, 0.11)


def test_family_wise_error_is_that_of_holm():
    design = Design(5, num_examples=40)
    share = family_wise_error(design, 60, np.random.default_rng(1))
    arms = simulate_arms(design, 60, 5, np.random.default_rng(1))
    p = np.stack([p_values(arms[:, i + 1] - arms[:, i]) for i in range(4)], axis=1)
    assert share == pytest.approx(np.mean(p.min(axis=1) < 0.05 / 4))
    p[:3] *= np.array([1, 0.01, 0.3])[:, None]  # some rejections
    by_holm = np.mean([min(holm(list(row))) < 0.05 for row in p[:3]])
    by_minimum = np.mean(p[:3].min(axis=1) < 0.05 / 4)
    assert 0 < by_holm == by_minimum < 1


def test_the_ladder_keeps_its_level_and_peeking_does_not():
    rng = np.random.default_rng(0)
    assert ladder_error(LADDER, LADDER_ALPHA, 40_000, rng) == pytest.approx(0.05, abs=0.004)
    assert ladder_error(LADDER, 0.05, 40_000, rng) == pytest.approx(0.14, abs=0.006)


def test_bootstrap_limits_are_percentiles_of_resampled_seed_means():
    d = np.array([[[0.0], [1.0]]])
    low, high = percentile_bootstrap_limits(d, 0.5)
    # two seeds: resampled means 0, 1/2, 1 with probability 1/4, 1/2, 1/4
    assert 0.0 <= low[0] <= 0.5 <= high[0] <= 1.0
    assert high[0] - low[0] <= 1.0
