"""All fixes of a review as one block, each computed after the ones before it."""

from __future__ import annotations

from typing import Any

import yaml

from hybrid_pipeline.review.adapter import apply_fix, merge_softly
from hybrid_pipeline.review.findings import Finding, ReviewInputs
from hybrid_pipeline.review.rules import review

# What sets the number of updates comes first: warm-up, DQN and validations are shares of it.
_LENGTH = ("batch_above_data", "epochs_overfit", "epochs_many", "updates_few")
_MAX_FIXES = 100


def all_fixes(inputs: ReviewInputs) -> str | None:
    """One YAML block with what every error, warning and advice that has a fix asks for.

    Fixes are not merged as they stand: each is applied, and the review is repeated, so that a
    warm-up is computed for the length to which another fix cuts the run. Notes ask for nothing and
    are left out.

    Args:
        inputs: what is reviewed.

    Returns:
        The block, or None if nothing has to change.

    Raises:
        ConfigError: when a fix sets a refused value.
    """
    block: dict[str, Any] = {}
    tried: set[tuple[str, str]] = set()
    for _ in range(_MAX_FIXES):
        open_fixes = [
            (f.id, f.autofix)
            for f in sorted(review(inputs), key=_order)
            if f.autofix is not None and f.severity != "note" and (f.id, f.autofix) not in tried
        ]
        if not open_fixes:
            break
        tried.add(open_fixes[0])
        inputs = apply_fix(inputs, open_fixes[0][1])
        block = merge_softly(block, open_fixes[0][1])
    return yaml.safe_dump(block, sort_keys=True) if block else None


def _order(finding: Finding) -> int:
    return _LENGTH.index(finding.id) if finding.id in _LENGTH else len(_LENGTH)
