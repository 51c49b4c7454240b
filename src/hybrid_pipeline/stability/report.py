"""The stability study's outcome: metrics, effects of four changes, the seed analysis' promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hybrid_pipeline.advisor.scores import unlearned
from hybrid_pipeline.config import StabilityConfig
from hybrid_pipeline.curves.curve import StabilityCurve
from hybrid_pipeline.curves.metrics import RunMetrics, run_metrics, target_scores
from hybrid_pipeline.stability.design import (
    CORRECTED,
    ORIGINAL,
    Setting,
    alias_structure,
)
from hybrid_pipeline.stability.effects import (
    RESPONSES,
    PairedEffect,
    Rate,
    divergence_rate,
    divergence_test,
    interactions,
    main_effects,
    paired_difference,
    target_test,
)
from hybrid_pipeline.stability.promises import PromiseVerdict, judge_promises


@dataclass(frozen=True)
class TaskStability:
    """The outcome on one task.

    Attributes:
        task: the task, or tasks joined by ``+`` if one run trains on several.
        runs: metrics of every run.
        rates: setting -> diverged runs.
        bundle: corrected minus original, one effect a response.
        divergence_p: Fisher's exact p of corrected against original, if both ran.
        log_rank: task -> (statistic, permutation p) of the steps to the target, corrected against
            original.
        targets: task -> score to reach.
        main: effects of the four factors, for every response; empty without the fraction.
        pairs: sums of two-factor interactions, for every response.
        promises: the seed analysis' statements with verdicts.
        unlearned: why no promise is judged, if no setting learned anything; else empty.
    """

    task: str
    runs: tuple[RunMetrics, ...]
    rates: dict[str, Rate]
    bundle: tuple[PairedEffect, ...]
    divergence_p: float | None
    log_rank: dict[str, tuple[float, float] | None]
    targets: dict[str, float]
    main: tuple[PairedEffect, ...]
    pairs: tuple[PairedEffect, ...]
    promises: tuple[PromiseVerdict, ...]
    unlearned: str = ""

    def of(self, setting: str) -> tuple[RunMetrics, ...]:
        """The runs of a setting."""
        return tuple(run for run in self.runs if run.setting == setting)


@dataclass(frozen=True)
class StabilityReport:
    """The whole study.

    Attributes:
        tasks: the outcome by task.
        settings: what was trained.
        aliases: effect -> what it cannot be told apart from.
        missing: (task, setting, seed) without a run.
        level: of every interval.
    """

    tasks: tuple[TaskStability, ...]
    settings: tuple[Setting, ...]
    aliases: dict[str, str]
    missing: tuple[tuple[str, str, int], ...]
    level: float

    def to_json(self) -> dict[str, Any]:
        """The report as JSON-ready values."""
        return asdict(self)


def stability_report(
    curves: Sequence[StabilityCurve], settings: Sequence[Setting], config: StabilityConfig
) -> StabilityReport:
    """Compute every metric, effect and verdict of the study.

    Args:
        curves: one training run each; a run's ``setting`` names one of ``settings``.
        settings: the study's settings, from ``stability_settings``.
        config: constants fixed before the runs.

    Raises:
        ValueError: when there is no curve, a curve of an unknown setting, or one run twice.
    """
    _check(curves, settings)
    tasks = sorted({curve.tasks for curve in curves})
    seeds = range(config.first_seed, config.first_seed + config.num_seeds)
    present = {(curve.tasks, curve.setting, curve.seed) for curve in curves}
    wanted = [(t, s.name, seed) for t in tasks for s in settings for seed in seeds]
    return StabilityReport(
        tasks=tuple(
            _task_report(t, [c for c in curves if c.tasks == t], settings, config) for t in tasks
        ),
        settings=tuple(settings),
        aliases=alias_structure(config) if config.design == "fraction" else {},
        missing=tuple(cell for cell in wanted if cell not in present),
        level=config.level,
    )


def _task_report(
    task: str,
    curves: Sequence[StabilityCurve],
    settings: Sequence[Setting],
    config: StabilityConfig,
) -> TaskStability:
    targets = target_scores(curves, config, CORRECTED)
    targets = {t: score for t, score in targets.items() if t in task.split("+")}
    settled = max(curve.warmup_steps for curve in curves)
    runs = tuple(run_metrics(c, config, targets, settled_from=settled) for c in curves)
    by_setting = {s.name: [r for r in runs if r.setting == s.name] for s in settings}
    new, old = by_setting.get(CORRECTED, []), by_setting.get(ORIGINAL, [])
    main = tuple(e for r in RESPONSES for e in main_effects(runs, settings, r, config.level))
    floor = "" if any(run.diverged for run in runs) else _nothing_learned(curves, task)
    return TaskStability(
        task=task,
        runs=runs,
        rates={s: divergence_rate(r, config.level) for s, r in by_setting.items() if r},
        bundle=tuple(
            paired_difference(runs, CORRECTED, ORIGINAL, r, config.level) for r in RESPONSES
        ),
        divergence_p=divergence_test(new, old) if new and old else None,
        log_rank={t: target_test(new, old, t) for t in targets},
        targets=targets,
        main=main,
        pairs=tuple(e for r in RESPONSES for e in interactions(runs, settings, r, config.level)),
        promises=judge_promises(runs, settings, main, config, floor),
        unlearned=floor,
    )


def _nothing_learned(curves: Sequence[StabilityCurve], task: str) -> str:
    """The reason to judge nothing: under no setting did the runs end above guessing."""
    by_setting: dict[str, list[StabilityCurve]] = {}
    for curve in curves:
        by_setting.setdefault(curve.setting, []).append(curve)
    ends = [unlearned(c, name) for c in by_setting.values() for name in task.split("+")]
    found = [end for end in ends if end is not None]
    if not ends or len(found) < len(ends):
        return ""
    best = max(found, key=lambda end: end.after)
    return (
        f"no setting learned anything in {max(len(curve.step) for curve in curves)} updates: the "
        f"best ends at {best.after:.3f}, {best.before:.3f} needs no learning; raise "
        "stability.epochs"
    )


def _check(curves: Sequence[StabilityCurve], settings: Sequence[Setting]) -> None:
    if not curves:
        raise ValueError("no training run to report on")
    known = {setting.name for setting in settings}
    seen: set[tuple[str, str, int]] = set()
    for curve in curves:
        if curve.setting not in known:
            raise ValueError(
                f"unknown setting {curve.setting!r}; expected one of {', '.join(sorted(known))}"
            )
        key = (curve.tasks, curve.setting, curve.seed)
        if key in seen:
            raise ValueError(f"setting {key[1]!r}, seed {key[2]} is there twice for {key[0]!r}")
        seen.add(key)
