"""Advice from training curves: what the figures say, which parameter to change, and how.

Every check has a threshold in ``review.advisor`` and stays silent below it; false alarms on
healthy noisy curves, and what is found, are simulated in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from hybrid_pipeline.advisor.checks import RUN_CHECKS, Advice, RunSettings
from hybrid_pipeline.advisor.notes import AdvisorNote
from hybrid_pipeline.advisor.scores import overfitting, pool, still_improving, unlearned
from hybrid_pipeline.arms import find_arm
from hybrid_pipeline.config import StorageConfig
from hybrid_pipeline.curves.cells import read_curves
from hybrid_pipeline.curves.curve import StabilityCurve
from hybrid_pipeline.text_tables import markdown_table, two_digits
from hybrid_pipeline.training.handles import TaskHandle
from hybrid_pipeline.training.result import Cell

__all__ = [
    "Advice", "RunSettings", "advise_study", "advisor_notes",
    "notes_markdown", "notes_text", "study_advice",
]  # fmt: skip

EXTEND_FACTOR = 1.5
UNSEEN_DROP = 0.2  # a larger drop that would go unseen is worth a word
ENOUGH_VALIDATIONS = 10
Runs = Sequence[tuple[StabilityCurve, RunSettings]]
Key = tuple[str, str, str]
Found = tuple[Advice, tuple[int, ...], int]


def advise_study(runs: Runs) -> dict[Key, Found]:
    """Advice on many runs, seeds of one arm and task together.

    Validation scores are judged over the seeds of an arm or setting; if that shows nothing,
    seed by seed. Whether they still rise is also judged over all arms or settings of a task,
    which share the length of training. The rest is judged run by run.

    Returns:
        (arm or setting, task, id) -> the first seed's advice, the seeds that gave it, and how many
        seeds there are.
    """
    found: dict[Key, Found] = {}
    groups: dict[tuple[str, str], list[tuple[StabilityCurve, RunSettings]]] = {}
    for curve, run in runs:
        groups.setdefault((curve.setting, curve.tasks), []).append((curve, run))
    for group in groups.values():
        _add_group(found, group)
    for task in dict.fromkeys(curve.tasks for curve, _ in runs):
        together = [(c, r) for c, r in runs if c.tasks == task]
        settings = len({c.setting for c, _ in together})
        if settings > 1:
            for advice in _improves([c for c, _ in together], task, together[0][1]):
                seeds = tuple(sorted({c.seed for c, _ in together}))
                found[(f"all {settings} together", task, advice.id)] = advice, seeds, len(seeds)
    return found


def _add_group(found: dict[Key, Found], group: Runs) -> None:
    """Advice on the runs of one arm or setting on its tasks."""
    curves, run = [curve for curve, _ in group], group[0][1]
    setting, tasks = curves[0].setting, curves[0].tasks
    seeds = tuple(curve.seed for curve in curves)
    pooled = [a for task in curves[0].validation for a in _on_scores(curves, task, run)]
    for advice in pooled:
        found[(setting, tasks, advice.id)] = advice, seeds, len(seeds)
    for curve, own in group:
        alone = [a for task in curve.validation for a in _on_scores([curve], task, own)]
        alone = [] if pooled else alone
        for advice in (*alone, *(a for check in RUN_CHECKS for a in check(curve, own))):
            first, before, _ = found.get((setting, tasks, advice.id), (advice, (), 0))
            found[(setting, tasks, advice.id)] = first, (*before, curve.seed), len(seeds)
    if not any(key[:2] == (setting, tasks) and key[2] in SCORE_IDS for key in found):
        for task in curves[0].validation:
            for advice in _too_few(curves, task, run):
                found[(setting, tasks, advice.id)] = advice, seeds, len(seeds)


def advisor_notes(runs: Runs) -> tuple[AdvisorNote, ...]:
    """The same as notes of a report.

    Arms share their parameters, so one remark on many arms and tasks is one note: with the first
    figure, all places, and the largest of the values that were suggested.
    """
    kinds: dict[tuple[str, str], list[_Place]] = {}
    for (setting, task, _), (advice, seeds, total) in advise_study(runs).items():
        place = _Place(advice, f"{setting}, {task}, {_seeds(seeds, total)}", seeds[0])
        kinds.setdefault((advice.id, advice.text), []).append(place)
    return tuple(_note(places) for places in kinds.values())


@dataclass(frozen=True)
class _Place:
    """A remark on the runs of one arm or setting on one task."""

    advice: Advice
    where: str
    seed: int


def _note(places: Sequence[_Place]) -> AdvisorNote:
    first = places[0]
    numbers = [p.advice for p in places if not isinstance(p.advice.value, str)]
    change = max(numbers, key=lambda advice: float(advice.value), default=first.advice)
    source = f"mean of {runs} runs" if (runs := first.advice.num_runs) > 1 else f"seed {first.seed}"
    source = source if len(places) == 1 else f"the first of these, {source}"
    return AdvisorNote(
        level=first.advice.level,
        where="; ".join(place.where for place in places),
        text=f"{first.advice.text} ({first.advice.figure}, {source})",
        suggestion=change.params,
    )


def study_advice(
    cells: Sequence[Cell],
    task_data: Mapping[str, TaskHandle],
    run: RunSettings,
    storage: StorageConfig,
) -> tuple[AdvisorNote, ...]:
    """Advice on trained cells: of a study for its report, or of one run.

    Args:
        cells: of the study, or one.
        task_data: the handle of every task; tells the number of validation examples.
        run: what all cells were trained with, and the thresholds.
        storage: where the cells lie.
    """
    curves = read_curves(cells, run.training, storage, task_data=task_data)
    return advisor_notes([(curve, _settings_of(curve.setting, run)) for curve in curves])


def _settings_of(arm: str, run: RunSettings) -> RunSettings:
    """The settings with what the arm overrides: a control with one path has none to collapse."""
    return replace(run, model=find_arm(arm).configured(run.model))


def notes_markdown(notes: Sequence[AdvisorNote], num_runs: int) -> str:
    """Notes on so many runs as a Markdown table, or one sentence if there is none."""
    if not notes:
        return notes_text(notes, num_runs)
    rows = [(note.level, note.where, note.text, f"`{note.suggestion}`") for note in notes]
    return "\n".join(markdown_table(["level", "where", "what", "change"], rows)) + "\n"


def notes_text(notes: Sequence[AdvisorNote], num_runs: int) -> str:
    """The same as a list for a terminal."""
    if not notes:
        return f"No advice: the curves of {num_runs} {_plural('run', num_runs)} look healthy.\n"
    lines = [f"- {n.level}: {n.text}: {n.where}. {n.suggestion}" for n in notes]
    return "\n".join(lines) + "\n"


def _overfits(curves: Sequence[StabilityCurve], task: str, run: RunSettings) -> list[Advice]:
    drop = overfitting(curves, task, run.advisor)
    if drop is None:
        return []
    figure = f"validation score {drop.before:.3f} to {drop.after:.3f} while the training loss fell"
    text, epoch = f"Overfits from epoch {drop.epoch:.1f}", round(drop.epoch, 1)
    return [Advice("overfits", "warning", figure, text, "training.epochs", epoch, drop.num_runs)]


def _improves(curves: Sequence[StabilityCurve], task: str, run: RunSettings) -> list[Advice]:
    gain = still_improving(curves, task, run.advisor)
    if gain is None:
        return []
    figure = f"validation score {gain.before:.3f} to {gain.after:.3f} at the end"
    text, more = (
        "Still improves; extend the training",
        round(EXTEND_FACTOR * run.training.epochs, 1),
    )
    return [Advice("still_improves", "info", figure, text, "training.epochs", more, gain.num_runs)]


def _not_learned(curves: Sequence[StabilityCurve], task: str, run: RunSettings) -> list[Advice]:
    none = unlearned(curves, task)
    if none is None:
        return []
    known = "without learning" if curves[0].baseline is not None else "at first"
    figure = f"validation score {none.after:.3f} at the end, {none.before:.3f} {known}"
    text, half = "No sign of learning", two_digits(run.training.lr / 2)
    return [Advice("no_learning", "problem", figure, text, "training.lr", half, none.num_runs)]


def _too_few(curves: Sequence[StabilityCurve], task: str, run: RunSettings) -> list[Advice]:
    """Where silence on the scores says nothing, because a large drop would go unseen."""
    found = pool(curves, task)
    if found is None:
        return []
    count, unseen = found.scores.shape[1], found.visible(run.advisor.level)
    if count >= run.advisor.min_validations and unseen <= UNSEEN_DROP:
        return []
    figure = f"{count} validations"
    if count >= run.advisor.min_validations:
        figure += f" show a drop from {min(unseen, 1.0):.2f} on"
    text = "Too few validations, or examples or seeds in them, to judge overfitting and progress"
    interval = two_digits(run.training.epochs / max(ENOUGH_VALIDATIONS, 2 * count))
    runs = len(found.scores)
    return [Advice("too_few", "info", figure, text, "training.eval_interval", interval, runs)]


_SCORE_CHECKS: tuple[Callable[[Sequence[StabilityCurve], str, RunSettings], list[Advice]], ...] = (
    _overfits,
    _improves,
    _not_learned,
)
SCORE_IDS = ("overfits", "still_improves", "no_learning")


def _on_scores(curves: Sequence[StabilityCurve], task: str, run: RunSettings) -> list[Advice]:
    return [advice for check in _SCORE_CHECKS for advice in check(curves, task, run)]


def _seeds(seeds: Sequence[int], total: int) -> str:
    return f"{len(seeds)} of {total} seeds ({', '.join(map(str, seeds))})"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
