"""No wording is stronger than the verdict."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from hybrid_pipeline.report.sentences import (
    WordingError,
    check_wording,
    predicate,
    subject,
    verdict_sentence,
)
from hybrid_pipeline.report.wording import CLAIM_TONES, TONE_MARKS, TONES
from hybrid_pipeline.stats.floor import NOT_JUDGED
from hybrid_pipeline.stats.results import (
    MEAN_TASK,
    ClaimCode,
    Effect,
    Interval,
    StudyResults,
    VerdictCode,
)
from hybrid_pipeline.stats.verdicts import Evidence, decide

# What Evidence gives each verdict, with delta 0.01 and alpha .05; by STATISTICS.md, "Verdicts".
EVIDENCE: dict[VerdictCode, Evidence] = {
    "not_evaluable": Evidence(None, None, None, None, None, None, "2 complete seeds, 3 needed"),
    "helps": Evidence(Interval(estimate=0.02, low=0.005, high=0.035),
                      Interval(estimate=0.02, low=0.007, high=0.033), 0.01, 0.9, 0.02, 8),
    "helps_by_delta": Evidence(Interval(estimate=0.05, low=0.02, high=0.08),
                               Interval(estimate=0.05, low=0.03, high=0.07), 0.01, 0.9, 0.02, 8),
    "helps_below_delta": Evidence(Interval(estimate=0.004, low=0.001, high=0.007),
                                  Interval(estimate=0.004, low=0.002, high=0.006),
                                  0.01, 0.01, 0.004, 3),
    "hurts": Evidence(Interval(estimate=-0.02, low=-0.035, high=-0.005),
                      Interval(estimate=-0.02, low=-0.033, high=-0.007), 0.01, 0.9, 0.02, 8),
    "hurts_by_delta": Evidence(Interval(estimate=-0.05, low=-0.08, high=-0.02),
                               Interval(estimate=-0.05, low=-0.07, high=-0.03), 0.01, 0.9, 0.02, 8),
    "hurts_below_delta": Evidence(Interval(estimate=-0.004, low=-0.007, high=-0.001),
                                  Interval(estimate=-0.004, low=-0.006, high=-0.002),
                                  0.01, 0.01, 0.004, 3),
    "no_meaningful_effect": Evidence(Interval(estimate=0.001, low=-0.004, high=0.006),
                                     Interval(estimate=0.001, low=-0.003, high=0.005),
                                     0.5, 0.01, 0.008, 3),
    "no_detectable_effect": Evidence(Interval(estimate=0.004, low=-0.004, high=0.012),
                                     Interval(estimate=0.004, low=-0.003, high=0.011),
                                     0.5, 0.2, 0.009, 3),
    "underpowered": Evidence(Interval(estimate=0.03, low=-0.02, high=0.08),
                             Interval(estimate=0.03, low=-0.01, high=0.07), 0.2, 0.8, 0.06, 40),
}  # fmt: skip
GAIN_WORDS = re.compile(r"\b(helps|improve|gain|better|boost|significant)")
LOSS_WORDS = re.compile(r"\b(hurts|worse|degrade)")


def effect_with(code: VerdictCode, kind: str = "stage") -> Effect:
    silent = code == "not_judged"  # what the floor makes of any other
    evidence = EVIDENCE["helps_by_delta" if silent else code]
    found, words = decide(evidence, delta=0.01, alpha=0.05)
    if silent:
        found, words = code, NOT_JUDGED
    assert found == code
    return Effect.model_validate(
        {
            "kind": kind, "arm": "arm_2_clip", "reference": "arm_1_baseline", "task": MEAN_TASK,
            "component": "clip" if kind == "stage" else "", "num_seeds": 5, "num_examples": 1500,
            "difference": evidence.difference, "p": evidence.p_adjusted,
            "p_adjusted": evidence.p_adjusted,
            "verdict": words, "verdict_code": code,
        }
    )  # fmt: skip


def results_with(*effects: Effect) -> StudyResults:
    return StudyResults(
        headline="the analysis's own sentence",
        arms=("arm_1_baseline", "arm_2_clip"),
        tasks=("maze",),
        metrics={"maze": "correct"},
        seeds=(0, 1, 2, 3, 4),
        delta=0.01,
        alpha=0.05,
        effects=effects,
    )


def test_every_code_has_evidence_and_a_tone() -> None:
    assert {*EVIDENCE, "not_judged"} == set(get_args(VerdictCode)) == set(TONES)
    assert set(CLAIM_TONES) == set(get_args(ClaimCode))
    assert set(TONE_MARKS) >= set(TONES.values()) | set(CLAIM_TONES.values())


@pytest.mark.parametrize("code", get_args(VerdictCode))
def test_a_sentence_says_no_more_than_its_verdict(code: VerdictCode) -> None:
    for kind in ("stage", "total"):
        effect = effect_with(code, kind)
        results = results_with(effect)
        words = (
            f"{subject(effect)} {predicate(effect)} {' '.join(verdict_sentence(results))}".lower()
        )
        if TONES[code] != "gain":
            assert not GAIN_WORDS.search(words)
        if TONES[code] != "loss":
            assert not LOSS_WORDS.search(words)
        check_wording(results)


def test_predicates_by_hand() -> None:
    effect = effect_with("helps_by_delta")
    assert f"{subject(effect)} {predicate(effect)}" == "CLIP helps by at least 1 point"
    assert predicate(effect_with("underpowered")) == "cannot be judged (underpowered)"
    assert predicate(effect_with("no_meaningful_effect")) == (
        "has no meaningful effect (within 1 point)"
    )
    assert predicate(effect_with("not_evaluable")) == "is not evaluable"


def test_opening_of_a_total_that_is_not_evaluable_gives_the_reason() -> None:
    opening, stages = verdict_sentence(results_with(effect_with("not_evaluable", "total")))
    assert opening.endswith("not evaluable: 2 complete seeds, 3 needed.")
    assert stages == ""


def test_stages_that_cannot_be_judged_share_a_clause() -> None:
    effects = [
        effect_with(code).model_copy(update={"component": name})
        for name, code in (
            ("clip", "underpowered"), ("n2n", "underpowered"), ("trm", "helps_by_delta"),
            ("coconut", "underpowered"),
        )
    ]  # fmt: skip
    _, stages = verdict_sentence(results_with(*effects, effect_with("helps_by_delta", "total")))
    assert stages == (
        "By stage: CLIP and N2N cannot be judged (underpowered); TRM helps by at least 1 point; "
        "COCONUT cannot be judged (underpowered)."
    )


def test_a_study_without_comparison_keeps_the_analysis_sentence() -> None:
    assert verdict_sentence(results_with()) == ("the analysis's own sentence", "")


@pytest.mark.parametrize(
    ("code", "low", "high"),
    [("helps", -0.001, 0.04), ("helps_by_delta", 0.0, 0.04), ("hurts", -0.04, 0.001)],
)
def test_a_verdict_stronger_than_its_interval_is_refused(
    code: VerdictCode, low: float, high: float
) -> None:
    wide = Interval(estimate=(low + high) / 2, low=low, high=high)
    effect = effect_with(code).model_copy(update={"difference": wide})
    with pytest.raises(WordingError, match="arm_2_clip against arm_1_baseline"):
        check_wording(results_with(effect))


def test_a_gain_without_an_interval_is_refused() -> None:
    effect = effect_with("helps").model_copy(update={"difference": None})
    with pytest.raises(WordingError):
        check_wording(results_with(effect))
