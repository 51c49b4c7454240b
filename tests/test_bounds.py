"""Every number of the configuration has bounds, and what nobody can mean is refused by its key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import annotated_types
import pytest
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from hybrid_pipeline.config import (
    AblationConfig,
    CoreConfig,
    HaltingConfig,
    N2NConfig,
    TrainingConfig,
    explain,
)
from hybrid_pipeline.config.base import BoundedConfig
from hybrid_pipeline.kedro_ext.project_parameters import PARAMETER_GROUPS
from hybrid_pipeline.tasks import TasksConfig

LOWER = (annotated_types.Ge, annotated_types.Gt)
UPPER = (annotated_types.Le, annotated_types.Lt)
# A document's settings and a generator's options have values of any kind: bounded where they are
# read, each by its own table.
ELSEWHERE = {"original", "corrected", "options"}
CHECKED_AS_A_WHOLE = {"looks", "lengths"}
NEEDED: dict[type[BaseModel], dict[str, Any]] = {TrainingConfig: {"lr_warmup_ratio": 0.1}}


def configs(config: type[BoundedConfig] = BoundedConfig) -> Iterator[type[BoundedConfig]]:
    for found in config.__subclasses__():
        yield found
        yield from configs(found)


def numbers(annotation: Any, metadata: list[Any]) -> Iterator[list[Any]]:
    """The constraints of every number in a field's type."""
    if get_origin(annotation) is Literal:
        return
    if annotation in (int, float):
        yield metadata
    for inner in get_args(annotation):
        if isinstance(inner, FieldInfo):
            continue
        own = getattr(inner, "__metadata__", ())
        bounds = [m for info in own if isinstance(info, FieldInfo) for m in info.metadata]
        yield from numbers(
            getattr(inner, "__origin__", inner) if own else inner, bounds or metadata
        )


@pytest.mark.parametrize("config", sorted(set(configs()), key=lambda c: c.__qualname__))
def test_every_number_has_an_upper_bound_and_a_lower(config: type[BoundedConfig]) -> None:
    assert config.model_config["allow_inf_nan"] is False
    for name, field in config.model_fields.items():
        for bounds in numbers(field.annotation, field.metadata) if name not in ELSEWHERE else ():
            assert any(isinstance(m, UPPER) for m in bounds), name
            assert any(isinstance(m, LOWER) for m in bounds) or name in CHECKED_AS_A_WHOLE, name


def test_every_group_of_parameters_is_bounded() -> None:
    models = {
        n: m
        for n, m in PARAMETER_GROUPS.items()
        if isinstance(m, type) and n not in ("tasks", "plugins")
    }
    assert len(models) > 8
    assert all(issubclass(model, BoundedConfig) for model in models.values())


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        (TrainingConfig, "eval_interval", float("inf")),
        (TrainingConfig, "epochs", 1e308),
        (TrainingConfig, "epochs", float("nan")),
        (TrainingConfig, "adam_eps", float("inf")),
        (TrainingConfig, "global_batch_size", 10**30),
        (TrainingConfig, "lr_warmup_steps", 10**30),
        (TrainingConfig, "epochs", True),
        (TrainingConfig, "seed", "3"),
        (TrainingConfig, "ema", 1),
        (TrainingConfig, "ema", "yes"),
        (CoreConfig, "expansion", float("inf")),
        (CoreConfig, "dim", 10**9),
        (CoreConfig, "num_layers", 10**6),
        (HaltingConfig, "step_cost", float("inf")),
        (HaltingConfig, "replay_capacity", 10**12),
        (N2NConfig, "steps", 10**12),
        (AblationConfig, "looks", [3, True]),
        (AblationConfig, "num_seeds", True),
    ],
)
def test_values_that_nobody_means_are_refused_by_their_key(
    model: type[BaseModel], name: str, value: Any
) -> None:
    with pytest.raises(ValidationError) as error:
        model.model_validate(NEEDED.get(model, {}) | {name: value})
    sentence = explain(error.value, "group", model)
    assert sentence.startswith(f"parameter 'group.{name}")
    assert "is refused: " in sentence


def test_a_number_of_examples_has_bounds() -> None:
    task = {"source": "maze", "num_train": 10**12, "num_validation": 2, "num_test": 2}
    with pytest.raises(ValidationError, match="less than or equal to 100000000"):
        TasksConfig.model_validate({"a": task})


def test_what_yaml_writes_as_a_number_stays_one() -> None:
    config = TrainingConfig.model_validate({"lr_warmup_ratio": 0, "epochs": 3, "seed": 4.0})
    assert (config.lr_warmup_ratio, config.epochs, config.seed) == (0.0, 3.0, 4)
    assert AblationConfig.model_validate({"controls": ["wide_vit"], "looks": [3, 5]}).looks == (
        3,
        5,
    )
    assert AblationConfig.model_validate({"controls": True}).controls is True
