"""The rules on a configuration, and the review that applies them.

Importing this package registers the project's rules; a module of ``plugins`` adds its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hybrid_pipeline.review.findings import SEVERITIES, Finding, ReviewInputs
from hybrid_pipeline.review.registry import RULES, Rule, findings_of, register_rule
from hybrid_pipeline.review.rules import budget, dqn, rate, warmup

MODULES = (rate, warmup, budget, dqn)

__all__ = ["MODULES", "RULES", "Rule", "by_size", "register_rule", "review"]


def review(inputs: ReviewInputs, rules: Iterable[Rule] | None = None) -> tuple[Finding, ...]:
    """Apply the rules; the most severe findings first, otherwise in the order of registration.

    Args:
        inputs: resolved configuration, data size and parameter counts.
        rules: the rules to apply; all of them if not given.
    """
    chosen = RULES.values() if rules is None else rules
    found = [finding for rule in chosen for finding in findings_of(rule, inputs)]
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))


def by_size(inputs_by_task: Mapping[str, ReviewInputs]) -> dict[str, ReviewInputs]:
    """One configuration at the data sizes of several tasks; equal sizes share a review.

    Returns:
        Task names, joined by ", " if their sizes are equal -> the inputs of the first.
    """
    tasks_by_size: dict[int, list[str]] = {}
    for task, inputs in inputs_by_task.items():
        tasks_by_size.setdefault(inputs.num_train, []).append(task)
    return {", ".join(tasks): inputs_by_task[tasks[0]] for tasks in tasks_by_size.values()}
