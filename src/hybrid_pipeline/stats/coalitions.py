"""Coalitions of components: feasible orders, Shapley shares, and which arm measures what."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from hybrid_pipeline.components import components

Coalition = frozenset[str]
Precedence = Mapping[str, Sequence[str]]
"""Component -> components that must come before it."""


def orders(players: Sequence[str], precedence: Precedence) -> list[tuple[str, ...]]:
    """All orders of the players in which nobody comes before what it requires."""
    return [
        order
        for order in permutations(players)
        if all(
            order.index(first) < order.index(player)
            for player in players
            for first in precedence.get(player, ())
        )
    ]


def orders_in_words(players: Sequence[str], precedence: Precedence) -> str:
    """The orders as a reader counts them: ``12 orders in which CLIP comes before N2N``."""
    label = {record.name: record.label for record in components()}
    rules = [
        f"{label.get(first, first)} comes before {label.get(player, player)}"
        for player in players
        for first in precedence.get(player, ())
        if first in players
    ]
    number = f"{len(orders(players, precedence))} orders"
    return f"{number} in which {' and '.join(rules)}" if rules else number


def shapley_weights(
    player: str, players: Sequence[str], precedence: Precedence
) -> dict[Coalition, float]:
    """The Shapley share of a player as a linear contrast of coalition values.

    Shapley (1953) over all orders; with precedence, the average over feasible orders (Faigle and
    Kern, "The Shapley value for cooperative games under precedence constraints", 1992).
    """
    feasible = orders(players, precedence)
    weights: dict[Coalition, float] = {}
    for order in feasible:
        before = frozenset(order[: order.index(player)])
        after = before | {player}
        weights[after] = weights.get(after, 0.0) + 1 / len(feasible)
        weights[before] = weights.get(before, 0.0) - 1 / len(feasible)
    return weights


def shapley(
    value: Callable[[Coalition], float],
    players: Sequence[str],
    precedence: Precedence | None = None,
) -> dict[str, float]:
    """Shapley shares of a value function; they sum to v(all) - v(none)."""
    return {
        player: math.fsum(
            weight * value(coalition)
            for coalition, weight in shapley_weights(player, players, precedence or {}).items()
        )
        for player in players
    }


@dataclass(frozen=True)
class Game:
    """The cooperative game of a study: components are its players, arms measure its coalitions.

    Attributes:
        players: the components of the full model, in order.
        arm_of: coalition -> the arm that has exactly these components.
        precedence: component -> what it requires.
    """

    players: tuple[str, ...]
    arm_of: Mapping[Coalition, str]
    precedence: Precedence

    @classmethod
    def build(
        cls,
        chain: Sequence[str],
        components: Mapping[str, tuple[str, ...]],
        precedence: Precedence,
    ) -> Game:
        """Arrange arms by their components; the chain's arms come first.

        Args:
            chain: the cumulative arms, the last of which has all components.
            components: arm -> components, of every arm but the controls.
            precedence: component -> what it requires; kept if both are in the study.
        """
        players = components.get(chain[-1], ())
        arm_of: dict[Coalition, str] = {}
        for arm in [*chain, *components]:
            if arm in components:
                arm_of.setdefault(frozenset(components[arm]), arm)
        kept = {p: [q for q in precedence.get(p, ()) if q in players] for p in players}
        return cls(tuple(players), arm_of, kept)

    def isolated(self, player: str) -> tuple[Coalition, Coalition]:
        """The smallest coalition with the player, and the same without it."""
        required = frozenset(self.precedence.get(player, ()))
        return required | {player}, required

    def without(self, player: str) -> Coalition:
        """The full coalition without a player and without what requires it."""
        dropped = {player} | {p for p in self.players if player in self.precedence.get(p, ())}
        return frozenset(self.players) - dropped

    def weights(self, coalitions: Mapping[Coalition, float]) -> dict[str, float] | None:
        """A contrast of coalitions as a contrast of arms; ``None`` if an arm is missing."""
        used = {c: w for c, w in coalitions.items() if abs(w) > 1e-12}
        if not used or any(c not in self.arm_of for c in used):
            return None
        return {self.arm_of[c]: w for c, w in used.items()}


def interaction_coalitions(game: Game) -> dict[Coalition, float]:
    """The contrast v(full) - v(empty) - sum of isolated gains."""
    full, empty = frozenset(game.players), frozenset[str]()
    weights: dict[Coalition, float] = {full: 1.0}
    weights[empty] = weights.get(empty, 0.0) - 1.0
    for player in game.players:
        alone, without = game.isolated(player)
        weights[alone] = weights.get(alone, 0.0) - 1.0
        weights[without] = weights.get(without, 0.0) + 1.0
    return weights
