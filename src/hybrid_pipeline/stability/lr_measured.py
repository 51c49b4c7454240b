"""What the stability study measured for the learning rate, as one sentence for the rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hybrid_pipeline.config import DocumentConfig, StabilityConfig
from hybrid_pipeline.stability.design import scaled_original
from hybrid_pipeline.stability.promises import WORDS
from hybrid_pipeline.stability.study import stability_key
from hybrid_pipeline.training.learner import Learner

LR_TOPICS = ("smoother_low_lr", "high_lr_unstable")


def lr_difference(
    findings: Mapping[str, Any],
    learner: Learner,
    document: DocumentConfig,
    stability: StabilityConfig,
) -> str | None:
    """The study's two outcomes for the rate, with interval, seeds and verdict.

    Args:
        findings: of the stability study; empty if there is none.
        learner: of the reviewed configuration; its rate is the one that the study calls corrected.
        document: whose original rate the study scaled.
        stability: the study's design.

    Returns:
        One sentence or two; None without findings of the same parameters and code, and where the
        study had too few seeds.
    """
    if findings.get("key") != stability_key(learner, document, stability):
        return None
    topics = findings.get("topics", {})
    details = [topics[name]["detail"] for name in LR_TOPICS if name in topics]
    details = [text for text in details if WORDS["not_evaluable"] not in text]
    if not details:
        return None
    original = scaled_original(learner.training, learner.halting, document)["lr"]["lr"]
    corrected = learner.training.lr
    return (
        f"The stability study compared lr {corrected:g} (corrected) with {original:g} (the seed "
        f"analysis' original, scaled): {' '.join(details)}"
    )
