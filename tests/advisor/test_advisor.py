"""The advisor on synthetic curves of each kind, and its silence on healthy ones."""

import numpy as np
import pytest

from hybrid_pipeline.advisor.study import (
    RunSettings,
    advise_study,
    advisor_notes,
    notes_markdown,
)
from hybrid_pipeline.config import (
    AdvisorConfig,
    CoconutConfig,
    HaltingConfig,
    ModelConfig,
    TrainingConfig,
)
from hybrid_pipeline.curves.curve import StabilityCurve, Validation

STEPS = 1000
PER_EPOCH = 100.0
RUN = RunSettings(
    TrainingConfig(epochs=10, lr=1e-3, lr_warmup_ratio=0.1),
    HaltingConfig(),
    ModelConfig(),
    AdvisorConfig(),
)


def advise(curve, run):
    """Advice on one run."""
    return tuple(advice for advice, _, _ in advise_study([(curve, run)]).values())


def advice_markdown(runs):
    return notes_markdown(advisor_notes(runs), len(runs))


def healthy(rng=None, *, validations=10, num_validation=500, score_sd=0.0, **changes):
    """A falling loss, a score that reaches a plateau, Q-values that follow it."""
    rng = rng or np.random.default_rng(0)
    step = np.arange(1.0, STEPS + 1)
    trend = 1 - np.exp(-step / 120)
    loss = 2 - 1.5 * trend + rng.normal(0, 0.05, STEPS)
    q_max = 0.2 + 0.6 * trend + rng.normal(0, 0.03, STEPS)
    at = np.linspace(STEPS / validations, STEPS, validations)
    score = 0.1 + 0.6 * (1 - np.exp(-at / 120)) + rng.normal(0, score_sd, validations)
    norms = np.exp(rng.normal(-0.7, 0.4, STEPS))
    fields = {
        "setting": "arm_5_coconut",
        "seed": 0,
        "step": step,
        "loss": loss,
        "grad_norm": norms,
        "clipped": norms > 1,
        "finite": np.ones(STEPS, bool),
        "q_max": np.where(step > 200, q_max, np.nan),
        "validation": {"maze": Validation(at, score)},
        "final": {"maze": 0.7},
        "planned_steps": STEPS,
        "steps_per_epoch": PER_EPOCH,
        "num_validation": num_validation,
        "gate": np.full(50, 0.6) + rng.normal(0, 0.02, 50),
        "weight_entropy": np.full(50, 1.3),
        "disagreement": np.full(50, 0.05),
    }
    return StabilityCurve(**(fields | changes))


def with_score(score, **changes):
    at = np.linspace(STEPS / len(score), STEPS, len(score))
    return healthy(validation={"maze": Validation(at, np.asarray(score))}, **changes)


def only(curve, run=RUN):
    found = advise(curve, run)
    assert len(found) == 1, found
    return found[0]


def test_silent_on_a_healthy_curve():
    assert advise(healthy(), RUN) == ()
    assert advice_markdown([(healthy(), RUN)]).startswith("No advice: the curves of 1 run look")


def alarms(advice_ids):
    """The remarks that find fault or a chance; that there is too little to judge by is neither."""
    return [found for found in advice_ids if found != "too_few"]


def ids_of_study(runs):
    return [found for _, _, found in advise_study(runs)]


@pytest.mark.parametrize(
    ("validations", "score_sd"), [(5, 0.022), (10, 0.022), (25, 0.022), (20, 0.06)]
)
def test_silent_on_noisy_healthy_curves(validations, score_sd):
    """Normal noise as wide as the binomial one of 500 examples, and three times that.

    At most 1 % of 400 healthy runs are alarmed.
    """
    rng = np.random.default_rng(validations)
    runs = [healthy(rng, validations=validations, score_sd=score_sd) for _ in range(400)]
    assert sum(bool(alarms([a.id for a in advise(run, RUN)])) for run in runs) <= 4


@pytest.mark.parametrize("validations", [5, 10])
def test_silent_on_three_healthy_seeds(validations):
    """The same for seeds judged together, 200 times; 10 validations suffice to judge by."""
    rng = np.random.default_rng(validations)
    studies = [
        ids_of_study(
            [(healthy(rng, validations=validations, score_sd=0.022, seed=s), RUN) for s in range(3)]
        )
        for _ in range(200)
    ]
    assert sum(bool(alarms(found)) for found in studies) <= 2
    assert sum("too_few" in found for found in studies) <= (40 if validations == 5 else 4)


@pytest.mark.parametrize("noise", ["lognormal 0.7", "lognormal 1.0", "exponential"])
def test_a_skewed_batch_loss_is_not_spikes(noise):
    """The noise of a loss grows with the loss and has a long upper tail."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        factor = (
            rng.exponential(1, STEPS)
            if noise == "exponential"
            else np.exp(rng.normal(0, float(noise.split()[1]), STEPS))
        )
        trend = 0.02 + 2 * np.exp(-np.arange(STEPS) / 120)
        assert advise(healthy(rng, loss=trend * factor), RUN) == ()


def test_overfitting_names_the_epoch():
    score = np.concatenate([np.linspace(0.2, 0.8, 8), np.linspace(0.78, 0.5, 12)])
    loss = np.linspace(2, 0.05, STEPS)
    advice = only(with_score(score, loss=loss))
    assert advice.id == "overfits"
    assert advice.parameter == "training.epochs"
    assert 3.0 <= advice.value <= 5.0  # the peak is at validation 8 of 20: epoch 4
    assert advice.params == f"--params training.epochs={advice.value:g}"
    assert "to 0.538" in advice.figure  # the last four: .5 + (0 + 1 + 2 + 3) / 4 x .28 / 11


def test_a_drop_without_falling_loss_is_not_overfitting():
    score = np.concatenate([np.linspace(0.2, 0.8, 8), np.linspace(0.78, 0.5, 12)])
    loss = np.concatenate([np.linspace(2, 1, 400), np.linspace(1, 1.9, 600)])
    assert advise(with_score(score, loss=loss), RUN) == ()


def overfitted(rng, drop, seed, validations=5):
    """The score rises to .7 at 40 % of training and loses ``drop`` until its end."""
    at = np.linspace(STEPS / validations, STEPS, validations)
    share = at / STEPS
    score = np.where(
        share <= 0.4, 0.1 + 0.6 * np.sqrt(share / 0.4), 0.7 - drop * (share - 0.4) / 0.6
    )
    return healthy(
        rng,
        validation={"maze": Validation(at, score + rng.normal(0, 0.02, validations))},
        num_validation=512,
        loss=np.linspace(2, 0.05, STEPS),
        q_max=np.full(STEPS, 0.5),
        seed=seed,
    )


@pytest.mark.parametrize(("seeds", "drop"), [(3, 0.2), (1, 0.4)])
def test_overfitting_is_found_at_the_default_of_five_validations(seeds, drop):
    rng = np.random.default_rng(1)
    found = sum(
        "overfits" in ids_of_study([(overfitted(rng, drop, s), RUN) for s in range(seeds)])
        for _ in range(50)
    )
    assert found >= 45


def test_one_seed_that_overfits_is_named():
    rng = np.random.default_rng(2)
    rising = [0.3, 0.6, 0.68, 0.7, 0.7]
    runs = [(with_score(rising, seed=s, num_validation=512), RUN) for s in (0, 2)]
    runs.append((overfitted(rng, 0.4, 1), RUN))
    found = advise_study(runs)
    assert found["arm_5_coconut", "maze", "overfits"][1:] == ((1,), 3)


# The last four validations of the shipped study's arm 5 on mazes, and of arm 1 on Sudoku.
MAZE = ([0.117, 0.166, 0.197, 0.26], [0.139, 0.189, 0.273, 0.352], [0.119, 0.172, 0.232, 0.318])
GRID = ([0.605, 0.689, 0.754, 0.8], [0.652, 0.744, 0.804, 0.834], [0.591, 0.713, 0.75, 0.758])


def five(scores, arm="arm_5_coconut", task="maze"):
    at = np.linspace(STEPS / 5, STEPS, 5)
    return [
        (
            healthy(
                setting=arm,
                seed=seed,
                validation={task: Validation(at, np.array([score[0] / 2, *score]))},
                final={task: score[-1]},
                num_validation=512,
                q_max=np.interp(np.arange(STEPS), at, [score[0] / 2, *score]),
            ),
            RUN,
        )
        for seed, score in enumerate(scores)
    ]


def test_a_rise_that_one_seed_cannot_show_is_found_over_seeds():
    runs = five(MAZE)
    assert not any(a.id == "still_improves" for run in runs for a in advise(*run))
    (note,) = advisor_notes(runs)
    assert note.where == "arm_5_coconut, maze, 3 of 3 seeds (0, 1, 2)"
    assert "validation score 0.234 to 0.310 at the end, mean of 3 runs" in note.text


def test_a_rise_that_one_arm_cannot_show_is_found_over_arms():
    arms = [f"arm_{i}" for i in range(5)]
    runs = [run for arm in arms for run in five(GRID, arm, "grid")]
    assert set(advise_study(runs)) == {("all 5 together", "grid", "still_improves")}
    flat = [run for arm in arms[1:] for run in five([[0.6, 0.7, 0.75, 0.75]] * 3, arm, "grid")]
    assert advise_study([*five(MAZE, arms[0], "grid"), *flat]).keys() == {
        ("arm_0", "grid", "still_improves")
    }


def test_still_improving_extends():
    advice = only(with_score(np.linspace(0.1, 0.8, 10)))
    assert (advice.id, advice.params) == ("still_improves", "--params training.epochs=15")


def test_too_few_validations_are_said_to_be_too_few():
    advice = only(with_score([0.1, 0.4, 0.7, 1.0]))
    assert (advice.id, advice.params) == ("too_few", "--params training.eval_interval=1")
    alone = only(with_score([0.3, 0.5, 0.52, 0.51, 0.52], num_validation=512))
    assert (alone.id, alone.level) == ("too_few", "info")
    assert "5 validations show a drop from 0.2" in alone.figure


def test_a_large_drop_is_found_in_five_validations():
    falling = np.linspace(2, 0.05, STEPS)
    advice = only(with_score([0.3, 0.7, 0.9, 0.5, 0.2], loss=falling, num_validation=512))
    assert (advice.id, advice.value) == ("overfits", 6.0)


def test_a_loss_that_rises_is_divergence():
    rng = np.random.default_rng(0)
    loss = np.r_[np.linspace(2, 1, 300), np.geomspace(1, 50, 700)] + rng.normal(0, 0.05, STEPS)
    score = [0.3, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1]
    advice = only(with_score(score, loss=loss, q_max=np.full(STEPS, np.nan)))
    assert (advice.id, advice.params) == ("diverged", "--params training.lr=0.0005")
    assert "median loss 2 at first, 38 at the end" in advice.figure  # 50^(1 - 50/700)


def test_a_run_that_never_learns():
    flat = 2 + np.random.default_rng(3).normal(0, 0.05, STEPS)
    curve = with_score(np.full(10, 0.25), loss=flat, q_max=np.full(STEPS, 0.25))
    assert only(curve).id == "no_learning"
    near = with_score(np.full(10, 0.26), q_max=np.full(STEPS, 0.25), baseline=0.25)
    assert "0.260 at the end, 0.250 without learning" in only(near).figure
    above = with_score(np.full(10, 0.4), q_max=np.full(STEPS, 0.25), baseline=0.25)
    assert advise(above, RUN) == ()


def test_paths_that_are_right_agree():
    solved = [0.3, 0.6, 0.9, 0.99, 0.995, 0.998, 0.999, 0.999, 0.999, 0.999]
    q_max = np.interp(np.arange(STEPS), np.linspace(100, STEPS, 10), solved)
    assert advise(with_score(solved, disagreement=np.full(50, 0.001), q_max=q_max), RUN) == ()


def spiked():
    loss = healthy().loss.copy()
    loss[np.arange(100, 1000, 30)] += 2.0
    return healthy(loss=loss)


def test_spikes_ask_for_clipping_then_for_a_lower_rate():
    assert only(spiked()).params == "--params training.lr=0.0005"
    free = RunSettings(
        RUN.training.model_copy(update={"max_grad_norm": None}), RUN.halting, RUN.model,
        RUN.advisor,
    )  # fmt: skip
    advice = only(spiked(), free)
    assert (advice.id, advice.params) == ("spikes", "--params training.max_grad_norm=1")
    assert "3.2 %" in advice.figure  # 30 of 950 judged updates


def test_non_finite_updates():
    finite = np.ones(STEPS, bool)
    finite[::20] = False
    assert only(healthy(finite=finite)).params == "--params training.lr=0.0005"
    half = RunSettings(
        RUN.training.model_copy(update={"precision": "fp16"}), RUN.halting, RUN.model, RUN.advisor
    )
    assert only(healthy(finite=finite), half).params == "--params training.precision=fp32"


def test_constant_clipping():
    norms = np.full(STEPS, 4.0)
    advice = only(healthy(grad_norm=norms, clipped=norms > 1))
    assert (advice.id, advice.params) == ("clips_constantly", "--params training.max_grad_norm=4")


@pytest.mark.parametrize(("gate", "ignored"), [(0.005, "frozen tower"), (0.995, "custom ViT")])
def test_dead_gate(gate, ignored):
    advice = only(healthy(gate=np.full(50, gate)))
    assert ignored in advice.text
    assert advice.params == "--params training.lr_warmup_ratio=0.2"
    in_steps = RunSettings(
        TrainingConfig(lr_warmup_steps=300, epochs=10), RUN.halting, RUN.model, RUN.advisor
    )
    advice = only(healthy(gate=np.full(50, gate)), in_steps)
    assert advice.params == "--params training.lr_warmup_steps=600"


def test_collapsed_paths():
    advice = only(healthy(weight_entropy=np.full(50, 0.01)))
    assert advice.params == "--params model.coconut.diversity_weight=0.1"
    assert "one path takes all" in advice.text
    assert "of 1.386" in advice.figure  # ln 4
    assert "nearly agree" in only(healthy(disagreement=np.full(50, 0.001))).text
    weighted = RunSettings(
        RUN.training, RUN.halting, ModelConfig(coconut=CoconutConfig(diversity_weight=0.1)),
        RUN.advisor,
    )  # fmt: skip
    advice = only(healthy(disagreement=np.full(50, 0.001)), weighted)
    assert advice.params == "--params model.coconut.diversity_weight=0.2"


def test_one_path_cannot_collapse():
    single = RunSettings(
        RUN.training, RUN.halting, ModelConfig(coconut=CoconutConfig(num_paths=1)), RUN.advisor
    )
    assert advise(healthy(weight_entropy=np.zeros(50), disagreement=np.zeros(50)), single) == ()


def test_q_beyond_the_returns():
    q_max = np.linspace(0.5, 3.0, STEPS)
    advice = only(healthy(q_max=q_max))
    assert (advice.id, advice.params) == ("q_beyond_returns", "--params halting.target_tau=0.01")
    hard = HaltingConfig(target_tau=None, target_period=100)
    periodic = RunSettings(RUN.training, hard, RUN.model, RUN.advisor)
    assert only(healthy(q_max=q_max), periodic).params == "--params halting.target_period=200"


def test_q_drift_within_the_bounds():
    q_max = np.concatenate([np.full(500, 0.3), np.linspace(0.3, 1.1, 500)])
    advice = only(healthy(q_max=q_max))
    assert (advice.id, advice.params) == ("q_drifts", "--params halting.lr_dqn=0.0005")


def test_q_may_follow_the_score():
    """Q rises by 0.4 over the second half, and so does the score: only the extension is advised."""
    score = np.linspace(0.1, 0.9, 10)
    q_max = np.interp(np.arange(1.0, STEPS + 1), np.linspace(100, STEPS, 10), score)
    assert only(with_score(score, q_max=q_max)).id == "still_improves"


def test_q_may_stay_while_the_score_rises():
    assert only(with_score(np.linspace(0.1, 0.9, 10), q_max=np.full(STEPS, 0.6))).id == (
        "still_improves"
    )


def test_arms_without_gate_paths_or_dqn():
    bare = healthy(
        gate=np.empty(0), weight_entropy=np.empty(0), disagreement=np.empty(0),
        q_max=np.full(STEPS, np.nan),
    )  # fmt: skip
    assert advise(bare, RUN) == ()


def test_seeds_are_told_together():
    runs = [(healthy(gate=np.full(50, 0.001), seed=s), RUN) for s in (0, 2)] + [
        (healthy(seed=1), RUN)
    ]
    found = advise_study(runs)
    assert list(found) == [("arm_5_coconut", "maze", "dead_gate")]
    (note,) = advisor_notes(runs)
    assert note.where == "arm_5_coconut, maze, 2 of 3 seeds (0, 2)"
    assert note.suggestion == "--params training.lr_warmup_ratio=0.2"
    assert "mean gate 0.001 at the end" in advice_markdown(runs)


def test_one_remark_on_many_arms_is_one_note():
    """Arms share max_grad_norm: the largest suggestion serves all."""
    clipped = np.ones(STEPS, dtype=bool)
    runs = [
        (healthy(setting=arm, clipped=clipped, grad_norm=np.full(STEPS, norm)), RUN)
        for arm, norm in (("arm_1_baseline", 2.0), ("arm_4_trm", 4.0))
    ]
    (note,) = advisor_notes(runs)
    assert note.where == "arm_1_baseline, maze, 1 of 1 seeds (0); arm_4_trm, maze, 1 of 1 seeds (0)"
    assert note.suggestion == "--params training.max_grad_norm=4"
    assert note.level == "info"
    assert "median norm 2, the first of these, seed 0" in note.text
