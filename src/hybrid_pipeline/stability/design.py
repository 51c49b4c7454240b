"""Settings of the stability study: original, corrected, and a 2^(4-1) fraction between them.

The profile's own values are the corrected ones. Original ones are scaled from them so that the
ratio of the seed analysis' two settings is kept; each rule is in ``scaled_original``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any

from hybrid_pipeline.config import (
    DocumentConfig,
    HaltingConfig,
    StabilityConfig,
    TrainingConfig,
)
from hybrid_pipeline.config.review import Scalar

ORIGINAL, CORRECTED, FOUR_ORIGINAL = "original", "corrected", "four_original"
_SECTION = {"lr": "training", "warmup": "training", "beta2": "training"}
_UNSCALED = ("max_grad_norm", "ema", "lr_scheduler")


@dataclass(frozen=True)
class Setting:
    """One column of the study.

    Attributes:
        name: ``original``, ``corrected``, ``four_original`` or the corrected factors joined by
            ``_and_``.
        training: fields of the training configuration that differ from the profile's.
        halting: the same of the halting configuration.
        levels: factor -> -1 (original) or +1 (corrected).
        in_fraction: whether the setting is a run of the 2^(4-1) fraction.
    """

    name: str
    training: Mapping[str, Scalar] = field(default_factory=dict)
    halting: Mapping[str, Scalar] = field(default_factory=dict)
    levels: Mapping[str, int] = field(default_factory=dict)
    in_fraction: bool = False


def stability_settings(
    training: TrainingConfig,
    halting: HaltingConfig,
    document: DocumentConfig,
    config: StabilityConfig,
) -> tuple[Setting, ...]:
    """The settings to train, each with every seed.

    ``original`` carries all of the seed analysis' original values: the four bundled changes and no
    clipping, no EMA, linear decay. In the fraction these last three stay corrected, so
    ``four_original`` against ``original`` shows what they do together.
    """
    original = scaled_original(training, halting, document)
    everything: dict[str, int] = dict.fromkeys(config.factors, -1)
    settings = [
        Setting(
            ORIGINAL,
            {**_merge(original, config.factors, "training"), **_unscaled(document)},
            _merge(original, config.factors, "halting"),
            everything,
        )
    ]
    if config.design == "fraction":
        settings += _fraction(original, config)
    if CORRECTED not in [s.name for s in settings]:
        settings.append(Setting(CORRECTED, levels={f: 1 for f in config.factors}))
    return tuple(settings)


def scaled_original(
    training: TrainingConfig, halting: HaltingConfig, document: DocumentConfig
) -> dict[str, dict[str, Scalar]]:
    """The original value of each bundled change, scaled to the profile.

    - lr: the profile's rate x (original / corrected) = x 3.
    - warm-up: the profile's steps or ratio x (original / corrected steps) = / 3, at least 1 step.
    - beta2: the averaging window 1/(1 - beta2) x (original / corrected window) = x 20/50.
    - dqn_warmup_ratio: the profile's ratio x (original / corrected) = / 2.

    Returns:
        factor -> overrides of the section that it belongs to.
    """
    window = (1 - _value(document.original, "beta2")) / (1 - _value(document.corrected, "beta2"))
    return {
        "lr": {"lr": _tidy(training.lr * _ratio(document, "lr"))},
        "warmup": _warmup(training, _ratio(document, "lr_warmup_steps")),
        "beta2": {"beta2": max(0.0, _tidy(1 - (1 - training.beta2) * window))},
        "dqn_warmup_ratio": {
            "dqn_warmup_ratio": _tidy(
                halting.dqn_warmup_ratio * _ratio(document, "dqn_warmup_ratio")
            )
        },
    }


def apply_setting(
    setting: Setting, training: TrainingConfig, halting: HaltingConfig
) -> tuple[TrainingConfig, HaltingConfig]:
    """The configurations of a setting, validated anew.

    Raises:
        pydantic.ValidationError: when a scaled value leaves its bounds.
    """
    return (
        TrainingConfig.model_validate(training.model_dump() | dict(setting.training)),
        HaltingConfig.model_validate(halting.model_dump() | dict(setting.halting)),
    )


def alias_structure(config: StabilityConfig) -> dict[str, str]:
    """What each effect of the fraction cannot be told apart from (I = +-ABCD, resolution IV)."""
    factors: tuple[str, ...] = config.factors
    aliases = {
        factor: " x ".join(other for other in factors if other != factor) for factor in factors
    }
    for pair in combinations(factors, 2):
        if factors[0] in pair:
            rest = [factor for factor in factors if factor not in pair]
            aliases[" x ".join(pair)] = " x ".join(rest)
    return aliases


def _fraction(
    original: Mapping[str, Mapping[str, Scalar]], config: StabilityConfig
) -> list[Setting]:
    settings = []
    for signs in product((-1, 1), repeat=4):
        if signs[0] * signs[1] * signs[2] * signs[3] != config.generator_sign:
            continue
        levels: dict[str, int] = dict(zip(config.factors, signs, strict=True))
        kept = tuple(factor for factor, level in levels.items() if level < 0)
        settings.append(
            Setting(
                _name(levels),
                _merge(original, kept, "training"),
                _merge(original, kept, "halting"),
                levels,
                in_fraction=True,
            )
        )
    return settings


def _name(levels: Mapping[str, int]) -> str:
    changed = [factor for factor, level in levels.items() if level > 0]
    if len(changed) == len(levels):
        return CORRECTED
    return "_and_".join(changed) or FOUR_ORIGINAL


def _merge(
    original: Mapping[str, Mapping[str, Scalar]], factors: tuple[str, ...], section: str
) -> dict[str, Scalar]:
    merged: dict[str, Scalar] = {}
    for factor in factors:
        if _SECTION.get(factor, "halting") == section:
            merged |= original[factor]
    return merged


def _unscaled(document: DocumentConfig) -> dict[str, Any]:
    return {key: document.original[key] for key in _UNSCALED if key in document.original}


def _warmup(training: TrainingConfig, ratio: float) -> dict[str, Scalar]:
    if training.lr_warmup_steps is not None:
        return {"lr_warmup_steps": max(1, round(training.lr_warmup_steps * ratio))}
    return {"lr_warmup_ratio": _tidy((training.lr_warmup_ratio or 0.0) * ratio)}


def _ratio(document: DocumentConfig, key: str) -> float:
    return _value(document.original, key) / _value(document.corrected, key)


def _value(settings: Mapping[str, Scalar], key: str) -> float:
    value = settings.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"review.document needs a number for {key!r}, found {value!r}")
    return float(value)


def _tidy(value: float) -> float:
    return float(f"{value:.6g}")
