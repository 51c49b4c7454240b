"""Findings, advice and audit rows as Markdown, text and JSON-ready values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hybrid_pipeline.review.findings import SEVERITIES, Finding, ReviewInputs
from hybrid_pipeline.text_tables import markdown_table

Reviews = Mapping[str, Sequence[Finding]]
Fixes = Mapping[str, str | None]


def review_to_json(reviews: Reviews, fixes: Fixes, inputs: ReviewInputs) -> dict[str, Any]:
    """The whole review as JSON-ready values.

    Args:
        reviews: what was reviewed (task names, or the seed analysis) -> findings.
        fixes: the same -> all its fixes as one block of YAML.
        inputs: of the first review; gives the figures of the run.
    """
    return {
        "counts": {name: severity_counts(found) for name, found in reviews.items()},
        "run": run_figures(inputs),
        "all_fixes": dict(fixes),
        "reviews": {name: [f.to_json() for f in found] for name, found in reviews.items()},
    }


def run_figures(inputs: ReviewInputs) -> dict[str, int | float | str]:
    """Steps, epochs and parameters that the findings refer to."""
    return {
        "num_train": inputs.num_train,
        "batches_per_epoch": inputs.steps_per_epoch,
        "total_steps": inputs.total_steps,
        "warmup_steps": inputs.warmup_steps,
        "warmup_epochs": round(inputs.warmup_steps / inputs.steps_per_epoch, 2),
        "dqn_start_step": inputs.dqn_start_step,
        "trainable_parameters": inputs.counts.trainable,
        "frozen_parameters": inputs.counts.frozen,
        "parameters_assumed_because": inputs.counts.assumed_because,
    }


def severity_counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many findings of each severity."""
    found = [finding.severity for finding in findings]
    return {severity: found.count(severity) for severity in SEVERITIES}


def review_to_markdown(reviews: Reviews, fixes: Fixes) -> str:
    """The review as a Markdown page: a table and the fixes for each thing reviewed.

    Arguments are those of ``review_to_json``.
    """
    lines = ["# Hyperparameter review", "", review_summary(reviews), ""]
    for name, findings in reviews.items():
        lines += [
            f"## {name}",
            "",
            *_finding_table(findings),
            "",
            *_fixes(findings, fixes.get(name)),
        ]
    return "\n".join(lines).rstrip() + "\n"


def review_summary(reviews: Reviews) -> str:
    """One line a review, with the count of each severity and what to change first."""
    return "\n".join(_summary_line(name, found) for name, found in reviews.items())


def _summary_line(name: str, findings: Sequence[Finding]) -> str:
    counts = severity_counts(findings)
    text = ", ".join(f"{n} {_plural(severity, n)}" for severity, n in counts.items())
    first = [f.path for f in findings if f.severity in ("error", "warning")]
    change = f"; look at {', '.join(dict.fromkeys(first))}" if first else ""
    return f"- {name}: {text}{change}."


def _plural(word: str, count: int) -> str:
    return word if count == 1 or word == "advice" else f"{word}s"


def _finding_table(findings: Sequence[Finding]) -> list[str]:
    header = ["severity", "finding", "parameter", "value", "computed", "say", "evidence", "quote"]
    rows = [
        [
            f.severity,
            f.id,
            f"`{f.path}`",
            str(f.value),
            "; ".join(f"{k} {_figure(v)}" for k, v in f.computed.items()),
            f.recommendation,
            f.evidence,
            f"“{f.quote}”" if f.quote else "",
        ]
        for f in findings
    ]
    return markdown_table(header, rows)


def _fixes(findings: Sequence[Finding], together: str | None) -> list[str]:
    lines: list[str] = []
    if together is not None:
        lines += ["All fixes together, except those of notes:", "", *_yaml_block(together)]
    for finding in findings:
        if finding.autofix is not None:
            lines += [f"Only `{finding.id}`:", "", *_yaml_block(finding.autofix)]
    return lines


def _yaml_block(text: str) -> list[str]:
    return ["```yaml", text.rstrip(), "```", ""]


def _figure(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
