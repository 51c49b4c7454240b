"""What a run cannot do without, estimated before any work: bytes of memory and of disk.

The estimates are lower bounds, so that nothing is refused that would fit: weights with their
gradients, Adam's two averages and the moving average; what one supervision step keeps for the
backward pass; the replay; both views and the frozen tokens of every example.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hybrid_pipeline.arms import Arm
from hybrid_pipeline.config import (
    ClipConfig,
    ConfigError,
    GeneratedTask,
    HaltingConfig,
    ModelConfig,
    RenderingConfig,
    TrainingConfig,
    VitConfig,
)
from hybrid_pipeline.tasks import TasksConfig
from hybrid_pipeline.training.cards import Card

FLOAT = 4
COPIES = 5  # weights, gradients, two averages of Adam, the moving average
MIN_TOKENS, MIN_WIDTH = 49, 96  # of the smallest towers; which one is not read yet
LARGEST_GPU_BYTES = 288 * 2**30  # of a GPU in another machine, which cannot be asked
MEMORY_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
OWN_LAYERS = ("03_primary", "04_feature", "05_model_input")


@dataclass(frozen=True)
class Need:
    """One thing that needs room.

    Attributes:
        name: what it is.
        num_bytes: at least.
        keys: parameters that make it large.
    """

    name: str
    num_bytes: int
    keys: str


@dataclass(frozen=True)
class TaskShape:
    """The largest task.

    Attributes:
        num_slots: of an answer.
        image_size: pixels of a side.
    """

    num_slots: int
    image_size: int


def check_memory(
    arms: Iterable[Arm],
    model: ModelConfig,
    training: TrainingConfig,
    halting: HaltingConfig,
    shape: TaskShape,
    *,
    card: Card | None = None,
) -> None:
    """Refuse a model or a replay that the memory of this machine, or of its GPU, cannot hold.

    Args:
        arms: that the run trains.
        model: sizes.
        training: for the batch and the device.
        halting: for the replay.
        shape: of the largest task.
        card: the GPU that the run trains on; without one, another machine's may be any.

    Raises:
        ConfigError: with the bytes needed, the bytes there are, and the parameters to lower.
    """
    parts = list(_in_memory(list(arms), model, training, halting, shape))
    if training.device == "cpu":
        _refuse_beyond(memory_bytes(), parts, "memory")
    elif card is None:
        _refuse_beyond(max(memory_bytes(), LARGEST_GPU_BYTES), parts, "memory")
    else:
        _refuse_beyond(card.num_bytes, parts, f"memory on {card.name}")


def check_disk(
    tasks: TasksConfig, rendering: RenderingConfig, clip: ClipConfig, data_dir: Path
) -> None:
    """Refuse examples that the data folder's disk cannot hold; what lies there counts as free.

    Raises:
        ConfigError: with the bytes needed, the bytes free, and the parameters to lower.
    """
    pixels = rendering.image_size**2
    width = 2 if clip.storage == "float16" else 1
    token_bytes = MIN_TOKENS * MIN_WIDTH * width if clip.output == "tokens" else 0
    parts = [
        Need(
            f"the views and tokens of {name}",
            2 * (pixels + token_bytes) * (task.num_train + task.num_validation + task.num_test),
            f"tasks.{name}.num_train, rendering.image_size",
        )
        for name, task in tasks.root.items()
        if isinstance(task, GeneratedTask)
    ]
    existing = next(p for p in (data_dir, *data_dir.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if sum(part.num_bytes for part in parts) > free:
        _refuse_beyond(free + sum(_sizes(data_dir)), parts, "disk")


def memory_bytes() -> int:
    """Bytes of memory that this process may use: the machine's, or the cgroup's limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in MEMORY_LIMITS:
        try:
            total = min(total, int(Path("/sys/fs/cgroup", name).read_text("utf-8")))
        except (OSError, ValueError):
            continue
    return total


def _refuse_beyond(available: int, parts: list[Need], where: str) -> None:
    needed = sum(part.num_bytes for part in parts)
    if needed <= available:
        return
    largest = max(parts, key=lambda part: part.num_bytes)
    raise ConfigError(
        f"this run needs at least {needed:,} bytes ({needed / 2**30:,.1f} GiB) of {where} and "
        f"{available:,} ({available / 2**30:,.1f} GiB) are there: {largest.name} needs "
        f"{largest.num_bytes:,}; lower {largest.keys}."
    )


def _in_memory(
    arms: list[Arm],
    model: ModelConfig,
    training: TrainingConfig,
    halting: HaltingConfig,
    shape: TaskShape,
) -> Iterator[Need]:
    """The largest arm's needs."""
    core, n2n, has_trm = model.core, model.n2n, any(a.has("trm") for a in arms)
    num_slots = shape.num_slots
    rows = training.micro_batch_size or training.global_batch_size
    hidden = -(-round(core.expansion * core.dim * 2 / 3) // core.hidden_multiple)
    hidden *= core.hidden_multiple
    block = 3 * core.dim * hidden + (0 if core.mlp_t else 4 * core.dim**2)
    cores = max((_num_cores_of(arm, model) for arm in arms), default=1)
    weights = FLOAT * COPIES * cores * core.num_layers * block
    yield Need("the core", weights, "model.core.dim, num_layers or expansion")
    yield from _of_vit(model.vit, training, shape.image_size)
    applied = _applied(model) if has_trm else 1
    kept = FLOAT * rows * num_slots * applied * core.num_layers * (core.dim + hidden)
    yield Need("a batch in the core", kept, "training.micro_batch_size or the sizes in model.core")
    if any(arm.has("n2n") for arm in arms):
        kept = FLOAT * n2n.batch_size * n2n.depth * MIN_TOKENS * MIN_WIDTH
        yield Need("a batch of the N2N stage", kept, "model.n2n.batch_size or depth")
    if any(arm.has("coconut") for arm in arms):
        paths, thoughts = model.coconut.num_paths, model.coconut.num_thoughts
        tokens = num_slots + paths * (thoughts + 1 + num_slots)
        yield Need("COCONUT's mask", tokens**2, "model.coconut.num_paths or num_thoughts")
    if halting.policy == "dqn" and has_trm:
        kept = FLOAT * halting.replay_capacity * 2 * (2 * core.dim + 7)
        yield Need("the replay", kept, "halting.replay_capacity or model.core.dim")


def _of_vit(vit: VitConfig, training: TrainingConfig, image_size: int) -> Iterator[Need]:
    """Weights, and what a block keeps per token: at least 8 vectors and its MLP's, twice.

    Gradient checkpointing keeps one vector per block, and all of one block at a time.
    """
    weights = FLOAT * COPIES * vit.depth * int((4 + 2 * vit.mlp_ratio) * vit.embed_dim**2)
    yield Need("the ViT", weights, "model.vit.embed_dim, depth or mlp_ratio")
    rows = training.micro_batch_size or training.global_batch_size
    per_block = 8 + 2 * vit.mlp_ratio
    blocks = vit.depth * per_block
    if training.gradient_checkpointing:
        blocks = vit.depth - 1 + per_block  # a block keeps its input once
    size = FLOAT if training.precision == "fp32" else FLOAT // 2
    tokens = (image_size // vit.patch_size) ** 2
    kept = int(size * rows * tokens * vit.embed_dim * blocks)
    yield Need("a batch in the ViT", kept, "training.micro_batch_size, or checkpoint its gradients")


def _applied(model: ModelConfig) -> int:
    """How often one supervision step applies the core with a graph."""
    trm = model.trm
    if trm.gradient == "last_updates":
        return 2
    return (trm.H_cycles if trm.gradient == "full" else 1) * (trm.L_cycles + 1)


def _num_cores_of(arm: Arm, model: ModelConfig) -> int:
    trm = model.trm
    if "deep_core" in arm.parts:
        return trm.supervision_steps * trm.H_cycles * (trm.L_cycles + 1)
    return 2 if arm.has("trm") and trm.separate_networks else 1


def _sizes(data_dir: Path) -> Iterator[int]:
    """Bytes of what earlier runs made there and this one may find again."""
    for layer in OWN_LAYERS:
        for folder, _, names in os.walk(data_dir / layer):
            yield from (Path(folder, name).lstat().st_size for name in names)
