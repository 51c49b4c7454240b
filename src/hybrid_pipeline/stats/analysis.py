"""One entry point from a score table to everything the report says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pandas as pd

from hybrid_pipeline.arms import requirements
from hybrid_pipeline.config import EvaluationConfig
from hybrid_pipeline.stats.attribution import leave_one_out, shapley_rows
from hybrid_pipeline.stats.coalitions import Game
from hybrid_pipeline.stats.contrasts import contrast_variance
from hybrid_pipeline.stats.controls import control_rows
from hybrid_pipeline.stats.effects import (
    Basis,
    Comparison,
    arm_accuracies,
    family_effects,
)
from hybrid_pipeline.stats.floor import (
    guessing_arms,
    judge_floor,
    silence,
    silence_compound,
    silence_control,
    silence_gain,
)
from hybrid_pipeline.stats.headline import headline, notes
from hybrid_pipeline.stats.interactions import compound
from hybrid_pipeline.stats.lengths import Lengths, study_lengths
from hybrid_pipeline.stats.plateau import judge_plateau
from hybrid_pipeline.stats.power import projected_mde80
from hybrid_pipeline.stats.results import (
    ArmAccuracy,
    Effect,
    Floor,
    Plateau,
    PowerRow,
    StudyLength,
    StudyResults,
)
from hybrid_pipeline.stats.scores import (
    SLOTS,
    ScoreMatrix,
    at_length,
    check_scores,
    find_missing,
)

POWER_SEEDS = (3, 5, 8, 10, 12, 20)


@dataclass(frozen=True)
class Study:
    """A score table and all that was fixed about it before the study.

    Attributes:
        scores: the tidy table: arm, seed, task, example, correct, slots_correct, slots_total,
            supervision_steps, length, updates; the last five optional. The longest is judged.
        arms: the arms in order, the chain first; controls may be among them.
        evaluation: delta, level and resampling.
        components: arm -> components; an arm extends the chain if it adds to the arm before.
            Without any components all arms but the controls are the chain.
        metrics: task -> primary metric, ``correct`` (also for tasks not named) or ``slots``.
        chance: task -> chance accuracy, for chance-corrected differences.
        guessing: task -> score that no learning reaches: majority or chance.
        controls: control arm -> the arm that it controls.
        seeds: the seeds the study should have, besides those in the table.
        diverged: length -> arm -> seeds whose training diverged.
        validations: curves of the longest training (arm, seed, task, step, score), if known.
        min_updates: fewer updates are a trial run, which is not judged.
        environment: name of the configuration environment.
        provenance: carried through to the results.
    """

    scores: pd.DataFrame
    arms: Sequence[str]
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    components: Mapping[str, Sequence[str]] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    chance: Mapping[str, float] = field(default_factory=dict)
    guessing: Mapping[str, float] = field(default_factory=dict)
    controls: Mapping[str, str] = field(default_factory=dict)
    seeds: Sequence[int] = ()
    diverged: Mapping[float, Mapping[str, Sequence[int]]] = field(default_factory=dict)
    validations: pd.DataFrame | None = None
    min_updates: int = 0
    environment: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)


def analyse(study: Study) -> StudyResults:
    """Analyse a study: accuracies, effects, compound estimate, shares, holes.

    Claims about it are judged by ``claims.study.analyse_with_claims``.

    Args:
        study: the table and what is preregistered about it.

    Raises:
        ScoreTableError: if the table is malformed; missing cells are listed instead.
        ValueError: if no arm of the study has scores.
    """
    table = check_scores(study.scores, metrics=set(study.metrics.values()))
    lengths = study_lengths(table)
    matrices = {
        known.length: ScoreMatrix.from_table(at_length(table, known.length), study.metrics)
        for known in lengths
    }
    scores, matrix = at_length(table, lengths[-1].length), matrices[lengths[-1].length]
    controls = dict(study.controls)
    sets = {a: tuple(parts) for a, parts in study.components.items() if a not in controls}
    chain = chain_of(study.arms, sets, controls)
    diverged = study.diverged.get(lengths[-1].length, {})
    basis = Basis(matrix, study.evaluation, dict(study.chance), diverged)
    accuracies = _accuracies(scores, basis, study.metrics)
    others = [arm for arm in dict.fromkeys([*study.arms, *controls]) if arm not in chain]
    curves = study.validations
    plateau = None if curves is None else judge_plateau(curves, chain, others)
    floor = _floor(study, accuracies, lengths[-1], matrix, plateau)
    found = _contrasts(basis, chain, {a: sets[a] for a in study.arms if a in sets}, floor)
    stages = [e for e in found["effects"] if e.kind == "stage"]
    by_length = Lengths(basis, matrices, lengths, study.diverged)
    gains = by_length.gains(_stages(chain, sets), stages)
    gains = tuple(silence_gain(gain, floor, lengths[-1].length) for gain in gains)
    return StudyResults(
        headline=headline(found["effects"], chain, floor, plateau),
        arms=tuple(chain),
        components={arm: tuple(parts) for arm, parts in study.components.items()},
        tasks=matrix.tasks,
        metrics={task: study.metrics.get(task, "correct") for task in matrix.tasks},
        seeds=matrix.seeds,
        delta=study.evaluation.delta,
        alpha=basis.alpha,
        accuracies=accuracies,
        controls=tuple(silence_control(row, floor) for row in control_rows(basis, controls)),
        lengths=lengths,
        length_gains=gains,
        length_changes=by_length.changes(gains),
        plateau=plateau,
        floor=floor,
        missing=find_missing(
            scores, dict.fromkeys([*study.arms, *controls]), study.seeds, diverged
        ),
        notes=notes(
            matrix, study.arms, controls, floor, guessing_arms(accuracies, study.guessing, floor)
        ),
        provenance=dict(study.provenance),
        **found,
    )


def _floor(
    study: Study,
    accuracies: Sequence[ArmAccuracy],
    judged: StudyLength,
    matrix: ScoreMatrix,
    plateau: Plateau | None,
) -> Floor:
    return judge_floor(
        accuracies,
        seeds=matrix.seeds,
        updates=min(judged.updates.values(), default=None),
        min_updates=study.min_updates,
        guessing={task: study.guessing[task] for task in matrix.tasks if task in study.guessing},
        environment=study.environment,
        plateau=plateau,
    )


def _contrasts(
    basis: Basis,
    chain: Sequence[str],
    components: Mapping[str, tuple[str, ...]],
    floor: Floor,
) -> dict[str, Any]:
    """Everything that compares arms: effects, compounds, shares and the power of the total."""
    matrix, level = basis.matrix, basis.evaluation.level
    game = Game.build(chain, components, requirements())
    groups = basis.groups()
    total = contrast_variance(matrix, _total_weights(chain), matrix.tasks)
    return {
        "effects": tuple(silence(e, floor) for e in _effects(basis, chain, game, components)),
        "compounds": tuple(
            silence_compound(compound(matrix, chain, game, g, level=level), floor, list(components))
            for g in groups
        ),
        "shapley": tuple(
            row for g in groups for row in shapley_rows(matrix, chain, game, g, level=level)
        ),
        "paired_sd": None if total is None else total.paired_sd,
        "power": tuple(
            PowerRow(num_seeds=n, mde80=projected_mde80(total, n, basis.alpha))
            for n in POWER_SEEDS
            if total is not None
        ),
    }


def chain_of(
    arms: Sequence[str],
    components: Mapping[str, Sequence[str]],
    controls: Iterable[str] = (),
) -> tuple[str, ...]:
    """The cumulative arms: each has the components of the one before and more.

    Raises:
        ValueError: if no arm but controls is given.
    """
    candidates = [arm for arm in arms if arm not in set(controls)]
    if not candidates:
        raise ValueError("an analysis needs at least one arm that is no control")
    if not any(arm in components for arm in candidates):
        return tuple(candidates)
    chain: list[str] = []
    for arm in candidates:
        if arm not in components:
            continue
        if not chain or set(components[chain[-1]]) < set(components[arm]):
            chain.append(arm)
    return tuple(chain)


def _total_weights(chain: Sequence[str]) -> dict[str, float]:
    return {chain[-1]: 1.0, chain[0]: -1.0} if len(chain) > 1 else {chain[0]: 1.0}


def _effects(
    basis: Basis,
    chain: Sequence[str],
    game: Game,
    components: Mapping[str, Sequence[str]],
) -> tuple[Effect, ...]:
    stages = _stages(chain, components)
    if not stages:
        return ()
    total = Comparison("total", chain[-1], chain[0])
    return (
        *family_effects(basis, stages, adjust=True),
        *family_effects(basis, [total], adjust=False),
        *family_effects(basis, leave_one_out(chain, game), adjust=True),
    )


def _stages(chain: Sequence[str], components: Mapping[str, Sequence[str]]) -> list[Comparison]:
    return [
        Comparison("stage", new, old, _added(new, old, components)) for old, new in pairwise(chain)
    ]


def _added(new: str, old: str, components: Mapping[str, Sequence[str]]) -> str:
    added = set(components.get(new, ())) - set(components.get(old, ()))
    return added.pop() if len(added) == 1 else ""


def _accuracies(
    scores: pd.DataFrame, basis: Basis, metrics: Mapping[str, str]
) -> tuple[ArmAccuracy, ...]:
    """The primary metric of every task, then the other one if the table has it."""
    primary = arm_accuracies(basis, metrics, primary=True)
    if not set(SLOTS) <= set(scores.columns):
        return primary
    other = {
        task: "correct" if metrics.get(task, "correct") == "slots" else "slots"
        for task in basis.matrix.tasks
    }
    beside = Basis(ScoreMatrix.from_table(scores, other), basis.evaluation)
    return (*primary, *arm_accuracies(beside, other, primary=False))
