"""What a finished study adds for a reader of MLflow: groups, a run per arm, notes, a view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hybrid_pipeline.kedro_ext.tracking.charts import (
    GROUP_TAG,
    VIEW_TAG,
    comparison_url,
    view_name,
    view_state,
)
from hybrid_pipeline.kedro_ext.tracking.store import find_runs, log_changed_metrics
from hybrid_pipeline.kedro_ext.tracking.study import (
    PARENT_TAG,
    TrackedCell,
    TrackedStudy,
    create_run,
    set_tags,
)
from hybrid_pipeline.kedro_ext.tracking.summary import ArmSummary, StudySummary

if TYPE_CHECKING:
    from mlflow.entities import Run

NOTE_TAG = "mlflow.note.content"
SHOWN = {"shown": "yes"}  # in the comparison: the longest training of every cell, and the arms


def publish(
    study: TrackedStudy,
    records: Sequence[TrackedCell],
    run_ids: Sequence[str],
    summary: StudySummary,
) -> str:
    """Describe the study's runs and lay out the page that compares its arms.

    Args:
        study: the open study.
        records: its cells.
        run_ids: of the cells, in the same order.
        summary: what the study found.

    Returns:
        The link that opens the comparison.
    """
    key, judged = study.tags["study_key"], {"judged": "yes" if summary.is_judged else "no"}
    arms = {arm.arm: (place, arm) for place, arm in enumerate(summary.arms)}
    for record, run_id in zip(records, run_ids, strict=True):
        place, arm = arms.get(record.arm, (len(arms), ArmSummary(record.arm, record.arm)))
        is_longest = record.tags.get("length") == _longest(records)
        tags = judged | {GROUP_TAG: arm.text, "place": f"{place:03d}"}
        tags |= {NOTE_TAG: _cell_note(record, arm)}
        set_tags(study.client, run_id, tags | (SHOWN if is_longest else {"shown": "no"}))
    for place, arm in arms.values():
        _arm_run(study, arm, judged | {"place": f"{place:03d}"})
    set_tags(study.client, study.parent_run_id, judged | {NOTE_TAG: summary.note})
    state = view_state(key, summary.tasks, "" if summary.is_judged else summary.headline)
    study.client.set_experiment_tag(study.experiment_id, VIEW_TAG + view_name(key), state)
    return comparison_url(study.uri, study.experiment_id, key)


def _longest(records: Sequence[TrackedCell]) -> str | None:
    lengths = [record.tags.get("length") for record in records]
    return max((length for length in lengths if length), key=float, default=None)


def _cell_note(record: TrackedCell, arm: ArmSummary) -> str:
    return (
        f"One training of **{record.arm}** with seed {record.seed} on task {record.task}. "
        f"The arm over all its seeds and tasks: {arm.text}. A single seed decides nothing."
    )


def _arm_run(study: TrackedStudy, arm: ArmSummary, further: Mapping[str, str]) -> Run:
    """The run that holds an arm's figures over all seeds; found again by a rerun."""
    wanted = {"study_key": study.tags["study_key"], "arm": arm.arm}
    found = find_runs(study.client, study.experiment_id, kind="arm", **wanted)
    own: Mapping[str, str] = {**SHOWN, **further, "arm": arm.arm, GROUP_TAG: arm.text}
    tags = {**study.tags, **own, PARENT_TAG: study.parent_run_id, NOTE_TAG: arm.text}
    if found:
        run = found[0]
        set_tags(study.client, str(run.info.run_id), tags)
    else:
        run = create_run(study.client, study.experiment_id, "arm", tags, arm.arm)
    log_changed_metrics(study.client, run, arm.metrics, step=0)
    study.client.set_terminated(run.info.run_id, "FINISHED")
    return run
