"""Whether a study may judge at all: below the floor there are figures, and no verdict words.

The one place that decides; report, terminal, MLflow and Kedro-Viz read ``StudyResults.floor``.
An arm that had not reached its plateau (``stats.plateau``) silences the comparisons with it; if no
arm had reached it on any task, nothing is judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hybrid_pipeline.stats.contrasts import MIN_SEEDS
from hybrid_pipeline.stats.results import (
    ArmAccuracy,
    Compound,
    ControlRow,
    Effect,
    Floor,
    LengthGain,
    Plateau,
)

NOT_JUDGED = "not judged"


def judge_floor(
    accuracies: Sequence[ArmAccuracy],
    *,
    seeds: Sequence[int],
    updates: int | None,
    min_updates: int,
    guessing: Mapping[str, float],
    environment: str = "",
    plateau: Plateau | None = None,
) -> Floor:
    """What is missing before anything may be judged.

    Args:
        accuracies: of every arm on every task, at the longest training.
        seeds: that have scores.
        updates: of the shortest of the judged trainings; ``None`` if the table does not say.
        min_updates: fewer are a trial run.
        guessing: task -> score that no learning reaches: majority or chance, whichever is larger.
        environment: name of the configuration environment, for the sentence.
        plateau: of the judged arms and the others; ``None`` if there are no curves.
    """
    reasons, advice = [], []
    if len(seeds) < MIN_SEEDS:
        reasons.append(f"{_count(len(seeds), 'seed')}, at least {MIN_SEEDS} are needed")
        advice.append(f"ablation.num_seeds={MIN_SEEDS}")
    is_short = updates is not None and updates < min_updates
    if updates is not None and is_short:
        reasons.append(f"{_count(updates, 'update')} per model, at least {min_updates} are needed")
        times = math.ceil(min_updates / max(updates, 1))
        advice.append(f"at least {times} times as many training.epochs")
    unbeaten = tuple(
        task for task, level in guessing.items() if not _is_beaten(accuracies, task, level)
    )
    if guessing and len(unbeaten) == len(guessing) and len(seeds) >= MIN_SEEDS:
        reasons.append(f"no arm beat guessing ({_levels(guessing)})")
        advice += ["easier examples"] if is_short else ["more training.epochs", "easier examples"]
    rows = plateau.single_tasks if plateau is not None else ()
    if rows and not any(row.reached for row in rows):
        reasons.append("every arm was still learning in the last fifth of training")
        advice.append("more training.epochs")
    run = _run(environment, updates, len(seeds))
    return Floor(
        reached=not reasons,
        run=run,
        reasons=tuple(reasons),
        unbeaten_tasks=unbeaten if len(seeds) >= MIN_SEEDS else (),
        rising=tuple((row.arm, row.task) for row in rows if not row.reached),
        sentence=_sentence(run, reasons, advice) if reasons else "",
    )


def guessing_arms(
    accuracies: Sequence[ArmAccuracy], guessing: Mapping[str, float], floor: Floor
) -> tuple[ArmAccuracy, ...]:
    """Arms that did not beat guessing on a task on which others did."""
    judged = [task for task in guessing if not floor.forbids(task)]
    return tuple(
        row
        for row in accuracies
        if row.primary and row.task in judged and not _beats(row, guessing[row.task])
    )


def _is_beaten(accuracies: Sequence[ArmAccuracy], task: str, level: float) -> bool:
    return any(_beats(row, level) for row in accuracies if row.task == task and row.primary)


def _beats(row: ArmAccuracy, level: float) -> bool:
    return row.interval is not None and row.interval.low > level


def _levels(guessing: Mapping[str, float]) -> str:
    return ", ".join(f"{task} {100 * level:.1f} %" for task, level in guessing.items())


def _run(environment: str, updates: int | None, num_seeds: int) -> str:
    """What this run is: ``environment smoke, 8 updates per model, 3 seeds``."""
    parts = [
        f"environment {environment}" if environment else "",
        "" if updates is None else f"{_count(updates, 'update')} per model",
        _count(num_seeds, "seed"),
    ]
    return ", ".join(part for part in parts if part)


def _sentence(run: str, reasons: Sequence[str], advice: Sequence[str]) -> str:
    guessed = next((reason for reason in reasons if reason.startswith("no arm")), None)
    if guessed is not None and len(reasons) == 1:
        opening = f"{guessed[0].upper()}{guessed[1:]}, so nothing is judged"
    else:
        opening = f"Nothing is judged: {'; '.join(reasons)}"
    return f"{opening}. This run: {run}. What would help: {' or '.join(dict.fromkeys(advice))}."


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def silence(effect: Effect, floor: Floor) -> Effect:
    """An effect without its verdict if the floor forbids one: study, task or a rising arm."""
    words = _forbidden(floor, effect.task, effect.arm, effect.reference)
    if not words:
        return effect
    return effect.model_copy(update={"verdict": words, "verdict_code": "not_judged"})


def silence_control(row: ControlRow, floor: Floor) -> ControlRow:
    """The same for an arm against its control."""
    words = _forbidden(floor, row.task, row.arm, row.control)
    if not words:
        return row
    return row.model_copy(update={"verdict": words, "beats_control": None})


def silence_gain(gain: LengthGain, floor: Floor, longest: float) -> LengthGain:
    """The same for a gain at one training length; the curves are those of the longest."""
    arms = (gain.arm, gain.reference) if gain.length == longest else ()
    words = _forbidden(floor, gain.task, *arms)
    if not words:
        return gain
    return gain.model_copy(update={"verdict": words, "verdict_code": "not_judged"})


def silence_compound(compound: Compound, floor: Floor, arms: Sequence[str]) -> Compound:
    """A compound estimate whose sentence says nothing about how the gains of ``arms`` combine."""
    words = _forbidden(floor, compound.task, *arms)
    if not words:
        return compound
    return compound.model_copy(update={"note": f"{words[0].upper()}{words[1:]}."})


def _forbidden(floor: Floor, task: str, *arms: str) -> str:
    """The words in place of a verdict; empty if there may be one."""
    if floor.forbids(task):
        return NOT_JUDGED
    rising = floor.still_rising(task, arms)
    if not rising:
        return ""
    return f"{NOT_JUDGED}: {' and '.join(rising)} still learning"
