"""Stability metrics, design and effects against hand, theory and other implementations."""

import json
import math
from dataclasses import replace
from pathlib import Path

import markdown
import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, logrank, permutation_test

from hybrid_pipeline.config import HaltingConfig, ReviewConfig, StabilityConfig, TrainingConfig
from hybrid_pipeline.curves.curve import StabilityCurve, Validation, curve_from_frames
from hybrid_pipeline.curves.metrics import (
    RunMetrics,
    divergence,
    run_metrics,
    spike_flags,
    steps_to_target,
)
from hybrid_pipeline.stability.design import (
    CORRECTED,
    FOUR_ORIGINAL,
    ORIGINAL,
    alias_structure,
    apply_setting,
    scaled_original,
    stability_settings,
)
from hybrid_pipeline.stability.effects import (
    LARGEST_Q,
    SPIKES,
    divergence_rate,
    interactions,
    main_effects,
    paired_difference,
    target_test,
)
from hybrid_pipeline.stability.figures import (
    divergence_figure,
    effects_figure,
    grad_norm_figure,
    loss_figure,
    thin_out,
)
from hybrid_pipeline.stability.render import (
    stability_markdown,
    stability_points,
    stability_section,
)
from hybrid_pipeline.stability.report import stability_report

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf/base/parameters"
DOCUMENT = ReviewConfig.model_validate(
    yaml.safe_load((CONF / "review.yml").read_text())["review"]
).document
CONFIG = StabilityConfig.model_validate(
    yaml.safe_load((CONF / "stability.yml").read_text())["stability"]
)
TRAINING = TrainingConfig(lr=1.5e-3, lr_warmup_ratio=0.12)
HALTING = HaltingConfig()
SETTINGS = stability_settings(TRAINING, HALTING, DOCUMENT, CONFIG)
FRACTION = [s for s in SETTINGS if s.in_fraction]


def curve(loss, *, setting="corrected", seed=0, score=(0.5,), final=0.5, **changes):
    n = len(loss)
    fields = {
        "step": np.arange(1.0, n + 1),
        "loss": np.asarray(loss, dtype=float),
        "grad_norm": np.ones(n),
        "clipped": np.zeros(n, bool),
        "finite": np.isfinite(loss),
        "q_max": np.full(n, np.nan),
        "validation": {
            "task": Validation(
                np.linspace(n / len(score), n, len(score)), np.asarray(score, dtype=float)
            )
        },
        "final": {} if final is None else {"task": final},
        "planned_steps": n,
    }
    return StabilityCurve(setting=setting, seed=seed, **(fields | changes))


def run(setting, seed, *, spikes=0.0, diverged="", reached=None, observed=100.0):
    return RunMetrics(
        setting,
        seed,
        "task",
        diverged,
        100,
        0,
        spikes,
        spikes,
        1.0,
        2.0,
        3.0,
        0.0,
        None,
        0.5,
        {"task": reached},
        observed,
        50,
        3.0,
        None,
    )


# ---------------------------------------------------------------- design


def test_document_scales_to_itself():
    """At the document's own corrected values the rules give its original ones."""
    training = TrainingConfig(lr=1e-4, lr_warmup_steps=3000)
    original = scaled_original(training, HaltingConfig(dqn_warmup_ratio=0.2), DOCUMENT)
    assert original == {
        "lr": {"lr": 3e-4},
        "warmup": {"lr_warmup_steps": 1000},
        "beta2": {"beta2": 0.95},
        "dqn_warmup_ratio": {"dqn_warmup_ratio": 0.1},
    }


def test_profile_keeps_the_ratio():
    original = scaled_original(TRAINING, HALTING, DOCUMENT)
    assert original["lr"]["lr"] == pytest.approx(4.5e-3)
    assert original["warmup"] == {"lr_warmup_ratio": 0.04}


def test_fraction_is_half_of_the_full_factorial_with_both_corners():
    names = [s.name for s in FRACTION]
    assert len(set(names)) == 8
    assert {CORRECTED, FOUR_ORIGINAL} <= set(names)
    assert all(np.prod(list(s.levels.values())) == 1 for s in FRACTION)
    levels = np.array([list(s.levels.values()) for s in FRACTION])
    np.testing.assert_array_equal(levels.T @ levels, 8 * np.eye(4))  # orthogonal
    np.testing.assert_array_equal(levels.sum(0), 0)  # balanced


def test_other_half_has_corrected_beside_it():
    config = CONFIG.model_copy(update={"generator_sign": -1})
    found = stability_settings(TRAINING, HALTING, DOCUMENT, config)
    assert [s.name for s in found if not s.in_fraction] == [ORIGINAL, CORRECTED]


def test_pair_has_two_settings():
    config = CONFIG.model_copy(update={"design": "pair"})
    found = stability_settings(TRAINING, HALTING, DOCUMENT, config)
    assert [s.name for s in found] == [ORIGINAL, CORRECTED]


def test_settings_apply():
    by_name = {s.name: s for s in SETTINGS}
    assert apply_setting(by_name[CORRECTED], TRAINING, HALTING) == (TRAINING, HALTING)
    training, halting = apply_setting(by_name[ORIGINAL], TRAINING, HALTING)
    assert (training.max_grad_norm, training.ema, training.lr_scheduler) == (None, False, "linear")
    assert (training.beta2, halting.dqn_warmup_ratio) == (0.95, 0.1)
    four, _ = apply_setting(by_name[FOUR_ORIGINAL], TRAINING, HALTING)
    assert (four.max_grad_norm, four.ema, four.lr) == (1.0, True, pytest.approx(4.5e-3))
    one, halting = apply_setting(by_name["lr_and_beta2"], TRAINING, HALTING)
    assert (one.lr, one.beta2, one.lr_warmup_ratio) == (1.5e-3, 0.98, 0.04)
    assert halting.dqn_warmup_ratio == 0.1


def test_aliases_are_those_of_I_equals_ABCD():
    """Two effects are aliased exactly when their sign columns are equal."""
    columns = {f: np.array([s.levels[f] for s in FRACTION]) for f in CONFIG.factors}

    def column(effect):
        return np.prod([columns[f] for f in effect.split(" x ")], axis=0)

    aliases = alias_structure(CONFIG)
    assert len(aliases) == 7
    for effect, alias in aliases.items():
        np.testing.assert_array_equal(column(effect), column(alias))


# ---------------------------------------------------------------- metrics


def test_spikes_by_hand():
    """Window 5, values 1..5: median 3, MAD 1, so the bar is 3 + 6 x 1.4826 = 11.8956."""
    base = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert spike_flags(np.array([*base, 11.89]), 5, 6.0).tolist() == [False]
    assert spike_flags(np.array([*base, 11.90]), 5, 6.0).tolist() == [True]
    assert spike_flags(np.array([*base, math.nan]), 5, 6.0).tolist() == [True]
    assert spike_flags(np.array(base), 5, 6.0).tolist() == []


def test_non_finite_values_do_not_spoil_the_window():
    loss = np.array([1.0, 2.0, math.inf, 4.0, 5.0, 3.0, 100.0])
    assert spike_flags(loss, 5, 6.0).tolist() == [False, True]


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 100), st.floats(-50, 50), st.integers(0, 1000))
def test_spikes_do_not_depend_on_units(scale, shift, seed):
    loss = np.random.default_rng(seed).standard_t(3, 200)
    expected = spike_flags(loss, 50, 6.0)
    np.testing.assert_array_equal(spike_flags(scale * loss + shift, 50, 6.0), expected)


def test_spikes_against_pandas():
    loss = pd.Series(np.random.default_rng(1).standard_t(2, 400))
    window = loss.rolling(50)
    bar = window.median() + 6 * 1.4826 * window.apply(
        lambda w: np.median(np.abs(w - np.median(w))), raw=True
    )
    expected = (loss > bar.shift(1)).to_numpy()[50:]
    assert expected.any()
    np.testing.assert_array_equal(spike_flags(loss.to_numpy(), 50, 6.0), expected)


def test_normal_noise_gives_no_spikes():
    rng = np.random.default_rng(0)
    share = spike_flags(rng.standard_normal(20_000), 50, 6.0).mean()
    assert share < 1e-3


def test_divergence_reasons():
    falling = np.linspace(2, 0.1, 100)
    assert divergence(curve(falling)) == ""
    assert "began" in divergence(curve(falling[::-1]))
    assert "not finite" in divergence(curve([*falling, math.nan]))
    assert "gave up" in divergence(curve(falling, gave_up=True))
    assert divergence(curve([], gave_up=False)) == "no update"


def test_run_metrics_by_hand():
    norms = np.arange(1.0, 101.0)
    metrics = run_metrics(
        curve(
            np.linspace(2, 1, 100),
            grad_norm=norms,
            clipped=norms > 90,
            finite=norms != 7,
            q_max=np.where(norms < 50, np.nan, norms / 100),
            score=(0.2, 0.6, 0.4),
        ),
        CONFIG,
        {"task": 0.5},
    )
    assert metrics.grad_p50 == 50.5
    assert metrics.grad_p99 == pytest.approx(99.01)
    assert metrics.clipped_share == 0.1
    assert metrics.non_finite_steps == 1
    assert metrics.largest_q == 1.0
    assert metrics.steps_to_target["task"] == pytest.approx(200 / 3)
    assert metrics.spike_share == 0.0
    assert metrics.judged_steps == 50
    assert metrics.settled_p99 == pytest.approx(99.01)
    assert metrics.q_excess == 0.5


def test_early_spikes_need_an_early_part_longer_than_the_window():
    """Of 125 updates 25 are early, and the first that 50 others judge is the 51st."""
    loss = np.linspace(3, 2.2, 125)
    loss[[8, 14, 20, 50]] += 50
    short = run_metrics(curve(loss), CONFIG, {})
    assert (short.early_spike_share, short.judged_steps) == (None, 75)
    long = np.linspace(3, 2.2, 500) + np.random.default_rng(0).normal(0, 0.02, 500)
    long[[60, 90, 120]] += 50  # of the 50 updates from 51 to 100, two are spikes
    found = run_metrics(curve(long), CONFIG, {})
    assert found.early_spike_share == pytest.approx(2 / 50)


def test_the_norm_that_decides_follows_the_longest_warmup():
    """Two updates with new weights have the largest norms; all runs are judged after update 20."""
    norms = np.ones(120)
    norms[[0, 3]] = 90.0
    norms[60] = 5.0
    curves = [
        curve(
            np.linspace(2, 1, 120), setting=s.name, seed=seed, grad_norm=norms,
            warmup_steps=20 if s.levels["warmup"] > 0 else 5,
        )
        for s in SETTINGS for seed in range(3)
    ]  # fmt: skip
    found = stability_report(curves, SETTINGS, CONFIG).tasks[0].runs[0]
    assert found.grad_p99 == pytest.approx(np.percentile(norms, 99))
    assert found.grad_p99 > 50
    assert found.settled_p99 == pytest.approx(np.percentile(norms[20:], 99))
    assert found.settled_p99 < 5


def test_a_largest_q_that_follows_the_score_is_no_drift():
    """Q and score rise together where the warm-up is corrected: the excess stays."""
    rng = np.random.default_rng(4)
    curves = [
        curve(
            np.linspace(2, 1, 300),
            setting=s.name,
            seed=seed,
            q_max=np.full(
                300, 0.1 + (score := 0.5 + 0.2 * s.levels["warmup"] + rng.normal(0, 0.01))
            ),
            final=score + rng.normal(0, 0.01),
        )
        for s in SETTINGS
        for seed in range(3)
    ]
    report = stability_report(curves, SETTINGS, CONFIG)
    effects = {(e.name, e.response): e for e in report.tasks[0].main}
    assert effects["warmup", LARGEST_Q].p_adjusted < 0.05
    assert promises(report)["warmup_stabilises_dqn"] == "not_shown"


def test_target_never_reached():
    assert steps_to_target(curve([1.0], score=(0.1, 0.2)), "task", 0.5) is None


def test_curve_from_frames():
    updates = pd.DataFrame(
        {"step": [1, 2], "loss": [1.0, 0.5], "grad_norm": [2.0, 3.0], "clipped": [1.0, 0.0],
         "finite": [1.0, 0.0], "halting/q_max": [np.nan, 0.4], "fusion/gate_mean": [0.5, 0.6]}
    )  # fmt: skip
    found = curve_from_frames(
        updates,
        pd.DataFrame({"step": [2], "score": [0.3]}),
        setting="a",
        seed=1,
        task="maze",
        final_score=0.4,
        planned_steps=2,
        gave_up=False,
    )
    assert found.clipped.tolist() == [True, False]
    assert found.finite.tolist() == [True, False]
    assert found.gate.tolist() == [0.5, 0.6]
    assert found.weight_entropy.size == 0
    assert found.final == {"maze": 0.4}
    empty = curve_from_frames(
        pd.DataFrame(),
        pd.DataFrame(),
        setting="a",
        seed=1,
        task="maze",
        final_score=None,
        planned_steps=2,
        gave_up=True,
    )
    assert divergence(empty).startswith("gave up")


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="grad_norm has 3 values for 1 updates"):
        curve([1.0], grad_norm=np.ones(3))


# ---------------------------------------------------------------- effects


def test_clopper_pearson():
    """0 of 5: the upper limit is 1 - (alpha/2)^(1/5) = .5218."""
    rate = divergence_rate([run("a", s) for s in range(5)], 0.95)
    assert (rate.count, rate.low) == (0, 0.0)
    assert rate.high == pytest.approx(1 - 0.025**0.2)
    mixed = [run("a", s, diverged="x" if s < 2 else "") for s in range(7)]
    exact = binomtest(2, 7).proportion_ci(0.95, method="exact")
    found = divergence_rate(mixed, 0.95)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    with pytest.raises(ValueError, match="no run"):
        divergence_rate([], 0.95)


def simulated_runs(rng, effects, num_seeds=5, noise=0.001, seed_sd=0.02, pair=0.0):
    runs = []
    for seed in range(num_seeds):
        shift = rng.normal(0, seed_sd)
        for s in FRACTION:
            value = 0.3 + shift + sum(e * s.levels[f] / 2 for f, e in effects.items())
            value += pair * s.levels["lr"] * s.levels["warmup"] / 2
            runs.append(run(s.name, seed, spikes=value + rng.normal(0, noise)))
    return runs


def test_effects_are_recovered_exactly_without_noise():
    truth = {"lr": -0.02, "warmup": 0.01, "beta2": 0.0, "dqn_warmup_ratio": -0.005}
    runs = simulated_runs(np.random.default_rng(0), truth, noise=0.0, pair=0.03)
    found = main_effects(runs, SETTINGS, SPIKES, 0.95)
    assert {e.name: e.estimate for e in found} == pytest.approx(
        {k: 100 * v for k, v in truth.items()}, abs=1e-9
    )
    pairs = {e.name: e.estimate for e in interactions(runs, SETTINGS, SPIKES, 0.95)}
    assert pairs["lr x warmup with beta2 x dqn_warmup_ratio"] == pytest.approx(3.0)
    assert pairs["lr x beta2 with warmup x dqn_warmup_ratio"] == pytest.approx(0.0, abs=1e-9)


def test_effects_against_least_squares():
    truth = {"lr": -0.02, "warmup": 0.01, "beta2": 0.0, "dqn_warmup_ratio": -0.005}
    runs = simulated_runs(np.random.default_rng(3), truth, noise=0.01)
    levels = {s.name: s.levels for s in FRACTION}
    frame = pd.DataFrame(
        [{"y": 100 * r.spike_share, "seed": r.seed, **levels[r.setting]} for r in runs]
    )
    fit = smf.ols("y ~ C(seed) + lr + warmup + beta2 + dqn_warmup_ratio", frame).fit()
    for effect in main_effects(runs, SETTINGS, SPIKES, 0.95):
        assert effect.estimate == pytest.approx(2 * fit.params[effect.name])


def test_interval_covers_the_truth():
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(300):
        runs = simulated_runs(rng, {"lr": -0.02}, noise=0.02, pair=0.03)
        effect = interactions(runs, SETTINGS, SPIKES, 0.9)[0]
        hits += effect.low <= 3.0 <= effect.high
    assert binomtest(hits, 300, 0.9).pvalue > 0.01


def test_holm_over_the_four_factors():
    runs = simulated_runs(np.random.default_rng(5), {"lr": -0.02})
    found = main_effects(runs, SETTINGS, SPIKES, 0.95)
    smallest = min(found, key=lambda e: e.p)
    assert smallest.name == "lr"
    assert smallest.p_adjusted == pytest.approx(4 * smallest.p)


def test_a_seed_with_a_hole_is_left_out_and_named():
    runs = simulated_runs(np.random.default_rng(5), {"lr": -0.02}, num_seeds=4)
    runs = [r for r in runs if not (r.seed == 2 and r.setting == FOUR_ORIGINAL)]
    effect = main_effects(runs, SETTINGS, SPIKES, 0.95)[0]
    assert (effect.num_seeds, effect.missing) == (3, (2,))


def test_paired_difference_by_hand():
    """Differences 1, 2, 3 points: mean 2, t interval 2 -+ 4.302653 x 1/sqrt(3)."""
    runs = [run(ORIGINAL, s, spikes=0.1) for s in range(3)]
    runs += [run(CORRECTED, s, spikes=0.1 + 0.01 * (s + 1)) for s in range(3)]
    effect = paired_difference(runs, CORRECTED, ORIGINAL, SPIKES, 0.95)
    assert effect.estimate == pytest.approx(2.0)
    assert effect.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-6)
    assert effect.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-6)
    t = 2 * math.sqrt(3)
    assert effect.p == pytest.approx(1 - t / math.sqrt(t**2 + 2))  # two degrees of freedom


def test_few_seeds_give_no_interval():
    runs = [run(ORIGINAL, 0, spikes=0.1), run(CORRECTED, 0, spikes=0.2)]
    effect = paired_difference(runs, CORRECTED, ORIGINAL, SPIKES, 0.95)
    assert (effect.num_seeds, effect.low, effect.p) == (1, None, None)
    assert paired_difference([], CORRECTED, ORIGINAL, SPIKES, 0.95).estimate is None


@pytest.mark.parametrize(("after", "p"), [(0.1, 1.0), (0.2, None)])
def test_the_same_difference_in_every_seed_has_no_interval(after, p):
    runs = [run(ORIGINAL, s, spikes=0.1) for s in range(3)]
    runs += [run(CORRECTED, s, spikes=after) for s in range(3)]
    effect = paired_difference(runs, CORRECTED, ORIGINAL, SPIKES, 0.95)
    assert (effect.low, effect.high, effect.p, effect.num_seeds) == (None, None, p, 3)
    assert effect.estimate == pytest.approx(100 * (after - 0.1))


def test_one_spike_in_every_seed_is_not_certainty():
    rng = np.random.default_rng(0)
    curves = []
    for setting in SETTINGS:
        for seed in range(3):
            loss = np.linspace(3, 2.2, 125) + rng.normal(0, 0.02, 125)
            loss[90] += 3 * (setting.name == FOUR_ORIGINAL)
            curves.append(curve(loss, setting=setting.name, seed=seed))
    found = {p.topic: p for p in stability_report(curves, SETTINGS, CONFIG).tasks[0].promises}
    assert found["smoother_low_lr"].code == "not_evaluable"
    assert "without a spread" in found["smoother_low_lr"].recomputed
    assert found["short_warmup_unstable"].code == "not_evaluable"
    assert "25 of 125 updates" in found["short_warmup_unstable"].recomputed


def test_log_rank_by_hand():
    """New reaches at 1, 2, 3, old at 4, 5 and one censored: observed 3, expected by hand."""
    new = [run("n", s, reached=float(s + 1)) for s in range(3)]
    old = [run("o", s, reached=v, observed=6.0) for s, v in enumerate([4.0, 5.0, None])]
    at_risk = [(3, 6), (2, 5), (1, 4), (0, 3), (0, 2)]
    expected = sum(a / b for a, b in at_risk)
    variance = sum((a / b) * (1 - a / b) for a, b in at_risk)
    statistic, p = target_test(new, old, "task")
    assert statistic == pytest.approx((3 - expected) / math.sqrt(variance))
    assert p == pytest.approx(2 / math.comb(6, 3))  # the most extreme of 20 ways, and its mirror
    never = [run("n", 0), run("n", 1)]
    assert target_test(never, never, "task") is None
    assert target_test([], old, "task") is None
    same = [run("n", s, reached=50.0) for s in range(3)]
    assert target_test(same, same, "task") == (0.0, 1.0)


def test_log_rank_p_against_scipy():
    """By permutation of the runs; scipy's own permutation test of scipy's own statistic."""
    rng = np.random.default_rng(8)
    steps = rng.choice([25.0, 50.0, 75.0, 100.0, np.inf], 9)
    runs = [
        run("n", i, reached=s if s < 999 else None, observed=125.0) for i, s in enumerate(steps)
    ]

    def observed_minus_expected(chosen):
        part = [runs[int(i)] for i in chosen]
        rest = [r for r in runs if r not in part]
        total = 0.0
        for step in sorted({r.steps_to_target["task"] for r in runs} - {None}):
            at_risk = [[r for r in g if (r.steps_to_target["task"] or 125.0) >= step]
                       for g in (part, rest)]  # fmt: skip
            events = [sum(r.steps_to_target["task"] == step for r in g) for g in at_risk]
            share = len(at_risk[0]) / sum(map(len, at_risk))
            total += events[0] - sum(events) * share
        return total

    exact = permutation_test(
        (np.arange(4), np.arange(4, 9)),
        lambda first, _: abs(observed_minus_expected(first)),
        n_resamples=np.inf, alternative="greater", vectorized=False,
    )  # fmt: skip
    assert target_test(runs[:4], runs[4:], "task")[1] == pytest.approx(exact.pvalue)


def test_log_rank_of_many_runs_is_drawn():
    rng = np.random.default_rng(9)
    new, old = (
        [run("n", i, reached=float(v)) for i, v in enumerate(rng.exponential(scale, 15))]
        for scale in (20, 30)
    )
    asymptotic = logrank(
        [r.steps_to_target["task"] for r in new], [r.steps_to_target["task"] for r in old]
    )
    assert target_test(new, old, "task")[1] == pytest.approx(asymptotic.pvalue, abs=0.02)


# ---------------------------------------------------------------- report


def study(rng, *, lr_spikes=0.0, diverged=(), num_seeds=5, q_of=None):
    curves = []
    for setting in SETTINGS:
        for seed in range(num_seeds):
            loss = np.linspace(2, 0.5, 400) + rng.normal(0, 0.02, 400)
            high_rate = setting.levels["lr"] < 0
            if high_rate and lr_spikes:
                count = rng.binomial(400, lr_spikes)
                loss[rng.choice(np.arange(60, 400), count, replace=False)] += 3
            bad = high_rate and seed in diverged
            curves.append(
                curve(
                    loss, setting=setting.name, seed=seed, score=np.linspace(0.1, 0.8, 8),
                    final=None if bad else 0.8 + rng.normal(0, 0.01), gave_up=bad,
                    q_max=np.full(400, rng.normal(1.0 if q_of is None else q_of(setting), 0.01)),
                )
            )  # fmt: skip
    return curves


def promises(report):
    return {p.topic: p.code for p in report.tasks[0].promises}


def test_true_promises_hold():
    curves = study(
        np.random.default_rng(0),
        lr_spikes=0.03,
        diverged=(0, 1, 2),
        q_of=lambda s: 1.0 if s.levels["warmup"] > 0 else 2.0,
    )
    report = stability_report(curves, SETTINGS, CONFIG)
    assert promises(report) == {
        "smoother_low_lr": "holds",
        "nan_risk_high_lr": "holds",
        "high_lr_unstable": "not_shown",
        "short_warmup_unstable": "not_shown",
        "warmup_stabilises_dqn": "holds",
        "beta2_stabilises": "not_shown",
        "short_dqn_warmup_unstable": "not_shown",
        "clipping_prevents_explosions": "not_shown",
    }
    assert "the original rate: 12 of 20 runs diverged" in report.tasks[0].promises[1].recomputed


def test_nothing_happens_is_not_shown():
    report = stability_report(study(np.random.default_rng(1)), SETTINGS, CONFIG)
    assert set(promises(report).values()) == {"not_shown"}


def test_opposite_is_contradicted():
    curves = study(np.random.default_rng(2), q_of=lambda s: 2.0 if s.levels["warmup"] > 0 else 1.0)
    assert (
        promises(stability_report(curves, SETTINGS, CONFIG))["warmup_stabilises_dqn"]
        == "contradicted"
    )


def test_where_nothing_was_learned_nothing_is_judged():
    """A drift of the Q-value would be contradicted or hold; below guessing it says nothing."""
    curves = study(np.random.default_rng(2), q_of=lambda s: 2.0 if s.levels["warmup"] > 0 else 1.0)
    flat = {"task": Validation(np.arange(50, 401, 50), np.full(8, 0.05))}
    below = [replace(c, validation=flat, baseline=0.1, num_validation=400) for c in curves]
    report = stability_report(below, SETTINGS, CONFIG)
    assert set(promises(report).values()) == {"not_evaluable"}
    assert stability_points(report)[0] == (
        "task: nothing is judged: no setting learned anything in 400 updates: the best ends at "
        "0.050, 0.100 needs no learning; raise stability.epochs."
    )
    one = [c if b.setting == "corrected" else b for b, c in zip(below, curves, strict=True)]
    judged = stability_report(one, SETTINGS, CONFIG)
    assert promises(judged)["warmup_stabilises_dqn"] == "contradicted"


def test_two_seeds_are_not_evaluable():
    report = stability_report(study(np.random.default_rng(1), num_seeds=2), SETTINGS, CONFIG)
    assert set(promises(report).values()) == {"not_evaluable"}
    assert len(report.missing) == 9 * (CONFIG.num_seeds - 2)


def test_pair_judges_explosion_alone():
    config = CONFIG.model_copy(update={"design": "pair"})
    pair = stability_settings(TRAINING, HALTING, DOCUMENT, config)
    names = {s.name for s in pair}
    curves = [c for c in study(np.random.default_rng(1)) if c.setting in names]
    report = stability_report(curves, pair, config)
    assert promises(report)["nan_risk_high_lr"] == "not_shown"
    assert promises(report)["smoother_low_lr"] == "not_evaluable"
    assert report.aliases == {}


def test_report_in_all_forms():
    curves = study(np.random.default_rng(0), lr_spikes=0.03, diverged=(0,))
    report = stability_report(curves, SETTINGS, CONFIG)
    page = stability_markdown(report)
    assert "Smoother convergence with lr=1e-4" in page
    assert "1 of 5 [1 %, 72 %]" in page  # Clopper-Pearson of 1 of 5: .0051, .7164
    assert "aliased with" in page
    assert markdown.markdown(page, extensions=["tables"]).count("<table>") == 7
    assert json.loads(json.dumps(report.to_json()))["level"] == 0.95
    assert len(stability_section(report).tables) == 6
    task = report.tasks[0].task
    assert len(loss_figure(curves, task).data) == 10
    assert len(grad_norm_figure(curves, task).data) == 10
    assert len(effects_figure(report, task, SPIKES).data) == 4
    assert list(divergence_figure(report, task).data[0].y) == [s.name for s in SETTINGS]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="no training run"):
        stability_report([], SETTINGS, CONFIG)
    with pytest.raises(ValueError, match="unknown setting 'x'"):
        stability_report([curve([1.0], setting="x")], SETTINGS, CONFIG)
    with pytest.raises(ValueError, match="twice"):
        stability_report([curve([1.0]), curve([1.0])], SETTINGS, CONFIG)


def test_thinning_keeps_spikes_and_gaps():
    values = np.ones(4000)
    values[1234] = 50.0
    values[2001] = np.nan
    x, y = thin_out(np.arange(4000.0), values)
    assert len(x) == 800
    assert max(v for v in y if v is not None) == 50.0
    assert y.count(None) == 1
