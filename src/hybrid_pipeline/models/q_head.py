"""The Q-network: action values from a halting state."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class QHead(nn.Module):
    """Two hidden layers with ReLU (Mnih et al., Nature 2015, without the convolutions).

    The last layer starts at zero, so all actions start equal and no action is preferred before the
    first update.

    Args:
        state_dim: width of a state.
        num_actions: 2 (halt, continue) or 3 (and expand).
        hidden_dim: width of the hidden layers.
    """

    def __init__(self, state_dim: int, num_actions: int, hidden_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(state_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, num_actions),
        )
        last = self.layers[-1]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(
        self, states: Float[Tensor, "batch state_dim"]
    ) -> Float[Tensor, "batch num_actions"]:
        """Expected return of each action, in units of accuracy."""
        return self.layers(states)
