"""The only door to open_clip: models, the built-in tower sources, the contrastive loss.

Nothing here touches the network unless ``clip.source`` is ``hub``.
"""

from __future__ import annotations

import difflib
import hashlib
import pickle
import zipfile
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
from open_clip.factory import load_state_dict
from open_clip.pretrained import download_pretrained, get_pretrained_cfg
from torch import Tensor, nn

from hybrid_pipeline.components import resolve
from hybrid_pipeline.config import ClipConfig, ConfigError
from hybrid_pipeline.features.card import BUNDLED, NAME, bundled_model, check_weights, read_card
from hybrid_pipeline.features.hub import offline_where_unreachable
from hybrid_pipeline.features.preprocessing import Preprocessing
from hybrid_pipeline.features.provenance import (
    check_activation,
    first_line,
    is_torchscript,
    plain_names,
    read_model_config,
    recorded_facts,
    shape_of,
    side_of,
)
from hybrid_pipeline.features.sources import origin_of
from hybrid_pipeline.features.stem import TowerStem
from hybrid_pipeline.features.torchscript import TorchScriptError, read_torchscript
from hybrid_pipeline.features.tower import Tower, TowerSource, make_tower
from hybrid_pipeline.storage import content_key, file_key, package_fingerprint
from hybrid_pipeline.torch_seeding import torch_seeded

BUNDLED_DISCLOSURE = (
    "The frozen tower is the small one bundled with the project, pretrained on rendered random"
    " strings whose layouts include 4 x 4 grids with digits and lines; it is not OpenAI's CLIP."
)
OWN_PACKAGE = __name__.partition(".")[0]
TINY_TEXT = {"context_length": 4, "vocab_size": 8, "width": 64, "heads": 1, "layers": 1}


def build_clip(model: Mapping[str, Any]) -> nn.Module:
    """An open_clip model with random weights, drawn from torch's global generator.

    Args:
        model: open_clip's model config (``embed_dim``, ``vision_cfg``, ``text_cfg``,
            ``quick_gelu``); the project's own ``conv_stem`` lists the channels of a
            :class:`TowerStem`, one stride 2 each.
    """
    config = deepcopy(dict(model))
    stem = config.pop("conv_stem", None)
    for key in ("custom_text", "multimodal_cfg"):
        config.pop(key, None)
    built: nn.Module = open_clip.CLIP(**config)
    if stem is not None:
        patch, width = config["vision_cfg"]["patch_size"], config["vision_cfg"]["width"]
        if 2 ** len(stem) != patch:
            raise ValueError(f"a stem of {len(stem)} stride-2 layers makes no patches of {patch}")
        built.visual.conv1 = TowerStem(list(stem), width)  # type: ignore[union-attr]
    return built


def contrastive_loss() -> nn.Module:
    """open_clip's loss: symmetric cross-entropy over the batch (Radford et al. 2021, fig. 3)."""
    loss: nn.Module = open_clip.ClipLoss()
    return loss


def load_tower(config: ClipConfig, *, root: Path | None = None, device: str = "cpu") -> Tower:
    """Load the frozen tower that a configuration names.

    The key of a source of the user's holds the code of its package, too.

    Args:
        config: source and layer.
        root: what a relative ``clip.path`` is relative to; the working directory if left out.
        device: where it computes.

    Raises:
        ConfigError: one sentence: what is missing, or what does not match the weights.
    """
    read = origin_of(config).read
    source = resolve(read)(config, root or Path())
    package = read.partition(".")[0].partition(":")[0]
    if package != OWN_PACKAGE:  # the features follow its code, which no key of ours holds
        key = content_key(source.weights_key, package_fingerprint(package))
        source = replace(source, weights_key=key)
    return make_tower(source, config, device)


def read_bundled(_config: ClipConfig, _root: Path) -> TowerSource:
    """The tower that comes with the package."""
    source = _self_described(BUNDLED)
    return replace(source, name="bundled", disclosure=BUNDLED_DISCLOSURE)


def read_random(config: ClipConfig, root: Path) -> TowerSource:
    """The bundled architecture, or the named one, with weights drawn from ``random_seed``."""
    model = random_model(config, root)
    if config.model in (None, NAME):
        found = read_card(BUNDLED)["preprocessing"]
    else:
        found = next(iter(_tags_of(str(config.model)).values()), {})
    visual = _build_visual(model, config.random_seed)
    return TowerSource(
        visual=visual,
        weights_key=_tensors_key(visual),
        model=shape_of(model),
        preprocessing=Preprocessing.of(side_of(model), found),
        name=f"random:{config.model or 'bundled'}:{config.random_seed}",
        disclosure=f"The tower has random weights (seed {config.random_seed}): a control.",
    )


def random_model(config: ClipConfig, root: Path) -> dict[str, Any]:
    """The bundled architecture, or the one that ``clip.model`` names."""
    build = bundled_model if config.model in (None, NAME) else model_by_name
    return build(config, root)


def model_by_name(config: ClipConfig, root: Path) -> dict[str, Any]:
    """open_clip's config of ``clip.model``.

    Raises:
        ConfigError: when open_clip does not know it.
    """
    return _model_config(str(config.model), root)


def model_of_file(config: ClipConfig, root: Path) -> dict[str, Any]:
    """The config of the model whose weights lie in ``clip.path``.

    Raises:
        ConfigError: when open_clip does not know it, or ``clip.path`` is missing or holds another.
    """
    path = root / str(config.path)
    if not path.is_file():
        raise ConfigError(f"clip.path {str(path)!r} is not a file")
    card = read_card(path) if path.suffix == ".safetensors" else {}
    if card and card["name"] != config.model:
        raise ConfigError(f"clip.model is {config.model!r}, but {path.name} holds {card['name']!r}")
    return dict(card["model"]) if card else model_by_name(config, root)


def read_file(config: ClipConfig, root: Path) -> TowerSource:
    """A checkpoint of an open_clip model, or a tower of this project's pretraining."""
    path = root / str(config.path)
    model = model_of_file(config, root)
    if path.suffix == ".safetensors" and read_card(path):
        return _self_described(path)
    recorded = recorded_facts(path, model, _tags_of(str(config.model)))
    check_activation(model, recorded, str(config.model), path.name)
    return _from_checkpoint(path, model, recorded, f"{config.model}:{path.name}")


def model_on_hub(config: ClipConfig, root: Path) -> dict[str, Any]:
    """The config of the model whose weights have the tag ``clip.pretrained``; asks no hub.

    Raises:
        ConfigError: when open_clip knows neither, or they do not belong together.
    """
    name, tag = str(config.model), str(config.pretrained)
    model, facts = model_by_name(config, root), get_pretrained_cfg(name, tag)
    if not facts:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise ConfigError(f"clip.pretrained {tag!r} is no tag of {name!r}; known: {tags}")
    check_activation(model, facts, name, f"tag {tag!r}")
    return model


def read_hub(config: ClipConfig, root: Path) -> TowerSource:
    """Weights that open_clip downloads, or has downloaded, by name and tag."""
    name, tag = str(config.model), str(config.pretrained)
    model = model_on_hub(config, root)
    facts = get_pretrained_cfg(name, tag)
    try:
        with offline_where_unreachable():
            path = Path(download_pretrained(facts))
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        raise ConfigError(
            f"clip.source 'hub' could not get {name!r}, tag {tag!r} ({first_line(error)}): connect"
            " this machine to the hub, or set clip.source to 'file' with clip.path, or to 'bundled'"
        ) from error
    return _from_checkpoint(path, model, facts, f"{name}:{tag}")


def _from_checkpoint(
    path: Path, model: dict[str, Any], facts: Mapping[str, Any], name: str
) -> TowerSource:
    visual = _build_visual(model)
    load_visual(visual, path)
    return TowerSource(
        visual=visual,
        weights_key=file_key(path),
        model=shape_of(model),
        preprocessing=Preprocessing.of(side_of(model), dict(facts)),
        name=name,
        disclosure=f"The frozen tower is {name}, read through open_clip.",
    )


def _self_described(path: Path) -> TowerSource:
    """A tower of the project's own pretraining: its card lies in the file."""
    card = read_card(path)
    if not card:
        raise ConfigError(f"{path.name} holds no card of the project's pretraining")
    check_weights(path)
    visual = _build_visual(card["model"])
    load_visual(visual, path)
    return TowerSource(
        visual=visual,
        weights_key=file_key(path),
        model=shape_of(card["model"]),
        preprocessing=Preprocessing.of(side_of(card["model"]), card["preprocessing"]),
        name=card["name"],
        disclosure=f"The frozen tower was pretrained in this project ({card['name']}).",
    )


def load_visual(visual: nn.Module, path: Path) -> None:
    """Load the vision tower's weights from a checkpoint of an open_clip model, in float32.

    Nothing is interpolated and nothing is left out, because both would go unnoticed.

    Raises:
        ConfigError: when the file holds another tower, or none.
    """
    state = {
        name.removeprefix("visual."): tensor.float()
        for name, tensor in plain_names(_read_state(path)).items()
        if name.startswith("visual.")
    }
    if not state:
        raise ConfigError(
            f"{path.name} holds no weights named 'visual.*'; save it as an open_clip checkpoint"
        )
    expected = visual.state_dict()
    differing = sorted(
        name
        for name in expected.keys() | state.keys()
        if name not in state or name not in expected or state[name].shape != expected[name].shape
    )
    if differing:
        name = differing[0]
        shown = [list(d[name].shape) if name in d else "missing" for d in (state, expected)]
        raise ConfigError(
            f"{path.name} does not fit the model: {name!r} is {shown[0]} in the file and"
            f" {shown[1]} in the model ({len(differing)} differ)"
        )
    broken = next((name for name, tensor in state.items() if not tensor.isfinite().all()), None)
    if broken is not None:
        raise ConfigError(
            f"{path.name} is damaged: {broken!r} holds a number that is not finite; get it again"
        )
    visual.load_state_dict(state)


def _read_state(path: Path) -> dict[str, Tensor]:
    """Names and tensors of a checkpoint; nothing in the file is ever run."""
    try:
        _check_records(path)
        if is_torchscript(path):
            return read_torchscript(path)
        state: dict[str, Tensor] = load_state_dict(str(path))
    except TorchScriptError as error:
        raise ConfigError(
            f"clip.path {path.name!r} is a TorchScript archive that is not read ({error}); save the"
            " model's state_dict instead"
        ) from error
    except pickle.UnpicklingError as error:
        raise ConfigError(
            f"clip.path {path.name!r} is no readable checkpoint of plain weights; save the model's"
            " state_dict (a pickled module is not read: it could run code)"
        ) from error
    except Exception as error:  # a damaged file fails in any way, for instance as KeyError: 101
        raise ConfigError(
            f"clip.path {path.name!r} is no readable checkpoint ({first_line(error)})"
        ) from error
    if not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ConfigError(f"clip.path {path.name!r} is no checkpoint: it holds more than weights")
    return state


def _check_records(path: Path) -> None:
    """Compare the records of a zip, torch's format, with their checksums; torch does not.

    Raises:
        BadZipFile: naming the first record that differs.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"its record {damaged} differs from its checksum")


def _build_visual(model: Mapping[str, Any], seed: int = 0) -> nn.Module:
    """Only the vision tower, with random weights; a tiny text tower is built and dropped.

    Torch's global generator is left as it was.

    Raises:
        ConfigError: when open_clip builds no model from the config.
    """
    config = {**deepcopy(dict(model)), "text_cfg": TINY_TEXT}
    if config["vision_cfg"].get("timm_model_name"):
        config["vision_cfg"]["timm_model_pretrained"] = False
    with torch_seeded(seed):
        try:
            visual: nn.Module = build_clip(config).visual  # type: ignore[assignment]
        except Exception as error:  # open_clip checks nothing: a typo is a TypeError in a class
            raise ConfigError(
                f"clip.model is refused: open_clip builds no model of it ({first_line(error)})"
            ) from error
    return visual


def _model_config(name: str, root: Path) -> dict[str, Any]:
    """open_clip's config of a model by name, or one read from a JSON file.

    Raises:
        ConfigError: naming what comes close, or what the file lacks.
    """
    if name.endswith(".json"):
        return read_model_config(name, root / name)
    known = open_clip.list_models()
    if name not in known:
        close = (
            ", ".join(difflib.get_close_matches(name, known, n=3)) or "see open_clip.list_models"
        )
        raise ConfigError(f"clip.model {name!r} is not known to open_clip; close names: {close}")
    return dict(open_clip.get_model_config(name))


def _tags_of(name: str) -> dict[str, dict[str, Any]]:
    tags = open_clip.list_pretrained_tags_by_model(name)
    return {tag: dict(get_pretrained_cfg(name, tag)) for tag in tags}


def _tensors_key(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
