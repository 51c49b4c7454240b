"""Replay of transitions, with a recent part and an age limit.

Uniform replay is Mnih et al. (Nature 2015). The learner whose states are stored moves, so a share
of each batch comes from the newest transitions, and none is older than a number of its updates.

Which rows are written and drawn depends on counts and random numbers and on no value, so it is
decided on the host (``place``, ``draw``); what is written and read are tensors on the model's
device, addressed by those rows (``write``, ``read``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Transitions:
    """A batch of (state, action, reward, next state), with what is legal in the next state.

    Where ``done`` the next state and its legal actions are stored and never read.
    """

    states: Float[Tensor, "batch features"]
    actions: Int[Tensor, " batch"]
    rewards: Float[Tensor, " batch"]
    next_states: Float[Tensor, "batch features"]
    done: Bool[Tensor, " batch"]
    next_legal: Bool[Tensor, "batch actions"]

    def __len__(self) -> int:
        return len(self.actions)

    def columns(self) -> dict[str, Tensor]:
        """Field name to tensor."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def concatenate(cls, parts: Sequence[Transitions]) -> Transitions:
        """One batch of all parts, in order."""
        columns = [part.columns() for part in parts]
        return cls(**{name: torch.cat([c[name] for c in columns]) for name in columns[0]})


class ReplayBuffer:
    """A ring of transitions in fp32.

    Args:
        capacity: transitions kept; the oldest is overwritten.
        state_dim: width of a state.
        num_actions: width of the legal mask.
        recent_fraction: share of a sampled batch drawn only from the newest ``recent_size``.
        recent_size: how many are recent.
        max_age_steps: transitions stored more than this many updates of the learner ago are not
            drawn.
        device: where the transitions lie.
    """

    def __init__(
        self,
        capacity: int,
        state_dim: int,
        num_actions: int,
        *,
        recent_fraction: float,
        recent_size: int,
        max_age_steps: int,
        device: torch.device | None = None,
    ) -> None:
        self.capacity = capacity
        self.recent_fraction, self.recent_size = recent_fraction, recent_size
        self.max_age_steps = max_age_steps
        self.columns = {
            "states": torch.zeros(capacity, state_dim, device=device),
            "actions": torch.zeros(capacity, dtype=torch.int64, device=device),
            "rewards": torch.zeros(capacity, device=device),
            "next_states": torch.zeros(capacity, state_dim, device=device),
            "done": torch.zeros(capacity, dtype=torch.bool, device=device),
            "next_legal": torch.zeros(capacity, num_actions, dtype=torch.bool, device=device),
        }
        self._born = np.zeros(capacity, dtype=np.int64)
        self._num_added = 0

    def __len__(self) -> int:
        return min(self._num_added, self.capacity)

    def place(self, count: int, learner_step: int) -> Int[Tensor, " kept"]:
        """Reserve the rows of a batch of ``count`` transitions, overwriting the oldest.

        Args:
            count: transitions to be written.
            learner_step: updates of the learner so far; must not fall from call to call.

        Returns:
            The rows to give to ``write``, on the host: one per transition, or as many as fit.

        Raises:
            ValueError: when ``learner_step`` is smaller than that of an earlier batch.
        """
        newest = int(self._born[(self._num_added - 1) % self.capacity])
        if self._num_added and learner_step < newest:
            raise ValueError(f"learner_step {learner_step} comes after {newest}: it must not fall")
        kept = min(count, self.capacity)
        first = self._num_added + count - kept
        rows = np.arange(first, first + kept) % self.capacity
        self._born[rows] = learner_step
        self._num_added += count
        return torch.from_numpy(rows)

    @torch.no_grad()
    def write(self, rows: Int[Tensor, " kept"], batch: Transitions) -> None:
        """Store the last transitions of a batch, detached, at the rows that were placed."""
        for name, values in batch.columns().items():
            column = self.columns[name]
            column.index_copy_(0, rows, values[-len(rows) :].detach().to(column.dtype))

    def add(self, batch: Transitions, learner_step: int) -> None:
        """Place and write a batch at once."""
        if len(batch):
            self.write(self.place(len(batch), learner_step), batch)

    def num_eligible(self, learner_step: int) -> int:
        """How many stored transitions are young enough to be drawn."""
        head = self._num_added % self.capacity
        if self._num_added <= self.capacity:
            born = self._born[: self._num_added]
        else:
            born = np.concatenate([self._born[head:], self._born[:head]])
        return len(born) - int(np.searchsorted(born, learner_step - self.max_age_steps))

    def draw(self, n: int, rng: np.random.Generator, learner_step: int) -> Int[Tensor, " n"]:
        """Rows to read, with replacement: round(recent_fraction * n) recent ones, the rest of all.

        Raises:
            ValueError: when no transition is young enough.
        """
        eligible = self.num_eligible(learner_step)
        if not eligible:
            raise ValueError(
                f"no transition younger than {self.max_age_steps} updates of the learner to draw"
            )
        num_recent = round(self.recent_fraction * n)
        age = np.concatenate(  # 1 is the newest
            [
                rng.integers(1, min(self.recent_size, eligible) + 1, size=num_recent),
                rng.integers(1, eligible + 1, size=n - num_recent),
            ]
        )
        return torch.from_numpy((self._num_added - age) % self.capacity)

    def read(self, rows: Int[Tensor, " n"]) -> Transitions:
        """The transitions at some rows."""
        return Transitions(**{name: c.index_select(0, rows) for name, c in self.columns.items()})

    def sample(self, n: int, rng: np.random.Generator, learner_step: int) -> Transitions:
        """Draw and read at once."""
        return self.read(self.draw(n, rng, learner_step))

    def state_dict(self) -> dict[str, Any]:
        """Everything stored, for a checkpoint; the unused part of the ring is left out."""
        used = len(self)
        columns = {name: column[:used].clone() for name, column in self.columns.items()}
        born = torch.from_numpy(self._born[:used].copy())
        return {"columns": columns, "born": born, "num_added": self._num_added}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave, bit for bit.

        Raises:
            ValueError: when the checkpoint holds more or other than fits this buffer.
        """
        used = len(state["born"])
        if used != min(state["num_added"], self.capacity):
            raise ValueError(
                f"a replay of {used} transitions does not fit a capacity of {self.capacity}"
            )
        for name, column in self.columns.items():
            column[:used] = state["columns"][name]
        self._born[:used] = state["born"].numpy()
        self._num_added = int(state["num_added"])
