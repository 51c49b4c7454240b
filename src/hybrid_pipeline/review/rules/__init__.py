"""All rules in the order of the document, and the review that applies them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from hybrid_pipeline.review.comments import benefit_claims
from hybrid_pipeline.review.findings import SEVERITIES, Finding, ReviewInputs
from hybrid_pipeline.review.rules import budget, document, dqn, rate, warmup

Rule = Callable[[ReviewInputs], list[Finding]]

RULES: Mapping[str, Rule] = {
    "learning_rate": rate.learning_rate,
    "frozen_group": rate.frozen_group,
    "dqn_rate": rate.dqn_rate,
    "lr_formula": document.lr_formula,
    "warmup_length": warmup.warmup_length,
    "warmup_disagreement": warmup.warmup_disagreement,
    "warmup_alternatives": document.warmup_alternatives,
    "weight_decay": rate.weight_decay,
    "batch_memory": budget.batch_memory,
    "effective_batch": budget.effective_batch,
    "beta2": dqn.beta2,
    "standard_betas": document.standard_betas,
    "epochs": budget.epochs,
    "dqn_warmup": dqn.dqn_warmup,
    "dqn_start": dqn.dqn_start,
    "dqn_end": dqn.dqn_end,
    "annealing": dqn.annealing,
    "clipping": rate.clipping,
    "ema_missing": rate.ema_missing,
    "ema_horizon": rate.ema_horizon,
    "scheduler": rate.scheduler,
    "freeze_flags": dqn.freeze_flags,
    "counts_assumed": document.counts_assumed,
    "unknown_keys": document.unknown_keys,
    "benefit_claims": benefit_claims,
}


def review(inputs: ReviewInputs, rules: Iterable[Rule] | None = None) -> tuple[Finding, ...]:
    """Apply the rules; the most severe findings first, otherwise in the document's order.

    Args:
        inputs: resolved configuration, data size and parameter counts.
        rules: the rules to apply; all of them if not given.
    """
    chosen = RULES.values() if rules is None else rules
    found = [finding for rule in chosen for finding in rule(inputs)]
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))


def by_size(inputs_by_task: Mapping[str, ReviewInputs]) -> dict[str, ReviewInputs]:
    """One configuration at the data sizes of several tasks; equal sizes share a review.

    Returns:
        Task names, joined by ", " where their sizes are equal -> the inputs of the first.
    """
    tasks_by_size: dict[int, list[str]] = {}
    for task, inputs in inputs_by_task.items():
        tasks_by_size.setdefault(inputs.num_train, []).append(task)
    return {", ".join(tasks): inputs_by_task[tasks[0]] for tasks in tasks_by_size.values()}
