"""The models' own defaults and ``conf/base``: equal, but for the keys that are explained here.

``conf/base`` is what a study runs with: environments and ``--params`` lie on top of it, so a
partial configuration takes its other values from there. The models' defaults serve code without
Kedro.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, RootModel

from hybrid_pipeline.kedro_ext.project_parameters import PARAMETER_GROUPS

BASE = Path(__file__).parents[1] / "conf/base"
OTHERWISE = {
    "rendering.noise.gaussian_std": "noise is off unless a study asks for it; base does, for N2N",
    "training.epochs": "the length of the default study, as are the next three",
    "training.global_batch_size": "see training.epochs",
    "training.eval_interval": "see training.epochs",
    "training.lr": "the seed analysis's corrected rate; base's was chosen on the validation split",
    "training.optimizer": "the seed analysis's; base's is flat sooner, docs/decisions/0012",
    "training.muon_lr_ratio": "see training.optimizer; 1 is AdamW's own size",
    "training.muon_momentum": "see training.optimizer; .95 is what Jordan et al. give",
    "training.lr_min_ratio": "see training.optimizer",
    "training.lr_warmup_ratio": "steps or ratio: a model has neither unless one is given",
    "stability.tasks": "all tasks; base's study asks of one, to be shorter",
    "stability.epochs": "the training's; base's study is shorter",
    "stability.num_seeds": "see stability.tasks",
}
ONLY_IN_THE_MODEL = {
    "clip.random_seed": "read under source: random",
    "storage.reference": "read under --env reference",
    "model.core.hidden_multiple": "a rounding that no study varies",
    "model.vit.pos_encodings": "learned is what all arms use",
    "halting.epsilon_start": "read under exploration: epsilon",
    "halting.epsilon_end": "read under exploration: epsilon",
}


def base_values() -> dict[str, Any]:
    constants = yaml.safe_load((BASE / "globals.yml").read_text("utf-8"))
    values: dict[str, Any] = {}
    for path in sorted((BASE / "parameters").rglob("*.yml")):
        text = path.read_text("utf-8")
        for name, value in constants.items():
            text = text.replace(f"${{globals:{name}}}", str(value))
        values |= yaml.safe_load(text) or {}
    return values


def pairs(model: type[BaseModel], values: Mapping[str, Any], path: str) -> Iterator[Any]:
    """Key, the model's default and the value of base (``...`` if it has none)."""
    for name, field in model.model_fields.items():
        key, value, inner = f"{path}.{name}", values.get(name, ...), field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and isinstance(value, dict):
            yield from pairs(inner, value, key)
        elif not field.is_required():
            default = field.get_default(call_default_factory=True)
            plain = model.model_construct(**{name: default}).model_dump(mode="json", include={name})
            yield key, plain[name], value


def all_pairs() -> Iterator[Any]:
    values = base_values()
    for group, source in PARAMETER_GROUPS.items():
        model = source if isinstance(source, type) else source()
        if group != "claims" and not issubclass(model, RootModel):  # claims are data
            yield from pairs(model, values.get(group) or {}, group)


def test_defaults_and_base_differ_only_where_it_is_explained() -> None:
    found = list(all_pairs())
    assert len(found) > 150
    differing = {key for key, default, value in found if value is not ... and value != default}
    assert differing == set(OTHERWISE)
    assert {key for key, _, value in found if value is ...} == set(ONLY_IN_THE_MODEL)
