"""A trained arm answers new examples: drawn, noised and encoded as those that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from hybrid_pipeline.arms import find_arm
from hybrid_pipeline.config import ClipConfig, ModelConfig, RenderingConfig
from hybrid_pipeline.features.clip import load_tower
from hybrid_pipeline.features.extract import encode_in_batches
from hybrid_pipeline.features.quantise import ChannelScale, dequantise, quantise
from hybrid_pipeline.features.tower import Tower
from hybrid_pipeline.models.hybrid import HybridModel, build_model
from hybrid_pipeline.models.parts import InputShape
from hybrid_pipeline.rendering import noisy_views, to_float
from hybrid_pipeline.storage import read_json, write_json_atomically
from hybrid_pipeline.tasks import source_of_table
from hybrid_pipeline.training.loader import TaskData

BATCH = 128
WEIGHTS = "weights.safetensors"
CARD = "arm.json"


@dataclass(frozen=True)
class Prediction:
    """Answers to N examples with S slots after each of T supervision steps.

    Attributes:
        steps: class of each slot, int16 [N, T, S]; the last step is full depth.
        confidence: probability of the class at full depth, float32 [N, S].
        classes: names of the classes.
    """

    steps: NDArray[np.int16]
    confidence: NDArray[np.float32]
    classes: tuple[str, ...]

    @property
    def predicted(self) -> NDArray[np.int16]:
        """Class of each slot at full depth, int16 [N, S]."""
        return self.steps[:, -1]

    @property
    def names(self) -> list[tuple[str, ...]]:
        """The same by name, a tuple per example."""
        return [tuple(self.classes[value] for value in row) for row in self.predicted]


class FrozenTokens:
    """Images to frozen tokens, as a task's store has them.

    Args:
        meta: of the store: ``clip``, ``storage``, ``standardisation`` and, in int8, ``channels``.
    """

    def __init__(self, meta: Mapping[str, Any]) -> None:
        names = ("clip", "storage", "standardisation", "channels")
        self.meta = {name: meta[name] for name in names if name in meta}
        self._config = ClipConfig.model_validate(meta["clip"])
        self._standardisation = ChannelScale.from_lists(meta["standardisation"])

    @cached_property
    def _tower(self) -> Tower:
        return load_tower(self._config)

    def of(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Standardised tokens float32 [N, T, C] of images uint8 [N, H, W]."""
        tokens = encode_in_batches(self._tower, images[:, None], self._config.batch_size)
        if self.meta["storage"] == "int8":
            channels = ChannelScale.from_lists(self.meta["channels"])
            tokens = dequantise(*quantise(tokens, channels), channels)
        else:
            tokens = tokens.astype(np.float16)
        standardised: NDArray[np.float32] = self._standardisation.apply(tokens)[:, 0]
        return standardised


class TrainedModel:
    """A trained arm without the study that trained it; it answers images.

    Args:
        model: with its trained weights.
        classes: names of the classes of a slot.
        tokens: makes the frozen tokens; ``None`` for an arm that reads none.
    """

    def __init__(
        self, model: HybridModel, classes: Sequence[str], tokens: FrozenTokens | None
    ) -> None:
        self.model, self.classes, self._tokens = model.eval(), tuple(classes), tokens

    def answer_images(self, images: NDArray[np.uint8]) -> Prediction:
        """Answer rendered images uint8 [N, H, W] of the size that the arm was trained on.

        Raises:
            ValueError: for images of another size.
        """
        side = self.model.shape.image_size
        if images.ndim != 3 or images.shape[1:] != (side, side):
            raise ValueError(
                f"images of shape {images.shape} do not fit: this arm reads [N, {side}, {side}]"
            )
        parts = [self._batch(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
        steps, confidence = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Prediction(steps, confidence, self.classes)

    @torch.no_grad()
    def _batch(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        model, clip = self.model, None
        if self._tokens is not None:
            clip = torch.from_numpy(self._tokens.of(images))
        encoding = model.encode(torch.from_numpy(to_float(images))[:, None], clip)
        carry, steps = model.initial_carry(encoding.x), []
        for _ in range(model.max_steps):
            out = model.step(carry, encoding.x)
            carry = out.carry
            steps.append(out.logits.argmax(-1))
        confidence = out.logits.float().softmax(-1).amax(-1)
        return torch.stack(steps, 1).to(torch.int16).numpy(), confidence.numpy()

    def keep(self, folder: Path, weights: Path) -> None:
        """Write all that ``load_kept`` needs into a folder.

        Args:
            folder: that exists.
            weights: the cell's file, which is copied.
        """
        model = self.model
        card = {
            "arm": model.arm.name,
            "model": model.config.model_dump(mode="json"),
            "shape": asdict(model.shape),
            "classes": list(self.classes),
            "tokens": None if self._tokens is None else self._tokens.meta,
        }
        copyfile(weights, folder / WEIGHTS)
        write_json_atomically(folder / CARD, card)


class TrainedArm(TrainedModel):
    """One arm with one seed, trained on one task.

    Args:
        model: with its trained weights.
        data: the task that it was trained on; says how examples are drawn and encoded.

    Raises:
        ValueError: if the arm reads frozen tokens and the task has none.
    """

    def __init__(self, model: HybridModel, data: TaskData) -> None:
        tokens = None
        if model.arm.reads_tokens:
            if data.features is None:
                raise ValueError("this task has no frozen tokens: run feature_caching first")
            tokens = FrozenTokens(data.features.meta)
        super().__init__(model, data.table.classes, tokens)
        self.data = data

    def answer(self, prompts: Sequence[str], ids: Sequence[int] | None = None) -> Prediction:
        """Answer prompts, or grids as JSON, as the task poses them.

        Args:
            prompts: N examples.
            ids: address the noise, as in the task's table; 0 to N - 1 if left out.

        Raises:
            UndrawableError: naming the example that does not fit the image.
        """
        rendering = RenderingConfig.model_validate(self.data.images.meta["rendering"])
        source = source_of_table(self.data.table, Path())
        numbers = np.arange(len(prompts)) if ids is None else np.asarray(ids, dtype=np.int64)
        clean = source.paint(list(prompts), rendering, [source.label(int(i)) for i in numbers])
        return self.answer_images(noisy_views(clean, numbers, rendering)[:, 0])


def load_kept(folder: Path) -> TrainedModel:
    """The arm that ``TrainedModel.keep`` wrote.

    A tower from a hub or a file is read from there; the bundled one comes with the package.
    """
    card = read_json(folder / CARD)
    shape = InputShape.from_json(card["shape"])
    config = ModelConfig.model_validate(card["model"])
    model = build_model(find_arm(card["arm"]), config, shape, seed=0)
    model.load_state_dict(load_file(folder / WEIGHTS))
    tokens = None if card["tokens"] is None else FrozenTokens(card["tokens"])
    return TrainedModel(model, card["classes"], tokens)


def load_trained(
    arm: str, folder: Path, data: TaskData, model: ModelConfig, *, seed: int = 0
) -> TrainedArm:
    """An arm with the weights of a finished cell.

    Args:
        arm: its name.
        folder: of the cell.
        data: the task of the cell.
        model: the parameters that it was trained with.
        seed: of the cell; matters for no trained weight.

    Raises:
        FileNotFoundError: if the folder holds no weights.
        ValueError: if the weights are of another model.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: the cell has not finished; run it again")
    built = build_model(find_arm(arm), model, data.shape, seed=seed)
    try:
        built.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise ValueError(
            f"{path} does not fit {arm} under these model parameters: load it with the parameters "
            "that it was trained with"
        ) from error
    return TrainedArm(built, data)
