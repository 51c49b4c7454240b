"""What a checkpoint was trained with, as far as it can be known, and the checks that follow.

Weights carry neither their activation nor their preprocessing, and open_clip loads a mismatch in
silence. So both are looked up: in ``open_clip_config.json`` beside the file (the hub's layout), by
the file's name among open_clip's tags, by its format, or in what all tags of the model agree on.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from hybrid_pipeline.config import ConfigError
from hybrid_pipeline.storage import read_json

if TYPE_CHECKING:
    from torch import Tensor

SIDECAR = "open_clip_config.json"
GENERIC_NAMES = {"", "open_clip_pytorch_model.bin", "open_clip_model.safetensors"}
PREPROCESSING = ("mean", "std", "interpolation")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
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


def plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the model's own names, without what ``torch.compile`` and DDP put before them.

    ``_orig_mod.`` marks a compiled module wherever it stands; ``module.`` a wrapper of the whole.
    """
    names = {name: name.replace("_orig_mod.", "") for name in state}
    while names and all(name.startswith("module.") for name in names.values()):
        names = {key: name.removeprefix("module.") for key, name in names.items()}
    return {names[key]: tensor for key, tensor in state.items()}


def read_model_config(name: str, path: Path) -> dict[str, Any]:
    """open_clip's config of a model from a JSON file, its own or one beside a checkpoint.

    Raises:
        ConfigError: when the file is not there, is no JSON, or holds something else.
    """
    if not path.is_file():
        raise ConfigError(f"clip.model {name!r} is not a file")
    found = _read_mapping(path, f"clip.model {name!r}")
    model = found.get("model_cfg", found)
    wanted = {"embed_dim": int, "vision_cfg": dict}
    if not isinstance(model, dict) or any(
        not isinstance(model.get(key), kind) for key, kind in wanted.items()
    ):
        raise ConfigError(
            f"clip.model {name!r} is no open_clip model config: it needs embed_dim (a number) and"
            " vision_cfg (a mapping)"
        )
    timm = model["vision_cfg"].get("timm_model_name")
    if timm is not None and (not isinstance(timm, str) or ":" in timm):
        raise ConfigError(
            f"clip.model {name!r} has timm_model_name {timm!r}, which would be fetched from a hub:"
            " a file names a timm architecture, such as 'vit_base_patch16_224'"
        )
    return model


def shape_of(model: Mapping[str, Any]) -> dict[str, Any]:
    """The part of open_clip's model config that shapes the tower."""
    return {
        "embed_dim": model["embed_dim"],
        "vision_cfg": dict(model["vision_cfg"]),
        "quick_gelu": bool(model.get("quick_gelu", False)),
        "conv_stem": list(model.get("conv_stem") or []),
    }


def side_of(model: Mapping[str, Any]) -> int:
    """Pixels a side of a model's input.

    Raises:
        ConfigError: when it is not square.
    """
    side = model["vision_cfg"].get("image_size", 224)
    if isinstance(side, list | tuple):
        if len(set(side)) > 1:
            raise ConfigError(f"the tower's input {list(side)} is not square; choose another")
        side = side[0]
    return int(side)


def first_line(error: Exception) -> str:
    """The kind of an exception and the first line of its message, without colours."""
    lines = COLOUR.sub("", str(error)).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:160]}"


def _read_mapping(path: Path, what: str) -> dict[str, Any]:
    try:
        found = read_json(path)
    except ValueError as error:
        raise ConfigError(f"{what} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{what} holds no mapping")
    return found


def _from_sidecar(sidecar: Path, model: Mapping[str, Any]) -> Facts:
    found = _read_mapping(sidecar, f"{sidecar.name}, beside clip.path,")
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
