"""What a study says first, and what a reader must know about its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hybrid_pipeline.stats.contrasts import MIN_SEEDS, same_scores
from hybrid_pipeline.stats.results import MEAN_TASK, ArmAccuracy, Effect, Floor, Plateau
from hybrid_pipeline.stats.scores import ScoreMatrix


def headline(
    effects: Sequence[Effect], chain: Sequence[str], floor: Floor, plateau: Plateau | None
) -> str:
    """The floor's sentence, or the plateau's warning and the verdicts."""
    if not floor.reached:
        return floor.sentence
    warnings = () if plateau is None else plateau.sentences
    return " ".join([*warnings, _verdicts(effects, chain)])


def _verdicts(effects: Sequence[Effect], chain: Sequence[str]) -> str:
    total = next((e for e in effects if e.kind == "total" and e.task == MEAN_TASK), None)
    if total is None:
        return f"{chain[0]} is the only arm: nothing to compare."
    if total.difference is None:
        return f"{total.arm} against {total.reference}: {total.verdict}."
    low, mid, high = (
        100 * x for x in (total.difference.low, total.difference.estimate, total.difference.high)
    )
    stages = "; ".join(
        f"{e.arm} {e.verdict.split(':')[0]}"
        for e in effects
        if e.kind == "stage" and e.task == MEAN_TASK
    )
    return (
        f"{total.arm} against {total.reference}: {mid:+z.1f} points [{low:+z.1f}, {high:+z.1f}], "
        f"{total.num_seeds} seeds, {total.num_examples} examples: {total.verdict}. "
        f"By stage: {stages}."
    )


def notes(
    matrix: ScoreMatrix,
    arms: Sequence[str],
    controls: Mapping[str, str],
    floor: Floor,
    at_guessing: Sequence[ArmAccuracy],
) -> tuple[str, ...]:
    """What a reader must know about the table.

    Args:
        matrix: of the judged length.
        arms: of the study, without controls.
        controls: control arm -> the arm that it controls.
        floor: what may not be judged.
        at_guessing: arms that did not beat guessing on a task on which others did.
    """
    said = []
    known = {*arms, *controls}
    ignored = [arm for arm in matrix.arms if arm not in known]
    if ignored:
        said.append(f"Not part of the study, not analysed: {', '.join(ignored)}.")
    if MIN_SEEDS <= len(matrix.seeds) < 5:
        said.append(
            f"With {len(matrix.seeds)} seeds that differ much, more than .05 of studies would call "
            "some stage an effect where there is none (simulated: docs/explanation/statistics.md)."
        )
    for task in matrix.tasks:
        if len(matrix.arms) > 1 and same_scores(matrix, matrix.arms, [task]):
            score = 100 * float(np.nanmean(matrix.values[matrix.arms[0], task]))
            said.append(
                f"On {task} every arm scores the same on every example ({score:.1f} % in all): "
                "it cannot tell the arms apart."
            )
    if floor.reached:
        said += [
            f"On {task} no arm beat guessing, so nothing is judged there."
            for task in floor.unbeaten_tasks
        ]
    said += [
        f"On {row.task} {row.arm} did not beat guessing ({100 * row.estimate:.1f} %): a comparison "
        "with it says whether it learned at all, not how much a component adds."
        for row in at_guessing
    ]
    return tuple(said)
