"""Where the document itself is not supported, and keys that nothing here reads."""

from __future__ import annotations

import math

from hybrid_pipeline.review.findings import Finding, ReviewInputs, unset
from hybrid_pipeline.review.rules.rate import frozen_group

DOCUMENT_ROOT = 0.48
"""What the document prints for the root of its batch over its millions, sqrt(192 / 82)."""


def lr_formula(inputs: ReviewInputs) -> list[Finding]:
    """The document's formula for the learning rate, computed properly and as it was printed."""
    batch = inputs.training.global_batch_size
    millions = inputs.counts.trainable / 1e6
    base = _number(inputs.document.original.get("lr"), 3e-4)
    root = math.sqrt(batch / millions)
    their_batch = _number(inputs.document.original.get("global_batch_size"), 192)
    their_millions = inputs.document.counts.trainable / 1e6
    their_root = math.sqrt(their_batch / their_millions)
    return [
        Finding(
            id="lr_formula",
            severity="note",
            path="training.lr",
            value=inputs.training.lr,
            computed={
                "sqrt_batch_over_millions": round(root, 4),
                "lr_by_formula": float(f"{base * root:.3g}"),
                "sqrt_of_the_documents_inputs": round(their_root, 4),
                "sqrt_as_printed": DOCUMENT_ROOT,
                "lr_as_printed": float(f"{base * DOCUMENT_ROOT:.3g}"),
                "sqrt_with_thousands": round(math.sqrt(batch / (1000 * millions)), 4),
            },
            recommendation=(
                f"Do not use the formula. sqrt({batch}/{millions:.4g}) is {root:.3f}, so here it "
                f"makes {base:g} into {base * root:.3g}. For its own sqrt({their_batch:g}/"
                f"{their_millions:g}) the document prints {DOCUMENT_ROOT} instead of "
                f"{their_root:.3f}, and so lowers the rate to {base * DOCUMENT_ROOT:.2g} instead "
                f"of raising it to {base * their_root:.3g}. It also depends on the unit: counted "
                f"in thousands the root is {math.sqrt(batch / (1000 * millions)):.4f}. The known "
                "square-root rule (Malladi et al. 2022) compares two batch sizes."
            ),
            quote="Round down for safety: lr = 1e-4",
            evidence="contradicted",
        )
    ]


def warmup_alternatives(inputs: ReviewInputs) -> list[Finding]:
    """The document's two ways to write its warm-up, which are not the same."""
    steps = inputs.rules.reference_warmup_steps
    by_ratio = round(0.1 * inputs.total_steps)
    if by_ratio == steps:
        return []
    return [
        Finding(
            id="warmup_alternatives_differ",
            severity="note",
            path="training.lr_warmup_ratio",
            value=inputs.training.lr_warmup_ratio,
            computed={
                "steps_by_ratio": by_ratio,
                "steps_in_document": steps,
                "epochs_by_steps": round(steps / inputs.steps_per_epoch, 2),
                "total_steps": inputs.total_steps,
            },
            recommendation=(
                f"The document offers 3000 steps 'or' a ratio of 0.1; here the ratio is "
                f"{by_ratio:,} steps. Prefer the ratio, which follows the length of training."
            ),
            quote="or ratio-based: lr_warmup_ratio: 0.1",
            evidence="contradicted",
        )
    ]


def standard_betas(inputs: ReviewInputs) -> list[Finding]:
    """Betas that the document calls standard."""
    if (inputs.training.beta1, inputs.training.beta2) != (0.9, 0.95):
        return []
    return [
        Finding(
            id="betas_called_standard",
            severity="note",
            path="training.beta2",
            value=inputs.training.beta2,
            computed={"torch_beta2": 0.999, "torch_weight_decay": 0.01},
            recommendation=(
                ".9/.95 is a habit of language-model training; torch's AdamW defaults to .9/.999 "
                "with weight decay .01."
            ),
            quote="Standard AdamW values",
            evidence="contradicted",
        )
    ]


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


def counts_assumed(inputs: ReviewInputs) -> list[Finding]:
    """Parameter counts that were assumed and not counted."""
    if not inputs.counts.assumed_because:
        return []
    return [
        Finding(
            id="counts_assumed",
            severity="note",
            path="review.counts",
            value=None,
            computed={"trainable": inputs.counts.trainable, "frozen": inputs.counts.frozen},
            recommendation=(
                f"The counts are assumed: {inputs.counts.assumed_because.rstrip('.')}. What is "
                "said about memory and about frozen weights rests on them."
            ),
            quote="",
            evidence="heuristic",
        )
    ]


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) else default
