"""What an update of the learner draws for the DQN, all of it known before the update begins.

A choice is the legal action of highest ``value * inverse_temperature + noise``. With Gumbel noise
this samples the softmax (the Gumbel-max trick); an inverse temperature of 0 samples uniformly; no
noise is greedy. So Boltzmann and epsilon exploration and the warm-up are one formula without a
branch, which a captured update can replay.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hybrid_pipeline.config import HaltingConfig
from hybrid_pipeline.halting.schedules import anneal, progress_after


@dataclass(frozen=True)
class Exploration:
    """Draws and annealed values of one update.

    Attributes:
        noise: [decisions, B, actions]; a decision is taken after every step but the last.
        inverse_temperature: [decisions, B].
        expansion_penalty: [], what an expansion costs beyond its step.
    """

    noise: Float[Tensor, "decisions batch actions"]
    inverse_temperature: Float[Tensor, "decisions batch"]
    expansion_penalty: Float[Tensor, ""]

    def rows(self, part: slice) -> Exploration:
        """The draws of a micro-batch."""
        return replace(
            self,
            noise=self.noise[:, part],
            inverse_temperature=self.inverse_temperature[:, part],
        )


@dataclass(frozen=True)
class ExplorationSchedule:
    """Temperature, epsilon and expansion penalty as functions of progress through training."""

    config: HaltingConfig

    def in_warmup(self, progress: float) -> bool:
        """Whether this share of training (0 to 1) still belongs to the warm-up."""
        return progress < self.config.dqn_warmup_ratio

    def temperature(self, progress: float) -> float:
        """``q_temperature``, annealed over what follows the warm-up."""
        return self._annealed("q_temperature", progress)

    def epsilon(self, progress: float) -> float:
        """Share of random actions under ``exploration: epsilon``, annealed like the temperature."""
        return self._annealed("epsilon", progress)

    def expansion_penalty(self, progress: float) -> float:
        """What an expansion costs beyond its step, annealed like the temperature."""
        return self._annealed("expansion_penalty", progress)

    def _annealed(self, name: str, progress: float) -> float:
        after = progress_after(self.config.dqn_warmup_ratio, progress)
        start, end = getattr(self.config, f"{name}_start"), getattr(self.config, f"{name}_end")
        return anneal(start, end, after)

    def metrics(self, progress: float) -> dict[str, float]:
        """``halting/temperature`` or ``halting/epsilon``, and ``halting/expansion_penalty``."""
        if self.config.exploration == "boltzmann":
            found = {"halting/temperature": self.temperature(progress)}
        else:
            found = {"halting/epsilon": self.epsilon(progress)}
        return found | {"halting/expansion_penalty": self.expansion_penalty(progress)}

    def draw(
        self,
        rng: np.random.Generator,
        progress: float,
        *,
        decisions: int,
        batch: int,
        num_actions: int,
    ) -> Exploration:
        """Draw an update's exploration: uniform in the warm-up, then as configured.

        Args:
            rng: source of the noise.
            progress: share of training done, in [0, 1].
            decisions: per example, supervision steps less one.
            batch: examples.
            num_actions: 2 or 3.
        """
        noise = rng.gumbel(size=(decisions, batch, num_actions))
        shape = (decisions, batch)
        if self.in_warmup(progress):
            inverse = np.zeros(shape)
        elif self.config.exploration == "boltzmann":
            inverse = np.full(shape, 1 / self.temperature(progress))
        else:
            random = rng.random(shape) < self.epsilon(progress)
            inverse = np.where(random, 0.0, 1.0)
            noise = np.where(random[..., None], noise, 0.0)
        return Exploration(
            torch.from_numpy(noise.astype(np.float32)),
            torch.from_numpy(inverse.astype(np.float32)),
            torch.tensor(self.expansion_penalty(progress), dtype=torch.float32),
        )


def masked_argmax(
    values: Float[Tensor, "batch actions"], legal: Bool[Tensor, "batch actions"]
) -> Int[Tensor, " batch"]:
    """The legal action of highest value; the first of equals."""
    return values.masked_fill(~legal, -torch.inf).argmax(dim=1)


def explore(
    values: Float[Tensor, "batch actions"],
    legal: Bool[Tensor, "batch actions"],
    noise: Float[Tensor, "batch actions"],
    inverse_temperature: Float[Tensor, " batch"],
) -> Int[Tensor, " batch"]:
    """A legal action per example, by the formula above."""
    return masked_argmax(values * inverse_temperature[:, None] + noise, legal)
