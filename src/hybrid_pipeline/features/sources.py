"""One record per tower source, the values of ``clip.source``; a package of the user's adds its own.

The functions are named and imported only when they are called, so that no torch is loaded to check
parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

from hybrid_pipeline.components import resolve
from hybrid_pipeline.config import ClipConfig, ConfigError, set_tower_sources, suggestion

Given = Literal["model", "pretrained", "path"]
_HERE = "hybrid_pipeline.features"


@dataclass(frozen=True)
class TowerOrigin:
    """Where frozen towers come from.

    Attributes:
        name: value of ``clip.source``.
        read: ``module:function``, called with the configuration ``clip`` and the folder that
            relative paths start from; gives a ``features.tower.TowerSource``.
        model: ``module:function``, called with the same; gives open_clip's model config, or of it
            ``embed_dim`` and ``vision_cfg: {width: ...}``. It reads no weights: it is called before
            any work, and refuses what ``read`` could not use.
        needs: parameters of ``clip`` that must be given.
        files: those of them that are paths of files.
        downloads: whether ``read`` uses the network.
        random: the source that gives the same architecture with random weights, for the control
            ``random_tower``; ``None`` for none, and the control is refused.
    """

    name: str
    read: str
    model: str
    needs: tuple[Given, ...] = ()
    files: tuple[Given, ...] = ()
    downloads: bool = False
    random: str | None = None


_ORIGINS = (
    TowerOrigin(
        "bundled", f"{_HERE}.clip:read_bundled", f"{_HERE}.card:bundled_model", random="random"
    ),
    TowerOrigin(
        "hub",
        f"{_HERE}.clip:read_hub",
        f"{_HERE}.clip:model_on_hub",
        needs=("model", "pretrained"),
        downloads=True,
        random="random",
    ),
    TowerOrigin(
        "file",
        f"{_HERE}.clip:read_file",
        f"{_HERE}.clip:model_of_file",
        needs=("model", "path"),
        files=("path",),
        random="random",
    ),
    TowerOrigin(
        "random", f"{_HERE}.clip:read_random", f"{_HERE}.clip:random_model", random="random"
    ),
)
_known: dict[str, TowerOrigin] = {origin.name: origin for origin in _ORIGINS}


def load_tower_sources(modules: Iterable[ModuleType] = ()) -> None:
    """Make the built-in tower sources and those of some modules the sources of this process.

    Args:
        modules: whose ``TowerOrigin`` records join.

    Raises:
        ValueError: for a name that is given twice, or a ``random`` that names no source.
    """
    global _known
    found = {origin.name: origin for origin in _ORIGINS}
    for module in modules:
        for record in vars(module).values():
            if not isinstance(record, TowerOrigin):
                continue
            if found.setdefault(record.name, record) != record:
                raise ValueError(f"two records have the tower source {record.name!r}")
    for origin in found.values():
        if origin.random is not None and origin.random not in found:
            raise ValueError(
                f"tower source {origin.name!r} names {origin.random!r} for random weights; allowed "
                f"here: {', '.join(found)}"
            )
    set_tower_sources({origin.name: origin.needs for origin in found.values()})
    _known = found


def origin_of(config: ClipConfig) -> TowerOrigin:
    """The record of the source that a configuration names.

    Raises:
        ConfigError: for a source of a module that this process has not loaded.
    """
    if config.source not in _known:
        raise ConfigError(
            f"clip.source {config.source!r} is not known{suggestion(config.source, _known)}"
        )
    return _known[config.source]


def model_of(config: ClipConfig, root: Path) -> Mapping[str, Any]:
    """The model config of the configured tower, without its weights.

    Raises:
        ConfigError: for a tower that could not be read.
    """
    return cast("Mapping[str, Any]", resolve(origin_of(config).model)(config, root))


def with_random_weights(config: ClipConfig) -> ClipConfig:
    """The configuration of the same architecture with random weights.

    Raises:
        ConfigError: when the source has none.
    """
    random = origin_of(config).random
    if random is None:
        raise ConfigError(
            f"clip.source {config.source!r} has no random weights for the control 'random_tower': "
            "name their source in the record's field random, or leave the control out"
        )
    return config.model_copy(update={"source": random})


load_tower_sources()
