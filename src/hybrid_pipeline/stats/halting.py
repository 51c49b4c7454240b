"""What halting does: the DQN beside other ways to choose a depth, on the same weights.

Every policy picks, for each example, one of the depths at which the trained arm gave an answer. So
a policy has a score and a number of supervision steps per example, and two policies differ by
points kept and steps saved, with an interval over seeds and examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from hybrid_pipeline.config import StrictConfig
from hybrid_pipeline.stats.contrasts import MIN_SEEDS
from hybrid_pipeline.stats.intervals import two_component
from hybrid_pipeline.stats.policies import COLUMNS, DQN, KEYS, ORACLE
from hybrid_pipeline.stats.results import MEAN_TASK, Finite, Interval


class HaltingRow(StrictConfig):
    """The DQN of one arm against one other policy, on one task or on the mean over tasks.

    Attributes:
        policy: ``fixed_1``, ``fixed_2``, ... (the last is full depth), ``random`` or ``oracle``.
        reads_labels: the policy looks at the answers, so it is an optimistic bound and no policy.
        dqn_score: mean score under the DQN, a fraction; ``score``: under the other policy.
        dqn_steps: mean supervision steps under the DQN; ``steps``: under the other policy.
        kept: the DQN's score minus the other's, two-component t interval; ``None`` below 3 seeds.
        saved: the other's steps minus the DQN's, in the same way.
    """

    arm: str
    task: str
    policy: str
    reads_labels: bool
    num_seeds: int
    num_examples: int
    dqn_score: Finite
    score: Finite
    dqn_steps: Finite
    steps: Finite
    kept: Interval | None
    saved: Interval | None


def halting_rows(table: pd.DataFrame, *, level: float = 0.95) -> tuple[HaltingRow, ...]:
    """Compare the DQN with every other policy of each arm.

    Args:
        table: a row per arm, seed, task, example and policy, with ``score`` and ``steps``.
        level: of the intervals.

    Returns:
        For each arm the mean over tasks (over the seeds that every task has), then each task.

    Raises:
        ValueError: when a column is missing, a row is there twice, or the seeds of a task do not
            have the same examples under every policy.
    """
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise ValueError(f"the halting table lacks the columns {', '.join(missing)}; it has "
                         f"{', '.join(map(str, table.columns))}")  # fmt: skip
    if table.duplicated(KEYS).any():
        raise ValueError(f"the halting table has a row twice: {', '.join(KEYS)} must be unique")
    return tuple(row for arm, part in table.groupby("arm", sort=False)
                 for row in _rows_of_arm(str(arm), part, level))  # fmt: skip


def _rows_of_arm(arm: str, part: pd.DataFrame, level: float) -> Iterator[HaltingRow]:
    tasks = [str(task) for task in part["task"].unique()]
    groups = [(task, [task]) for task in tasks]
    policies = [name for name in part["policy"].unique() if name != DQN]
    for label, members in [(MEAN_TASK, tasks), *groups]:
        here = part[part["task"].isin(members)]
        seeds = sorted(set.intersection(*(set(s) for _, s in here.groupby("task")["seed"])))
        if not seeds:
            continue
        arrays = {
            (name, column): _arrays(here, members, seeds, name, column)
            for name in (DQN, *policies)
            for column in ("score", "steps")
        }
        for name in policies:
            if all(arrays[name, "score"][i].size for i in range(len(members))):
                yield _row(arm, label, name, arrays, level)


def _arrays(
    part: pd.DataFrame, tasks: Sequence[str], seeds: Sequence[int], policy: str, column: str
) -> list[np.ndarray]:
    """One [seed, example] array per task."""
    found = []
    for task in tasks:
        rows = part[(part["task"] == task) & (part["policy"] == policy) & part["seed"].isin(seeds)]
        wide = rows.pivot_table(index="seed", columns="example", values=column, sort=True)
        if wide.isna().to_numpy().any() or (len(wide) and len(wide) != len(seeds)):
            raise ValueError(
                f"policy {policy!r} of task {task!r} does not have the same examples for every seed"
            )
        found.append(wide.to_numpy(dtype=np.float64))
    return found


def _row(
    arm: str,
    task: str,
    policy: str,
    arrays: dict[tuple[str, str], list[np.ndarray]],
    level: float,
) -> HaltingRow:
    dqn, other = arrays[DQN, "score"], arrays[policy, "score"]
    dqn_steps, steps = arrays[DQN, "steps"], arrays[policy, "steps"]
    return HaltingRow(
        arm=arm,
        task=task,
        policy=policy,
        reads_labels=policy == ORACLE,
        num_seeds=len(dqn[0]),
        num_examples=sum(d.shape[1] for d in dqn),
        dqn_score=_mean(dqn),
        score=_mean(other),
        dqn_steps=_mean(dqn_steps),
        steps=_mean(steps),
        kept=_interval([a - b for a, b in zip(dqn, other, strict=True)], level),
        saved=_interval([b - a for a, b in zip(dqn_steps, steps, strict=True)], level),
    )


def _mean(strata: Sequence[np.ndarray]) -> float:
    return float(np.mean([d.mean() for d in strata]))


def _interval(strata: Sequence[np.ndarray], level: float) -> Interval | None:
    return two_component(strata).interval(level) if len(strata[0]) >= MIN_SEEDS else None
