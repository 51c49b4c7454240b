"""All rules in the order of the document, and the review that applies them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from hybrid_pipeline.review import (
    rules_budget,
    rules_document,
    rules_dqn,
    rules_rate,
    rules_warmup,
)
from hybrid_pipeline.review.comments import benefit_claims
from hybrid_pipeline.review.findings import SEVERITIES, Finding, ReviewInputs

Rule = Callable[[ReviewInputs], list[Finding]]

RULES: Mapping[str, Rule] = {
    "learning_rate": rules_rate.learning_rate,
    "frozen_group": rules_rate.frozen_group,
    "dqn_rate": rules_rate.dqn_rate,
    "lr_formula": rules_document.lr_formula,
    "warmup_length": rules_warmup.warmup_length,
    "warmup_disagreement": rules_warmup.warmup_disagreement,
    "warmup_alternatives": rules_document.warmup_alternatives,
    "weight_decay": rules_rate.weight_decay,
    "batch_memory": rules_budget.batch_memory,
    "effective_batch": rules_budget.effective_batch,
    "beta2": rules_dqn.beta2,
    "standard_betas": rules_document.standard_betas,
    "epochs": rules_budget.epochs,
    "dqn_warmup": rules_dqn.dqn_warmup,
    "dqn_start": rules_dqn.dqn_start,
    "dqn_end": rules_dqn.dqn_end,
    "annealing": rules_dqn.annealing,
    "clipping": rules_rate.clipping,
    "ema_missing": rules_rate.ema_missing,
    "ema_horizon": rules_rate.ema_horizon,
    "scheduler": rules_rate.scheduler,
    "freeze_flags": rules_dqn.freeze_flags,
    "counts_assumed": rules_document.counts_assumed,
    "unknown_keys": rules_document.unknown_keys,
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
