"""What each component contributes: Shapley shares beside cumulative and leave-one-out gains."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hybrid_pipeline.stats.coalitions import Coalition, Game, shapley_weights
from hybrid_pipeline.stats.contrasts import contrast_interval
from hybrid_pipeline.stats.effects import Comparison
from hybrid_pipeline.stats.results import Interval, Scale, ShapleyRow
from hybrid_pipeline.stats.scores import ScoreMatrix


def leave_one_out(chain: Sequence[str], game: Game) -> tuple[Comparison, ...]:
    """The full model against the one without each component, if that was measured.

    Leaving out CLIP leaves out N2N too. Empty for a chain only: what it can leave out is its last
    component, which is its last stage already.
    """
    if all(game.arm_of.get(game.without(p), chain[0]) in chain for p in game.players):
        return ()
    return tuple(
        Comparison("leave_one_out", chain[-1], game.arm_of[game.without(player)], player)
        for player in game.players
        if game.without(player) in game.arm_of
    )


def shapley_rows(
    matrix: ScoreMatrix,
    chain: Sequence[str],
    game: Game,
    group: tuple[str, tuple[str, ...]],
    *,
    level: float,
) -> tuple[ShapleyRow, ...]:
    """Shapley shares with intervals beside cumulative and leave-one-out gains.

    Empty where a feasible coalition was not measured (any design but the factorial), or where a
    single component leaves nothing to share.
    """
    if len(game.players) < 2:
        return ()
    scales: tuple[Scale, ...] = ("difference", "log")
    by_scale = [_shares(matrix, chain, game, group, scale, level) for scale in scales]
    return tuple(row for rows in by_scale if len(rows) == len(game.players) for row in rows)


def _shares(
    matrix: ScoreMatrix,
    chain: Sequence[str],
    game: Game,
    group: tuple[str, tuple[str, ...]],
    scale: Scale,
    level: float,
) -> list[ShapleyRow]:
    """The rows of the components whose coalitions were all measured."""
    label, tasks = group
    rows = []
    for player in game.players:
        contrasts = {
            "shapley": shapley_weights(player, game.players, game.precedence),
            "cumulative": _stage(chain, game, player),
            "leave_one_out": {frozenset(game.players): 1.0, game.without(player): -1.0},
        }
        found = {
            name: _interval(matrix, game, weights, tasks, scale, level)
            for name, weights in contrasts.items()
        }
        if found["shapley"] is not None:
            row = {"component": player, "task": label, "scale": scale, **found}
            rows.append(ShapleyRow.model_validate(row))
    return rows


def _interval(
    matrix: ScoreMatrix,
    game: Game,
    coalitions: dict[Coalition, float],
    tasks: tuple[str, ...],
    scale: Scale,
    level: float,
) -> Interval | None:
    weights = game.weights(coalitions)
    if weights is None:
        return None
    return contrast_interval(matrix, weights, tasks, scale, level=level)


def _stage(chain: Sequence[str], game: Game, player: str) -> dict[Coalition, float]:
    """The stage of the chain that adds exactly this player; empty if none does."""
    sets = {arm: coalition for coalition, arm in game.arm_of.items()}
    for old, new in pairwise(chain):
        if old in sets and new in sets and sets[new] - sets[old] == {player}:
            return {sets[new]: 1.0, sets[old]: -1.0}
    return {}
