"""Contrastive pretraining of the bundled tower: rendered random strings against their text.

The renderer comes in as a function, so this module knows nothing of fonts and noise. Every batch is
addressed by its number, so a run that was killed goes on from its checkpoint and ends with the
weights of an uninterrupted one (CPU, one thread, the same library versions).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hybrid_pipeline.config import ClipPretrainingConfig
from hybrid_pipeline.features.captions import (
    CharacterTokenizer,
    check_disjoint,
    draw_batch,
)
from hybrid_pipeline.features.clip import build_clip, contrastive_loss
from hybrid_pipeline.features.layouts import Layout
from hybrid_pipeline.features.preprocessing import Preprocessing
from hybrid_pipeline.features.pretrained_card import (
    CHECKPOINT,
    HeldOutAccuracy,
    export,
    finished,
)
from hybrid_pipeline.features.prompts import prompt_text
from hybrid_pipeline.schedule import scheduled_rate
from hybrid_pipeline.seeding import seed_for
from hybrid_pipeline.storage import (
    LOCKS,
    DamagedError,
    check_noted,
    code_fingerprint,
    content_key,
    library_versions,
    locked,
    set_aside,
    write_noted,
)

MAX_LOGIT_SCALE = math.log(100.0)  # Radford et al. 2021, section 2.5
TRAINING_IDS, HELD_OUT_IDS = 1 << 41, 1 << 42  # noise ids, far from those of any task
CODE = tuple(f"features/{name}.py" for name in ("captions", "layouts", "pretraining", "stem"))
LIBRARIES = ("torch", "open_clip_torch", "numpy")
OnStep = Callable[[int, int, float], None]


class Painter(Protocol):
    """Draws prompts and adds the noise of one view."""

    def __call__(self, prompts: Sequence[str], ids: np.ndarray) -> np.ndarray:
        """Noisy views, uint8 [n, H, W], of texts or of grids of one kind and size.

        The noise of a view depends only on its id.
        """
        ...


def model_config(config: ClipPretrainingConfig, image_size: int) -> dict[str, Any]:
    """open_clip's description of the model, with the project's ``conv_stem``."""
    tokenizer = CharacterTokenizer(config.context_length)
    head_width = config.head_width
    return {
        "embed_dim": config.embed_dim,
        "quick_gelu": False,
        "conv_stem": list(config.stem_channels),
        "vision_cfg": {
            "image_size": image_size,
            "patch_size": config.patch_size,
            "width": config.vision_width,
            "layers": config.vision_layers,
            "head_width": head_width,
            "mlp_ratio": config.mlp_ratio,
            "pool_type": config.pool,
        },
        "text_cfg": {
            "context_length": config.context_length,
            "vocab_size": tokenizer.vocab_size,
            "width": config.text_width,
            "heads": config.text_width // head_width,
            "layers": config.text_layers,
            "mlp_ratio": config.mlp_ratio,
        },
    }


@dataclass
class TrainingState:
    """What a checkpoint holds."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    cpu_seconds: float = 0.0


def learning_rate(config: ClipPretrainingConfig, step: int, num_steps: int) -> float:
    """Linear warm-up, then cosine to zero."""
    warmup = max(1, round(config.warmup_ratio * num_steps))
    return scheduled_rate(config.lr, step, num_steps, warmup=warmup)


def new_state(config: ClipPretrainingConfig, image_size: int) -> TrainingState:
    """A model and optimiser before the first step, drawn from the seed.

    Matrices decay; vectors, embeddings of position and the logit scale do not.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("clip_weights", config.seed))
        model = build_clip(model_config(config, image_size))
    parameters = dict(model.named_parameters())
    decayed = [p for n, p in parameters.items() if p.ndim >= 2 and "embedding" not in n]
    rest = [p for n, p in parameters.items() if not (p.ndim >= 2 and "embedding" not in n)]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return TrainingState(model, torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98)))


def pretraining_key(config: ClipPretrainingConfig, image_size: int, painter_key: str) -> str:
    """The key of a pretraining: its parameters, the renderer, this code and the libraries."""
    code = code_fingerprint(*CODE)
    return content_key(config, image_size, painter_key, code, library_versions(*LIBRARIES))


def pretrain(
    config: ClipPretrainingConfig,
    paint: Painter,
    root: Path,
    *,
    image_size: int,
    painter_key: str,
    painter_facts: Mapping[str, Any] | None = None,
    task_prompts: Collection[str] = (),
    on_step: OnStep | None = None,
) -> Path:
    """Train a small open_clip model on rendered random strings and write it with its card.

    Args:
        config: sizes, data and optimiser.
        paint: draws prompts and adds noise.
        root: the result lies in ``root/<key>/``.
        image_size: side of the images in pixels.
        painter_key: key of renderer and noise, for the content key.
        painter_facts: what the card says of them.
        task_prompts: prompts of the task tables; no pretraining string may be among it.
        on_step: called with (finished steps, all steps, loss).

    Returns:
        The folder with ``tower.safetensors``, ``card.json`` and ``card.md``.

    Raises:
        OverlapError: when a string is an example of a task.
        FloatingPointError: when the loss is not finite.
    """
    key = pretraining_key(config, image_size, painter_key)
    folder = root / key
    with locked(root / LOCKS / key), _one_thread():
        if finished(folder):
            return folder
        preprocessing = _preprocessing(config, paint, image_size)
        data = _Data(config, paint, frozenset(task_prompts), preprocessing)
        state = _restored(config, image_size, folder)
        _train(state, data, folder, on_step)
        _round_to_half(state.model)
        export(
            state.model,
            folder,
            model_config=model_config(config, image_size),
            preprocessing=preprocessing,
            evaluation=evaluate(state.model, data),
            facts={
                "pretraining_key": key,
                "painter_key": painter_key,
                "painter": dict(painter_facts or {}),
                "config": config.model_dump(mode="json"),
                "num_steps": state.step,
                "versions": library_versions(*LIBRARIES),
            },
            cpu_seconds=state.cpu_seconds,
        )
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return folder


@dataclass(frozen=True)
class _Data:
    """Batches by number."""

    config: ClipPretrainingConfig
    paint: Painter
    task_prompts: frozenset[str]
    preprocessing: Preprocessing

    def batch(self, number: int, *, held_out: bool = False) -> tuple[list[Layout], Tensor, Tensor]:
        """Layouts, images float32 [B, 3, H, W] and token ids int64 [B, L]."""
        layouts = _layouts(self.config, number, held_out=held_out)
        check_disjoint(layouts, self.task_prompts)
        pixels = self.preprocessing(_views(self.config, self.paint, layouts, number, held_out))
        tokenizer = CharacterTokenizer(self.config.context_length)
        return layouts, pixels, torch.from_numpy(tokenizer([x.caption for x in layouts]))


def _layouts(config: ClipPretrainingConfig, number: int, *, held_out: bool) -> list[Layout]:
    return draw_batch(
        config.seed,
        number,
        config.batch_size,
        num_variants=config.num_variants,
        edits=config.hard_negative_edits,
        held_out=held_out,
    )


def _views(
    config: ClipPretrainingConfig,
    paint: Painter,
    layouts: list[Layout],
    number: int,
    held_out: bool,
) -> np.ndarray:
    """Draw layouts of one form at a time, as the renderer wants them."""
    start = number * config.batch_size + (HELD_OUT_IDS if held_out else TRAINING_IDS)
    ids = np.arange(start, start + len(layouts), dtype=np.int64)
    forms = [("text", 0, 0) if x.kind == "text" else (x.kind, x.rows, x.cols) for x in layouts]
    parts = []
    order = []
    for form in sorted(set(forms)):
        chosen = [i for i, other in enumerate(forms) if other == form]
        parts.append(paint([prompt_text(layouts[i]) for i in chosen], ids[chosen]))
        order += chosen
    return np.concatenate(parts)[np.argsort(order)]


def _preprocessing(config: ClipPretrainingConfig, paint: Painter, size: int) -> Preprocessing:
    """The mean and std of the first batch's pixels, rounded, the same for three channels."""
    layouts = _layouts(config, 0, held_out=False)
    pixels = _views(config, paint, layouts, 0, False).astype(np.float64) / 255.0
    return Preprocessing(size, (round(pixels.mean(), 4),) * 3, (round(pixels.std(), 4),) * 3)


def _train(state: TrainingState, data: _Data, folder: Path, on_step: OnStep | None) -> None:
    config, loss_of = data.config, contrastive_loss()
    num_steps = config.num_pairs // config.batch_size
    while state.step < num_steps:
        started = time.process_time()
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(config, state.step, num_steps)
        _, images, tokens = data.batch(state.step)
        loss = loss_of(*state.model(images, tokens))
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the contrastive loss is {loss.item()} at {state.step}")
        state.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(state.model.parameters(), config.max_grad_norm)
        state.optimizer.step()
        with torch.no_grad():
            state.model.get_parameter("logit_scale").clamp_(0.0, MAX_LOGIT_SCALE)
        state.step += 1
        state.cpu_seconds += time.process_time() - started
        if on_step is not None:
            on_step(state.step, num_steps, loss.item())
        if state.step % config.checkpoint_every_steps == 0:
            _save(state, folder)


def evaluate(model: nn.Module, data: _Data) -> HeldOutAccuracy:
    """Top-1 of image to text within held-out batches, hard negatives among them."""
    batches, kinds = [], []
    for number in range(data.config.num_evaluation_batches):
        layouts, images, tokens = data.batch(number, held_out=True)
        with torch.inference_mode():
            image_features, text_features, _ = model(images, tokens)
        best = (image_features @ text_features.T).argmax(dim=1).numpy()
        batches.append(best == np.arange(len(best)))
        kinds.append([layout.kind for layout in layouts])
    return HeldOutAccuracy.of(np.stack(batches), np.array(kinds))


def _round_to_half(model: nn.Module) -> None:
    """Weights as the file will hold them, so that the card's figures are the file's."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())


def _save(state: TrainingState, folder: Path) -> None:
    content: Mapping[str, Any] = {
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "step": state.step,
        "cpu_seconds": state.cpu_seconds,
    }
    write_noted(folder / CHECKPOINT, lambda file: torch.save(content, file))


def _restored(config: ClipPretrainingConfig, image_size: int, folder: Path) -> TrainingState:
    """The state of the last checkpoint; a new one without it, or if it is damaged."""
    state, path = new_state(config, image_size), folder / CHECKPOINT
    if not path.is_file():
        return state
    try:
        _restore(state, path)
    except DamagedError as error:
        set_aside(error, path, "the pretraining begins anew")
        return new_state(config, image_size)
    return state


def _restore(state: TrainingState, path: Path) -> None:
    check_noted(path)
    try:
        content = torch.load(path, weights_only=True)
        state.model.load_state_dict(content["model"])
        state.optimizer.load_state_dict(content["optimizer"])
        state.step, state.cpu_seconds = int(content["step"]), float(content["cpu_seconds"])
    except Exception as error:  # a file of another time or hand fails in any way
        raise DamagedError(path, f"is no checkpoint of it ({type(error).__name__})") from error


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
