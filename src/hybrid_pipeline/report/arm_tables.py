"""The tables of arms: page one, every task, every comparison."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

from hybrid_pipeline.report.costs import arm_cost, span_text
from hybrid_pipeline.report.inputs import ReportInputs
from hybrid_pipeline.report.tables import Column, Entry, Table
from hybrid_pipeline.report.wording import (
    NONE,
    TONES,
    arm_label,
    bare,
    component_label,
    count,
    interval_text,
    main_task,
    p_value,
    percent,
    points,
    signed_percent,
    smallest_difference,
    task_label,
    threshold,
)
from hybrid_pipeline.stats.results import MEAN_TASK, ArmAccuracy, Effect, Interval, StudyResults

ARMS_COLUMNS = (
    Column("Arm", "left"),
    Column("Accuracy"),
    Column("Difference, points", group="against the arm before"),
    Column("Relative", group="against the arm before"),
    Column("Errors removed", group="against the arm before"),
    Column("Verdict", "left", group="against the arm before"),
    Column("Parameters, without the tower", group="cost"),
    Column("FLOPs per example, at full depth", group="cost"),
    Column("Steps where the DQN halts", group="cost"),
)


def accuracy_of(results: StudyResults, arm: str, task: str) -> ArmAccuracy | None:
    """The primary accuracy of an arm on a task."""
    rows = [a for a in results.accuracies if a.arm == arm and a.primary]
    return next((a for a in rows if a.task == task), None)


def mean_accuracy(results: StudyResults, arm: str, task: str) -> float | None:
    """An arm's accuracy; on "mean" the mean over tasks, only if no task is missing."""
    row = accuracy_of(results, arm, task)
    if row is not None:
        return row.estimate
    rows = [accuracy_of(results, arm, t) for t in results.tasks]
    if task != MEAN_TASK or not rows:
        return None
    known = [r.estimate for r in rows if r is not None]
    return fmean(known) if len(known) == len(rows) else None


def arms_table(inputs: ReportInputs, task: str, table_id: str = "arms") -> Table:
    """Accuracy, gain, verdict and cost of every arm of the chain."""
    results = inputs.results
    rows = [_arm_row(inputs, index, task) for index in range(len(results.arms))]
    total = results.total(task)
    if total is not None:
        rows.append(_total_row(results, total))
    title = f"The arms, {task_label(task)}" if task == MEAN_TASK else task_label(task).capitalize()
    return Table(
        id=table_id,
        title=title,
        columns=ARMS_COLUMNS,
        rows=rows,
        notes=_arms_notes(inputs, task),
        emphasised=frozenset({len(results.arms)} if total is not None else ()),
    ).without_blank_columns(NONE)


def first_table(inputs: ReportInputs, task: str) -> Table:
    """Arm, accuracy, difference, verdict: what the first screen has room for."""
    results = inputs.results
    columns = (
        Column("Arm", "left"),
        Column("Accuracy"),
        Column("Difference, points"),
        Column("Verdict", "left"),
    )
    rows: list[list[Entry]] = []
    for index, arm in enumerate(results.arms):
        before = results.arms[index - 1] if index else None
        effect = results.effect(arm, before, task) if before else None
        entries = _effect_entries(effect, is_first=index == 0)
        verdict = entries[3] if effect is None else _short_verdict(effect)
        difference = entries[0] if index else Entry("")
        rows.append(
            [Entry(arm_label(arm)), accuracy_entry(results, arm, task), difference, verdict]
        )
    total = results.total(task)
    if total is not None:
        name = Entry(f"{len(results.arms)} against 1")
        rows.append([name, Entry(""), difference_entry(total), _short_verdict(total)])
    title = f"The arms, {task_label(task)}; each against the arm before"
    last = frozenset({len(results.arms)} if total is not None else ())
    return Table("first", title, columns, rows, _first_notes(results, task), last)


def _first_notes(results: StudyResults, task: str) -> list[str]:
    effects = [e for e in (*results.stages(task), results.total(task)) if e is not None]
    level = next((e.difference.level for e in effects if e.difference), None)
    notes = (
        [f"In brackets: {100 * level:.4g} % intervals over seeds and examples."] if level else []
    )
    open_ = [e for e in effects if e.verdict_code == "underpowered"]
    found = [e.mde80 for e in open_ if e.mde80 is not None]
    if not found:
        return notes
    low, high = smallest_difference(min(found)), smallest_difference(max(found))
    span = low if low == high else f"{low} to {high}"
    said = f"Underpowered: at this noise only a difference of {span} points or more would be found"
    if min(found) > 1:
        said = "Underpowered: at this noise no difference would be found, not even 100 points"
    seeds = [e.seeds_needed for e in open_ if e.seeds_needed is not None]
    if len(seeds) == len(open_):
        many = (
            f"{min(seeds):,}" if min(seeds) == max(seeds) else f"{min(seeds):,} to {max(seeds):,}"
        )
        said += f"; {threshold(results.delta)} would need about {many} seeds"
    return [*notes, f"{said}."]


def _arm_row(inputs: ReportInputs, index: int, task: str) -> list[Entry]:
    results = inputs.results
    arm = results.arms[index]
    before = results.arms[index - 1] if index else None
    effect = results.effect(arm, before, task) if before else None
    cost = arm_cost(inputs, arm, task)
    return [
        Entry(arm_label(arm)),
        accuracy_entry(results, arm, task),
        *_effect_entries(effect, is_first=index == 0),
        Entry(span_text(cost.parameters)),
        Entry(count(cost.flops)),
        Entry(bare(cost.steps)),
    ]


def _total_row(results: StudyResults, total: Effect) -> list[Entry]:
    return [
        Entry(f"{len(results.arms)} against 1"),
        Entry(""),
        *_effect_entries(total, is_first=False),
        Entry(""),
        Entry(""),
        Entry(""),
    ]


def accuracy_entry(results: StudyResults, arm: str, task: str) -> Entry:
    """An accuracy with its interval below."""
    row = accuracy_of(results, arm, task)
    if row is None:
        return Entry(percent(mean_accuracy(results, arm, task)))
    return Entry(percent(row.estimate), interval_text(row.interval, signed=False))


def _effect_entries(effect: Effect | None, *, is_first: bool) -> list[Entry]:
    if is_first:
        return [Entry(NONE), Entry(NONE), Entry(NONE), Entry("reference")]
    if effect is None:
        return [Entry(NONE), Entry(NONE), Entry(NONE), Entry("not measured", tone="blank")]
    return [
        difference_entry(effect),
        Entry(
            signed_percent(effect.relative.estimate if effect.relative else None),
            interval_text(effect.relative, digits=0),
        ),
        Entry(signed_percent(effect.error_reduction)),
        verdict_entry(effect),
    ]


def difference_entry(effect: Effect) -> Entry:
    """A difference in points with its interval below, or marked as having none."""
    if effect.difference is not None:
        return Entry(points(effect.difference.estimate), interval_text(effect.difference))
    if effect.accuracy is None or effect.baseline_accuracy is None:
        return Entry(NONE)
    return Entry(points(effect.accuracy - effect.baseline_accuracy), "no interval")


def interval_entry(interval: Interval | None) -> Entry:
    """A difference in points with its interval below."""
    return Entry(points(interval.estimate if interval else None), interval_text(interval))


def verdict_entry(effect: Effect) -> Entry:
    """The verdict's own words in its tone; what follows a colon on a smaller line.

    What an underpowered comparison could find is left out: it stands once, in a note or a column.
    """
    head, _, rest = effect.verdict.partition(": ")
    small = "" if effect.verdict_code == "underpowered" else rest
    return Entry(head, small, tone=TONES[effect.verdict_code])


def _arms_notes(inputs: ReportInputs, task: str) -> list[str]:
    results = inputs.results
    floors = [_floor_text(inputs, t) for t in results.tasks if task in (t, MEAN_TASK)]
    floor = [" ".join(f for f in floors if f)] if any(floors) else []
    if task != main_task(results):
        return floor
    level = next((e.difference.level for e in results.effects if e.difference), None)
    bounds = f"{100 * level:.4g} % intervals" if level else "Intervals"
    notes = [
        f"{bounds} in brackets: two-component t over seeds and examples, paired. Verdicts: Holm "
        f"over the stages; smallest effect of interest {threshold(results.delta)}.",
        *(["Relative gains over tasks are geometric means."] if task == MEAN_TASK else []),
    ]
    return notes + _cost_notes(inputs) + floor


def _cost_notes(inputs: ReportInputs) -> list[str]:
    notes = []
    if any(c.n2n_error is not None and c.parameters for c in inputs.cells):
        notes.append(
            "Parameters include those of the N2N adapter, which are trained without labels, then "
            "frozen."
        )
    shallow = _halted_early(inputs)
    if shallow:
        notes.append(
            "Accuracy and FLOPs are at full depth. The DQN would halt earlier: "
            f"{'; '.join(shallow)} supervision steps on average."
        )
    return notes


def _halted_early(inputs: ReportInputs) -> list[str]:
    found = []
    for arm in inputs.results.arms:
        depth = max((len(c.policies.fixed) for c in inputs.cells if c.arm == arm), default=0)
        steps = arm_cost(inputs, arm).steps
        if steps is not None and steps < depth:
            found.append(f"{arm_label(arm)} {bare(steps, 3)} of {depth}")
    return found


def _floor_text(inputs: ReportInputs, task: str) -> str:
    baseline = inputs.baseline(task)
    if baseline is None:
        return ""
    parts = []
    if baseline.majority is not None:
        parts.append(f"majority {percent(baseline.majority)}")
    if baseline.chance is not None:
        parts.append(f"chance {percent(baseline.chance)}")
    metric = inputs.results.metrics.get(task, "")
    scored = {"correct": "whole answers right", "slots": "answer slots right"}.get(metric, metric)
    what = f" ({scored})" if scored else ""
    return f"{task_label(task).capitalize()}{what}: {', '.join(parts)}." if parts else ""


def effects_table(results: StudyResults) -> Table:
    """Every comparison with every measure; the evidence behind the verdicts."""
    heads = (
        "Crossed bootstrap", "Relative", "Errors removed", "Log-odds",
        "Kappa, points", "p", "MDE80, points",
    )  # fmt: skip
    columns = (
        Column("Comparison", "left"),
        Column("Task", "left"),
        Column("Difference, points"),
        Column("Verdict", "left"),
        *(Column(h) for h in heads),
    )
    notes = (
        "The crossed bootstrap is a sensitivity check; verdicts use the two-component t.",
        "p: below it, corrected for the stages (Holm).",
        "MDE80: the smallest difference found with 80 % power at this noise and number of seeds. "
        "Below it, about how many seeds the smallest effect of interest needs at this noise; none "
        "where more examples are needed.",
    )
    order = {MEAN_TASK: -1} | {task: i for i, task in enumerate(results.tasks)}
    effects = sorted(
        (e for e in results.effects if e.kind != "control"), key=lambda e: order.get(e.task, 0)
    )
    rows = [_full_row(e) for e in effects]
    totals = frozenset(i for i, e in enumerate(effects) if e.kind == "total")
    table = Table("effects", "Every comparison", columns, rows, notes, totals)
    return table.without_blank_columns(NONE)


def _short_verdict(effect: Effect) -> Entry:
    """On two lines where it names a threshold."""
    entry = verdict_entry(effect)
    if entry.small or not entry.text.startswith(("helps ", "hurts ")):
        return entry
    head, _, rest = entry.text.partition(" ")
    return replace(entry, text=head, small=rest)


def _full_row(effect: Effect) -> list[Entry]:
    what = component_label(effect.component) if effect.component else arm_label(effect.arm)
    if effect.kind == "leave_one_out":
        what = f"{component_label(effect.component)}, added last"
    return [
        Entry(
            "All stages" if effect.kind == "total" else what, f"over {arm_label(effect.reference)}"
        ),
        Entry(task_label(effect.task)),
        difference_entry(effect),
        _short_verdict(effect),
        interval_entry(effect.bootstrap),
        Entry(
            signed_percent(effect.relative.estimate if effect.relative else None),
            interval_text(effect.relative, digits=0),
        ),
        Entry(signed_percent(effect.error_reduction)),
        Entry(bare(effect.log_odds)),
        Entry(points(effect.kappa_difference)),
        Entry(
            p_value(effect.p),
            "" if effect.p_adjusted is None else f"Holm {p_value(effect.p_adjusted)}",
        ),
        Entry(
            smallest_difference(effect.mde80),
            "" if effect.seeds_needed is None else f"{effect.seeds_needed:,} seeds",
        ),
    ]
