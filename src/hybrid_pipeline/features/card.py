"""The card of a tower pretrained in this project: a JSON text in the header of its weights file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from hybrid_pipeline.config import ClipConfig, ConfigError
from hybrid_pipeline.storage import file_key, read_json

BUNDLED = Path(__file__).parent / "bundled" / "tower.safetensors"
NAME = "hybrid-pipeline-strings"
CARD_FIELD = "card"
FIELDS = {"name": str, "model": dict, "preprocessing": dict}
REMEDY = "export the tower again by the pipeline clip_pretraining"
WEIGHTS_FILE, CARD_FILE = "tower.safetensors", "card.json"


def read_card(path: Path) -> dict[str, Any]:
    """The card in the header of a safetensors file; empty if it has none. Needs no torch.

    Raises:
        ConfigError: when the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(CARD_FIELD, "{}")
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path} is missing or no safetensors file ({error})") from error
    try:
        card = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path} holds a card that is no JSON ({error}); {REMEDY}") from error
    if not isinstance(card, dict) or (card and not _is_whole(card)):
        raise ConfigError(f"{path} holds a card without {', '.join(FIELDS)}; {REMEDY}")
    return card


def bundled_model(_config: ClipConfig, _root: Path) -> dict[str, Any]:
    """The architecture of the tower that comes with the package."""
    return dict(read_card(BUNDLED)["model"])


def check_weights(path: Path) -> None:
    """Compare a tower with the hash in ``card.json`` beside it, where there is one.

    Raises:
        ConfigError: when the card is damaged or was written for other weights.
    """
    card = path.with_name(CARD_FILE)
    if path.name != WEIGHTS_FILE or not card.is_file():
        return
    remedy = "install the package again" if path == BUNDLED else REMEDY
    try:
        noted = read_json(card)["weights_key"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{card} is damaged (it names no weights_key); {remedy}") from error
    if noted != file_key(path):
        raise ConfigError(f"{path} differs from the weights that {card.name} names; {remedy}")


def _is_whole(card: dict[str, Any]) -> bool:
    return all(isinstance(card.get(name), kind) for name, kind in FIELDS.items()) and isinstance(
        card["model"].get("vision_cfg"), dict
    )
