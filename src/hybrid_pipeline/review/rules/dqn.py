"""Rules on the start of the DQN, its annealing and what goes with it."""

from __future__ import annotations

import math

from hybrid_pipeline.config import HaltingConfig
from hybrid_pipeline.config.review import Scalar
from hybrid_pipeline.review.findings import Finding, ReviewInputs, fix, unset
from hybrid_pipeline.review.registry import register_rule
from hybrid_pipeline.text_tables import percent


@register_rule
def dqn_start(inputs: ReviewInputs) -> Finding | None:
    """A DQN that starts while the learning rate still rises."""
    if not inputs.uses_dqn or inputs.dqn_start_step >= inputs.warmup_steps:
        return None
    if inputs.warmup_share > inputs.rules.max_warmup_share:
        return None  # the warm-up is the mistake, and has a finding of its own
    ratio = _start_ratio(inputs)
    return Finding(
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


@register_rule
def dqn_end(inputs: ReviewInputs) -> Finding | None:
    """A DQN that starts too late to learn or to act, or never."""
    ratio, latest = inputs.halting.dqn_warmup_ratio, inputs.rules.max_dqn_warmup_ratio
    if not inputs.uses_dqn or ratio <= latest:
        return None
    never, later = inputs.dqn_start_step >= inputs.total_steps, _start_ratio(inputs)
    left = max(0, inputs.total_steps - inputs.dqn_start_step)
    frozen = inputs.halting.freeze_representation_during_warmup
    missing = "learns nor acts" if frozen else "acts"
    reason = (
        f"In training the DQN {'neither' if frozen else 'never'} {missing}: its warm-up is the "
        "whole run, in which actions are drawn uniformly."
        if never
        else f"Only {left:,} of {inputs.total_steps:,} updates are left for the DQN."
    )
    return Finding(
        id="dqn_never_starts" if never else "dqn_starts_late",
        severity="error" if never else "warning",
        path="halting.dqn_warmup_ratio",
        value=ratio,
        computed={
            "dqn_start_step": inputs.dqn_start_step,
            "total_steps": inputs.total_steps,
            "updates_left": left,
            "start_after_fix": round(later * inputs.total_steps),
        },
        recommendation=f"{reason} Start it at {percent(later)} of training.",
        quote="DQN needs stable representations before learning Q-values",
        evidence="heuristic",
        autofix=fix(halting__dqn_warmup_ratio=later),
    )


@register_rule
def dqn_warmup(inputs: ReviewInputs) -> Finding | None:
    """A DQN that starts early in training."""
    ratio, wanted = inputs.halting.dqn_warmup_ratio, inputs.rules.min_dqn_warmup_ratio
    if not inputs.uses_dqn or ratio >= wanted:
        return None
    fills_after = math.ceil(inputs.halting.replay_capacity / _transitions_per_update(inputs))
    later = _start_ratio(inputs)
    return Finding(
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
            "that the states it learns from move less. The reason in the seed analysis does "
            f"not hold: a memory of {inputs.halting.replay_capacity:,} transitions is full "
            f"after {fills_after:,} steps."
        ),
        quote="Memory bank needs diverse experiences before DQN can learn",
        evidence="contradicted",
        autofix=fix(halting__dqn_warmup_ratio=later),
    )


@register_rule
def beta2(inputs: ReviewInputs) -> Finding | None:
    """A short average of squared gradients beside a DQN."""
    value, wanted = inputs.training.beta2, inputs.rules.min_beta2
    if not inputs.uses_dqn or value >= wanted:
        return None
    return Finding(
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
            f"of {1 / (1 - value):.0f}. The evidence in the seed analysis does not hold: the "
            "2015 DQN used RMSProp, Rainbow's Adam keeps beta2 at its default, and the DQN has "
            "an optimiser of its own here, which this value does not reach."
        ),
        quote="DQN papers often use beta2=0.98 or 0.99",
        evidence="contradicted",
        autofix=fix(training__beta2=wanted),
    )


@register_rule
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
    if found or inputs.dqn_start_step >= inputs.total_steps:
        return found
    return [_annealing_note(inputs)]


@register_rule
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
        "Read as: until the DQN starts its Q-values stay frozen. It does not freeze the learner "
        "and never unfreezes CLIP; no gradient flows from the DQN into the representation, before "
        "its start or after."
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
    boltzmann = halting.exploration == "boltzmann"
    name, value, ending, figure = (_temperature_end if boltzmann else _epsilon_end)(halting)
    start = halting.q_temperature_start if boltzmann else halting.epsilon_start
    penalty = (halting.expansion_penalty_start, halting.expansion_penalty_end)
    courses = f"{_course(name, start, value)}; {_course('the expansion penalty', *penalty)}."
    return Finding(
        id="annealing_ends",
        severity="note",
        path="halting.q_temperature_end" if boltzmann else "halting.epsilon_end",
        value=value,
        computed={
            "expansion_penalty_start": penalty[0],
            "expansion_penalty_end": penalty[1],
            "annealed_from_step": inputs.dqn_start_step,
            "annealed_to_step": inputs.total_steps,
            **figure,
        },
        recommendation=f"{courses[:1].upper()}{courses[1:]} {ending}",
        quote="Encourages exploration early, exploitation late",
        evidence="heuristic",
    )


def _temperature_end(halting: HaltingConfig) -> tuple[str, float, str, dict[str, Scalar]]:
    """Name, last value, what it means and its figure, under Boltzmann exploration."""
    temperature = halting.q_temperature_end
    preference = 1 / (1 + math.exp(-halting.step_cost / temperature))
    ending = (
        f"At temperature {temperature:g} two actions whose Q-values differ by one step's cost "
        f"({halting.step_cost:g}) are still chosen {preference:.3f} to {1 - preference:.3f}: "
        "exploitation is complete only in the greedy evaluation."
    )
    figure: dict[str, Scalar] = {"choice_probability_at_one_step_cost": round(preference, 3)}
    return "the temperature", temperature, ending, figure


def _epsilon_end(halting: HaltingConfig) -> tuple[str, float, str, dict[str, Scalar]]:
    """The same under epsilon-greedy exploration, which reads no temperature."""
    epsilon = halting.epsilon_end
    ending = (
        f"At the end {percent(epsilon)} of the actions in training are drawn at random; the "
        "evaluation is greedy."
    )
    return "epsilon", epsilon, ending, {"random_share_at_the_end": epsilon}


def _course(name: str, start: float, end: float) -> str:
    if start == end:
        return f"{name} stays at {end:g}"
    return f"{name} falls from {start:g} to {end:g}"


def _transitions_per_update(inputs: ReviewInputs) -> int:
    """What the DQN's memory gets of an update: halting and going on after every step but the last.

    Without a step to decide after, the memory gets nothing; then one per example is assumed.
    """
    from hybrid_pipeline.halting.observer import num_transitions

    batch = inputs.training.global_batch_size
    steps = inputs.model.trm.supervision_steps
    return num_transitions(batch, min_steps=inputs.halting.min_steps, max_steps=steps) or batch


def _start_ratio(inputs: ReviewInputs) -> float:
    """Where the DQN should start: the seed analysis' share, and after the warm-up if that is sound.

    Never above the latest start that the rules allow.
    """
    rules, share = inputs.rules, inputs.warmup_share
    after_warmup = math.ceil(100 * share) / 100 if share <= rules.max_warmup_share else 0.0
    return min(max(rules.min_dqn_warmup_ratio, after_warmup), rules.max_dqn_warmup_ratio)
