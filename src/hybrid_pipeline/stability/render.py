"""The stability report as tables, Markdown and an HTML fragment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hybrid_pipeline.advisor.notes import AdvisorNote
from hybrid_pipeline.advisor.study import notes_markdown, notes_text
from hybrid_pipeline.stability.design import CORRECTED, ORIGINAL, Setting
from hybrid_pipeline.stability.effects import FINAL, PairedEffect, smallest_p
from hybrid_pipeline.stability.figures import CAPTIONS
from hybrid_pipeline.stability.report import StabilityReport, TaskStability
from hybrid_pipeline.stability.section import ExtraFigure, ExtraTable, StabilitySection
from hybrid_pipeline.text_tables import markdown_table


def stability_summary(report: StabilityReport, notes: Sequence[AdvisorNote] = ()) -> str:
    """Final score, diverged runs, the promises' verdicts and what the curves suggest, as a list."""
    points = "\n".join(f"- {point}" for point in stability_points(report))
    return f"{points}\n\nWhat the curves suggest:\n{notes_text(notes, _num_runs(report))}"


def stability_points(report: StabilityReport) -> tuple[str, ...]:
    """The same as sentences, each with its task."""
    return tuple(
        f"{task.task}: {point}" for task in report.tasks for point in _points(task, report.level)
    )


def stability_tables(report: StabilityReport) -> tuple[ExtraTable, ...]:
    """The settings, then for each task: metrics, bundle, effects and promises."""
    tables = [_settings_table(report.settings)]
    for task in report.tasks:
        tables += [
            _metrics_table(task, report.settings),
            _effect_table(task, "corrected minus original", task.bundle, report.level),
        ]
        if task.main:
            tables += [
                _effect_table(task, "effect of each change", task.main, report.level),
                _effect_table(task, "sums of two-factor interactions", task.pairs, report.level),
            ]
        tables.append(_promise_table(task))
    return tuple(tables)


def stability_markdown(report: StabilityReport, notes: Sequence[AdvisorNote] = ()) -> str:
    """The report as a Markdown page, with the advisor's notes on the same runs."""
    lines = ["# Stability: original against corrected settings", "", stability_summary(report), ""]
    for table in stability_tables(report):
        lines += [f"## {table.title}", "", *markdown_table(table.columns, table.rows), ""]
        if table.note:
            lines += [table.note, ""]
    lines += ["## What the curves suggest", "", notes_markdown(notes, _num_runs(report))]
    if report.aliases:
        lines += [
            "## What the fraction cannot tell apart",
            "",
            *markdown_table(["effect", "aliased with"], list(report.aliases.items())),
            "",
        ]
    if report.missing:
        cells = "; ".join(f"{task}, {name}, seed {seed}" for task, name, seed in report.missing)
        lines += [f"Missing runs, not imputed: {cells}.", ""]
    return "\n".join(lines).rstrip() + "\n"


def stability_section(
    report: StabilityReport,
    figures: Mapping[str, dict[str, Any]] | None = None,
    notes: Sequence[AdvisorNote] = (),
) -> StabilitySection:
    """The same as a section of the study's report.

    Args:
        report: the study.
        figures: by ``<task>_<figure>``, as Plotly JSON.
        notes: of the advisor on the study's runs.
    """
    advice = ExtraTable(
        title="What the study's curves suggest",
        columns=("where", "remark", "change"),
        rows=tuple((n.where, f"{n.level}: {n.text}", n.suggestion) for n in notes),
    )
    return StabilitySection(
        points=stability_points(report),
        tables=(*stability_tables(report), *([advice] if notes else [])),
        figures=tuple(
            ExtraFigure(name=f"stability_{name}", caption=_caption(name), figure=figure)
            for name, figure in (figures or {}).items()
        ),
    )


def _caption(name: str) -> str:
    kinds = (kind for kind in CAPTIONS if name.endswith(f"_{kind}") or f"_{kind}_" in name)
    return CAPTIONS["effects" if "_effects_" in name else next(kinds)]


def _num_runs(report: StabilityReport) -> int:
    return sum(len(task.runs) for task in report.tasks)


def _points(task: TaskStability, level: float) -> list[str]:
    parts = []
    for name in (ORIGINAL, CORRECTED):
        if name in task.rates:
            rate = task.rates[name]
            parts.append(
                f"{name} {rate.count} of {rate.total} "
                f"[{100 * rate.low:.0f} %, {100 * rate.high:.0f} %]"
            )
    return [
        *([f"nothing is judged: {task.unlearned}."] if task.unlearned else []),
        *(f"final score, corrected minus original: {text}." for text in _scores(task.bundle)),
        *(
            f"of the single changes, {effect.name} alone: {text} "
            f"(Holm p = {effect.p_adjusted:.2g})."
            for effect in task.main
            if effect.p_adjusted is not None and effect.p_adjusted < 1 - level
            for text in _scores([effect])
        ),
        f"diverged runs: {', '.join(parts)}.",
        *(f"“{p.quote}”: {p.verdict}." for p in task.promises),
    ]


def _scores(effects: Sequence[PairedEffect]) -> list[str]:
    """Effects on the final score with their intervals."""
    return [
        f"{_number(e.estimate)} points {_interval(e)}, {e.num_seeds} seeds"
        for e in effects
        if e.response == FINAL and e.estimate is not None
    ]


def _settings_table(settings: Sequence[Setting]) -> ExtraTable:
    rows = [
        (
            setting.name,
            ", ".join(
                f"{f} {'corrected' if level > 0 else 'original'}"
                for f, level in setting.levels.items()
            ),
            ", ".join(f"{k} {v}" for k, v in {**setting.training, **setting.halting}.items())
            or "the profile",
            "yes" if setting.in_fraction else "no",
        )
        for setting in settings
    ]
    return ExtraTable(
        title="Settings",
        columns=("setting", "levels", "values that differ from the profile", "in the fraction"),
        rows=tuple(rows),
        note="Original values are scaled to the profile so that the ratio of the seed analysis' "
        "two settings is kept.",
    )


def _metrics_table(task: TaskStability, settings: Sequence[Setting]) -> ExtraTable:
    columns = (
        "setting", "seeds", "diverged", "non-finite steps", "loss spikes, %",
        "gradient norm p50 / p95 / p99", "clipped, %", "largest Q", "reached target", "final score",
    )  # fmt: skip
    rows = [_metrics_row(task, setting.name) for setting in settings if setting.name in task.rates]
    targets = ", ".join(f"{name} {score:.3f}" for name, score in task.targets.items())
    log_rank = ", ".join(
        f"{name}: no run reached it" if test is None else f"{name}: p = {test[1]:.2g}"
        for name, test in task.log_rank.items()
    )
    least = smallest_p(len(task.of(CORRECTED)), len(task.of(ORIGINAL)))
    most = max(task.runs, key=lambda run: run.num_steps)
    fisher = "-" if task.divergence_p is None else f"{task.divergence_p:.2g}"
    note = (
        f"Means over seeds; the largest Q is over all seeds. Loss spikes: a share of the "
        f"{most.judged_steps} of {most.num_steps} updates that follow a whole window. Target: "
        f"{targets or 'none'}. Log-rank of the steps to it, corrected against original, by "
        f"permutation (so many runs give no p below {least:.2g}): {log_rank or 'none'}. Fisher's "
        f"p for diverged runs: {fisher}."
    )
    return ExtraTable(title=f"{task.task}: metrics", columns=columns, rows=tuple(rows), note=note)


def _metrics_row(task: TaskStability, name: str) -> tuple[str, ...]:
    runs, rate = task.of(name), task.rates[name]
    reached = [sum(run.steps_to_target.get(t) is not None for run in runs) for t in task.targets]
    largest = [run.largest_q for run in runs if run.largest_q is not None]
    norms = " / ".join(_mean([getattr(r, f"grad_p{q}") for r in runs]) for q in (50, 95, 99))
    return (
        name,
        str(len(runs)),
        f"{rate.count} of {rate.total} [{100 * rate.low:.0f} %, {100 * rate.high:.0f} %]",
        str(sum(run.non_finite_steps for run in runs)),
        _mean([_times_100(r.spike_share) for r in runs]),
        norms,
        _mean([_times_100(r.clipped_share) for r in runs]),
        f"{max(largest):.3g}" if largest else "-",
        ", ".join(f"{n} of {len(runs)}" for n in reached) or "-",
        _mean([r.final for r in runs]),
    )


def _effect_table(
    task: TaskStability, title: str, effects: Sequence[PairedEffect], level: float
) -> ExtraTable:
    rows = [
        (
            effect.response,
            effect.name,
            _number(effect.estimate),
            _interval(effect),
            _number(effect.p, sign=False),
            _number(effect.p_adjusted, sign=False),
            str(effect.num_seeds),
            ", ".join(map(str, effect.missing)) or "none",
        )
        for effect in effects
    ]
    columns = (
        "metric", "comparison", "difference", f"{100 * level:g} % interval", "p", "Holm p", "seeds",
        "seeds left out",
    )  # fmt: skip
    return ExtraTable(
        title=f"{task.task}: {title}",
        columns=columns,
        rows=tuple(rows),
        note="Differences within seeds, corrected minus original; t interval over seeds, none "
        "where every seed gives the same. A dash: no run has such a value.",
    )


def _interval(effect: PairedEffect) -> str:
    if effect.low is None:
        return "-"
    return f"[{_number(effect.low)}, {_number(effect.high)}]"


def _promise_table(task: TaskStability) -> ExtraTable:
    rows = tuple((p.section, f"“{p.quote}”", p.recomputed, p.verdict) for p in task.promises)
    return ExtraTable(
        title=f"{task.task}: what the seed analysis promised",
        columns=("section", "statement", "measured", "verdict"),
        rows=rows,
    )


def _mean(found: Sequence[float | None]) -> str:
    values = [value for value in found if value is not None and math.isfinite(value)]
    return f"{np.mean(values):.3g}" if values else "-"


def _times_100(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _number(value: float | None, *, sign: bool = True) -> str:
    if value is None:
        return "-"
    return f"{value:+.3g}" if sign else f"{value:.2g}"
