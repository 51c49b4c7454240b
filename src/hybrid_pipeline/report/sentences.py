"""Sentences about effects, never stronger than the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from hybrid_pipeline.report.wording import (
    TONES,
    Tone,
    arm_label,
    component_label,
    interval_text,
    main_task,
    plural,
    points,
    readable,
    task_label,
)
from hybrid_pipeline.stats.lengths import change_sentence
from hybrid_pipeline.stats.results import (
    Effect,
    Interval,
    LengthChange,
    StudyResults,
    VerdictCode,
)

PREDICATES: dict[VerdictCode, str] = {
    "no_meaningful_effect": "has {}",
    "no_detectable_effect": "has {}",
    "underpowered": "cannot be judged (underpowered)",
    "not_evaluable": "is not evaluable",
    "not_judged": "is not judged",
}


class WordingError(ValueError):
    """A verdict says more than its interval does."""


def verdict_sentence(results: StudyResults) -> tuple[str, str]:
    """The sentence that page one opens with, and the one about the stages (may be empty).

    Built from the total and the stages on the main task; each keeps its verdict's own words. Below
    the floor it is the floor's sentence; before the plateau its warning comes first.
    """
    if not results.floor.reached:
        return readable(results.floor.sentence), ""
    opening, stages = _verdicts(results)
    return " ".join([*warnings(results), opening]), stages


def warnings(results: StudyResults) -> tuple[str, ...]:
    """What a reader must know before any verdict of a study that stands above the floor."""
    if results.plateau is None or not results.floor.reached:
        return ()
    names = {task: task_label(task) for task in results.tasks}
    said = []
    for sentence in results.plateau.sentences:
        text = readable(sentence)
        for name, label in names.items():
            text = text.replace(name, label)
        said.append(text)
    return tuple(said)


def verdicts(results: StudyResults) -> tuple[str, str]:
    """The sentences of ``verdict_sentence`` without the warnings that come first."""
    return _verdicts(results) if results.floor.reached else verdict_sentence(results)


def length_sentences(results: StudyResults) -> tuple[str, ...]:
    """One per stage on the main task: whether its sign or verdict depends on the length."""
    return tuple(
        readable(change_sentence(change, results.length_gains, _length_subject(change)))
        for change in results.length_changes
        if change.task == main_task(results)
    )


def length_summary(results: StudyResults) -> tuple[str, ...]:
    """The sentences of the stages that change, and one for all that keep their verdict.

    Nothing below the floor: there is no verdict that could change.
    """
    if not results.floor.reached:
        return ()
    changes = [c for c in results.length_changes if c.task == main_task(results)]
    sentences = length_sentences(results)
    changed = [c.sign_changes or c.verdict_changes for c in changes]
    said = [text for text, differs in zip(sentences, changed, strict=True) if differs]
    same = changed.count(False)
    if not same:
        return tuple(said)
    which = "the other" if said else "all"
    lengths = " and ".join(_length_name(results, share) for share in _ends(results))
    keep = "keeps its" if same == 1 else "keep their"
    stages = f"{which} {plural(same, 'stage')}" if len(changes) > 1 else "the stage"
    said.append(f"{stages.capitalize()} {keep} verdict between {lengths}.")
    return tuple(said)


def _ends(results: StudyResults) -> tuple[float, float]:
    shares = sorted({gain.length for gain in results.length_gains})
    return shares[0], shares[-1]


def _length_name(results: StudyResults, share: float) -> str:
    updates = {g.updates for g in results.length_gains if g.length == share}
    (only,) = updates if len(updates) == 1 else (None,)
    return f"{100 * share:g} % of the training" if only is None else plural(only, "update")


def _length_subject(change: LengthChange) -> str:
    return component_label(change.component) if change.component else arm_label(change.arm)


def _verdicts(results: StudyResults) -> tuple[str, str]:
    task = main_task(results)
    total = results.total(task)
    if total is None:
        return results.headline, ""
    if total.difference is None:
        return f"Full model against baseline: {total.verdict}.", ""
    opening = (
        f"The full model {predicate(total)}: {points(total.difference.estimate)} points "
        f"{interval_text(total.difference)} against the baseline."
    )
    stages = "; ".join(_stage_clauses(results.stages(task)))
    return opening, f"By stage: {stages}." if stages else ""


def _stage_clauses(stages: Sequence[Effect]) -> Iterator[str]:
    """A clause per stage; neighbours that are underpowered share one."""
    for is_open, group in groupby(stages, key=lambda e: e.verdict_code == "underpowered"):
        if is_open:
            *others, last = [subject(effect) for effect in group]
            listed = f"{', '.join(others)} and {last}" if others else last
            yield f"{listed} {PREDICATES['underpowered']}"
        else:
            yield from (f"{subject(effect)} {predicate(effect)}" for effect in group)


def subject(effect: Effect) -> str:
    """What a sentence about an effect is about: the component, the arm or the full model."""
    if effect.kind == "total":
        return "The full model"
    return component_label(effect.component) if effect.component else arm_label(effect.arm)


def predicate(effect: Effect) -> str:
    """The verdict as the rest of a sentence: ``helps``, ``cannot be judged (underpowered)``."""
    return PREDICATES.get(effect.verdict_code, "{}").format(effect.verdict.partition(": ")[0])


def check_wording(results: StudyResults) -> None:
    """Refuse results whose verdict says more than the interval.

    Raises:
        WordingError: naming the comparison that claims a gain or a loss while its interval
            includes zero or is missing.
    """
    for effect in results.effects:
        tone = TONES[effect.verdict_code]
        if tone in ("gain", "loss") and not _excludes_zero(effect.difference, tone):
            raise WordingError(
                f"verdict {effect.verdict!r} of {effect.arm} against {effect.reference} on "
                f"{effect.task} is stronger than its interval {interval_text(effect.difference)}"
            )


def _excludes_zero(interval: Interval | None, tone: Tone) -> bool:
    if interval is None:
        return False
    return interval.low > 0 if tone == "gain" else interval.high < 0
