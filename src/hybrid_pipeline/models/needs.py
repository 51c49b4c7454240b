"""What a model needs before it is built: bytes of memory, and settings that go together.

A run asks before its first node, so nothing here imports torch. The bytes are lower bounds, so that
nothing is refused that would fit: weights with their gradients, Adam's two averages and the moving
average; what one supervision step keeps for the backward pass; the replay. What a component or a
control adds stands in its record (``needs``, ``check``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from hybrid_pipeline.arms import Arm, baseline
from hybrid_pipeline.components import resolve
from hybrid_pipeline.config import (
    ConfigError,
    HaltingConfig,
    ModelConfig,
    TrainingConfig,
    swiglu_width,
)

FLOAT = 4
COPIES = 5  # weights, gradients, two averages of Adam, the moving average
MIN_TOKENS, MIN_WIDTH = 49, 96  # of the smallest towers; which one is not read yet


@dataclass(frozen=True)
class Need:
    """One thing that needs room.

    Attributes:
        name: what it is; needs of one name are added within an arm.
        num_bytes: at least.
        keys: parameters that make it large.
    """

    name: str
    num_bytes: int
    keys: str


@dataclass(frozen=True)
class Sizes:
    """What memory follows from: the argument of every function that a record's ``needs`` names.

    Attributes:
        model: parameters.
        training: for the batch and the precision.
        halting: for the replay.
        num_slots: of an answer of the largest task.
        image_size: pixels of a side.
    """

    model: ModelConfig
    training: TrainingConfig
    halting: HaltingConfig
    num_slots: int
    image_size: int

    @property
    def rows(self) -> int:
        """Examples in one forward pass."""
        return self.training.micro_batch_size or self.training.global_batch_size

    def cores(self, count: int) -> Need:
        """So many networks over the slots."""
        core = self.model.core
        block = 3 * core.dim * self._hidden + (0 if core.mlp_t else 4 * core.dim**2)
        weights = FLOAT * COPIES * count * core.num_layers * block
        return Need("the core", weights, "model.core.dim, num_layers or expansion")

    def passes(self, count: int) -> Need:
        """What so many passes through the core keep for the backward pass."""
        core = self.model.core
        kept = FLOAT * self.rows * self.num_slots * count * core.num_layers
        keys = "training.micro_batch_size or the sizes in model.core"
        return Need("a batch in the core", kept * (core.dim + self._hidden), keys)

    @property
    def _hidden(self) -> int:
        core = self.model.core
        return swiglu_width(core.dim, core.expansion, core.hidden_multiple)


def largest_needs(arms: Iterable[Arm], sizes: Sizes) -> list[Need]:
    """Of each kind of need, that of the arm which needs most; the baseline's if there are none."""
    largest: dict[str, Need] = {}
    for arm in list(arms) or [baseline()]:
        for need in _of_arm(arm, sizes):
            known = largest.setdefault(need.name, need)
            largest[need.name] = max(known, need, key=lambda n: n.num_bytes)
    return list(largest.values())


def _of_arm(arm: Arm, sizes: Sizes) -> Iterable[Need]:
    added: dict[str, Need] = {}
    paths = [record.needs for record in arm.records if record.needs is not None]
    for needs in (of_skeleton(sizes), *(resolve(path)(sizes) for path in paths)):
        for need in needs:
            before = added[need.name].num_bytes if need.name in added else 0
            added[need.name] = replace(need, num_bytes=before + need.num_bytes)
    return added.values()


def of_skeleton(sizes: Sizes) -> Iterator[Need]:
    """Of every arm: the core, applied once, and the ViT."""
    yield sizes.cores(1)
    yield sizes.passes(1)
    yield from of_vit(sizes)


def of_vit(sizes: Sizes) -> Iterator[Need]:
    """Weights, and what a block keeps per token: at least 8 vectors and its MLP's, twice.

    Gradient checkpointing keeps one vector per block, and all of one block at a time.
    """
    vit, training = sizes.model.vit, sizes.training
    weights = FLOAT * COPIES * vit.depth * int((4 + 2 * vit.mlp_ratio) * vit.embed_dim**2)
    yield Need("the ViT", weights, "model.vit.embed_dim, depth or mlp_ratio")
    per_block = 8 + 2 * vit.mlp_ratio
    blocks = vit.depth * per_block
    if training.gradient_checkpointing:
        blocks = vit.depth - 1 + per_block  # a block keeps its input once
    size = FLOAT if training.precision == "fp32" else FLOAT // 2
    tokens = (sizes.image_size // vit.patch_size) ** 2
    kept = int(size * sizes.rows * tokens * vit.embed_dim * blocks)
    yield Need("a batch in the ViT", kept, "training.micro_batch_size, or checkpoint its gradients")


def of_n2n(sizes: Sizes) -> Iterator[Need]:
    """A batch of the label-free stage."""
    n2n = sizes.model.n2n
    kept = FLOAT * n2n.batch_size * n2n.depth * MIN_TOKENS * MIN_WIDTH
    yield Need("a batch of the N2N stage", kept, "model.n2n.batch_size or depth")


def of_trm(sizes: Sizes) -> Iterator[Need]:
    """The second network, the passes of a supervision step with a graph, and the DQN's replay."""
    trm, halting = sizes.model.trm, sizes.halting
    yield sizes.cores(int(trm.separate_networks))
    with_graph = (trm.H_cycles if trm.gradient == "full" else 1) * (trm.L_cycles + 1)
    yield sizes.passes((2 if trm.gradient == "last_updates" else with_graph) - 1)
    if halting.policy == "dqn":
        kept = FLOAT * halting.replay_capacity * 2 * (2 * sizes.model.core.dim + 7)
        yield Need("the replay", kept, "halting.replay_capacity or model.core.dim")


def of_deep_core(sizes: Sizes) -> Iterator[Need]:
    """A network of its own for every application of TRM's."""
    trm = sizes.model.trm
    yield sizes.cores(trm.supervision_steps * trm.H_cycles * (trm.L_cycles + 1) - 1)


def of_coconut(sizes: Sizes) -> Iterator[Need]:
    """The mask over slots, thoughts and paths."""
    coconut = sizes.model.coconut
    paths = coconut.num_paths * (coconut.num_thoughts + 1 + sizes.num_slots)
    keys = "model.coconut.num_paths or num_thoughts"
    yield Need("COCONUT's mask", (sizes.num_slots + paths) ** 2, keys)


def check_arm(arm: Arm, model: ModelConfig, tower_width: int | None) -> None:
    """Refuse settings that a component of the arm could not take.

    Args:
        arm: that will be trained.
        model: parameters.
        tower_width: channels of the frozen tokens; ``None`` if they are not known.

    Raises:
        ConfigError: naming the parameter and what is allowed.
    """
    for record in arm.records:
        if record.check is not None:
            resolve(record.check)(arm, model, tower_width)


def check_n2n(_arm: Arm, model: ModelConfig, tower_width: int | None) -> None:
    """The adapter's heads share the frozen tokens' channels."""
    heads = model.n2n.num_heads
    if tower_width is not None and tower_width % heads:
        raise ConfigError(
            f"parameter 'model.n2n.num_heads' = {heads} is refused: it must divide the tower's "
            f"{tower_width} channels."
        )


def check_coconut(arm: Arm, model: ModelConfig, _tower_width: int | None) -> None:
    """A core that mixes a fixed number of slots has no place for thoughts."""
    if model.core.mlp_t:
        raise ConfigError(
            "parameter 'model.core.mlp_t' = True is refused: COCONUT appends thoughts, which a "
            f"core that mixes a fixed number of slots cannot take, and {arm.name} has it; "
            "allowed here: false."
        )
