import numpy as np
import pytest
from scipy import stats as scipy_stats
from simulated_studies import two_component_limits
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from hybrid_pipeline.stats import power
from hybrid_pipeline.stats.effects import tost
from hybrid_pipeline.stats.intervals import crossed_bootstrap, two_component, variance_terms


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_two_component_by_hand():
    d = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    mean, vs, vi, vr = variance_terms(d)
    # seed means 1/2, 1, 1/2; example means 2/3, 2/3; residuals +-1/2, 1/2 -> 0, 0, ...
    assert mean == pytest.approx(2 / 3)
    assert vs == pytest.approx(((1 / 6) ** 2 * 2 + (1 / 3) ** 2) / 2 / 3)
    assert vi == pytest.approx(0.0)
    assert vr == pytest.approx(4 * 0.5**2 / 2 / 6)
    v = two_component([d])
    assert v.total == pytest.approx(max(vs + vi - vr, vs, vi))
    assert v.df == pytest.approx(2.0)


def test_two_component_matches_a_literal_transcription(rng):
    d = rng.normal(size=(5, 40)) + rng.normal(size=(5, 1)) * 0.2 + rng.normal(size=(1, 40))
    seeds, examples = d.shape
    vs = np.var(d.mean(1), ddof=1) / seeds
    vi = np.var(d.mean(0), ddof=1) / examples
    fit = d.mean(1)[:, None] + d.mean(0)[None, :] - d.mean()
    vr = ((d - fit) ** 2).sum() / ((seeds - 1) * (examples - 1)) / (seeds * examples)
    total = max(vs + vi - vr, vs, vi)
    df = total**2 / (vs**2 / (seeds - 1) + vi**2 / (examples - 1))
    half = scipy_stats.t.ppf(0.975, df) * np.sqrt(total)
    interval = two_component([d]).interval(0.95)
    assert interval.low == pytest.approx(d.mean() - half)
    assert interval.high == pytest.approx(d.mean() + half)


def test_one_example_is_the_paired_t_test(rng):
    d = rng.normal(0.3, 1.0, size=(8, 1))
    theirs = scipy_stats.ttest_1samp(d[:, 0], 0.0)
    ours = two_component([d])
    assert ours.p_two_sided() == pytest.approx(theirs.pvalue)
    assert ours.p_seeds() == pytest.approx(theirs.pvalue)
    low, high = theirs.confidence_interval(0.95)
    interval = ours.interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_tost_is_that_of_statsmodels_for_one_example(rng):
    d = rng.normal(0.1, 0.5, size=(9, 1))
    p, *_ = DescrStatsW(d[:, 0]).ttost_mean(-0.6, 0.6)
    assert tost(two_component([d]), 0.6) == pytest.approx(p)


def test_paired_t_over_seeds_is_that_of_scipy(rng):
    d = rng.normal(size=(6, 50))
    p = scipy_stats.ttest_1samp(d.mean(1), 0).pvalue
    assert two_component([d]).p_seeds() == pytest.approx(p)


def test_strata_of_equal_size_average(rng):
    d = rng.normal(size=(4, 30))
    once, twice = two_component([d]), two_component([d, d])
    assert twice.mean == pytest.approx(once.mean)
    assert twice.seeds == pytest.approx(once.seeds)  # the same seeds: nothing averages out
    assert twice.examples == pytest.approx(once.examples / 2)


def test_vectorised_limits_are_the_same_interval(rng):
    d = rng.normal(size=(6, 4, 30)) + rng.normal(size=(6, 4, 1))
    low, high = two_component_limits(d)
    for k in range(6):
        interval = two_component([d[k]]).interval(0.95)
        assert (interval.low, interval.high) == pytest.approx((low[k], high[k]))


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.25, 0.0)])
def test_equal_scores_give_a_point_not_nan(value, p):
    v = two_component([np.full((3, 10), value)])
    interval = v.interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((value, value))
    assert v.p_two_sided() == p
    assert v.p_seeds() == p
    assert v.p_greater(0.1) == (0.0 if value > 0.1 else 1.0)
    assert tost(v, 0.01) == (0.0 if value == 0 else 1.0)
    assert power.study_mde80(v, 0.05) == 0.0
    assert power.study_seeds_needed(0.01, v, 0.05) == 2
    assert power.projected_mde80(v, 5, 0.05) == 0.0


def test_equal_seeds_with_different_examples(rng):
    d = np.tile(rng.integers(-1, 2, size=(1, 50)).astype(float), (3, 1))
    v = two_component([d])
    assert v.df == pytest.approx(49)
    assert v.p_seeds() == v.p_two_sided()


def test_the_residual_is_the_noise_where_all_means_agree():
    """The unit matrix: residuals of 2/3 and -1/3, so Vr = 2 / 4 / 9 with 4 degrees of freedom."""
    v = two_component([np.eye(3)])
    assert (v.seeds, v.examples) == (0, 0)
    assert (v.total, v.df) == pytest.approx((2 / 36, 4))
    assert two_component([np.eye(3)] * 2).df == pytest.approx(8)


def test_power_where_seed_means_agree_and_the_residual_takes_up_the_examples():
    """The example floor is 0, so the noise falls with the seeds."""
    v = two_component([np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])])
    assert (v.seeds, v.example_floor) == (0, 0)
    expected = power.detectable_ratio(11.0) * np.sqrt(v.total * 3 / 12)
    assert power.projected_mde80(v, 12, 0.05) == pytest.approx(expected)
    needed = power.study_seeds_needed(expected, v, 0.05)
    assert needed in (11, 12)


def test_one_seed_is_refused():
    with pytest.raises(ValueError, match="at least two seeds"):
        two_component([np.zeros((1, 5))])


def test_crossed_bootstrap_is_reproducible_and_near_its_theory(rng):
    d = rng.normal(size=(30, 200)) + rng.normal(size=(30, 1))
    first = crossed_bootstrap([d], num_resamples=2000, level=0.95, rng=np.random.default_rng(1))
    again = crossed_bootstrap([d], num_resamples=2000, level=0.95, rng=np.random.default_rng(1))
    assert first == again
    other = crossed_bootstrap([d], num_resamples=2000, level=0.95, rng=np.random.default_rng(2))
    assert other != first
    se = np.sqrt(d.mean(1).var() / 30)  # the seeds dominate
    assert (first.high - first.low) / 2 == pytest.approx(1.96 * se, rel=0.1)
    assert first.estimate == pytest.approx(d.mean())


def test_crossed_bootstrap_resamples_both_axes(rng):
    """Constant along one axis, the interval still has the width of the other."""
    by_seed = np.tile(rng.normal(size=(20, 1)), (1, 40))
    by_example = np.tile(rng.normal(size=(1, 40)), (20, 1))
    for d in (by_seed, by_example):
        found = crossed_bootstrap([d], num_resamples=2000, level=0.9, rng=np.random.default_rng(3))
        values = d[:, 0] if d[0].std() < 1e-12 else d[0]
        theory = 1.645 * values.std() / np.sqrt(values.size)
        assert (found.high - found.low) / 2 == pytest.approx(theory, rel=0.12)


@pytest.mark.parametrize(
    ("num_seeds", "units"), [(3, 3.26), (5, 1.68), (8, 1.16), (10, 1.00), (20, 0.66)]
)
def test_mde80_in_units_of_the_paired_sd(num_seeds, units):
    assert power.mde80(1.0, num_seeds) == pytest.approx(units, abs=5e-3)
    theirs = TTestPower().solve_power(nobs=num_seeds, alpha=0.05, power=0.8)
    assert power.mde80(1.0, num_seeds) == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize(("d", "seeds"), [(0.5, 34), (1.0, 10), (1.5, 6), (2.0, 5)])
def test_seeds_needed(d, seeds):
    assert power.seeds_needed(d, 1.0) == seeds


def test_seeds_needed_gives_up_where_no_number_suffices():
    assert power.seeds_needed(1e-4, 1.0) is None


def test_study_power_tends_to_the_textbook_with_many_examples(rng):
    d = np.repeat(rng.normal(size=(5, 1)), 4000, axis=1) + 1e-3 * rng.normal(size=(5, 4000))
    v = two_component([d])
    assert power.study_mde80(v, 0.05) == pytest.approx(power.mde80(v.paired_sd, 5), rel=1e-3)
    assert power.projected_mde80(v, 5, 0.05) == pytest.approx(power.mde80(v.paired_sd, 5), rel=1e-3)
    assert power.study_seeds_needed(v.paired_sd, v, 0.05) == 10


def test_few_examples_cannot_be_outrun_by_seeds(rng):
    d = np.tile(rng.choice([-1.0, 1.0], size=(1, 20)), (5, 1)) + 0.01 * rng.normal(size=(5, 20))
    assert power.study_seeds_needed(0.01, two_component([d]), 0.05) is None


def test_mde_depends_on_noise_and_not_on_the_effect(rng):
    d = rng.normal(size=(5, 100))
    mde = power.study_mde80(two_component([d]), 0.05)
    assert power.study_mde80(two_component([d + 10]), 0.05) == pytest.approx(mde)


def test_upper_sd_covers_the_truth_as_often_as_it_says(rng):
    sds = rng.normal(size=(4000, 3)).std(axis=1, ddof=1)
    share = np.mean([power.upper_sd(sd, 3) > 1 for sd in sds])
    assert share == pytest.approx(0.8, abs=0.02)
