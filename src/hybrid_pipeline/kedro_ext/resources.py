"""What a run cannot do without, estimated before any work: bytes of memory and of disk.

The estimates are lower bounds, so that nothing is refused that would fit: in memory, what
``models.needs`` says; on the disk, both views and the frozen tokens of every example.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from hybrid_pipeline.arms import Arm
from hybrid_pipeline.config import ClipConfig, ConfigError, GeneratedTask, RenderingConfig
from hybrid_pipeline.models.needs import MIN_TOKENS, MIN_WIDTH, Need, Sizes, largest_needs
from hybrid_pipeline.tasks import TasksConfig
from hybrid_pipeline.training.cards import Card

LARGEST_GPU_BYTES = 288 * 2**30  # of a GPU in another machine, which cannot be asked
MEMORY_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
OWN_LAYERS = ("03_primary", "04_feature", "05_model_input")


def check_memory(arms: Iterable[Arm], sizes: Sizes, *, card: Card | None = None) -> None:
    """Refuse a model or a replay that the memory of this machine, or of its GPU, cannot hold.

    Args:
        arms: that the run trains.
        sizes: what memory follows from; the device is that of the training.
        card: the GPU that the run trains on; without one, another machine's may be any.

    Raises:
        ConfigError: with the bytes needed, the bytes there are, and the parameters to lower.
    """
    parts = largest_needs(arms, sizes)
    if sizes.training.device == "cpu":
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


def _sizes(data_dir: Path) -> Iterator[int]:
    """Bytes of what earlier runs made there and this one may find again."""
    for layer in OWN_LAYERS:
        for folder, _, names in os.walk(data_dir / layer):
            yield from (Path(folder, name).lstat().st_size for name in names)
