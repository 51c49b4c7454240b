"""Rules on warm-up, the start of the DQN and its annealing."""

from __future__ import annotations

import math

from hybrid_pipeline.review.findings import Finding, ReviewInputs, fix, percent, unset


def warmup_length(inputs: ReviewInputs) -> list[Finding]:
    """Warm-up in steps, epochs and percent of training; too short or sound."""
    rules, share = inputs.rules, inputs.warmup_share
    epochs = inputs.warmup_steps / inputs.steps_per_epoch
    computed = {
        "warmup_steps": inputs.warmup_steps,
        "warmup_epochs": round(epochs, 2),
        "warmup_share": round(share, 4),
        "batches_per_epoch": inputs.steps_per_epoch,
        "total_steps": inputs.total_steps,
    }
    path, value = _warmup_parameter(inputs)
    sentence = (
        f"{inputs.warmup_steps:,} steps are {epochs:.2f} epochs of {inputs.steps_per_epoch:,} "
        f"batches, {percent(share)} of training."
    )
    short = inputs.warmup_steps + 0.5 < rules.min_warmup_share * inputs.total_steps
    target = max(1, round(_reference_share(inputs) * inputs.total_steps))
    advice = f" Warm up over {target:,} steps ({percent(_reference_share(inputs))})."
    return [
        Finding(
            id="warmup_short" if short else "warmup",
            severity="warning" if short else "note",
            path=path,
            value=value,
            computed=computed | ({"reference_steps": target} if short else {}),
            recommendation=sentence + (advice if short else ""),
            quote="Needs more gradual warmup for stability",
            evidence="heuristic",
            autofix=_warmup_fix(inputs, target) if short else None,
        )
    ]


def warmup_disagreement(inputs: ReviewInputs) -> list[Finding]:
    """Steps and ratio of warm-up given together."""
    ratio = inputs.foreign.get("training.lr_warmup_ratio")
    if not isinstance(ratio, int | float):
        return []
    by_ratio = round(ratio * inputs.total_steps)
    agree = by_ratio == inputs.warmup_steps
    return [
        Finding(
            id="warmup_given_twice",
            severity="warning" if agree else "error",
            path="training.lr_warmup_ratio",
            value=ratio,
            computed={
                "steps_by_ratio": by_ratio,
                "steps_given": inputs.warmup_steps,
                "total_steps": inputs.total_steps,
            },
            recommendation=(
                f"Give one: the ratio means {by_ratio:,} steps, the other key says "
                f"{inputs.warmup_steps:,}."
            ),
            quote="or ratio-based: lr_warmup_ratio: 0.1",
            evidence="contradicted",
            autofix=unset("training.lr_warmup_ratio"),
        )
    ]


def dqn_start(inputs: ReviewInputs) -> list[Finding]:
    """A DQN that starts while the learning rate still rises."""
    if not inputs.uses_dqn or inputs.dqn_start_step >= inputs.warmup_steps:
        return []
    ratio = max(inputs.rules.min_dqn_warmup_ratio, math.ceil(100 * inputs.warmup_share) / 100)
    return [
        Finding(
            id="dqn_starts_in_warmup",
            severity="warning",
            path="halting.dqn_warmup_ratio",
            value=inputs.halting.dqn_warmup_ratio,
            computed={
                "dqn_start_step": inputs.dqn_start_step,
                "warmup_ends_step": inputs.warmup_steps,
                "start_after_fix": round(ratio * inputs.total_steps),
            },
            recommendation=(
                f"The DQN would start at step {inputs.dqn_start_step:,}, inside a warm-up that "
                f"ends at {inputs.warmup_steps:,}. Couple the two: {ratio:g} starts it at "
                f"{round(ratio * inputs.total_steps):,}."
            ),
            quote="DQN needs stable representations before learning Q-values",
            evidence="heuristic",
            autofix=fix(halting__dqn_warmup_ratio=ratio),
        )
    ]


def dqn_warmup(inputs: ReviewInputs) -> list[Finding]:
    """A DQN that starts early in training."""
    ratio, wanted = inputs.halting.dqn_warmup_ratio, inputs.rules.min_dqn_warmup_ratio
    if not inputs.uses_dqn or ratio >= wanted:
        return []
    decisions = max(1, inputs.model.trm.supervision_steps - 1)  # one after each step but the last
    per_step = inputs.training.global_batch_size * decisions
    fills_after = math.ceil(inputs.halting.replay_capacity / per_step)
    later = max(wanted, math.ceil(100 * inputs.warmup_share) / 100)
    return [
        Finding(
            id="dqn_warmup_short",
            severity="warning",
            path="halting.dqn_warmup_ratio",
            value=ratio,
            computed={
                "dqn_start_step": inputs.dqn_start_step,
                "dqn_start_epoch": round(inputs.dqn_start_step / inputs.steps_per_epoch, 2),
                "start_after_fix": round(later * inputs.total_steps),
                "memory_full_after_steps": fills_after,
                "total_steps": inputs.total_steps,
            },
            recommendation=(
                f"Start at {percent(later)} of training (step "
                f"{round(later * inputs.total_steps):,} instead of {inputs.dqn_start_step:,}) so "
                "that the states it learns from move less. The document's reason does not hold: "
                f"a memory of {inputs.halting.replay_capacity:,} transitions is full after "
                f"{fills_after:,} steps."
            ),
            quote="Memory bank needs diverse experiences before DQN can learn",
            evidence="contradicted",
            autofix=fix(halting__dqn_warmup_ratio=later),
        )
    ]


def beta2(inputs: ReviewInputs) -> list[Finding]:
    """A short average of squared gradients beside a DQN."""
    value, wanted = inputs.training.beta2, inputs.rules.min_beta2
    if not inputs.uses_dqn or value >= wanted:
        return []
    return [
        Finding(
            id="beta2_with_dqn",
            severity="advice",
            path="training.beta2",
            value=value,
            computed={
                "window_steps": round(1 / (1 - value)),
                "window_after_fix": round(1 / (1 - wanted)),
                "torch_default": 0.999,
            },
            recommendation=(
                f"{wanted:g} averages squared gradients over {1 / (1 - wanted):.0f} steps instead "
                f"of {1 / (1 - value):.0f}. The document's evidence does not hold: the 2015 DQN "
                "used RMSProp, Rainbow's Adam keeps beta2 at its default, and the DQN has an "
                "optimiser of its own here, which this value does not reach."
            ),
            quote="DQN papers often use beta2=0.98 or 0.99",
            evidence="contradicted",
            autofix=fix(training__beta2=wanted),
        )
    ]


def annealing(inputs: ReviewInputs) -> list[Finding]:
    """Annealed values that rise where they should fall, or end where they change nothing."""
    halting = inputs.halting
    pairs = [("expansion_penalty", halting.expansion_penalty_start, halting.expansion_penalty_end)]
    if halting.exploration == "boltzmann":
        pairs.append(("q_temperature", halting.q_temperature_start, halting.q_temperature_end))
    else:
        pairs.append(("epsilon", halting.epsilon_start, halting.epsilon_end))
    if not inputs.uses_dqn:
        return []
    found = [_reversed(name, start, end) for name, start, end in pairs if start < end]
    if found:
        return found
    return [_annealing_note(inputs)]


def freeze_flags(inputs: ReviewInputs) -> list[Finding]:
    """Freeze flags that say something else than what happens."""
    found = [
        Finding(
            id="freeze_flag_foreign",
            severity="error",
            path=path,
            value=value,
            computed={},
            recommendation=(
                "Delete it. The tower is always frozen and the learner never is; only the DQN "
                "waits, for dqn_warmup_ratio of training."
            ),
            quote="CLIP is frozen (86M params)",
            evidence="heuristic",
            autofix=unset(path),
        )
        for path, value in inputs.foreign.items()
        if "freeze" in path
    ]
    if inputs.halting.freeze_representation_during_warmup:
        found.append(_freeze_finding(inputs))
    return found


def _freeze_finding(inputs: ReviewInputs) -> Finding:
    idle = not inputs.uses_dqn or inputs.dqn_start_step == 0
    reading = (
        "Read as: until the DQN starts its Q-values stay frozen and no gradient flows from it into "
        "the representation. It freezes neither the learner nor, later, unfreezes CLIP."
    )
    return Finding(
        id="freeze_flag_idle" if idle else "freeze_flag_ambiguous",
        severity="warning" if idle else "note",
        path="halting.freeze_representation_during_warmup",
        value=True,
        computed={"dqn_start_step": inputs.dqn_start_step, "policy": inputs.halting.policy},
        recommendation="It has no effect here: there is no DQN warm-up." if idle else reading,
        quote="freeze_representation_during_warmup: true",
        evidence="heuristic",
        autofix=fix(halting__freeze_representation_during_warmup=False) if idle else None,
    )


def _reversed(name: str, start: float, end: float) -> Finding:
    return Finding(
        id="annealing_reversed",
        severity="warning",
        path=f"halting.{name}_end",
        value=end,
        computed={"start": start, "end": end},
        recommendation=f"{name} rises from {start:g} to {end:g}; exchange the two.",
        quote="Encourages exploration early, exploitation late",
        evidence="heuristic",
        autofix=fix(**{f"halting__{name}_start": end, f"halting__{name}_end": start}),
    )


def _annealing_note(inputs: ReviewInputs) -> Finding:
    halting = inputs.halting
    temperature = halting.q_temperature_end
    preference = 1 / (1 + math.exp(-halting.step_cost / temperature))
    return Finding(
        id="annealing_ends",
        severity="note",
        path="halting.q_temperature_end",
        value=temperature,
        computed={
            "expansion_penalty_start": halting.expansion_penalty_start,
            "expansion_penalty_end": halting.expansion_penalty_end,
            "annealed_from_step": inputs.dqn_start_step,
            "annealed_to_step": inputs.total_steps,
            "choice_probability_at_one_step_cost": round(preference, 3),
        },
        recommendation=(
            f"Both fall, as intended. At temperature {temperature:g} two actions whose Q-values "
            f"differ by one step's cost ({halting.step_cost:g}) are still chosen "
            f"{preference:.3f} to {1 - preference:.3f}: exploitation is complete only in the "
            "greedy evaluation."
        ),
        quote="Encourages exploration early, exploitation late",
        evidence="heuristic",
    )


def _reference_share(inputs: ReviewInputs) -> float:
    return inputs.rules.reference_warmup_steps / inputs.rules.reference_total_steps


def _warmup_parameter(inputs: ReviewInputs) -> tuple[str, float | None]:
    if inputs.training.lr_warmup_steps is not None:
        return "training.lr_warmup_steps", inputs.training.lr_warmup_steps
    return "training.lr_warmup_ratio", inputs.training.lr_warmup_ratio


def _warmup_fix(inputs: ReviewInputs, steps: int) -> str:
    if inputs.training.lr_warmup_steps is not None:
        return fix(training__lr_warmup_steps=steps)
    return fix(training__lr_warmup_ratio=round(_reference_share(inputs), 3))
