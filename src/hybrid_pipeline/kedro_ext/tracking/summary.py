"""What a study found, as MLflow shows it: a figure and a name for every arm, a description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hybrid_pipeline.kedro_ext.tracking.charts import ACCURACY, GAIN

if TYPE_CHECKING:
    from hybrid_pipeline.stats.results import Effect, Interval, StudyResults


@dataclass(frozen=True)
class ArmSummary:
    """One arm over all seeds and tasks.

    Attributes:
        arm: its name.
        text: label, score, interval and verdict in one line; what charts are grouped by.
        metrics: ``ACCURACY`` and ``GAIN`` with the ends of their intervals (``... low``,
            ``... high``); only those that the study could tell.
    """

    arm: str
    text: str
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StudySummary:
    """The answer of a study.

    Attributes:
        headline: one sentence.
        arms: of the chain in order, then the others.
        note: Markdown for the description of the study's run.
        tasks: names of the tasks.
        is_judged: whether the study may judge; if not, the headline says what is missing.
    """

    headline: str
    arms: tuple[ArmSummary, ...]
    note: str
    tasks: tuple[str, ...]
    is_judged: bool = True


def summarise(results: Mapping[str, Any] | StudyResults, command: str) -> StudySummary:
    """Sum up an analysis.

    Args:
        results: the study's ``StudyResults``, or what it dumps.
        command: that makes the study again.
    """
    from hybrid_pipeline.report.sentences import verdict_sentence
    from hybrid_pipeline.stats.results import StudyResults

    found = StudyResults.model_validate(results)
    headline, stages = verdict_sentence(found)
    arms = tuple(_arm(found, arm) for arm in _all_arms(found))
    lines = [f"**{headline}**", stages, _table(arms), f"Made by `{command}`."]
    note = "\n\n".join(line for line in lines if line)
    return StudySummary(headline, arms, note, found.tasks, found.floor.reached)


def _all_arms(results: StudyResults) -> list[str]:
    return list(dict.fromkeys([*results.arms, *(row.arm for row in results.accuracies)]))


def _arm(results: StudyResults, arm: str) -> ArmSummary:
    from hybrid_pipeline.report.arm_tables import accuracy_of, mean_accuracy
    from hybrid_pipeline.report.wording import (
        TONE_MARKS,
        TONES,
        arm_label,
        interval_text,
        main_task,
        percent,
    )

    task = main_task(results)
    row, mean = accuracy_of(results, arm, task), mean_accuracy(results, arm, task)
    interval = row.interval if row is not None else None
    effect = _effect(results, arm, task)
    text = f"{arm_label(arm)} {percent(mean)} {interval_text(interval, signed=False)}".rstrip()
    if effect is not None:
        mark = TONE_MARKS[TONES[effect.verdict_code]]
        text = f"{text} {mark} {_short(effect.verdict_code)}"  # legends have room for this much
    metrics = _bounds(ACCURACY, interval)
    if mean is not None:
        metrics[ACCURACY] = 100 * mean
    if effect is not None:
        metrics |= _bounds(GAIN, effect.difference)
    return ArmSummary(arm, text, metrics)


def _short(code: str) -> str:
    """``helps_by_delta`` is ``helps``, ``no_meaningful_effect`` those words."""
    return code.split("_")[0] if code.startswith(("helps", "hurts")) else code.replace("_", " ")


def _effect(results: StudyResults, arm: str, task: str) -> Effect | None:
    return next((stage for stage in results.stages(task) if stage.arm == arm), None)


def _bounds(name: str, interval: Interval | None) -> dict[str, float]:
    if interval is None:
        return {}
    return {
        f"{name} low": 100 * interval.low,
        name: 100 * interval.estimate,
        f"{name} high": 100 * interval.high,
    }


def _table(arms: tuple[ArmSummary, ...]) -> str:
    return "\n".join(f"- {arm.text}" for arm in arms)
