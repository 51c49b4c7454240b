"""The result of a pretraining: weights with the card in their header, and the card to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save
from torch import nn

from hybrid_pipeline.features.card import CARD_FIELD, CARD_FILE, NAME, WEIGHTS_FILE
from hybrid_pipeline.features.layouts import HELD_OUT_ONE_IN
from hybrid_pipeline.features.preprocessing import Preprocessing
from hybrid_pipeline.storage import (
    file_key,
    is_whole,
    seal,
    write_atomically,
    write_json_atomically,
    write_text_atomically,
)

MAX_BYTES = 2_000_000
CHECKPOINT = "checkpoint.pt"  # beside the result until it is finished


@dataclass(frozen=True)
class HeldOutAccuracy:
    """In-batch top-1, image to text, on held-out strings.

    Attributes:
        top1: share right.
        low: lower end of the 95 % interval (t over batches).
        high: upper end.
        num_batches: held-out batches.
        batch_size: captions to choose from; chance is one over it.
        top1_by_kind: share right by kind of layout.
    """

    top1: float
    low: float
    high: float
    num_batches: int
    batch_size: int
    top1_by_kind: dict[str, float]

    @classmethod
    def of(cls, right: np.ndarray, kinds: np.ndarray) -> HeldOutAccuracy:
        """From bool [batches, batch size] and the kind of each layout, same shape."""
        from scipy import stats  # slow to import, and only pretraining needs it

        shares = right.mean(axis=1)
        error = shares.std(ddof=1) / np.sqrt(len(shares))
        margin = float(stats.t.ppf(0.975, len(shares) - 1) * error)
        top1 = float(shares.mean())
        return cls(
            top1=round(top1, 4),
            low=round(top1 - margin, 4),
            high=round(top1 + margin, 4),
            num_batches=right.shape[0],
            batch_size=right.shape[1],
            top1_by_kind={
                str(kind): round(float(right[kinds == kind].mean()), 4) for kind in np.unique(kinds)
            },
        )


def finished(folder: Path) -> bool:
    """Whether a pretraining has ended here and its files are what they were."""
    return is_whole(folder, "the tower is trained again")


def export(
    model: nn.Module,
    folder: Path,
    *,
    model_config: Mapping[str, Any],
    preprocessing: Preprocessing,
    evaluation: HeldOutAccuracy,
    facts: Mapping[str, Any],
    cpu_seconds: float,
) -> None:
    """Write the whole model in half precision and its card, and seal their folder.

    Raises:
        ValueError: when the file would be larger than 2 MB.
    """
    card: dict[str, Any] = {
        "name": NAME,
        "model": dict(model_config),
        "preprocessing": preprocessing.to_dict(),
        "evaluation": asdict(evaluation),
        **facts,
    }
    tensors = {name: t.half().contiguous() for name, t in model.state_dict().items()}
    content = save(tensors, metadata={CARD_FIELD: json.dumps(card, sort_keys=True)})
    if len(content) > MAX_BYTES:
        raise ValueError(f"the tower has {len(content)} bytes; at most {MAX_BYTES} are allowed")
    weights = folder / WEIGHTS_FILE
    write_atomically(weights, lambda file: file.write(content))
    card |= {
        "weights_key": file_key(weights),
        "num_bytes": len(content),
        "num_parameters": sum(t.numel() for t in tensors.values()),
        "num_vision_parameters": sum(
            t.numel() for name, t in tensors.items() if name.startswith("visual.")
        ),
        "cpu_seconds": round(cpu_seconds),
    }
    write_text_atomically(folder / "card.md", card_text(card))
    write_json_atomically(folder / CARD_FILE, card)
    seal(folder, leave=(CHECKPOINT,))


def card_text(card: Mapping[str, Any]) -> str:
    """The card as a page."""
    config, found = card["config"], card["evaluation"]
    kinds = ", ".join(f"{kind} {share:.3f}" for kind, share in found["top1_by_kind"].items())
    versions = ", ".join(f"{name} {version}" for name, version in card["versions"].items())
    num_pairs = card["num_steps"] * config["batch_size"]
    painter = ", ".join(f"{k} {v}" for k, v in sorted(card["painter"].items())) or "not recorded"
    low, high = found["low"], found["high"]
    variants, edits = config["num_variants"], config["hard_negative_edits"]
    return f"""# Tower `{card["name"]}`

A small open_clip model, trained in this project. It is not OpenAI's CLIP and has never seen a
photograph: it has read rendered random strings.

| | |
|---|---|
| weights key | `{card["weights_key"]}` |
| pretraining key | `{card["pretraining_key"]}` |
| renderer and noise key | `{card["painter_key"]}` |
| renderer and noise | {painter} |
| parameters, half precision | {card["num_parameters"]:,} |
| vision parameters | {card["num_vision_parameters"]:,} |
| bytes | {card["num_bytes"]:,} |
| pairs, each seen once | {num_pairs:,} |
| steps, batch | {card["num_steps"]:,}, {config["batch_size"]} |
| seed | {config["seed"]} |
| CPU seconds, one thread | {card["cpu_seconds"]:,} |
| libraries | {versions} |

## Data

Random strings as lines of text, as ruled grids of digits, and as grids with walls between the
squares and the letters S and G. Seven of ten grids are 4 x 4: they look like the 4 x 4 tasks, and a
gain of this tower is to be read with that in mind. Each string comes with hard negatives in the
same batch: {variants}, each {edits} edits away.

No string is an example of a task: a 4 x 4 grid that could be a Sudoku (digits 1 to 4, none twice in
a row, column or box) and walls that leave a way from S to G are never drawn, and a check raises if
one were.

## Accuracy

In-batch top-1, image to text, on held-out strings with hard negatives in the batch:
**{found["top1"]:.3f}**, 95 % interval {low:.3f} to {high:.3f} (t over {found["num_batches"]}
batches of {found["batch_size"]}; one seed; chance {1 / found["batch_size"]:.4f}). By kind: {kinds}.

One caption in {HELD_OUT_ONE_IN}, chosen by hash, is held out and never trained on. The figures are
of the weights as stored.
"""
