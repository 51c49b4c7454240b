"""From parameters, or from YAML with foreign keys, to what the rules read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from hybrid_pipeline.config import (
    ClipConfig,
    ConfigError,
    HaltingConfig,
    ModelConfig,
    ReviewConfig,
    TrainingConfig,
    explain,
)
from hybrid_pipeline.config.review import Scalar
from hybrid_pipeline.review.findings import EarlierRuns, ReviewInputs, TrainedAndFrozen

_SECTIONS: dict[str, type[BaseModel]] = {
    "training": TrainingConfig,
    "halting": HaltingConfig,
    "model": ModelConfig,
    "clip": ClipConfig,
}
_ALIASES = {
    "batch_size": "global_batch_size",
    "warmup_steps": "lr_warmup_steps",
    "warmup_ratio": "lr_warmup_ratio",
    "grad_clip_norm": "max_grad_norm",
    "gradient_clip": "max_grad_norm",
    "use_ema": "ema",
    "ema_decay": "ema_rate",
    "scheduler": "lr_scheduler",
}
# What the absence of a key means in a document, instead of this project's corrected defaults.
_ABSENT: dict[str, Scalar] = {
    "max_grad_norm": None,
    "ema": False,
    "lr_scheduler": "linear",
    "device": "cuda",
}


def from_document(mapping: Mapping[str, Any], *, width: int = 768) -> dict[str, Any]:
    """Turn foreign settings into parameters by section.

    Args:
        mapping: flat keys in the seed analysis' names, or nested by any groups; numbers may be
            strings, as a plain YAML loader leaves ``3e-4``.
        width: hidden width of the model that the settings are for.

    Returns:
        ``{"training": ..., "halting": ..., "model": ..., "clip": ...}``; keys that no section knows
        stay under ``training`` and are found as foreign by ``inputs_from_parameters``.
    """
    flat = {_ALIASES.get(key, key): _scalar(value) for key, value in _leaves(mapping)}
    training: dict[str, Any] = dict(_ABSENT)
    halting: dict[str, Any] = {}
    for key, value in flat.items():
        own = key in HaltingConfig.model_fields and key not in TrainingConfig.model_fields
        (halting if own else training)[key] = value
    if training.get("lr_warmup_steps") is None and training.get("lr_warmup_ratio") is None:
        training["lr_warmup_steps"] = 0
    if "lr_dqn" not in halting and training.get("lr") is not None:
        halting["lr_dqn"] = training["lr"]  # one rate for all, unless the settings say otherwise
    model = {"core": {"dim": width}, "vit": {"embed_dim": width}}
    return {"training": training, "halting": halting, "model": model, "clip": {}}


def inputs_from_parameters(
    parameters: Mapping[str, Any],
    review: ReviewConfig,
    *,
    num_train: int,
    counts: TrainedAndFrozen,
    drop_last: bool = False,
) -> ReviewInputs:
    """Validate the known keys, set the foreign ones aside.

    Args:
        parameters: sections ``training``, ``halting``, ``model``, ``clip``; a foreign key with the
            value null counts as absent.
        review: the seed analysis and the thresholds.
        num_train: training examples.
        counts: parameters of the model, as counted or assumed.
        drop_last: whether the incomplete batch of an epoch is dropped.

    Raises:
        ConfigError: when a known key has a refused value.
    """
    configs, foreign = _validated(parameters)
    return ReviewInputs(
        **configs,
        num_train=num_train,
        counts=counts,
        rules=review.rules,
        measured=measured_figures(review),
        foreign=foreign,
        drop_last=drop_last,
    )


def measured_figures(review: ReviewConfig, lr_difference: str | None = None) -> EarlierRuns:
    """The figures of earlier runs that a configuration names."""
    return EarlierRuns(
        peak_memory_gib=review.peak_memory_gib,
        peak_memory_batch=review.peak_memory_micro_batch_size,
        overfit_from_epoch=review.overfit_from_epoch,
        lr_difference=lr_difference,
    )


def apply_fix(inputs: ReviewInputs, yaml_text: str) -> ReviewInputs:
    """The inputs after a fix was merged softly into their parameters.

    Raises:
        ConfigError: when the fix sets a refused value.
    """
    parameters: dict[str, Any] = {name: getattr(inputs, name).model_dump() for name in _SECTIONS}
    for path, value in inputs.foreign.items():
        section, _, key = path.partition(".")
        parameters[section][key] = value
    configs, foreign = _validated(merge_softly(parameters, yaml_text))
    return replace(inputs, **configs, foreign=foreign)


def read_settings(path: str) -> dict[str, Any]:
    """A file of settings in any key names, as ``from_document`` takes them.

    Raises:
        ConfigError: when the file is missing or holds no mapping.
    """
    if not Path(path).is_file():
        raise ConfigError(f"review.settings_file {path!r} is not a file.")
    try:
        settings = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"review.settings_file {path!r} is no YAML: {error}.") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"review.settings_file {path!r} holds no mapping of names to values.")
    return settings


def merge_softly(parameters: Mapping[str, Any], yaml_text: str) -> dict[str, Any]:
    """Merge YAML into parameters as the project's environments do: siblings stay.

    Args:
        parameters: sections of parameters.
        yaml_text: an ``autofix``, or any mapping in YAML.
    """
    return _merged(dict(parameters), yaml.safe_load(yaml_text) or {})


def _merged(base: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in change.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(dict(old), value) if both and old is not None else value
    return result


def _validated(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Scalar]]:
    """Configurations by section, and the keys that no section knows, dotted."""
    foreign: dict[str, Scalar] = {}
    configs: dict[str, Any] = {}
    for section, model in _SECTIONS.items():
        known, unknown = _split(dict(parameters.get(section) or {}), model)
        foreign |= {f"{section}.{key}": value for key, value in unknown.items()}
        if section == "training":
            known, doubled = _one_warmup(known)
            foreign |= doubled
        try:
            configs[section] = model.model_validate(known)
        except ValidationError as error:
            raise ConfigError(explain(error, section, model)) from error
    return configs, foreign


def _split(
    section: dict[str, Any], model: type[BaseModel]
) -> tuple[dict[str, Any], dict[str, Scalar]]:
    known = {key: value for key, value in section.items() if key in model.model_fields}
    foreign = {k: v for k, v in section.items() if k not in model.model_fields and v is not None}
    return known, foreign


def _one_warmup(training: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Scalar]]:
    both = all(training.get(key) is not None for key in ("lr_warmup_steps", "lr_warmup_ratio"))
    if not both:
        return training, {}
    return training | {"lr_warmup_ratio": None}, {
        "training.lr_warmup_ratio": training["lr_warmup_ratio"]
    }


def _leaves(mapping: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in mapping.items():
        found.extend(_leaves(value) if isinstance(value, Mapping) else [(str(key), value)])
    return found


def _scalar(value: Any) -> Scalar:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)
