"""How long a study trains on a GPU, from the milliseconds per captured update of the chain.

Small updates are bound by how many kernels follow one another, not by operations: so the time of
an arm is put together from the differences between the arms of the chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from hybrid_pipeline.arms import Arm, arms_of_design, chain, chain_arm
from hybrid_pipeline.config import AblationConfig, TrainingConfig
from hybrid_pipeline.training.optim import total_steps

Milliseconds = Mapping[str, float]
"""Name of an arm of the chain -> milliseconds per captured update."""


def milliseconds(arm: Arm, measured: Milliseconds) -> float:
    """Of one update of an arm: measured if it is in the chain, else estimated.

    A component is taken to add what it adds in the chain. COCONUT plans in every supervision step,
    so without TRM, which brings a second one, it adds half. A control counts as its components; one
    whose core is as deep as TRM's at least as TRM's arm.

    Args:
        arm: an arm, a subset or a control.
        measured: of every arm of the chain.
    """
    if arm.name in measured:
        return measured[arm.name]
    added = dict(zip((a.components[-1] for a in chain()[1:]), _differences(measured), strict=True))
    share = {"coconut": 1.0 if arm.has("trm") else 0.5}
    parts = sum(added[name] * share.get(name, 1.0) for name in arm.components)
    found = measured[chain()[0].name] + parts
    return max(found, measured[chain_arm("trm").name]) if "deep_core" in arm.parts else found


def study_minutes(
    ablation: AblationConfig,
    training: TrainingConfig,
    num_train: Iterable[int],
    measured: Milliseconds,
    at_once: float,
) -> float:
    """Minutes that the updates of all cells take; nothing else is in them.

    Args:
        ablation: arms, seeds, lengths.
        training: at full length.
        num_train: training examples of every task.
        measured: of every arm of the chain, one cell at a time.
        at_once: how many times faster several cells are than one after the other.
    """
    sizes = list(num_train)
    updates = sum(
        total_steps(training.model_copy(update={"epochs": training.epochs * length}), size)
        for length in ablation.lengths
        for size in sizes
    )
    each = sum(milliseconds(arm, measured) for arm in arms_of_design(ablation))
    return ablation.num_blocks * updates * each / at_once / 60_000


def _differences(measured: Milliseconds) -> list[float]:
    values = [measured[arm.name] for arm in chain()]
    return [after - before for before, after in pairwise(values)]
