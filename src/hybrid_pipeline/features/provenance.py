"""What a checkpoint was trained with, as far as it can be known, and the checks that follow.

Weights carry neither their activation nor their preprocessing, and open_clip loads a mismatch in
silence. So both are looked up: in ``open_clip_config.json`` beside the file (the hub's layout), by
the file's name among open_clip's tags, by its format, or in what all tags of the model agree on.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from hybrid_pipeline.config import ConfigError
from hybrid_pipeline.storage import read_json

SIDECAR = "open_clip_config.json"
GENERIC_NAMES = {"", "open_clip_pytorch_model.bin", "open_clip_model.safetensors"}
PREPROCESSING = ("mean", "std", "interpolation")
Facts = dict[str, Any]


def recorded_facts(path: Path, model: Mapping[str, Any], tags: Mapping[str, Facts]) -> Facts:
    """What is known about a local checkpoint.

    Args:
        path: the checkpoint.
        model: the model config it is to be loaded into.
        tags: open_clip's description of each released checkpoint of that model.

    Returns:
        ``quick_gelu`` (absent if unknown) and ``mean``, ``std``, ``interpolation`` (absent where
        they are open_clip's defaults).

    Raises:
        ConfigError: when the file beside it contradicts the model, or nothing decides between the
            preprocessings that the model's releases use.
    """
    sidecar = path.with_name(SIDECAR)
    if sidecar.is_file():
        return _from_sidecar(sidecar, model)
    facts = _from_name(path, tags)
    if facts is None:
        facts = _agreed(path, tags)
    if is_torchscript(path):
        facts["quick_gelu"] = True  # only OpenAI released TorchScript archives
    return facts


def check_activation(model: Mapping[str, Any], facts: Facts, name: str, what: str) -> None:
    """Refuse weights trained with another activation than the model's.

    Raises:
        ConfigError: naming the activation of both and the model to use instead.
    """
    known = facts.get("quick_gelu")
    used = bool(model.get("quick_gelu", False))
    if known is None or bool(known) == used:
        return
    plain = name.removesuffix("-quickgelu")
    other = f"{plain}-quickgelu" if known else plain
    names = {True: "QuickGELU", False: "GELU"}
    raise ConfigError(
        f"{what} was trained with {names[bool(known)]}, but clip.model {name!r} uses {names[used]};"
        f" set clip.model to {other!r}"
    )


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive rather than a checkpoint."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(PurePosixPath(n).name == "constants.pkl" for n in archive.namelist())


def _from_sidecar(sidecar: Path, model: Mapping[str, Any]) -> Facts:
    found = read_json(sidecar)
    trained, preprocessing = found.get("model_cfg", {}), found.get("preprocess_cfg", {})
    for key, value in trained.get("vision_cfg", {}).items():
        if key in model["vision_cfg"] and model["vision_cfg"][key] != value:
            raise ConfigError(
                f"{sidecar.name} says vision_cfg.{key} = {value!r}, but clip.model has"
                f" {model['vision_cfg'][key]!r}"
            )
    side, size = model["vision_cfg"].get("image_size"), preprocessing.get("size")
    if size is not None and size not in (side, [side, side]):
        raise ConfigError(
            f"{sidecar.name} says the images are {size} px, but clip.model reads {side} px"
        )
    facts = {key: preprocessing[key] for key in PREPROCESSING if key in preprocessing}
    return {**facts, "quick_gelu": bool(trained.get("quick_gelu", False))}


def _from_name(path: Path, tags: Mapping[str, Facts]) -> Facts | None:
    for tag in tags.values():
        released = {PurePosixPath(tag.get(key, "")).name for key in ("url", "hf_hub")}
        if path.name in released - GENERIC_NAMES:
            return _facts_of(tag)
    return None


def _agreed(path: Path, tags: Mapping[str, Facts]) -> Facts:
    facts = [_facts_of(tag) for tag in tags.values()]
    if not facts:
        return {}
    agreed = {key: facts[0].get(key) for key in PREPROCESSING}
    if any({key: other.get(key) for key in PREPROCESSING} != agreed for other in facts):
        raise ConfigError(
            f"the releases of this model differ in preprocessing and nothing says which one"
            f" {path.name} is: put its {SIDECAR} beside it"
        )
    if len({bool(other["quick_gelu"]) for other in facts}) == 1:
        agreed["quick_gelu"] = facts[0]["quick_gelu"]
    return agreed


def _facts_of(tag: Facts) -> Facts:
    return {
        **{key: tag[key] for key in PREPROCESSING if key in tag},
        "quick_gelu": bool(tag.get("quick_gelu", False)),
    }
