"""Run a trained arm over a split, at full depth and along its halting policy's path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hybrid_pipeline.config import PrimaryMetric
from hybrid_pipeline.halting.actions import EXPAND, HALT, legal_actions, num_actions
from hybrid_pipeline.halting.dqn import DqnAgent
from hybrid_pipeline.halting.policies import (
    fixed_depths,
    oracle_depths,
    policy_result,
    random_depths,
)
from hybrid_pipeline.halting.state import state_features
from hybrid_pipeline.models.hybrid import HybridModel
from hybrid_pipeline.seeding import rng_for
from hybrid_pipeline.training.loader import Batch, TaskData
from hybrid_pipeline.training.rollout import detach, step_metrics
from hybrid_pipeline.training.scores import ExampleScores, score_predictions

EVALUATION_VIEW = 0
NO_EXPLORATION = rng_for("greedy", 0)  # asked for by the signature, never advanced


@dataclass(frozen=True)
class Evaluation:
    """Scores of one split.

    Attributes:
        halted: under the arm's own policy; at full depth where it has none.
        full_depth: every example through all supervision steps.
        policies: mean primary score of other policies; ``oracle`` looks at the labels and is an
            optimistic bound, not a result.
        loss: mean cross-entropy at full depth, in nats per scored slot.
        metrics: component metrics averaged over batches.
    """

    halted: ExampleScores
    full_depth: ExampleScores
    policies: dict[str, dict[str, float]]
    loss: float
    metrics: dict[str, float]


@torch.no_grad()
def evaluate(
    model: HybridModel,
    data: TaskData,
    split: str,
    *,
    agent: DqnAgent | None,
    metric: PrimaryMetric,
    batch_size: int = 128,
    seed: int = 0,
) -> Evaluation:
    """Score every example of a split once, in the order of the table, from its first view."""
    model.eval()
    device = next(model.parameters()).device
    rows = data.table.rows(split)
    fixed: list[NDArray[np.int64]] = []
    losses: list[NDArray[np.float64]] = []
    halted: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    metrics: list[dict[str, float]] = []
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        views = np.full(len(part), EVALUATION_VIEW)
        batch = data.batch(part, views, with_clip=model.arm.has("clip"), device=device)
        predicted, loss, seen = _full_depth(model, batch)
        fixed.append(predicted)
        losses.append(loss)
        metrics.append(seen)
        if agent is not None:
            halted.append(_greedy(model, batch, agent))
    predictions = np.concatenate(fixed)
    targets, scored = data.table.targets[rows], data.table.scored[rows]
    depth = np.full(len(rows), model.max_steps)
    full = score_predictions(predictions[:, -1], targets, scored, depth)
    chosen = full
    if agent is not None:
        chosen_predictions, steps = (np.concatenate(part) for part in zip(*halted, strict=True))
        chosen = score_predictions(chosen_predictions, targets, scored, steps)
    return Evaluation(
        halted=chosen,
        full_depth=full,
        policies=_other_policies(predictions, targets, scored, metric, agent, seed),
        loss=float(np.concatenate(losses).mean()),
        metrics=_means(metrics),
    )


def _full_depth(
    model: HybridModel, batch: Batch
) -> tuple[NDArray[np.int64], NDArray[np.float64], dict[str, float]]:
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
    return (
        torch.stack(predicted, 1).cpu().numpy(),
        loss.double().cpu().numpy(),
        step_metrics(model, encoding, out),
    )


def _greedy(
    model: HybridModel, batch: Batch, agent: DqnAgent
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Predictions [B, S] where the greedy policy halts, and the steps used [B]."""
    encoding = model.encode(batch.images, batch.clip)
    x, scored = encoding.x, batch.scored
    carry = model.initial_carry(x)
    active = torch.arange(len(batch), device=x.device)
    answer = torch.zeros(x.shape[:2], dtype=torch.int64, device=x.device)
    steps = torch.zeros(len(batch), dtype=torch.int64)
    expansions = torch.zeros(len(batch), dtype=torch.int64)
    can_expand = model.arm.has("coconut")
    expand = None
    for step in range(1, model.max_steps + 1):
        out = model.step(carry, x, expand)
        answer[active] = out.logits.argmax(-1)
        steps[active.cpu()] = step
        if step == model.max_steps:
            break
        states = state_features(out.state, out.logits, scored, step, model.max_steps, expansions)
        legal = legal_actions(
            step,
            min_steps=agent.config.min_steps,
            max_steps=model.max_steps,
            num_actions=num_actions(can_expand=can_expand),
            batch_size=len(active),
        )
        actions = agent.act(states, legal, 1.0, NO_EXPLORATION, greedy=True)
        going = actions != HALT
        if not bool(going.any()):
            break
        expand = (actions == EXPAND)[going] if can_expand else None
        expansions = (expansions + (actions == EXPAND))[going]
        keep = going.nonzero().squeeze(1).to(x.device)
        active, x, scored = active[keep], x[keep], scored[keep]
        carry = detach(out.carry, keep)
    return answer.cpu().numpy(), steps.numpy()


def _other_policies(
    predictions: NDArray[np.int64],
    targets: NDArray[np.int64],
    scored: NDArray[np.bool_],
    metric: PrimaryMetric,
    agent: DqnAgent | None,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Mean score of every fixed depth, of a random depth and of the label-using best depth."""
    num_examples, num_steps = predictions.shape[:2]
    step_cost, min_steps = (
        (agent.config.step_cost, agent.config.min_steps) if agent is not None else (0.0, 1)
    )
    score = np.stack(
        [
            score_predictions(
                predictions[:, t], targets, scored, fixed_depths(num_examples, t + 1)
            ).values(metric)
            for t in range(num_steps)
        ],
        axis=1,
    )
    rng = rng_for("random_halting", seed)
    drawn = random_depths(num_examples, num_steps, rng, min_steps)
    best = oracle_depths(score, step_cost, min_steps)
    results = [
        policy_result(f"fixed_{t}", score, fixed_depths(num_examples, t), step_cost)
        for t in range(1, num_steps + 1)
    ]
    results += [
        policy_result("random", score, drawn, step_cost),
        policy_result("oracle", score, best, step_cost, reads_labels=True),
    ]
    return {
        r.name: {"score": r.accuracy, "mean_steps": r.steps_mean, "reads_labels": r.reads_labels}
        for r in results
    }


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    names = sorted({name for row in rows for name in row})
    return {n: float(np.mean([row[n] for row in rows if n in row])) for n in names}
