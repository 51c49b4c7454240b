"""The tables behind the verdicts: compounding, controls, halting, inner life, power."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp
from statistics import fmean

from hybrid_pipeline.arms import find_arm, requirements
from hybrid_pipeline.report.costs import cells_of, mean_of
from hybrid_pipeline.report.inputs import CellRecord, ReportInputs
from hybrid_pipeline.report.tables import Column, Entry, Table
from hybrid_pipeline.report.wording import (
    NONE,
    Tone,
    arm_label,
    bare,
    component_label,
    interval_text,
    p_value,
    percent,
    plural,
    points,
    ratio,
    readable,
    smallest_difference,
    task_label,
)
from hybrid_pipeline.stats.coalitions import orders_in_words
from hybrid_pipeline.stats.results import (
    MEAN_TASK,
    Compound,
    ControlRow,
    Interval,
    ShapleyRow,
    StudyResults,
)

Read = Callable[[CellRecord], float | None]
INNER_LIFE: tuple[tuple[str, Read, Callable[[float | None], str]], ...] = (
    ("Gate (1 keeps CLIP)", lambda c: c.mean_gate, bare),
    ("Paths disagree", lambda c: c.path_disagreement, percent),
    ("Path weight entropy, nats", lambda c: c.path_weight_entropy, bare),
)
ADAPTER: tuple[tuple[str, Read], ...] = (
    ("N2N error", lambda c: c.n2n_error),
    ("N2N error of identity", lambda c: c.n2n_identity_error),
)


def compound_table(results: StudyResults) -> Table:
    """Additive prediction, multiplicative prediction and measured total side by side."""
    columns = (
        Column("Task", "left"),
        Column("Stage product (identity)"),
        Column("Measured", group="full model / baseline, ratio"),
        Column("If points add", group="full model / baseline, ratio"),
        Column("If ratios multiply", group="full model / baseline, ratio"),
        Column("If log-odds add", group="full model / baseline, ratio"),
        Column("Measured", group="log-odds gained"),
        Column("If log-odds add", group="log-odds gained"),
        Column("On ratios (log)", group="interaction"),
        Column("On log-odds", group="interaction"),
    )
    rows = [
        [
            Entry(task_label(c.task)),
            Entry(ratio(c.sequential_product)),
            _measured_entry(c),
            Entry(ratio(c.additive)),
            Entry(ratio(c.multiplicative)),
            Entry(ratio(c.logit_additive)),
            Entry(bare(c.measured_log_odds)),
            Entry(bare(c.predicted_log_odds)),
            _signed_entry(c.interaction),
            _signed_entry(c.interaction_logit),
        ]
        for c in results.compounds
        if has_figures(c)
    ]
    table = Table("compound", "Predicted and measured totals", columns, rows, _notes(results))
    return table.without_blank_columns(NONE)


def _notes(results: StudyResults) -> tuple[str, ...]:
    """What is said of the compounds; by task unless the same is said of all."""
    kept = {c.task: readable(c.note) for c in results.compounds if has_figures(c) and c.note}
    said = tuple(dict.fromkeys(kept.values()))
    if len(said) < 2:
        return said
    where = {note: [_on(t) for t, n in kept.items() if n == note] for note in said}
    return tuple(f"On {', '.join(tasks)}: {note}" for note, tasks in where.items())


def _on(task: str) -> str:
    return f"the {task_label(task)}" if task == MEAN_TASK else task_label(task)


def has_figures(compound: Compound) -> bool:
    """Whether the compound estimate exists; a chain with a hole has none."""
    return bool(compound.stages) or compound.total is not None


def _measured_entry(compound: Compound) -> Entry:
    if compound.total is None:
        return Entry(ratio(compound.measured))
    low, high = compound.total.low, compound.total.high
    return Entry(ratio(compound.total.estimate), f"[{low:.2f}, {high:.2f}]")


def _signed_entry(interval: Interval | None) -> Entry:
    if interval is None:
        return Entry(NONE)
    bounds = f"[{interval.low:+z.2f}, {interval.high:+z.2f}]".replace("-", "\N{MINUS SIGN}")
    return Entry(bare(interval.estimate), bounds)


def shapley_table(results: StudyResults) -> Table:
    """Each component's Shapley share beside its cumulative and leave-one-out gain."""
    kinds = ("Shapley", "Cumulative", "Leave one out")
    columns = (
        Column("Component", "left"),
        Column("Task", "left"),
        *(Column(kind, group="points") for kind in kinds),
        *(Column(kind, group="ratios") for kind in kinds),
    )
    rows = []
    for component, task in dict.fromkeys((r.component, r.task) for r in results.shapley):
        found = {r.scale: r for r in results.shapley if (r.component, r.task) == (component, task)}
        entries = [
            *_share_entries(found.get("difference"), _points_entry),
            *_share_entries(found.get("log"), _ratio_entry),
        ]
        rows.append([Entry(component_label(component)), Entry(task_label(task)), *entries])
    players = results.components.get(results.arms[-1], ())
    note = f"Shapley: the mean gain over {orders_in_words(players, requirements())}."
    return Table("shapley", "Shares of the total", columns, rows, (note,))


def _share_entries(
    row: ShapleyRow | None, write: Callable[[Interval | None], Entry]
) -> tuple[Entry, ...]:
    if row is None:
        return (Entry(NONE),) * 3
    return tuple(write(value) for value in (row.shapley, row.cumulative, row.leave_one_out))


def _points_entry(value: Interval | None) -> Entry:
    return Entry(points(value.estimate if value else None), interval_text(value))


def _ratio_entry(value: Interval | None) -> Entry:
    if value is None:
        return Entry(NONE)
    factor = exponentiated(value)
    return Entry(ratio(factor.estimate), f"[{factor.low:.2f}, {factor.high:.2f}]")


def exponentiated(value: Interval) -> Interval:
    """An interval of log ratios as an interval of ratios."""
    return Interval(
        estimate=exp(value.estimate), low=exp(value.low), high=exp(value.high), level=value.level
    )


def controls_table(results: StudyResults) -> Table:
    """Arms beside the controls matched to them."""
    columns = (
        Column("Arm", "left"),
        Column("Control", "left"),
        Column("Task", "left"),
        Column("Arm minus control, points"),
        Column("p Holm"),
        Column("Seeds"),
        Column("Verdict", "left"),
    )
    rows = [
        [
            Entry(arm_label(r.arm)),
            Entry(arm_label(r.control)),
            Entry(task_label(r.task)),
            Entry(
                points(r.difference.estimate if r.difference else None),
                interval_text(r.difference),
            ),
            Entry(p_value(r.p_adjusted)),
            Entry(str(r.num_seeds)),
            Entry(r.verdict, tone=_control_tone(r)),
        ]
        for r in results.controls
    ]
    notes = ["A gain over the arm before means little where a matched control gains as much."]
    if any(r.p_adjusted is not None for r in results.controls):
        notes.append(
            "Verdicts are Holm-corrected over the controls; intervals are those of single "
            "comparisons."
        )
    table = Table("controls", "Matched controls", columns, rows, notes)
    return table.without_blank_columns(NONE)


def _control_tone(row: ControlRow) -> Tone:
    if row.beats_control is None:
        return "blank"
    if row.beats_control:
        return "gain"
    return "loss" if row.verdict.startswith("loses") else "open"


def halting_table(inputs: ReportInputs) -> Table:
    """The learned halting policy beside fixed, random and oracle ones; only arms with an agent."""
    groups = [group for group in _groups(inputs) if _has_agent(group[0])]
    depth = max((len(c.policies.fixed) for _, _, cells in groups for c in cells), default=0)
    policies = _policies(depth)
    columns = (
        Column("Arm", "left"),
        Column("Task", "left"),
        *(Column(name) for name, _ in policies),
        Column("Mean steps of the DQN"),
    )
    rows = [
        [
            Entry(arm_label(arm)),
            Entry(task_label(task)),
            *(Entry(percent(mean_of(cells, read))) for _, read in policies),
            Entry(bare(mean_of(cells, lambda c: c.mean_steps), 3)),
        ]
        for arm, task, cells in groups
    ]
    notes = (
        "Accuracy, mean over seeds, of the same weights. The oracle stops at the best step with "
        "the label in hand: optimistic, no policy can use it.",
        "The DQN watches; every arm is trained and scored at full depth. Arms without one are not "
        "listed.",
    )
    table = Table("halting", "When to stop thinking", columns, rows, notes)
    return table.without_blank_columns(NONE)


def _has_agent(name: str) -> bool:
    try:
        return find_arm(name).halts
    except ValueError:
        return False


def _policies(depth: int) -> tuple[tuple[str, Read], ...]:
    fixed = [(f"Fixed, {plural(d, 'step')}", _fixed(d)) for d in range(1, depth + 1)]
    return (
        ("Learned (DQN)", lambda c: c.policies.halted),
        *(fixed or [("Full depth", lambda c: c.policies.full_depth)]),
        ("Random", lambda c: c.policies.random),
        ("Oracle, uses the label", lambda c: c.policies.oracle),
    )


def _fixed(depth: int) -> Read:
    return lambda c: c.policies.fixed[depth - 1] if depth <= len(c.policies.fixed) else None


def inner_life_table(inputs: ReportInputs) -> Table:
    """Gate, paths and adapter: whether the parts do anything."""
    columns = (
        Column("Arm", "left"),
        Column("Task", "left"),
        *(Column(name) for name, _, _ in INNER_LIFE),
        *(Column(name) for name, _ in ADAPTER),
    )
    rows = []
    for arm, task, cells in _groups(inputs):
        shown = [Entry(write(mean_of(cells, read))) for _, read, write in INNER_LIFE]
        shown += [_spread_entry(cells, read) for _, read in ADAPTER]
        if any(entry.text != NONE for entry in shown):
            rows.append([Entry(arm_label(arm)), Entry(task_label(task)), *shown])
    notes = (
        "Mean over seeds. Paths that never disagree, with an entropy near ln(paths) (1.39 for "
        "four), are one path computed several times.",
        "N2N errors: on views that the adapter was not trained on, with the lowest and highest of "
        "the seeds. One below identity's suggests that the adapter denoises, not that it helps.",
    )
    table = Table("inner-life", "What the parts do", columns, rows, notes)
    return table.without_blank_columns(NONE)


def _spread_entry(cells: Sequence[CellRecord], read: Read) -> Entry:
    values = [v for v in map(read, cells) if v is not None]
    if not values:
        return Entry(NONE)
    return Entry(f"{fmean(values):.3g}", f"{min(values):.3g} to {max(values):.3g}")


def _groups(inputs: ReportInputs) -> list[tuple[str, str, list[CellRecord]]]:
    tasks = inputs.results.tasks
    arms = list(dict.fromkeys([*inputs.results.arms, *(c.arm for c in inputs.cells)]))
    found = [(arm, task, cells_of(inputs, arm, task)) for arm in arms for task in tasks]
    return [g for g in found if g[2]]


def power_table(results: StudyResults) -> Table:
    """What each number of seeds can find, for the total on the mean over tasks."""
    columns = (Column("Seeds"), Column("Smallest difference found with 80 % power, points"))
    rows = [
        [
            Entry(str(r.num_seeds)),
            Entry(smallest_difference(r.mde80)),
        ]
        for r in results.power
    ]
    notes = []
    if results.paired_sd is not None:
        notes.append(
            "From the standard deviation of the paired total over seeds, "
            f"{bare(100 * results.paired_sd, 1)} points; never from the observed effect."
        )
    done = {i for i, r in enumerate(results.power) if r.num_seeds == len(results.seeds)}
    title = "What more seeds would find"
    return Table("power", title, columns, rows, notes, frozenset(done))
