"""Rules on the warm-up of the learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from hybrid_pipeline.review.findings import Finding, ReviewInputs, Severity, fix, unset
from hybrid_pipeline.review.registry import register_rule
from hybrid_pipeline.text_tables import percent


@dataclass(frozen=True)
class _Problem:
    """What is wrong with a length of warm-up."""

    id: str
    severity: Severity
    reason: str


@register_rule
def warmup_length(inputs: ReviewInputs) -> Finding:
    """Warm-up in steps, epochs and percent of training; too short, too long or sound."""
    problem, target = _warmup_problem(inputs), warmup_target(inputs)
    epochs = inputs.warmup_steps / inputs.steps_per_epoch
    path, value = _warmup_parameter(inputs)
    sentence = (
        f"{inputs.warmup_steps:,} steps are {epochs:.2f} epochs of {inputs.steps_per_epoch:,} "
        f"batches, {percent(inputs.warmup_share)} of training."
    )
    advice = f"Warm up over {target:,} steps ({percent(target / inputs.total_steps)})."
    return Finding(
        id="warmup" if problem is None else problem.id,
        severity="note" if problem is None else problem.severity,
        path=path,
        value=value,
        computed={
            "warmup_steps": inputs.warmup_steps,
            "warmup_epochs": round(epochs, 2),
            "warmup_share": round(inputs.warmup_share, 4),
            "batches_per_epoch": inputs.steps_per_epoch,
            "total_steps": inputs.total_steps,
        }
        | ({} if problem is None else {"reference_steps": target}),
        recommendation=sentence if problem is None else f"{sentence}{problem.reason} {advice}",
        quote="Needs more gradual warmup for stability",
        evidence="heuristic",
        autofix=None if problem is None else _warmup_fix(inputs, target),
    )


@register_rule
def warmup_disagreement(inputs: ReviewInputs) -> Finding | None:
    """Steps and ratio of warm-up given together."""
    ratio = inputs.foreign.get("training.lr_warmup_ratio")
    if not isinstance(ratio, int | float):
        return None
    by_ratio = round(ratio * inputs.total_steps)
    agree = by_ratio == inputs.warmup_steps
    return Finding(
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


def warmup_target(inputs: ReviewInputs) -> int:
    """The seed analysis' share of training in steps; always below the total."""
    wanted = max(1, round(_reference_share(inputs) * inputs.total_steps))
    return min(wanted, inputs.total_steps - 1)


def _warmup_problem(inputs: ReviewInputs) -> _Problem | None:
    rules, steps, total = inputs.rules, inputs.warmup_steps, inputs.total_steps
    if steps > 0 and steps >= total:
        return _Problem("warmup_beyond_run", "error", " The rate still rises when training ends.")
    if steps > rules.max_warmup_share * total:
        reason = f" That leaves {total - steps:,} updates after it."
        return _Problem("warmup_long", "warning", reason)
    if steps + 0.5 < rules.min_warmup_share * total:
        return _Problem("warmup_short", "warning", "")
    return None


def _reference_share(inputs: ReviewInputs) -> float:
    rules = inputs.rules
    share = rules.reference_warmup_steps / rules.reference_total_steps
    return min(max(share, rules.min_warmup_share), rules.max_warmup_share)


def _warmup_parameter(inputs: ReviewInputs) -> tuple[str, float | None]:
    if inputs.training.lr_warmup_steps is not None:
        return "training.lr_warmup_steps", inputs.training.lr_warmup_steps
    return "training.lr_warmup_ratio", inputs.training.lr_warmup_ratio


def _warmup_fix(inputs: ReviewInputs, steps: int) -> str:
    if inputs.training.lr_warmup_steps is not None:
        return fix(training__lr_warmup_steps=steps)
    return fix(training__lr_warmup_ratio=round(_reference_share(inputs), 3))
