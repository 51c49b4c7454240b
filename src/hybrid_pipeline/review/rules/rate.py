"""Rules on the learning rate, its schedule and the optimiser."""

from __future__ import annotations

import math

from hybrid_pipeline.review.findings import Finding, ReviewInputs, fix, unset
from hybrid_pipeline.review.registry import register_rule
from hybrid_pipeline.text_tables import percent, two_digits

_FROZEN_WORDS = ("pretrained", "clip", "frozen", "encoder", "tower", "backbone")


@register_rule
def learning_rate(inputs: ReviewInputs) -> Finding | None:
    """A learning rate far above the reference for this width while the encoder is frozen."""
    lr, reference, rules = inputs.training.lr, inputs.reference_lr, inputs.rules
    limit, measured = rules.lr_tolerance * reference, inputs.measured.lr_difference
    if inputs.counts.frozen == 0 or lr <= limit:
        return _measured_rate(inputs)
    total = inputs.counts.frozen + inputs.counts.trainable
    return Finding(
        id="lr_frozen_encoder",
        severity="warning",
        path="training.lr",
        value=lr,
        computed={
            "reference_lr": reference,
            "times_reference": round(lr / reference, 2),
            "limit": limit,
            "frozen_share": round(inputs.counts.frozen / total, 3),
            "trainable_parameters": inputs.counts.trainable,
        },
        recommendation=(
            f"Start from {reference:g}: {percent(inputs.counts.frozen / total)} of the weights "
            f"are frozen, and the rate is {lr / reference:.1f} times the reference "
            f"{rules.reference_lr:g} at width {rules.reference_width}, scaled by 1/width "
            "(Yang et al. 2022). The seed analysis cites no paper"
            f"{'; measure with the stability study.' if measured is None else f'. {measured}'}"
        ),
        quote="Standard for full model training, not for partial training",
        evidence="heuristic" if measured is None else "measured",
        autofix=fix(training__lr=reference),
    )


def _measured_rate(inputs: ReviewInputs) -> Finding | None:
    """What the stability study measured for a rate that no threshold objects to."""
    if inputs.measured.lr_difference is None:
        return None
    return Finding(
        id="lr_measured",
        severity="note",
        path="training.lr",
        value=inputs.training.lr,
        computed={"reference_lr": inputs.reference_lr},
        recommendation=inputs.measured.lr_difference,
        quote="Smoother convergence with lr=1e-4",
        evidence="measured",
    )


@register_rule
def frozen_group(inputs: ReviewInputs) -> list[Finding]:
    """A learning-rate group on weights that never change."""
    found = []
    for path, value in inputs.foreign.items():
        key = path.rpartition(".")[2]
        if not (key.startswith("lr") and any(word in key for word in _FROZEN_WORDS)):
            continue
        found.append(
            Finding(
                id="lr_on_frozen_weights",
                severity="error",
                path=path,
                value=value,
                computed={
                    "parameters_in_group": inputs.counts.frozen,
                    "parameters_that_change": 0,
                },
                recommendation=(
                    f"Delete {key}: the tower is frozen, so no optimiser holds its "
                    f"{inputs.counts.frozen:,} weights and the rate has no effect."
                ),
                quote="lr_pretrained: 5e-5   # Lower for frozen CLIP features",
                evidence="contradicted",
                autofix=unset(path),
            )
        )
    return found


@register_rule
def weight_decay(inputs: ReviewInputs) -> Finding:
    """Weight decay, with the number of steps over which AdamW forgets a weight."""
    decay, rules = inputs.training.weight_decay, inputs.rules
    inside = rules.min_weight_decay <= decay <= rules.max_weight_decay
    rate = inputs.training.lr * decay
    steps = 1 / rate if rate > 1e-15 else float("inf")
    runs = steps / inputs.total_steps
    advice = (
        f"Keep. At the peak rate a weight decays over 1/(lr x wd) = {steps:,.0f} steps, "
        f"{runs:.1f} times this run, so 0.1 or 0.01 hardly differ if that is far above 1."
    )
    if not inside:
        advice = (
            f"Use {rules.reference_weight_decay:g}; outside {rules.min_weight_decay:g} to "
            f"{rules.max_weight_decay:g} the 'standard value' of the seed analysis does not apply."
        )
    return Finding(
        id="weight_decay" if inside else "weight_decay_range",
        severity="note" if inside else "warning",
        path="training.weight_decay",
        value=decay,
        computed={
            "decay_steps": round(steps) if math.isfinite(steps) else None,
            "runs": round(runs, 2) if math.isfinite(runs) else None,
        },
        recommendation=advice,
        quote="Standard value. Works well for transformers.",
        evidence="literature" if inside else "heuristic",
        autofix=None if inside else fix(training__weight_decay=rules.reference_weight_decay),
    )


@register_rule
def clipping(inputs: ReviewInputs) -> Finding | None:
    """No gradient clipping."""
    if inputs.training.max_grad_norm is not None:
        return None
    limit = inputs.rules.max_grad_norm
    return Finding(
        id="clipping_missing",
        severity="warning",
        path="training.max_grad_norm",
        value=None,
        computed={"reference_norm": limit},
        recommendation=(
            f"Clip the global gradient norm at {limit:g} (Pascanu et al. 2013, section 3.2): "
            "a recursion multiplies gradients."
        ),
        quote="Prevent gradient explosions",
        evidence="literature",
        autofix=fix(training__max_grad_norm=limit),
    )


@register_rule
def ema_missing(inputs: ReviewInputs) -> Finding | None:
    """No moving average of the weights."""
    if inputs.training.ema:
        return None
    return Finding(
        id="ema_missing",
        severity="warning",
        path="training.ema",
        value=False,
        computed={"trm_with_ema": 87.4, "trm_without_ema": 79.9},
        recommendation=(
            "Average the weights: TRM's ablation on Sudoku-Extreme reports 87.4 % with and "
            "79.9 % without."
        ),
        quote="Exponential moving average",
        evidence="literature",
        autofix=fix(training__ema=True, training__ema_rate=inputs.rules.ema_rate),
    )


@register_rule
def ema_horizon(inputs: ReviewInputs) -> Finding | None:
    """An EMA rate that the ramp (1 + t)/(10 + t) does not reach within the run."""
    rate, total = inputs.training.ema_rate, inputs.total_steps
    if not inputs.training.ema or (1 + total) / (10 + total) >= rate:
        return None
    reachable = int(1000 * (1 + total / 2) / (10 + total / 2)) / 1000
    return Finding(
        id="ema_horizon",
        severity="note",
        path="training.ema_rate",
        value=rate,
        computed={
            "horizon_steps": round(1 / (1 - rate)),
            "total_steps": total,
            "reached_at_step": round((10 * rate - 1) / (1 - rate)),
            "rate_at_the_end": round((1 + total) / (10 + total), 4),
        },
        recommendation=(
            f"A horizon of 1/(1-r) = {1 / (1 - rate):,.0f} steps is long for {total:,} steps. "
            "The ramp min(r, (1+t)/(10+t)) governs the whole run, so the value has no effect; "
            f"{reachable:g} would be reached half-way."
        ),
        quote="ema_rate: 0.999             # Standard value",
        evidence="heuristic",
        autofix=fix(training__ema_rate=reachable),
    )


@register_rule
def scheduler(inputs: ReviewInputs) -> Finding | None:
    """A schedule other than a falling cosine."""
    kind, floor = inputs.training.lr_scheduler, inputs.training.lr_min_ratio
    if kind == "cosine" and floor < 1:
        return None
    linear = kind == "linear" and floor < 1
    ratio = floor if floor < 1 else 0.1
    end = 1.0 if kind == "constant" else floor
    reason = (
        "The seed analysis prefers it without measuring; Defazio et al. (2023, arXiv:2310.07831) "
        "find linear decay at least as good over ten problems. Either is sound."
        if linear
        else "The rate never falls, so the last steps are as noisy as the first after warm-up."
    )
    return Finding(
        id="scheduler_not_cosine",
        severity="advice" if linear else "warning",
        path="training.lr_scheduler",
        value=kind,
        computed={"lr_at_the_end": two_digits(inputs.training.lr * end)},
        recommendation=f"Use cosine. {reason}",
        quote="Better than linear decay",
        evidence="contradicted" if linear else "literature",
        autofix=fix(training__lr_scheduler="cosine", training__lr_min_ratio=ratio),
    )


@register_rule
def dqn_rate(inputs: ReviewInputs) -> Finding | None:
    """A DQN that learns faster than the network it judges."""
    lr_dqn, lr = inputs.halting.lr_dqn, inputs.training.lr
    if not inputs.uses_dqn or lr_dqn <= lr:
        return None
    lower = two_digits(inputs.rules.lr_dqn_ratio * lr)
    return Finding(
        id="lr_dqn_above_lr",
        severity="note",
        path="halting.lr_dqn",
        value=lr_dqn,
        computed={"lr": lr, "ratio": round(lr_dqn / lr, 2), "rainbow_adam": 6.25e-5},
        recommendation=(
            f"The seed analysis would use {lower:g}. Rainbow's Adam used 6.25e-5 for a "
            "convolutional network; this head is small and has an optimiser of its own, so "
            "watch the largest Q-value before lowering it."
        ),
        quote="lr_dqn: 5e-5          # Even lower for DQN stability",
        evidence="literature",
        autofix=fix(halting__lr_dqn=lower),
    )


@register_rule
def unknown_keys(inputs: ReviewInputs) -> list[Finding]:
    """Keys that no part of this project reads."""
    explained = {f.path for f in frozen_group(inputs)} | {"training.lr_warmup_ratio"}
    return [
        Finding(
            id="unknown_key",
            severity="error",
            path=path,
            value=value,
            computed={},
            recommendation="Delete it: nothing reads this key, and the configuration refuses it.",
            quote="",
            evidence="heuristic",
            autofix=unset(path),
        )
        for path, value in inputs.foreign.items()
        if path not in explained and "freeze" not in path
    ]
