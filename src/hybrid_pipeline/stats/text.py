"""Results as aligned plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hybrid_pipeline.arms import requirements
from hybrid_pipeline.stats.coalitions import orders_in_words
from hybrid_pipeline.stats.results import (
    MEAN_TASK,
    ArmAccuracy,
    ClaimVerdict,
    Compound,
    Effect,
    Interval,
    LengthChange,
    StudyResults,
)
from hybrid_pipeline.stats.verdicts import points, smallest_found
from hybrid_pipeline.text_tables import plain_table

_NONE = "not defined"


def render_text(results: StudyResults) -> str:
    """All of the results, one section after the other."""
    sections = [
        [results.headline],
        list(dict.fromkeys(c.sentence for c in _changes(results))),
        _accuracy_section(results),
        *_effect_sections(results),
        _length_section(results),
        _control_section(results),
        *_compound_sections(results),
        _shapley_section(results),
        _power_section(results),
        _claims_section(results.claims),
        _missing_section(results),
        list(results.notes),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _accuracy_section(results: StudyResults) -> list[str]:
    rows = [_accuracy_row(a) for a in results.accuracies if _shown(a.task, results)]
    header = ["arm", "task", "metric", "accuracy", "seeds", "examples"]
    return [_level_title("Accuracy", results), *plain_table(header, rows)]


def _accuracy_row(a: ArmAccuracy) -> list[str]:
    metric = a.metric if a.primary else f"({a.metric})"
    shown = f"{100 * a.estimate:.1f} %" if a.interval is None else _percent(a.interval)
    return [a.arm, a.task, metric, shown, str(a.num_seeds), str(a.num_examples)]


def _shown(task: str, results: StudyResults) -> bool:
    """With a single task its own rows repeat the mean."""
    return task == MEAN_TASK or len(results.tasks) > 1


def _changes(results: StudyResults) -> list[LengthChange]:
    task = MEAN_TASK if len(results.tasks) > 1 else results.tasks[0]
    return [change for change in results.length_changes if change.task == task]


def _length_section(results: StudyResults) -> list[str]:
    rows = [
        [g.arm, g.reference, g.task, f"{g.length:g}", "" if g.updates is None else str(g.updates),
         _points(g.difference), g.verdict.partition(":")[0]]
        for g in results.length_gains
        if _shown(g.task, results)
    ]  # fmt: skip
    header = ["arm", "reference", "task", "length", "updates", "points", "verdict"]
    if len(results.lengths) < 2:
        return []
    return [_level_title("Gains by training length", results), *plain_table(header, rows)]


def _level_title(what: str, results: StudyResults) -> str:
    return f"{what} ({100 * (1 - results.alpha):g} % intervals over seeds and examples)"


def _effect_sections(results: StudyResults) -> Iterator[list[str]]:
    for task in (MEAN_TASK, *results.tasks):
        effects = [e for e in results.effects if e.task == task]
        if not effects or not _shown(task, results):
            continue
        mean = "mean over tasks" if len(results.tasks) > 1 else results.tasks[0]
        title = mean if task == MEAN_TASK else task
        header = ["arm", "reference", "kind", "points", "bootstrap", "relative", "errors removed",
                  "p Holm", "verdict"]  # fmt: skip
        lines = plain_table(header, [_effect_row(e) for e in effects])
        yield [_level_title(f"Effects, {title}", results), *lines]


def _effect_row(e: Effect) -> list[str]:
    return [
        e.arm,
        e.reference,
        e.kind,
        _points(e.difference),
        "" if e.bootstrap is None else f"[{_pair(e.bootstrap)}]",
        _NONE if e.relative is None else f"{_points(e.relative)} %",
        _NONE if e.error_reduction is None else f"{100 * e.error_reduction:+z.1f} %",
        _p_text(e.p_adjusted),
        e.verdict,
    ]


def _control_section(results: StudyResults) -> list[str]:
    rows = [
        [c.arm, c.control, c.task, _points(c.difference), _p_text(c.p_adjusted), c.verdict]
        for c in results.controls
        if _shown(c.task, results)
    ]
    header = ["arm", "control", "task", "points", "p Holm", "verdict"]
    return [_level_title("Controls", results), *plain_table(header, rows)] if rows else []


def _compound_sections(results: StudyResults) -> Iterator[list[str]]:
    for c in results.compounds:
        if _shown(c.task, results):
            yield [f"Compound estimate, {c.task}", *_compound_lines(c), c.note]


def _compound_lines(c: Compound) -> list[str]:
    lines = []
    if c.stages:
        factors = " x ".join(f"{s.ratio:.3f}" for s in c.stages)
        lines.append(f"stages {factors} = {c.sequential_product:.3f}")
    if c.total is not None:
        lines.append(f"measured directly {_factor(c.total)}")
    if c.measured is not None:
        lines += plain_table(
            ["from isolated gains", "ratio"],
            [
                ["additive", _number(c.additive)],
                ["multiplicative", _number(c.multiplicative)],
                ["additive in log-odds", _number(c.logit_additive)],
                ["measured", _number(c.measured)],
            ],
        )
    if c.interaction is not None:
        lines.append(f"interaction, log scale {_signed(c.interaction)}")
    if c.interaction_logit is not None:
        lines.append(f"interaction, log-odds {_signed(c.interaction_logit)}")
    return lines


def _shapley_section(results: StudyResults) -> list[str]:
    rows = [
        [s.component, s.task, _points(s.shapley), _points(s.cumulative), _points(s.leave_one_out)]
        for s in results.shapley
        if s.scale == "difference" and _shown(s.task, results)
    ]
    header = ["component", "task", "Shapley", "cumulative", "leave one out"]
    if not rows:
        return []
    players = results.components[results.arms[-1]]
    return [
        f"Shares in points, means over {orders_in_words(players, requirements())}",
        *plain_table(header, rows),
    ]


def _power_section(results: StudyResults) -> list[str]:
    rows = [[str(p.num_seeds), smallest_found(p.mde80 or 0.0)] for p in results.power]
    title = f"Smallest total effect found with 80 % power (delta {points(results.delta)})"
    return [title, *plain_table(["seeds", "effect"], rows)] if rows else []


def _claims_section(claims: Sequence[ClaimVerdict]) -> list[str]:
    rows = [[c.id, c.claimed, c.recomputed, c.verdict] for c in claims]
    return (
        ["Claims", *plain_table(["id", "claimed", "recomputed", "verdict"], rows)] if rows else []
    )


def _missing_section(results: StudyResults) -> list[str]:
    rows = [[m.arm, str(m.seed), m.task, m.reason] for m in results.missing]
    header = ["arm", "seed", "task", "reason"]
    return ["Missing cells (nothing is imputed)", *plain_table(header, rows)] if rows else []


def _percent(i: Interval) -> str:
    return f"{100 * i.estimate:.1f} % [{100 * i.low:.1f}, {100 * i.high:.1f}]"


def _points(i: Interval | None) -> str:
    return "" if i is None else f"{100 * i.estimate:+z.1f} [{_pair(i)}]"


def _pair(i: Interval) -> str:
    return f"{100 * i.low:+z.1f}, {100 * i.high:+z.1f}"


def _p_text(p: float | None) -> str:
    return "" if p is None else f"{p:.3g}"


def _factor(i: Interval) -> str:
    return f"x{i.estimate:.3f} [{i.low:.3f}, {i.high:.3f}]"


def _signed(i: Interval) -> str:
    return f"{i.estimate:+z.3f} [{i.low:+z.3f}, {i.high:+z.3f}]"


def _number(value: float | None) -> str:
    return _NONE if value is None else f"x{value:.3f}"
