"""The seed analysis' promises about stability, confronted with the measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hybrid_pipeline.config import StabilityConfig
from hybrid_pipeline.curves.metrics import RunMetrics, early_steps
from hybrid_pipeline.stability.design import FOUR_ORIGINAL, ORIGINAL, Setting
from hybrid_pipeline.stability.effects import (
    EARLY_SPIKES,
    Q_EXCESS,
    SETTLED_NORM,
    SPIKES,
    PairedEffect,
    divergence_rate,
    divergence_test,
)

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
        topic: stable name, as ``claims.yml`` knows it.
        section: where the words stand; ``quote``: its words.
        recomputed: what was measured, with its interval, seeds and comparison.
        verdict: the words to print; ``code``: the same for programs.
    """

    topic: str
    section: str
    quote: str
    recomputed: str
    verdict: str
    code: PromiseCode


@dataclass(frozen=True)
class _Promise:
    topic: str
    section: str
    quote: str
    factor: str
    response: str


# Which metric decides each promise; less is what it says. Fixed before any run but for two: the
# norm counts after the warm-up, the Q-value minus the score (docs/explanation/stability.md).
_EFFECT_PROMISES = (
    _Promise(
        "smoother_low_lr", "Training Stability", "Smoother convergence with lr=1e-4", "lr", SPIKES
    ),
    _Promise("high_lr_unstable", "1. Learning Rate", "Risk: Unstable training", "lr", SETTLED_NORM),
    _Promise(
        "short_warmup_unstable",
        "Convergence Speed",
        "1000 warmup might cause early instability",
        "warmup",
        EARLY_SPIKES,
    ),
    _Promise(
        "warmup_stabilises_dqn",
        "Convergence Speed",
        "3000 warmup gives DQN time to stabilize",
        "warmup",
        Q_EXCESS,
    ),
    _Promise("beta2_stabilises", "5. Betas", "beta2: 0.98   # More stable", "beta2", Q_EXCESS),
    _Promise(
        "short_dqn_warmup_unstable",
        "7. DQN Warmup Ratio",
        "10% might not be enough for TRM + COCONUT to stabilize",
        "dqn_warmup_ratio",
        Q_EXCESS,
    ),
)


def judge_promises(
    runs: Sequence[RunMetrics],
    settings: Sequence[Setting],
    main: Sequence[PairedEffect],
    config: StabilityConfig,
    floor: str = "",
) -> tuple[PromiseVerdict, ...]:
    """Verdicts on the seed analysis' stability promises, on one task.

    A promise about one change *holds here* when the change's effect in the fraction is in the
    promised direction with Holm-corrected p < 1 - level, is *contradicted here* when it is in the
    other direction so, and is *not shown* otherwise. It is *not evaluable* with too few seeds,
    if no update could be judged, and if every seed gives the same difference (no spread);
    nor is any promise evaluable if nothing was learned.

    Args:
        runs: metrics of every run of the task.
        settings: with the level of each factor.
        main: main effects of the fraction.
        config: level and the smallest number of seeds.
        floor: why nothing is judged at all; empty if something was learned.
    """
    effects = [_judge_effect(promise, runs, main, config) for promise in _EFFECT_PROMISES]
    verdicts = (
        effects[0],
        _judge_explosion(runs, settings, config),
        *effects[1:],
        _judge_clipping(runs, config),
    )
    if not floor:
        return verdicts
    code: PromiseCode = "not_evaluable"
    return tuple(
        replace(v, recomputed=f"{floor} ({v.recomputed})", verdict=WORDS[code], code=code)
        for v in verdicts
    )


def _judge_effect(
    promise: _Promise,
    runs: Sequence[RunMetrics],
    main: Sequence[PairedEffect],
    config: StabilityConfig,
) -> PromiseVerdict:
    effect = _find(main, promise.factor, promise.response)
    blind = _not_judged(promise.response, runs, config)
    if blind:
        return _row(promise, blind, "not_evaluable")
    if effect is None or effect.estimate is None or effect.num_seeds < config.min_seeds:
        seeds = 0 if effect is None else effect.num_seeds
        needs = f"{promise.response} by {promise.factor}"
        if effect is None:
            return _row(promise, f"{needs}: needs the fraction", "not_evaluable")
        return _row(promise, f"{needs}: {seeds} of {config.min_seeds} seeds", "not_evaluable")
    text = f"{promise.response}: {_effect_text(effect, config.level)}"
    if effect.p is None:
        return _row(promise, text, "not_evaluable")
    if promise.response == SPIKES:
        text += f"; {_judged_text(runs)}"
    sure = effect.p_adjusted is not None and effect.p_adjusted < 1 - config.level
    if not sure:
        return _row(promise, text, "not_shown")
    return _row(promise, text, "holds" if effect.estimate < 0 else "contradicted")


def _judge_explosion(
    runs: Sequence[RunMetrics], settings: Sequence[Setting], config: StabilityConfig
) -> PromiseVerdict:
    """'Risk of NaN/explosion with lr=3e-4': diverged runs at the high rate against the low.

    Within the fraction the two groups differ only in the rate, on average; without it the
    original settings stand against the corrected ones.
    """
    chosen = [s for s in settings if s.in_fraction] or list(settings)
    high = {s.name for s in chosen if s.levels.get("lr", -1) < 0}
    low = {s.name for s in chosen} - high
    text, code = _compare_divergence(
        [r for r in runs if r.setting in high],
        [r for r in runs if r.setting in low],
        ("the original rate", "the corrected rate"),
        config,
    )
    original = [r for r in runs if r.setting == ORIGINAL]
    if original and code != "not_evaluable":
        count = sum(bool(r.diverged) for r in original)
        text += f"; with all original settings {count} of {len(original)}"
    quote = "Risk of NaN/explosion with lr=3e-4"
    return PromiseVerdict("nan_risk_high_lr", "Training Stability", quote, text, WORDS[code], code)


def _judge_clipping(runs: Sequence[RunMetrics], config: StabilityConfig) -> PromiseVerdict:
    """'Prevent gradient explosions': the only two settings that differ in clipping.

    They differ in EMA and the schedule too, and the row says so.
    """
    text, code = _compare_divergence(
        [r for r in runs if r.setting == ORIGINAL],
        [r for r in runs if r.setting == FOUR_ORIGINAL],
        ("no clipping, no EMA, linear decay", "clipping, EMA and cosine together"),
        config,
    )
    section, quote = "Recommended Hyperparameter Changes", "Prevent gradient explosions"
    return PromiseVerdict("clipping_prevents_explosions", section, quote, text, WORDS[code], code)


def _compare_divergence(
    old: Sequence[RunMetrics],
    new: Sequence[RunMetrics],
    names: tuple[str, str],
    config: StabilityConfig,
) -> tuple[str, PromiseCode]:
    seeds = min(len({r.seed for r in old}), len({r.seed for r in new}))
    if seeds < config.min_seeds:
        return f"{seeds} of {config.min_seeds} seeds on both sides", "not_evaluable"
    p = divergence_test(new, old)
    rates = [divergence_rate(group, config.level) for group in (old, new)]
    parts = [
        f"{name}: {r.count} of {r.total} runs diverged [{100 * r.low:.0f} %, {100 * r.high:.0f} %]"
        for name, r in zip(names, rates, strict=True)
    ]
    text = f"{'; '.join(parts)}; Fisher p = {p:.2g}"
    if p >= 1 - config.level:
        return text, "not_shown"
    worse = rates[0].count * rates[1].total > rates[1].count * rates[0].total
    return text, "holds" if worse else "contradicted"


def _not_judged(response: str, runs: Sequence[RunMetrics], config: StabilityConfig) -> str:
    """Why no run has a value of a spike response; the empty string if one has."""
    shares = {SPIKES: "spike_share", EARLY_SPIKES: "early_spike_share"}
    if response not in shares or any(getattr(r, shares[response]) is not None for r in runs):
        return ""
    steps = max((r.num_steps for r in runs), default=0)
    part = f"the run's {steps} updates are"
    if response == EARLY_SPIKES:
        early = early_steps(steps, config)
        part = f"early is the first {100 * config.early_share:g} %, {early} of {steps} updates,"
    return (
        f"{response}: {part} not more than the {config.spike_window} updates that a spike is "
        "judged by, so none could be judged"
    )


def _judged_text(runs: Sequence[RunMetrics]) -> str:
    most = max(runs, key=lambda run: run.num_steps)
    return f"{most.judged_steps} of {most.num_steps} updates per run could be judged"


def _row(promise: _Promise, text: str, code: PromiseCode) -> PromiseVerdict:
    return PromiseVerdict(promise.topic, promise.section, promise.quote, text, WORDS[code], code)


def _find(effects: Sequence[PairedEffect], factor: str, response: str) -> PairedEffect | None:
    for effect in effects:
        if effect.name == factor and effect.response == response:
            return effect
    return None


def _effect_text(effect: PairedEffect, level: float) -> str:
    if effect.estimate == 0 and effect.low is None:
        return f"the same under both values in every one of {effect.num_seeds} seeds"
    if effect.low is None or effect.high is None or effect.p_adjusted is None:
        return (
            f"corrected minus original {effect.estimate:+.3g} in every one of {effect.num_seeds} "
            "seeds; without a spread there is no t interval"
        )
    return (
        f"corrected minus original {effect.estimate:+.3g} [{effect.low:+.3g}, {effect.high:+.3g}] "
        f"({100 * level:g} %, {effect.num_seeds} seeds, Holm p = {effect.p_adjusted:.2g})"
    )
