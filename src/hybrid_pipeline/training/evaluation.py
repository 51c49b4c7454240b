"""Run a trained arm over a split: at full depth, and along the path of the DQN that watched it.

The score is that of full depth, planning in every step. The DQN's greedy path is walked beside it
with the same weights: every example is computed to the bound, and its answer is the one at which
the policy halts. For arms that cannot expand both paths are the same, so the halted answer is one
of the answers by depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from hybrid_pipeline.config import PrimaryMetric
from hybrid_pipeline.halting.actions import EXPAND, HALT, legal_actions
from hybrid_pipeline.halting.dqn import DqnAgent
from hybrid_pipeline.halting.state import state_features
from hybrid_pipeline.models.hybrid import HybridModel
from hybrid_pipeline.seeding import rng_for
from hybrid_pipeline.stats.policies import policy_frame
from hybrid_pipeline.tasks.table import TaskTable
from hybrid_pipeline.training.loader import Batch, TaskData
from hybrid_pipeline.training.scores import ExampleScores, score_predictions

EVALUATION_VIEW = 0


@dataclass(frozen=True)
class Answers:
    """Predicted classes of N examples, in the order of the table.

    Attributes:
        predicted: int16 [N, steps, S], after each supervision step, planning in every step.
        halted_at: int16 [N], the step at which the DQN halts, from 1; None without a DQN.
        halted_predicted: int16 [N, S], the answer there, on the DQN's own path.
    """

    predicted: NDArray[np.int16]
    halted_at: NDArray[np.int16] | None = None
    halted_predicted: NDArray[np.int16] | None = None

    def arrays(self) -> dict[str, NDArray[np.int16]]:
        """Name to array, without those that are not there."""
        return {name: array for name, array in vars(self).items() if array is not None}

    def scores(self, targets: NDArray[np.int64], scored: NDArray[np.bool_]) -> ExampleScores:
        """Scores at full depth."""
        num_examples, depth = self.predicted.shape[:2]
        steps = np.full(num_examples, depth)
        return score_predictions(self.predicted[:, -1], targets, scored, steps)

    def halted_scores(
        self, targets: NDArray[np.int64], scored: NDArray[np.bool_]
    ) -> ExampleScores | None:
        """Scores where the DQN halts; None without a DQN."""
        if self.halted_at is None or self.halted_predicted is None:
            return None
        return score_predictions(self.halted_predicted, targets, scored, self.halted_at)


def read_answers(path: Path) -> Answers:
    """The answers of a finished cell, from its ``answers.npz``."""
    with np.load(path, allow_pickle=False) as kept:
        return Answers(**{name: kept[name] for name in kept.files})


@dataclass(frozen=True)
class Evaluation:
    """One split.

    Attributes:
        scores: at full depth, planning in every step: what counts.
        halted: where the DQN halts; None without a DQN.
        answers: what the scores are of.
        loss: mean cross-entropy at full depth, in nats per scored slot.
        metrics: component metrics averaged over batches.
    """

    scores: ExampleScores
    halted: ExampleScores | None
    answers: Answers
    loss: float
    metrics: dict[str, float]


@torch.no_grad()
def evaluate(
    model: HybridModel,
    data: TaskData,
    split: str,
    *,
    agent: DqnAgent | None,
    batch_size: int = 128,
) -> Evaluation:
    """Score every example of a split once, in the order of the table, from its first view."""
    model.eval()
    device = next(model.parameters()).device
    rows = data.table.rows(split)
    fixed: list[NDArray[np.int16]] = []
    losses: list[NDArray[np.float64]] = []
    halted: list[tuple[NDArray[np.int16], NDArray[np.int16]]] = []
    metrics: list[dict[str, float]] = []
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        views = np.full(len(part), EVALUATION_VIEW)
        batch = data.batch(part, views, with_clip=model.arm.reads_tokens, device=device)
        predicted, loss, seen = _full_depth(model, batch)
        fixed.append(predicted)
        losses.append(loss)
        metrics.append(seen)
        if agent is not None:
            halted.append(_greedy(model, batch, agent))
    chosen = [np.concatenate(part) for part in zip(*halted, strict=True)]
    answers = Answers(np.concatenate(fixed), *chosen)
    targets, scored = data.table.targets[rows], data.table.scored[rows]
    return Evaluation(
        scores=answers.scores(targets, scored),
        halted=answers.halted_scores(targets, scored),
        answers=answers,
        loss=float(np.concatenate(losses).mean()),
        metrics=_means(metrics),
    )


def _full_depth(
    model: HybridModel, batch: Batch
) -> tuple[NDArray[np.int16], NDArray[np.float64], dict[str, float]]:
    """Predicted classes [B, steps, S], mean cross-entropy of the last step [B], metrics."""
    encoding = model.encode(batch.images, batch.clip)
    carry = model.initial_carry(encoding.x)
    predicted = []
    for _ in range(model.max_steps):
        out = model.step(carry, encoding.x)
        predicted.append(out.logits.argmax(-1))
        carry = out.carry
    nll = -out.logits.float().log_softmax(-1).gather(-1, batch.targets[..., None])[..., 0]
    loss = (nll * batch.scored).sum(1) / batch.scored.sum(1)
    seen = model.metrics(encoding, out)
    return (
        torch.stack(predicted, 1).to(torch.int16).cpu().numpy(),
        loss.double().cpu().numpy(),
        {name: float(value) for name, value in seen.items()},
    )


def _greedy(
    model: HybridModel, batch: Batch, agent: DqnAgent
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """The step at which the greedy policy halts [B], and the answer there [B, S]."""
    encoding = model.encode(batch.images, batch.clip)
    carry = model.initial_carry(encoding.x)
    answer = torch.zeros_like(batch.targets)
    halted_at = torch.zeros_like(batch.targets[:, 0])
    expansions = torch.zeros_like(halted_at)
    expand = None
    for step in range(1, model.max_steps + 1):
        out = model.step(carry, encoding.x, expand)
        carry = out.carry
        states = state_features(
            out.state, out.logits, batch.scored, step, model.max_steps, expansions
        )
        legal = legal_actions(
            torch.full_like(halted_at, step),
            min_steps=agent.config.min_steps,
            max_steps=model.max_steps,
            num_actions=agent.num_actions,
        )
        actions = agent.greedy(states, legal)
        halts = (actions == HALT) & (halted_at == 0)
        answer = torch.where(halts[:, None], out.logits.argmax(-1), answer)
        halted_at = torch.where(halts, step, halted_at)
        expand = actions == EXPAND
        expansions = expansions + expand
    return halted_at.to(torch.int16).cpu().numpy(), answer.to(torch.int16).cpu().numpy()


def halting_frame(
    answers: Answers,
    table: TaskTable,
    metric: PrimaryMetric,
    *,
    split: str,
    step_cost: float,
    min_steps: int,
    seed: int,
) -> pd.DataFrame:
    """Every policy's score and steps per example: the DQN, fixed depths, random and the oracle.

    Args:
        answers: of a cell with a DQN.
        table: the task.
        metric: what is scored.
        split: which the answers are of.
        step_cost: of the DQN's reward, for the oracle.
        min_steps: from which halting is legal.
        seed: of the random depths.

    Returns:
        Columns ``example``, ``policy``, ``score``, ``steps``.

    Raises:
        ValueError: for answers without a DQN.
    """
    rows = table.rows(split)
    targets, scored = table.targets[rows], table.scored[rows]
    halted = answers.halted_scores(targets, scored)
    if halted is None:
        raise ValueError("these answers come from an arm without a DQN: it halts nowhere")
    depth = answers.predicted.shape[1]
    by_depth = [
        score_predictions(answers.predicted[:, t], targets, scored, np.full(len(rows), t + 1))
        for t in range(depth)
    ]
    frame = policy_frame(
        np.stack([at.values(metric) for at in by_depth], axis=1),
        halted.values(metric),
        halted.supervision_steps,
        step_cost=step_cost,
        min_steps=min_steps,
        rng=rng_for("random_halting", seed),
    )
    frame["row"] = table.example[rows][frame["row"]]
    return frame.rename(columns={"row": "example"})


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    names = sorted({name for row in rows for name in row})
    return {n: float(np.mean([row[n] for row in rows if n in row])) for n in names}
