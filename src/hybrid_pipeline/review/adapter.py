"""From parameters, or from a document's YAML with foreign keys, to what the rules read."""

from __future__ import annotations

from collections.abc import Mapping
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
from hybrid_pipeline.review.findings import Comment, Measured, ParameterCounts, ReviewInputs

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
    """Turn a document's settings into parameters by section.

    Args:
        mapping: flat keys in the document's names, or nested by any groups; numbers may be strings,
            as a plain YAML loader leaves ``3e-4``.
        width: hidden width of the model that the document talks about.

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
        halting["lr_dqn"] = training["lr"]  # one rate for all, unless the document says otherwise
    model = {"core": {"dim": width}, "vit": {"embed_dim": width}}
    return {"training": training, "halting": halting, "model": model, "clip": {}}


def inputs_from_parameters(
    parameters: Mapping[str, Any],
    review: ReviewConfig,
    *,
    num_train: int,
    counts: ParameterCounts,
    comments: tuple[Comment, ...] = (),
    drop_last: bool = False,
) -> ReviewInputs:
    """Validate the known keys, set the foreign ones aside.

    Args:
        parameters: sections ``training``, ``halting``, ``model``, ``clip``; a foreign key with the
            value null counts as absent.
        review: the document and the thresholds.
        num_train: training examples.
        counts: parameters of the model, as counted or assumed.
        comments: comments of the configuration files.
        drop_last: whether the incomplete batch of an epoch is dropped.

    Raises:
        ConfigError: when a known key has a refused value.
    """
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
    return ReviewInputs(
        **configs,
        num_train=num_train,
        counts=counts,
        rules=review.rules,
        document=review.document,
        measured=Measured(review.peak_memory_gib, review.overfit_from_epoch),
        foreign=foreign,
        comments=comments,
        drop_last=drop_last,
    )


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
