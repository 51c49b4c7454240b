"""The document's promises about stability, confronted with the measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hybrid_pipeline.config import StabilityConfig
from hybrid_pipeline.review.stability_design import ORIGINAL, Setting
from hybrid_pipeline.review.stability_effects import (
    EARLY_SPIKES,
    LARGEST_Q,
    NORM,
    SPIKES,
    PairedEffect,
    divergence_rate,
    divergence_test,
)
from hybrid_pipeline.review.stability_metrics import RunMetrics

PromiseCode = Literal["holds", "contradicted", "not_shown", "not_evaluable"]
WORDS: dict[PromiseCode, str] = {
    "holds": "holds here",
    "contradicted": "contradicted here",
    "not_shown": "not shown",
    "not_evaluable": "not evaluable",
}


@dataclass(frozen=True)
class PromiseVerdict:
    """A row for the claims audit.

    Attributes:
        id: stable name; ``quote``: the document's words; ``section``: where they stand.
        recomputed: what was measured, with its interval, seeds and comparison.
        verdict: the words to print; ``code``: the same for programs.
    """

    id: str
    section: str
    quote: str
    recomputed: str
    verdict: str
    code: PromiseCode


@dataclass(frozen=True)
class _Promise:
    id: str
    section: str
    quote: str
    factor: str
    response: str


# Which metric decides is fixed here, before any run; less is what each promise says.
_EFFECT_PROMISES = (
    _Promise(
        "smoother_lr", "Training Stability", "Smoother convergence with lr=1e-4", "lr", SPIKES
    ),
    _Promise(
        "warmup_instability",
        "Convergence Speed",
        "1000 warmup might cause early instability",
        "warmup",
        EARLY_SPIKES,
    ),
    _Promise(
        "warmup_dqn",
        "Convergence Speed",
        "3000 warmup gives DQN time to stabilize",
        "warmup",
        LARGEST_Q,
    ),
    _Promise(
        "beta2_dqn",
        "Beta1, Beta2",
        "beta2: 0.98 # More stable",
        "beta2",
        LARGEST_Q,
    ),
)


def judge_promises(
    runs: Sequence[RunMetrics],
    settings: Sequence[Setting],
    main: Sequence[PairedEffect],
    config: StabilityConfig,
) -> tuple[PromiseVerdict, ...]:
    """Verdicts on the document's stability promises, on one task.

    A promise about one change *holds here* when the change's effect in the fraction is in the
    promised direction with Holm-corrected p < 1 - level, is *contradicted here* when it is in the
    other direction so, and is *not shown* otherwise.

    Args:
        runs: metrics of every run of the task.
        settings: with the level of each factor.
        main: main effects of the fraction.
        config: level and the smallest number of seeds.
    """
    judged = [_judge_effect(promise, main, config) for promise in _EFFECT_PROMISES]
    norm = _find(main, "lr", NORM)
    if norm is not None and norm.estimate is not None:
        first = judged[0]
        judged[0] = PromiseVerdict(
            first.id,
            first.section,
            first.quote,
            f"{first.recomputed}; beside it, {NORM}: {_effect_text(norm, config.level)}",
            first.verdict,
            first.code,
        )
    return (judged[0], _judge_explosion(runs, settings, config), *judged[1:])


def _judge_effect(
    promise: _Promise, main: Sequence[PairedEffect], config: StabilityConfig
) -> PromiseVerdict:
    effect = _find(main, promise.factor, promise.response)
    if effect is None or effect.estimate is None or effect.num_seeds < config.min_seeds:
        seeds = 0 if effect is None else effect.num_seeds
        needs = f"{promise.response} by {promise.factor}"
        if effect is None:
            return _row(promise, f"{needs}: needs the fraction", "not_evaluable")
        return _row(promise, f"{needs}: {seeds} of {config.min_seeds} seeds", "not_evaluable")
    text = f"{promise.response}: {_effect_text(effect, config.level)}"
    sure = effect.p_holm is not None and effect.p_holm < 1 - config.level
    if effect.estimate == 0 and effect.low == effect.high:
        text += "; the same under both values in every seed"
    if not sure:
        return _row(promise, text, "not_shown")
    return _row(promise, text, "holds" if effect.estimate < 0 else "contradicted")


def _judge_explosion(
    runs: Sequence[RunMetrics], settings: Sequence[Setting], config: StabilityConfig
) -> PromiseVerdict:
    """'Risk of NaN/explosion with lr=3e-4': diverged runs at the high rate against the low.

    Within the fraction the two groups differ in the rate alone, on average; without it the
    original settings stand against the corrected ones.
    """
    section, quote = "Training Stability", "Risk of NaN/explosion with lr=3e-4"
    chosen = [s for s in settings if s.in_fraction] or list(settings)
    high = {s.name for s in chosen if s.levels.get("lr", -1) < 0}
    old = [r for r in runs if r.setting in high]
    new = [r for r in runs if r.setting in {s.name for s in chosen} - high]
    if not old or not new or len({r.seed for r in old}) < config.min_seeds:
        text = f"{len({r.seed for r in old})} of {config.min_seeds} seeds"
        return PromiseVerdict(
            "explosion_lr", section, quote, text, WORDS["not_evaluable"], "not_evaluable"
        )
    rate, other = divergence_rate(old, config.level), divergence_rate(new, config.level)
    p = divergence_test(new, old)
    text = (
        f"diverged at the original rate {rate.count} of {rate.total} runs "
        f"[{100 * rate.low:.0f} %, {100 * rate.high:.0f} %], at the corrected rate {other.count} "
        f"of {other.total} [{100 * other.low:.0f} %, {100 * other.high:.0f} %]; Fisher p = {p:.2g}"
        f"{_original_part(runs, config)}"
    )
    worse = rate.count * other.total > other.count * rate.total
    code: PromiseCode = "not_shown"
    if p < 1 - config.level:
        code = "holds" if worse else "contradicted"
    return PromiseVerdict("explosion_lr", section, quote, text, WORDS[code], code)


def _original_part(runs: Sequence[RunMetrics], config: StabilityConfig) -> str:
    original = [r for r in runs if r.setting == ORIGINAL]
    if not original:
        return ""
    rate = divergence_rate(original, config.level)
    return f"; with all original settings {rate.count} of {rate.total}"


def _row(promise: _Promise, text: str, code: PromiseCode) -> PromiseVerdict:
    return PromiseVerdict(promise.id, promise.section, promise.quote, text, WORDS[code], code)


def _find(effects: Sequence[PairedEffect], factor: str, response: str) -> PairedEffect | None:
    for effect in effects:
        if effect.name == factor and effect.response == response:
            return effect
    return None


def _effect_text(effect: PairedEffect, level: float) -> str:
    if effect.low is None or effect.high is None or effect.p_holm is None:
        return f"{effect.estimate:+.3g}, {effect.num_seeds} seed"
    return (
        f"corrected minus original {effect.estimate:+.3g} [{effect.low:+.3g}, {effect.high:+.3g}] "
        f"({100 * level:g} %, {effect.num_seeds} seeds, Holm p = {effect.p_holm:.2g})"
    )
